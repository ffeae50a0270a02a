"""Both tables written at once, where the database takes it and answers quickly: with all that holds for one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from smartcar_ops.backfill import batches, runner
from smartcar_ops.database.compare_and_set import RowWriter
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import DatabaseError
from tests.backfill.test_killed import carried_out, company_rows, once, standing
from tests.support.house import House

BATCH = 5


@pytest.fixture
def house(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> House:
    """A company on PostgreSQL, everything asked; five rows are no small batch here, and every batch is quick."""
    monkeypatch.setattr(batches, "FIRST_BATCH", BATCH)
    monkeypatch.setattr(batches, "FAST_BATCH_SECONDS", 60)
    house = make_house("postgresql", users=60).expand().play_callbacks()
    house.ask()
    return house


class Meeting:
    """Lets the second batch, of the one table, and the third, of the other, begin only together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.barrier, self.tables, write = threading.Barrier(2), set[str](), RowWriter.write

        def meet(writer: RowWriter, section: Any, batch: Any) -> Counter[str]:
            if batch.number in (2, 3):
                self.tables.add(section.table)
                self.barrier.wait(30)
            return write(writer, section, batch)

        monkeypatch.setattr(RowWriter, "write", meet)


def test_two_tables_are_written_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first quick batch; every change is made and recorded once, and a batch is of one table."""
    meeting, plan, before = Meeting(monkeypatch), house.plan(), company_rows(house)
    applied = runner.apply(house.company, house.ledger, plan, "run", batch_size=BATCH)
    assert {"users", "vehicles"} == meeting.tables
    assert carried_out(before, plan) == company_rows(house)
    assert once(plan) == standing(house)
    rows = applied.table()
    assert {1} == {len(set(tables)) for _, tables in rows.groupby("batch")["table"]}
    assert set(range(1, max(rows["batch"]) + 1)) == set(rows["batch"])
    run = Runs(house.ledger).one("run")
    assert run is not None
    assert len(plan.changes()) == run.written == applied.count("written")


def test_what_both_wrote_is_undone_as_one_run(house: House) -> None:
    """A batch of its own, then the rest of the run: the company is as before."""
    plan, before = house.plan(), company_rows(house)
    runner.apply(house.company, house.ledger, plan, "run", batch_size=BATCH)
    runner.undo(house.company, house.ledger, "run:3", "undo-3", batch_size=BATCH)
    runner.undo(house.company, house.ledger, "run", "undo", batch_size=BATCH)
    assert before == company_rows(house)


def test_a_cancel_lets_both_end_their_batch(house: House) -> None:
    """Whole batches are done, and counted; the same plan then does the rest."""
    plan, before = house.plan(), company_rows(house)

    def cancel(done: int, *_: int) -> None:
        if done >= 4 * BATCH:
            Runs(house.ledger).request("run", "cancel")

    applied = runner.apply(house.company, house.ledger, plan, "run", batch_size=BATCH, progress=cancel)
    assert applied.cancelled and len(plan.changes()) > applied.done == len(applied.table())
    rest = runner.apply(house.company, house.ledger, plan, "rest", batch_size=BATCH)
    assert len(plan.changes()) == applied.count("written") + rest.count("written")
    assert carried_out(before, plan) == company_rows(house)


def test_where_one_fails_the_other_ends_its_batch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed is whole and counted, and the same plan goes on from there."""
    write, plan, before = RowWriter.write, house.plan(), company_rows(house)

    def fail(writer: RowWriter, section: Any, batch: Any) -> Counter[str]:
        if batch.number == 4:
            raise DatabaseError("database: gone.")
        return write(writer, section, batch)

    with monkeypatch.context() as patched, pytest.raises(DatabaseError, match="gone"):
        patched.setattr(RowWriter, "write", fail)
        runner.apply(house.company, house.ledger, plan, "run", batch_size=BATCH)
    run = Runs(house.ledger).one("run")
    assert run is not None
    assert ("failed", standing(house).total()) == (run.status, run.summary["applied"])
    runner.apply(house.company, house.ledger, plan, "rest", batch_size=BATCH)
    assert once(plan) == standing(house)
    assert carried_out(before, plan) == company_rows(house)


def test_one_alone_where_the_database_is_not_quick(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch after the other, the users' first."""
    monkeypatch.setattr(batches, "FAST_BATCH_SECONDS", 0)
    applied = runner.apply(house.company, house.ledger, house.plan(), "run", batch_size=BATCH)
    tables = applied.table()["table"].to_list()
    assert sorted(tables) == tables
