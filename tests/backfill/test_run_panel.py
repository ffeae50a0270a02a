"""An open panel keeps up with runs that somebody else starts, pauses or ends, by one cheap statement a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.backfill.panel import BackfillPanel
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.session import Session
from smartcar_ops.storage.journal import RUN_FOLDER
from tests.backfill.test_panel import Gate, until
from tests.conftest import DATABASES
from tests.support.house import House

NOTEBOOK = "30_backfill_user_ids"


@pytest.fixture
def open_panel(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], BackfillPanel]]:
    """Opens panels as notebooks do, each with a session of its own; all are closed at the end."""
    monkeypatch.chdir(house.root)
    panels: list[BackfillPanel] = []

    def make() -> BackfillPanel:
        session = Session(NOTEBOOK, house.settings)
        panels.append(BackfillPanel(session, Backfill(session)))
        return panels[-1]

    yield make
    for panel in panels:
        thread = panel.watch._poller._thread
        panel.close()
        if thread is not None:
            thread.join(30)
        panel._session.close()


def statements(engine: sa.Engine) -> list[tuple[str, Any]]:
    """What is sent from now on, but for the BEGIN of SQLite."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement != "BEGIN":
            sent.append((statement, values))

    sa.event.listen(engine, "before_cursor_execute", note)
    return sent


@pytest.mark.parametrize("kind", DATABASES)
def test_one_look_is_one_statement_that_scans_no_table(make_house: Callable[..., House], kind: str) -> None:
    """Each of its three tables is read by its primary key, on every database; it changes with each step of a run."""
    house = make_house(kind, users=20).expand().play_callbacks()
    house.ask()
    runs, plan = Runs(house.ledger), house.plan()
    assert () == runs.pulse()
    seen = [runs.pulse()]
    runner.apply(
        house.company,
        house.ledger,
        plan,
        "run",
        batch_size=5,
        progress=lambda *_: seen.append(Runs(house.ledger).pulse()),
    )
    seen.append(runs.pulse())
    assert len(seen) == len(set(seen)) > 3
    sent = statements(house.ledger.reading)
    assert seen[-1] == runs.pulse()
    ((statement, values),) = sent
    with house.ledger.reading.connect() as connection:
        if kind == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # it scans tables of so few rows
        explain = "EXPLAIN QUERY PLAN " if kind == "sqlite" else "EXPLAIN "
        found = [" ".join(map(str, row)) for row in connection.exec_driver_sql(explain + statement, values)]
    told = "\n".join(found)
    assert "SCAN " not in told and "Seq Scan" not in told and " ALL " not in told, told
    by_key = {"sqlite": "SEARCH ", "postgresql": "_pkey", "mariadb": "PRIMARY PRIMARY"}[kind]
    assert 3 == told.count(by_key), told


def test_an_idle_panel_sees_a_run_that_starts_elsewhere(
    house: House, open_panel: Callable[[], BackfillPanel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Displayed, with nothing going on, it looks on; a shell's run is shown, and paused in one panel it is in both."""
    house.ask()
    plan, gate = house.plan(), Gate(monkeypatch, 5)
    one, other = open_panel(), open_panel()
    for panel in (one, other):
        assert not panel.watch.following and "No run yet." in panel.watch.line.value
        panel._ipython_display_()
        assert panel.watch.following
    shell = threading.Thread(
        target=runner.apply, args=(house.company, house.ledger, plan, "shell"), kwargs={"batch_size": 1}
    )
    shell.start()
    for panel in (one, other):
        until(lambda panel=panel: "run shell · " in panel.watch.line.value)
    until(lambda: gate.left < 0 and not one.pause.disabled)
    one.pause.click()
    gate.open.set()
    for panel in (one, other):
        until(lambda panel=panel: ">paused<" in panel.watch.line.value)
        until(lambda panel=panel: "The apply is paused: 5 of " in panel.status.value)
        assert (True, False, False) == (panel.pause.disabled, panel.resume.disabled, panel.cancel.disabled)
    other.resume.click()
    shell.join(60)
    for panel in (one, other):
        until(lambda panel=panel: "Run shell is done: " in panel.status.value)
        assert "shell" == panel.target.value and panel.watch.following


def test_an_idle_look_shows_nothing_again(house: House, open_panel: Callable[[], BackfillPanel]) -> None:
    """While nothing changes, a look sends its one statement, and no widget changes; a failure is told and mended."""
    house.ask()
    runner.apply(house.company, house.ledger, house.plan(), "run")
    panel = open_panel()
    watch, poller = panel.watch, panel.watch._poller
    assert not poller.look()[0]
    sent = statements(panel._session.ledger.reading)
    assert not poller.look()[0] and not poller.look()[0]
    assert 2 == len(sent)
    house.execute("ALTER TABLE smartcar_ops_fences RENAME TO away")
    assert poller.look()[0] and poller.look()[1] == 4
    assert "database: reading the runs failed on " in poller.problem.value and "run run · " in watch.line.value
    house.execute("ALTER TABLE away RENAME TO smartcar_ops_fences")
    assert not poller.look()[0] and "" == poller.problem.value


def test_a_page_that_a_run_makes_watches_nothing(
    open_panel: Callable[[], BackfillPanel], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """`smartcar-ops run` displays the panel for nobody: no thread is left to query the database."""
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    panel = open_panel()
    panel._ipython_display_()
    assert not panel.watch.following
