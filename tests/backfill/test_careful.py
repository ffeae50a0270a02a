"""What a hurried operator, an odd company and an unlucky moment must not be able to break."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import decisions, runner
from smartcar_ops.backfill.backfill import PLAN, Backfill, find_plan
from smartcar_ops.backfill.plan import Plan, PlanWriter
from smartcar_ops.compare import vehicles
from smartcar_ops.database.evidence import readiness
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.locks import WRITER
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import LockedError, ParameterError
from smartcar_ops.session import Session
from smartcar_ops.settings.layout import Layout
from tests.support.house import House

NOTEBOOK = "30_backfill_user_ids"
SOMEBODY = "f3a1e8a4-0000-4000-8000-000000000001"


@pytest.fixture
def session(house: House, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session on the house, as JupyterLab opens it."""
    monkeypatch.chdir(house.root)
    return Session(NOTEBOOK, house.settings)


def keep(house: House, name: str) -> str:
    """Plans, and keeps the plan as a run of this name would; gives its hash."""
    folder = house.settings.reports / f"{name}__{NOTEBOOK}"
    folder.mkdir(parents=True)
    plan = house.plan()
    plan.save(folder / PLAN)
    return plan.hash


def test_latest_never_goes_behind_a_newer_plan(house: House, session: Session) -> None:
    """Once the newest plan is carried out nothing is open, though an older plan never was."""
    house.ask(("connections",))
    keep(house, "20260101T000000Z")
    house.ask()
    newest = keep(house, "20260102T000000Z")
    assert newest == find_plan(session, "latest").hash
    runner.apply(house.company, house.ledger, find_plan(session, "latest"), "first")
    again = runner.apply(house.company, house.ledger, find_plan(session, "latest"), "second")
    assert (newest, 3) == (find_plan(session, "latest").hash, again.exit_code)


def test_a_cancelled_apply_stays_cancelled(house: House, session: Session) -> None:
    """Ending the notebook does not turn a cancelled run into one that is done."""
    house.ask()
    backfill = Backfill(session, apply=True, plan=house.plan(), batch_size=5)
    backfill.execute(lambda done, of, written: session.runs.request(session.runs.all("apply")[-1].run_id, "cancel"))
    backfill.finish()
    assert ["cancelled"] == [run.status for run in Runs(house.ledger).all("apply")]


def test_each_act_of_a_session_has_its_own_records(house: House, session: Session) -> None:
    """Apply and undo in one JupyterLab session keep both their records, and leave the rows as they were."""
    house.ask()
    before = house.rows("users"), house.rows("vehicles")
    applied = Backfill(session, apply=True, plan=house.plan())
    applied.execute()
    assert applied.applied is not None
    forward = applied.applied.run_id
    undone = Backfill(session, apply=True, undo=forward)
    undone.prepare().execute()
    assert undone.applied is not None
    assert forward != undone.applied.run_id
    assert applied.applied.count("written") == undone.applied.count("written") > 0
    assert {forward, undone.applied.run_id} == {row["run_id"] for row in house.rows("smartcar_ops_changes")}
    assert before == (house.rows("users"), house.rows("vehicles"))


def test_a_row_that_two_tables_have_is_told_by_its_batch(house: House) -> None:
    """A batch is of one table, so that `RUN:BATCH:ROW` names one row where a user and a vehicle have the id."""
    house.ask()
    (user,) = [change for change in house.plan().changes() if change.table == "users"][:1]
    moved = "UPDATE vehicles SET id = :new, user_id = :new WHERE id = (SELECT min(id) FROM vehicles)"
    house.execute(moved, new=int(user.row_id))
    decisions.decide(house.company, house.ledger, user.row_id, SOMEBODY, by="Ada", reason="asked", now=house.now)
    runner.apply(house.company, house.ledger, planned(house, user.row_id), "both")
    for batch, table in ((1, "users"), (2, "vehicles")):
        for row in (user.row_id, f"{table}/{user.row_id}"):
            count, rows = runner.undo_preview(house.ledger, f"both:{batch}:{row}", 9)
            assert (1, [table]) == (count, rows["table"].tolist())


def planned(house: House, row_id: str) -> Plan:
    """A plan that sets the same id in a user and in a vehicle of this id."""
    writer = PlanWriter(house.ledger.plan_key())
    row = {"row_id": row_id, "user_id": row_id, "proposed": SOMEBODY, "decision": "set"}
    row |= {"evidence": "", "reason": "", "cars": None}
    tables = (("users", "smartcar_user_id"), ("vehicles", "smartcar_vehicle_id"))
    rows = [{**row, "table": table, "column": column, "current": None} for table, column in tables]
    writer.add(pd.DataFrame(rows))
    return writer.finish(runner.binding(house.company, house.ledger), readiness.judged_now(house.ledger))


def test_no_row_beside_the_layouts_own_is_written(house: House) -> None:
    """A user that `[users] where` leaves out by now is skipped, whatever an earlier plan says."""
    house.ask()
    plan = house.plan()
    change = next(change for change in plan.changes() if change.table == "users")
    narrowed = Company(house.company.engine, Layout.model_validate({"users": {"where": f"id <> {change.row_id}"}}))
    applied = runner.apply(narrowed, house.ledger, plan, "narrow")
    assert [("users", change.row_id)] == [(row.table, row.row_id) for row in applied.table("skipped").itertuples()]
    assert None is next(row for row in house.rows("users") if str(row["id"]) == change.row_id)["smartcar_user_id"]


