"""Runs and locks: who does what now, and who may not start."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company import phases
from smartcar_ops.company.ledger import Ledger, Scope
from smartcar_ops.company.locks import LEASE, WRITER, lock, operator, utcnow
from smartcar_ops.company.runs import Runs
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import LockedError
from smartcar_ops.layout import Layout

SCOPE = Scope("service", "live")
HOLDER = """
import sys
from smartcar_ops.company.ledger import Ledger, Scope
from smartcar_ops.company.locks import lock
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import LockedError
from smartcar_ops.layout import Layout

url, name = sys.argv[1:]
ledger = Ledger(Company.connect(url, Layout()).engine, Scope("service", "live"), in_database=True)
print("ready", flush=True)
sys.stdin.readline()
try:
    with lock(ledger, "writer", name):
        print("held", flush=True)
        sys.stdin.readline()
except LockedError:
    print("refused", flush=True)
"""


@pytest.fixture
def url(any_database: str, tmp_path: Path) -> str:
    """An expanded database."""
    engine = sa.create_engine(any_database)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE users (id INTEGER)"))
        connection.execute(sa.text("CREATE TABLE vehicles (id INTEGER, user_id INTEGER)"))
    engine.dispose()
    company = Company.connect(any_database, Layout())
    phases.expand(company, Ledger.open(company, SCOPE, tmp_path))
    return any_database


@pytest.fixture
def ledger(url: str) -> Ledger:
    """The ledger in that database."""
    return Ledger(Company.connect(url, Layout()).engine, SCOPE, in_database=True)


def holder(url: str, name: str) -> subprocess.Popen[str]:
    """A process that is about to take the writer lock when told."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "ready" == heard(process)
    return process


def heard(process: subprocess.Popen[str]) -> str:
    """The next line the process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Lets the process go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    """Waits for the process to end by itself."""
    process.communicate("go\n", timeout=30)


def test_a_second_holder_is_refused_with_the_first_s_name(ledger: Ledger) -> None:
    """While a lock is held, taking it is a LockedError (exit 4) that says who holds it, where and in which run."""
    with lock(ledger, WRITER, "first-run"), pytest.raises(LockedError) as raised, lock(ledger, WRITER, "second-run"):
        raise AssertionError("two hold one lock")
    said = str(raised.value)
    assert 4 == raised.value.exit_code
    assert all(word in said for word in (operator(), socket.gethostname(), "first-run", WRITER))


def test_a_lock_is_free_after_its_block_even_when_it_failed(ledger: Ledger) -> None:
    """Leaving the block, in order or by an error, frees the lock."""
    with pytest.raises(ZeroDivisionError), lock(ledger, WRITER, "first-run"):
        _ = 1 / 0
    with lock(ledger, WRITER, "second-run"):
        pass
    with ledger.engine.connect() as connection:
        assert [] == list(connection.execute(sa.select(t.locks)))


def test_locks_of_different_names_do_not_meet(ledger: Ledger) -> None:
    """One lock a database and notebook: another notebook's lock is another lock."""
    with lock(ledger, "20_audit_user_ids", "one"), lock(ledger, WRITER, "two"):
        pass


def test_a_killed_process_loses_its_lock(url: str, ledger: Ledger) -> None:
    """The lock of a process that was killed is taken over at once; while it lives, it is not."""
    process = holder(url, "killed-run")
    tell(process)
    assert "held" == heard(process)
    with pytest.raises(LockedError, match="killed-run"), lock(ledger, WRITER, "next-run"):
        pass
    process.kill()
    process.wait(30)
    with lock(ledger, WRITER, "next-run"), ledger.engine.connect() as connection:
        assert ["next-run"] == list(connection.execute(sa.select(t.locks.c.run_id)).scalars())


