"""A plan first, exactly that plan, and the way back: on real rows of every database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import PLAN_COLUMNS, Plan
from smartcar_ops.database.ledger.locks import WRITER, lock
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import LockedError, PlanError
from tests.conftest import DATABASES
from tests.support.house import House


@pytest.fixture(params=DATABASES)
def asked(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 40 users on every database in turn: expanded, callbacks played, sources asked."""
    house = make_house(request.param, users=40).expand().play_callbacks()
    house.ask()
    return house


@pytest.fixture
def one(house: House) -> House:
    """The same on SQLite alone."""
    house.ask()
    return house


def apply(house: House, plan: Plan, run: str = "run", **options: Any) -> runner.Applied:
    """Applies a plan."""
    return runner.apply(house.company, house.ledger, plan, run, **options)


def undo(house: House, target: str, run: str = "undo", **options: Any) -> runner.Applied:
    """Undoes a run, a batch or a row."""
    return runner.undo(house.company, house.ledger, target, run, **options)


def company_rows(house: House) -> dict[str, list[dict[str, Any]]]:
    """Every row of the company's own tables."""
    return {table: house.rows(table) for table in ("users", "vehicles")}


def expected_rows(house: House) -> dict[str, list[dict[str, Any]]]:
    """The company's rows now, with what a correct backfill sets in them."""
    users = {u["user_id"]: u for u in house.truth["users"]}
    cars = {v["local_vehicle_id"]: v for v in house.truth["vehicles"]}
    rows = company_rows(house)
    for row in rows["users"]:
        if users[str(row["id"])]["decision"] == "set":
            row["smartcar_user_id"] = users[str(row["id"])]["smartcar_user_id"]
    for row in rows["vehicles"]:
        row["smartcar_vehicle_id"] = cars[str(row["id"])]["expected_smartcar_vehicle_id"]
    return rows


def test_exactly_the_ready_users_get_exactly_the_right_id(asked: House) -> None:
    """After an apply every row is as it was, but for the true ids of ready users and of their cars."""
    expected = expected_rows(asked)
    assert expected != company_rows(asked)
    plan = asked.plan()
    applied = apply(asked, plan)
    assert expected == company_rows(asked)
    assert {"applied": len(plan.changes()), "skipped": 0, "failed": 0} == applied.summary


def test_plan_decisions_are_the_true_ones(asked: House) -> None:
    """Each user's decision is the truth's; ids proposed only where a row is to be set."""
    rows = asked.plan().rows
    users = rows[rows["table"] == "users"].set_index("user_id")
    assert {u["user_id"]: u["decision"] for u in asked.truth["users"]} == users["decision"].to_dict()
    assert set(rows[rows["decision"] == "set"].index) == set(rows[rows["proposed"].notna()].index)
    assert PLAN_COLUMNS == list(rows.columns)


def test_a_plan_writes_nothing(asked: House) -> None:
    """Planning, and planning before expand, leaves no new table and no changed row."""
    before = {name: asked.rows(name) for name in asked.tables()}
    assert asked.plan().counts()["set"] > 0
    assert before == {name: asked.rows(name) for name in asked.tables()}


def test_planning_before_expand_leaves_the_database_alone(make_house: Callable[..., House]) -> None:
    """A dry run before expand makes no table and no column, and its plan can't be applied."""
    for kind in DATABASES:
        house = make_house(kind, users=40)
        before = {name: house.rows(name) for name in house.tables()}
        house.ask()
        plan = house.plan()
        assert plan.counts("users")["set"] > 0
        assert before == {name: house.rows(name) for name in house.tables()}
        house.expand()
        with pytest.raises(PlanError, match="made before expand"):
            apply(house, plan)
        assert {None} == {row["smartcar_user_id"] for row in house.rows("users")}


def test_rows_changed_since_the_plan_are_skipped(asked: House) -> None:
    """A user and a car that changed after planning keep what they hold, and are listed as skipped."""
    plan = asked.plan()
    user, car = (next(c for c in plan.changes() if c.table == table) for table in ("users", "vehicles"))
    asked.execute("UPDATE users SET smartcar_user_id = 'by hand' WHERE id = :id", id=int(user.row_id))
    asked.execute("UPDATE vehicles SET smartcar_vehicle_id = 'by hand' WHERE id = :id", id=int(car.row_id))
    gone = next(c for c in plan.changes() if c.table == "vehicles" and c.row_id != car.row_id)
    asked.execute("DELETE FROM vehicles WHERE id = :id", id=int(gone.row_id))
    applied = apply(asked, plan)
    table = applied.table()
    skipped = table[table["outcome"] == "skipped"]
    assert {("users", user.row_id), ("vehicles", car.row_id), ("vehicles", gone.row_id)} == set(
        zip(skipped["table"], skipped["row_id"], strict=True)
    )
    assert "by hand" == next(r["smartcar_user_id"] for r in asked.rows("users") if str(r["id"]) == user.row_id)
    assert "by hand" == next(r["smartcar_vehicle_id"] for r in asked.rows("vehicles") if str(r["id"]) == car.row_id)
    assert len(plan.changes()) - 3 == applied.count("written")