def test_a_new_token_is_asked_although_the_old_one_was_refused(house: House) -> None:
    """A refused token says nothing of the one that replaces it."""
    house.ask()
    asked = house.ledger.asked("tokens")
    car = next(subject for subject, (_, answer) in asked.items() if answer.startswith("refused"))
    assert (
        None
        is next(
            pair
            for pair in vehicles.linked_vehicles(house.company, house.ledger, house.now)
            if pair.local_vehicle_id == car
        ).token
    )
    house.execute("UPDATE vehicles SET vehicle_access_token = 'a-new-token' WHERE id = :id", id=int(car))
    assert (
        "a-new-token"
        == next(
            pair
            for pair in vehicles.linked_vehicles(house.company, house.ledger, house.now)
            if pair.local_vehicle_id == car
        ).token
    )


def test_an_external_id_that_was_withdrawn_is_no_evidence(house: House) -> None:
    """Where the next whole list no longer carries the company's own id, it names nobody any more."""
    house.ask()
    named = [row for row in house.ledger.rows(t.personal) if row["source"] == "external_id"]
    assert named
    for person in {row["smartcar_user_id"] for row in named}:
        query = {
            "response_type": "code",
            "client_id": house.world.credentials.application_id,
            "redirect_uri": "https://company.example.com/callback",
            "pretend_user": person,
            "external_id": "null",
        }
        assert 302 == httpx.get(f"{house.sandbox.url}/oauth/authorize", params=query).status_code
    house.now += timedelta(hours=2)
    house.ask()
    now = [row for row in house.ledger.rows(t.personal) if row["source"] == "external_id"]
    assert len(named) == len(now)
    assert all(row["gone_at"] for row in now)


def test_text_that_is_no_id_is_not_shown(house: House) -> None:
    """An e-mail in the id's column is counted and not repeated; a common slip is shown as it is."""
    first, second = (int(row["id"]) for row in house.rows("users")[:2])
    house.execute("UPDATE users SET smartcar_user_id = 'ada@example.com' WHERE id = :id", id=first)
    house.execute("UPDATE users SET smartcar_user_id = 'undefined' WHERE id = :id", id=second)
    told = house.audit().users.set_index("user_id")["smartcar_user_id"]
    assert ("(no UUID, 15 characters)", "undefined") == (told[str(first)], told[str(second)])
    assert "ada@" not in house.plan().rows.to_csv()


@pytest.mark.parametrize("wrong", [{"max_calls": -1, "max_minutes": 1}, {"max_calls": 0, "max_minutes": -1}])
def test_a_budget_below_nothing_is_refused(session: Session, wrong: dict[str, int]) -> None:
    """A negative budget is a slip, not an unlimited one."""
    with pytest.raises(ParameterError, match="expected 0 or more"), session.spending(**wrong):
        pytest.fail("the block must not run")


def test_a_writer_that_lost_its_lock_stops(house: House) -> None:
    """Where another took the writer's lock meanwhile, the next batch is not written."""
    house.ask()

    def taken_over(_done: int, _of: int, _written: int) -> None:
        with house.ledger.begin() as connection:
            taken = sa.update(t.fences).where(t.fences.c.name == WRITER)
            connection.execute(taken.values(token=t.fences.c.token + 1, run_id="another"))

    with pytest.raises(LockedError, match="was taken over"):
        runner.apply(house.company, house.ledger, house.plan(), "slow", batch_size=5, progress=taken_over)
    assert 5 == len(house.rows("smartcar_ops_changes"))


def test_expand_keeps_what_the_allowance_held(make_house: Callable[..., House]) -> None:
    """The bucket is not full again because the ledger moved into the database."""
    house = make_house(users=40)
    house.ledger.remember(f"allowance:{house.settings.service}", "3.000@1.000")
    assert "3.000@1.000" == house.expand().ledger.fact(f"allowance:{house.settings.service}")


def test_the_ledgers_file_is_its_owners(make_house: Callable[..., House]) -> None:
    """Nobody else on the machine may read the file beside the reports."""
    house = make_house(users=40)
    (file,) = Path(house.settings.reports).glob(".ledger-*.sqlite")
    assert 0o600 == file.stat().st_mode & 0o777


def test_a_condition_with_or_still_names_one_row(make_house: Callable[..., House]) -> None:
    """A ``where`` that holds an OR narrows what is written and never widens it."""
    house = make_house(users=40, toml='[users]\nwhere = "email IS NULL OR email IS NOT NULL"\n').expand()
    house.ask()
    plan = house.plan().rows
    wanted = {row.row_id: row.proposed for row in plan.itertuples() if (row.table, row.decision) == ("users", "set")}
    runner.apply(house.company, house.ledger, house.plan(), "run")
    written = {str(row["id"]): row["smartcar_user_id"] for row in house.rows("users") if row["smartcar_user_id"]}
    assert wanted
    assert wanted == written
