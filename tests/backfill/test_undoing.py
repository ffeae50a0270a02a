"""The way back: row for row and column for column, past what others changed since, and the way back from it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.undo_preview import undoable
from smartcar_ops.database.ledger import tables as t
from tests.support.house import House
from tests.support.processes import Act

OTHER = "0ddba11e-0000-4000-8000-00000000000{}"
SMALL_FORM = [
    "sqlite",
    "postgresql",
    pytest.param("mariadb", marks=pytest.mark.slow),
]


@pytest.fixture(params=SMALL_FORM)
def asked(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 80 users: expanded, callbacks played, sources asked."""
    house = make_house(request.param, users=80).expand().play_callbacks()
    house.ask()
    return house


def apply(house: House, plan: Plan, run: str) -> runner.Applied:
    """Applies a plan in batches of 20."""
    return runner.apply(house.company, house.ledger, plan, run, batch_size=20)


def undo(house: House, target: str, run: str) -> runner.Applied:
    """Undoes a run, a batch or a row, in batches of 20."""
    return runner.undo(house.company, house.ledger, target, run, batch_size=20)


def company_rows(house: House) -> dict[tuple[str, str], dict[str, Any]]:
    """Every row of the company's own tables, column for column."""
    return {(table, str(row["id"])): row for table in ("users", "vehicles") for row in house.rows(table)}


def test_an_undo_keeps_the_hundred_rows_that_changed_since(asked: House) -> None:
    """Of everything applied, just the 100 rows that others changed stay, listed as skipped; all else is as before."""
    before, plan = company_rows(asked), asked.plan()
    apply(asked, plan, "run")
    changed = {(change.table, change.row_id): change.column for change in random.Random(0).sample(plan.changes(), 100)}
    assert 100 == len(changed)
    for number, ((table, row), column) in enumerate(changed.items()):
        value = OTHER.format(number % 10) if number % 3 else None
        asked.execute(f"UPDATE {table} SET {column} = :value WHERE id = :id", value=value, id=int(row))
    kept = {place: company_rows(asked)[place] for place in changed}
    undone = undo(asked, "run", "undo")
    skipped = undone.table("skipped")
    assert set(changed) == set(zip(skipped["table"], skipped["row_id"], strict=True))
    assert {"applied": len(plan.changes()) - 100, "skipped": 100, "failed": 0} == undone.summary
    assert {**before, **kept} == company_rows(asked)


def test_an_undone_undo_stands_again(asked: House) -> None:
    """The undo of an undo sets the values again; the plan then has nothing open, and the first undo can be repeated."""
    before, plan = company_rows(asked), asked.plan()
    apply(asked, plan, "run")
    after = company_rows(asked)
    undo(asked, "run", "back")
    assert before == company_rows(asked)
    assert len(plan.changes()) == undo(asked, "back", "forth").count("written")
    assert after == company_rows(asked)
    assert 3 == apply(asked, plan, "nothing").exit_code
    assert after == company_rows(asked)
    assert len(plan.changes()) == undo(asked, "run", "back again").count("written")
    assert before == company_rows(asked)


def test_undos_of_undos_are_recorded_right_at_any_depth(asked: House) -> None:
    """After an odd number of undos the plan is open again, after an even one it is not; the rows say the same."""
    before, plan, target = company_rows(asked), asked.plan(), "run"
    apply(asked, plan, target)
    after = company_rows(asked)
    for depth in range(1, 6):
        undo(asked, target, f"undo{depth}")
        target = f"undo{depth}"
        assert (before if depth % 2 else after) == company_rows(asked)
        assert (0 if depth % 2 else len(plan.changes())) == runner.undo_preview(asked.ledger, "run", 1)[0], depth
    assert len(plan.changes()) == apply(asked, plan, "again").count("written")
    assert after == company_rows(asked)