@pytest.mark.parametrize(("age", "free"), [(timedelta(0), False), (LEASE + timedelta(seconds=1), True)])
def test_a_holder_on_another_host_loses_its_lock_by_silence(ledger: Ledger, age: timedelta, free: bool) -> None:
    """Elsewhere a process can't be seen: its lock holds while it beats, and is free 90 s after the last beat."""
    row = {"name": WRITER, "run_id": "far", "operator": "eve", "host": "elsewhere.example", "pid": 1}
    row |= {"token": 1, "process": ""}
    ledger.put(t.locks, [{**row, "beat": utcnow() - age}])
    if free:
        with lock(ledger, WRITER, "near"):
            return
    with pytest.raises(LockedError, match=r"eve on elsewhere\.example"), lock(ledger, WRITER, "near"):
        pass


def test_of_two_processes_at_once_one_wins(url: str) -> None:
    """Two processes that take the lock in the same moment: exactly one holds it, the other is refused."""
    processes = [holder(url, "left"), holder(url, "right")]
    for process in processes:
        tell(process)
    assert ["held", "refused"] == sorted(heard(process) for process in processes)
    for process in processes:
        end(process)


def test_a_run_is_noted_from_start_to_end(ledger: Ledger) -> None:
    """A run's row says who, what, when, how it ended and what it cost."""
    runs = Runs(ledger)
    runs.start("r1", "20_audit_user_ids", "audit")
    (row,) = runs.all(status="running")
    assert ("r1", "audit", operator(), None) == (row["run_id"], row["act"], row["operator"], row["ended"])
    runs.finish("r1", "done", {"total": 3}, {"v3": 7})
    (row,) = runs.all("audit")
    assert ("done", {"total": 3}, {"v3": 7}) == (row["status"], row["summary"], row["calls"])
    assert row["started"] <= row["ended"]
    assert [] == runs.all("apply")


def test_only_a_running_act_takes_requests(ledger: Ledger) -> None:
    """Pause, resume and cancel reach a running act; one that is over or unknown is said not to run."""
    runs = Runs(ledger)
    runs.start("r1", "30_backfill_user_ids", "apply")
    assert runs.request("r1", "pause") and "pause" == runs.requested("r1")
    assert not runs.request("nobody", "pause")
    runs.finish("r1", "done", {})
    assert not runs.request("r1", "cancel")
    assert "pause" == runs.requested("r1")


def test_runs_of_another_service_are_not_listed(ledger: Ledger, make_database: Callable[[str], str]) -> None:
    """A ledger lists the runs of its own service and mode."""
    Runs(Ledger(ledger.engine, Scope("another", "live"), in_database=True)).start("r0", "n", "audit")
    Runs(ledger).start("r1", "n", "audit")
    assert ["r1"] == [run["run_id"] for run in Runs(ledger).all()]


def test_the_act_that_writes_now_is_the_one_that_is_shown(ledger: Ledger) -> None:
    """An act under way comes before one that has ended, though a clock that is ahead has dated that one later."""
    runs = Runs(ledger)
    for name in ("now", "earlier"):
        runs.start(name, "30_backfill_user_ids", "apply")
    runs.finish("earlier", "done", {})
    ahead = sa.update(t.runs).where(t.runs.c.run_id == "earlier").values(started=utcnow() + timedelta(hours=1))
    with ledger.begin() as connection:
        connection.execute(ahead)
    with lock(ledger, WRITER, "now"):
        run = runs.writing()
    assert run and ("now", "running") == (run["run_id"], run["status"])


def test_a_run_whose_process_is_gone_is_interrupted(url: str, ledger: Ledger) -> None:
    """While its holder lives a run is running; killed, it is interrupted before anybody notes so, and stays silent."""
    process, runs = holder(url, "killed"), Runs(ledger)
    tell(process)
    assert "held" == heard(process)
    runs.start("killed", "30_backfill_user_ids", "undo", plan="run")
    run = runs.writing()
    assert run and ("running", True) == (run["status"], 0 <= run["silent"] < 30)
    process.kill()
    process.wait(30)
    killed = runs.writing()
    assert killed and "interrupted" == killed["status"]
    assert "running" == (runs.one("killed") or {})["status"]
