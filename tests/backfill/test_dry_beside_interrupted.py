"""Beside a real run that was killed, what writes nothing changes nothing of it, and it goes on to the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.audit import resolver
from smartcar_ops.audit.result import judge_users
from smartcar_ops.audit.sources import AUTO
from smartcar_ops.backfill import runner
from smartcar_ops.backfill.backfill import PLAN, Backfill
from smartcar_ops.backfill.panel import BackfillPanel
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database.ledger.locks import WRITER
from smartcar_ops.doctor import checkup
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import Act

NOTEBOOK = "30_backfill_user_ids"
EARLIER, KILLED = "earlier", "20260102T000000Z__30_backfill_user_ids"

OURS = ("smartcar_ops_changes", "smartcar_ops_stage", "users", "vehicles")
KINDS = [pytest.param(kind, marks=() if kind == "sqlite" else pytest.mark.slow) for kind in DATABASES]


def state(house: House) -> dict[str, list[dict[str, Any]]]:
    """All that the killed run has left, column for column: its row and those of others before it, records, rows."""
    runs = [row for row in house.rows("smartcar_ops_runs") if row["run_id"] in (EARLIER, KILLED)]
    locks = [row for row in house.rows("smartcar_ops_locks") if row["name"] == WRITER]
    return {"runs": runs, "locks": locks, **{table: house.rows(table) for table in OURS}}


def keep(house: House) -> Path:
    """Plans, and keeps the plan as the newest in the folder of a run."""
    path = house.settings.reports / f"20260101T000000Z__{NOTEBOOK}" / PLAN
    path.parent.mkdir(parents=True)
    house.plan().save(path)
    return path


@contextmanager
def opened(house: House, run_id: str = "") -> Iterator[Session]:
    """A session as JupyterLab opens it; one opened in the second of the killed run's start has its name."""
    session = Session(NOTEBOOK, house.settings, run_id)
    try:
        yield session
    finally:
        session.transport.close()
        session.company.engine.dispose()


def dry(house: House, **parameters: Any) -> Backfill:
    """A whole run of the notebook without ``apply``."""
    with opened(house) as session:
        backfill = Backfill(session, **parameters).prepare()
        backfill.execute()
        backfill.finish()
    return backfill


def dry_of_the_same_second(house: House) -> None:
    """A plan by somebody whose notebook was opened in the second in which the killed run began."""
    with opened(house, KILLED) as session:
        Backfill(session).prepare().finish()


def an_audit(house: House) -> None:
    """A whole audit, noted as one."""
    with opened(house) as session:
        resolver.ask(session, AUTO, max_calls=0, max_minutes=1)
        audit = judge_users(session.company, session.ledger, session.now)
        session.finish(audit.verdict, exit_code=audit.exit_code, **audit.summary())


def a_second_plan_in_the_panel(house: House) -> None:
    """Somebody opens the panel, plans, looks at what an undo would do, and closes it."""
    with opened(house) as session:
        panel = BackfillPanel(session, Backfill(session))
        panel.plan.click()
        panel.wait(60)
        assert not panel.apply.disabled
        panel.target.value = EARLIER
        panel.close()


DRY: dict[str, Callable[[House], object]] = {
    "a plan with the same parameters": dry,
    "a plan with others": lambda house: dry(house, sources="connections", batch_size=1, max_calls=3),
    "a plan by a notebook of the same second": dry_of_the_same_second,
    "plan=latest without apply": lambda house: dry(house, plan="latest"),
    "undo of the killed run without apply": lambda house: dry(house, undo=KILLED),
    "undo of the run before without apply": lambda house: dry(house, undo=f"{EARLIER}:1"),
    "an audit": an_audit,
    "a second plan in the panel": a_second_plan_in_the_panel,
    "the doctor": lambda house: checkup(house.settings, house.now),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_writes_nothing_touches_nothing_of_a_killed_apply(
    make_house: Callable[..., House], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of them all is byte for byte as the kill left it; then the same plan goes on to the same end."""
    house = make_house(kind).expand().play_callbacks()
    monkeypatch.chdir(house.root)
    house.ask()
    path = keep(house)
    plan, before = Plan.load(path, house.ledger.plan_key()), state(house)
    calm = Act(house, "apply", path, EARLIER, batch_size=4)
    assert (0, "") == calm.finish()
    wanted = {table: house.rows(table) for table in ("users", "vehicles")}
    runner.undo(house.company, house.ledger, EARLIER, "back")
    assert before["users"] == house.rows("users")
    Act(house, "apply", path, KILLED, batch_size=4, dies_before=calm.statements // 2).finish()
    left = state(house)
    assert 0 < left["runs"][0]["written"] < len(plan.changes())
    assert len(left["smartcar_ops_stage"]) == len(plan.changes()) and 1 == len(left["locks"])
    for name, act in DRY.items():
        act(house)
        assert left == state(house), name
    assert (0, "") == Act(house, "apply", path, "rest", batch_size=4).finish()
    assert wanted == {table: house.rows(table) for table in wanted}
    standing = [row for row in house.rows("smartcar_ops_changes") if row["run_id"] in (KILLED, "rest")]
    assert len(plan.changes()) == len(standing) == len({(row["table_name"], row["row_id"]) for row in standing})


@pytest.mark.parametrize("kind", KINDS)
def test_what_writes_nothing_touches_nothing_of_a_killed_undo(
    make_house: Callable[..., House], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same beside an undo: a dry run counts what is left to put back, notes nothing of it, and the undo goes on."""
    house = make_house(kind).expand().play_callbacks()
    monkeypatch.chdir(house.root)
    house.ask()
    path, before = keep(house), state(house)
    plan = Plan.load(path, house.ledger.plan_key())
    calm = Act(house, "apply", path, EARLIER, batch_size=4)
    assert (0, "") == calm.finish()
    Act(house, "undo", EARLIER, KILLED, batch_size=4, dies_before=calm.statements // 2).finish()
    left = state(house)
    put_back = next(row["written"] for row in left["runs"] if row["run_id"] == KILLED)
    assert 0 < put_back < len(plan.changes())
    for name, act in DRY.items():
        act(house)
        assert left == state(house), name
    again = dry(house, undo=EARLIER)
    assert len(plan.changes()) - put_back == again.to_undo
    assert f"Run {KILLED} is interrupted: the undo put back {put_back} of {len(plan.changes())} rows." in again.verdict
    assert (0, "") == Act(house, "undo", EARLIER, "rest", batch_size=4).finish()
    assert {table: before[table] for table in ("users", "vehicles")} == {
        table: house.rows(table) for table in ("users", "vehicles")
    }