def test_what_stands_is_known_before_a_killed_undo_is_noted(asked: House) -> None:
    """At any depth, what could be put back of each run is counted as the next act will note it."""
    names = ["run", "back", "forth", "back again"]
    total = apply(asked, asked.plan(), "run").count("written")
    for target, name in itertools.pairwise(names):
        act = Act(asked, "undo", target, f"killed {name}", batch_size=20)
        assert act.go()
        act.release()
        assert act.go()
        act.kill()
        runs = [*names[: names.index(name)], f"killed {name}"]
        told = {run: runner.undo_preview(asked.ledger, run, 0)[0] for run in runs}
        undo(asked, "run:999", f"nothing {name}")  # notes what the killed one put back
        assert told == {run: runner.undo_preview(asked.ledger, run, 0)[0] for run in runs}
        assert (total - 20, 20) == (told[target], told[f"killed {name}"])
        undo(asked, f"killed {name}", f"undone {name}")
        assert total == undo(asked, target, name).count("written")


def test_a_batch_or_a_row_is_put_back_once(asked: House) -> None:
    """RUN:BATCH and RUN:BATCH:ROW find nothing the second time (exit 3), and change no row."""
    plan = asked.plan()
    applied = apply(asked, plan, "run").table()
    first, second = applied.query("batch == 1")["row_id"].iloc[0], int(sum(applied["batch"] == 2))
    for target, rows in (("run:2", second), (f"run:1:{first}", 1)):
        assert rows == undo(asked, target, f"undo {target}").count("written")
        after = company_rows(asked)
        again = undo(asked, target, f"again {target}")
        assert (3, 0) == (again.exit_code, again.done)
        assert after == company_rows(asked)
    assert second + 1 == apply(asked, plan, "rest").count("written")


def test_undoing_a_row_of_an_undo_sets_that_row_alone(asked: House) -> None:
    """Of an undone batch, one row is set again; applying the plan then writes the others of the batch alone."""
    plan = asked.plan()
    applied = apply(asked, plan, "run").table()
    row = applied.query("batch == 1")["row_id"].iloc[3]
    undo(asked, "run:1", "back")
    batch = undo_batch(asked, "back")
    assert 1 == undo(asked, f"back:{batch}:{row}", "forth").count("written")
    assert 19 == apply(asked, plan, "rest").count("written")


def undo_batch(house: House, run: str) -> int:
    """The only batch of a run."""
    (batch,) = {row["batch"] for row in house.rows("smartcar_ops_changes") if row["run_id"] == run}
    return int(batch)


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=pytest.mark.slow) for name in ("postgresql", "mariadb"))])
def small(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 60 users: expanded, callbacks played, sources asked."""
    house = make_house(request.param).expand().play_callbacks()
    house.ask()
    return house


def test_what_can_be_undone_is_listed_by_the_names_that_undo_takes(small: House) -> None:
    """Batch by batch and row by row what stands; a name undoes its own row, and what was put back is not listed."""
    done = apply(small, small.plan(), "run").table("written")
    listed = undoable(small.ledger, "run", 10_000)
    assert {f"run:{row.batch}:{row.row_id}" for row in done.itertuples()} == {row.name for row in listed.rows}
    assert len(done) == listed.count == sum(batch[5] for batch in listed.batches)
    chosen = next(row for row in listed.rows if row.name.startswith("run:2:"))
    assert 1 == undo(small, chosen.name, "back").count("written")
    rest = undoable(small.ledger, "run:2", 10_000)
    assert [row for row in listed.rows if row.name.startswith("run:2:") and row != chosen] == list(rest.rows)
    ((number, _, written, _, _, stands, _),) = rest.batches
    assert (2, written - 1, written - 1) == (number, stands, rest.count)
    assert [(chosen.back, chosen.now)] == [(row.now, row.back) for row in undoable(small.ledger, "back", 5).rows]


def test_what_an_undo_under_way_has_put_back_is_not_listed(small: House) -> None:
    """Until an undo has noted its end, what it put back by then does not stand."""
    total = apply(small, small.plan(), "run").count("written")
    put_back = undo(small, "run:1", "back").count("written")
    with small.ledger.begin() as connection:
        connection.execute(sa.update(t.changes).values(undone_by=None))
        connection.execute(sa.update(t.runs).where(t.runs.c.run_id == "back").values(status="running"))
    listed = undoable(small.ledger, "run", 1)
    assert (total - put_back, 0) == (listed.count, listed.batches[0][5])