def test_applying_twice_does_nothing_the_second_time(asked: House) -> None:
    """The second apply of a plan finds nothing open (exit 3) and changes no row."""
    plan = asked.plan()
    assert 0 == apply(asked, plan, "first").exit_code
    after = company_rows(asked)
    again = apply(asked, plan, "second")
    assert (3, []) == (again.exit_code, again.table().to_dict("records"))
    assert after == company_rows(asked)
    assert 3 == asked.plan().exit_code


def test_a_whole_run_is_undone(asked: House) -> None:
    """Undo puts every row back to what it was, null and empty text alike; undone rows can be applied again."""
    before, plan = company_rows(asked), asked.plan()
    apply(asked, plan, batch_size=10)
    undone = undo(asked, "run")
    assert before == company_rows(asked)
    assert len(plan.changes()) == undone.count("written")
    assert len(plan.changes()) == apply(asked, plan, "again").count("written")


def test_a_batch_and_a_row_are_undone_alone(asked: House) -> None:
    """RUN:BATCH puts back one batch, RUN:BATCH:ROW one row; the others keep their ids."""
    before = company_rows(asked)
    applied = apply(asked, asked.plan(), batch_size=6)
    after = company_rows(asked)
    rows = applied.table()
    second = set(rows[rows["batch"] == 2][["table", "row_id"]].itertuples(index=False, name=None))
    assert 6 == len(second)
    undo(asked, "run:2")
    assert second == differing(after, company_rows(asked))
    assert not second & differing(before, company_rows(asked))
    first = next(rows[rows["batch"] == 1].itertuples())
    undo(asked, f"run:1:{first.row_id}", "undo-row")
    assert second | {(first.table, first.row_id)} == differing(after, company_rows(asked))


def differing(one: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    """(table, id) of the rows that are not the same in both."""
    return {(table, str(a["id"])) for table in one for a, b in zip(one[table], other[table], strict=True) if a != b}


def test_undo_keeps_rows_changed_since(asked: House) -> None:
    """A row somebody changed after the apply, be it in its letters' case alone, is kept and listed as skipped."""
    plan = asked.plan()
    apply(asked, plan)
    users = [c for c in plan.changes() if c.table == "users" and any(letter.isalpha() for letter in c.after or "")]
    texts = {users[0].row_id: "by hand", users[1].row_id: (users[1].after or "").upper(), users[2].row_id: None}
    for row_id, text in texts.items():
        asked.execute("UPDATE users SET smartcar_user_id = :text WHERE id = :id", text=text, id=int(row_id))
    undone = undo(asked, "run")
    skipped = [(row.table, row.row_id) for row in undone.table("skipped").itertuples()]
    assert sorted(("users", row_id) for row_id in texts) == sorted(skipped)
    assert texts == {str(row["id"]): row["smartcar_user_id"] for row in asked.rows("users") if str(row["id"]) in texts}


@pytest.mark.parametrize(
    ("target", "says"),
    [("nobody", "no run 'nobody'"), ("run:x", "is 'x', not a number"), ("run:one:2", "is 'one', not a number")],
)
def test_an_undo_of_nothing_known_is_refused(one: House, target: str, says: str) -> None:
    """A run the ledger does not know, or a batch that is no number, is exit 5."""
    apply(one, one.plan())
    with pytest.raises(PlanError, match=says):
        undo(one, target)


def test_a_cancel_between_batches_stops_and_the_next_apply_goes_on(asked: House) -> None:
    """After a cancel, whole batches are done and the rest untouched; the same plan then does the rest alone."""
    plan = asked.plan()
    expected = expected_rows(asked)

    def cancel(done: int, of: int, written: int) -> None:
        Runs(asked.ledger).request("run", "cancel")

    applied = apply(asked, plan, batch_size=5, progress=cancel)
    assert applied.cancelled and 5 == applied.count("written")
    (run,) = Runs(asked.ledger).all("apply")
    assert ("cancelled", 5) == (run.status, run.summary["applied"])
    rest = apply(asked, plan, "rest", batch_size=5)
    assert len(plan.changes()) - 5 == rest.count("written") == rest.done
    assert expected == company_rows(asked)


def test_what_is_recorded_is_what_was_done(one: House) -> None:
    """The ledger's changes of a run are its outcomes: row, before, after, batch, under the contract's names."""
    plan = one.plan()
    applied = apply(one, plan, batch_size=7)
    recorded = one.rows("smartcar_ops_changes")
    assert applied.done == len(recorded)
    by_row = {(row["table_name"], row["row_id"]): row for row in recorded}
    for row in applied.table().itertuples():
        kept = by_row[row.table, row.row_id]
        assert (row.batch, row.after, row.outcome) == (kept["batch"], kept["after_value"], kept["outcome"])
    names = ["run_id", "batch", "table", "row_id", "user_id", "column", "before", "after", "outcome", "reason"]
    assert names == list(applied.table().columns)


def test_a_row_the_database_refuses_fails_alone(make_house: Callable[..., House]) -> None:
    """A constraint of the company's fails one row (exit 1); the others of its batch are written."""
    for kind in ("sqlite", "postgresql"):
        house = make_house(kind, users=40).expand()
        house.ask()
        plan = house.plan()
        user = next(change for change in plan.changes() if change.table == "users")
        house.execute("CREATE UNIQUE INDEX one_beginning ON users (substr(smartcar_user_id, 1, 30))")
        other = next(u["user_id"] for u in house.truth["users"] if u["bucket_uncalled"] == "no_vehicles")
        alike = f"{(user.after or '')[:30]}zzzzzz"
        house.execute("UPDATE users SET smartcar_user_id = :x WHERE id = :id", x=alike, id=int(other))
        applied = apply(house, plan)
        assert [user.row_id] == applied.table("failed")["row_id"].tolist()
        assert len(plan.changes()) - 1 == applied.count("written")
        assert 1 == applied.exit_code


def test_one_writer_at_a_time(one: House) -> None:
    """While another run holds the writer lock, apply and undo are refused and change nothing."""
    plan, before = one.plan(), company_rows(one)
    with lock(one.ledger, WRITER, "other-run"):
        for act in (lambda: apply(one, plan), lambda: undo(one, "run")):
            with pytest.raises((LockedError, PlanError), match=r"other-run|no run"):
                act()
    assert before == company_rows(one)


def test_a_saved_plan_is_the_same_plan(one: House, tmp_path: Path) -> None:
    """Saved and loaded, a plan has the same rows, hash and binding, and is applied."""
    plan = one.plan()
    plan.save(tmp_path / "plan.parquet")
    loaded = Plan.load(tmp_path / "plan.parquet", one.ledger.plan_key())
    assert (plan.hash, plan.binding) == (loaded.hash, loaded.binding)
    assert plan.changes() == loaded.changes()
    assert len(plan.changes()) == apply(one, loaded).count("written")


def test_an_edited_plan_is_refused(one: House, tmp_path: Path) -> None:
    """A file whose cells were changed, its own metadata kept, is exit 5; so is a file that is no plan."""
    plan, path = one.plan(), tmp_path / "plan.parquet"
    plan.save(path)
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    frame.loc[frame["decision"] == "conflict", "decision"] = "skip"
    notes = pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema) as edited:
        edited.write_table(table.from_pandas(frame, schema=table.schema))
        edited.add_key_value_metadata({key: notes[key] for key in notes if key != b"ARROW:schema"})
    with pytest.raises(PlanError, match="was edited after it was made") as raised:
        Plan.load(path, one.ledger.plan_key())
    assert 5 == raised.value.exit_code
    frame.to_parquet(path)
    with pytest.raises(PlanError, match="not a plan of this kit"):
        Plan.load(path, one.ledger.plan_key())
    path.write_text("no parquet")
    with pytest.raises(PlanError, match="can't be read as a plan"):
        Plan.load(path, one.ledger.plan_key())
    with pytest.raises(PlanError, match="can't be read as a plan"):
        Plan.load(tmp_path / "missing.parquet", one.ledger.plan_key())


def test_a_plan_of_another_database_is_refused(make_house: Callable[..., House]) -> None:
    """A plan made for one database is not applied to another, although all its ids are there too."""
    here, there = make_house(users=40).expand(), make_house(users=40).expand()
    here.ask()
    there.ask()
    before = company_rows(there)
    with pytest.raises(PlanError, match="made for another database"):
        apply(there, here.plan())
    assert before == company_rows(there)


def test_a_plan_of_another_phase_is_refused(one: House) -> None:
    """After the token column is gone, a plan of the phase before is refused."""
    plan = one.plan()
    one.execute("ALTER TABLE vehicles DROP COLUMN vehicle_access_token")
    one.company.refresh()
    with pytest.raises(PlanError, match="another schema phase"):
        apply(one, plan)


def test_a_plan_of_another_service_or_mode_is_refused(one: House) -> None:
    """Another client id is another service, simulated is another mode: exit 5, nothing written."""
    plan, before = one.plan(), company_rows(one)
    for changed, says in (
        ({"SMARTCAR_MODE": "simulated"}, "another mode"),
        ({"SMARTCAR_CLIENT_ID": "client_01OTHER"}, "another Smartcar service"),
    ):
        one.settings = one.read_settings(**changed)
        one.ledger = one.open_ledger()
        with pytest.raises(PlanError, match=says):
            apply(one, plan)
    assert before == company_rows(one)


def test_conflicts_are_listed_with_their_evidence(one: House) -> None:
    """Every user for people is in the plan's conflicts, with evidence where there is some."""
    conflicts = one.plan().conflicts()
    people = {u["user_id"] for u in one.truth["users"] if u["decision"] == "conflict"}
    assert people == set(conflicts[conflicts["table"] == "users"]["row_id"])
    family = {u["user_id"] for u in one.truth["users"] if u["persona"] == "family_car"}
    assert all(2 == len(text.split("; ")) for text in conflicts[conflicts["user_id"].isin(family)]["evidence"])
