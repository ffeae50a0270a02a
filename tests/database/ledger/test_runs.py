"""Runs and locks: who does what now, and who may not start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartcar_ops.database import engines, schema
from smartcar_ops.database.ledger import change_log, locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.locks import LEASE, WRITER, lock, operator, utcnow
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.database.staging import Stage
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, LockedError
from smartcar_ops.settings.layout import Layout
from tests.conftest import DATABASES
from tests.support.processes import Holder

SCOPE = Scope("service", "live")
SERVERS = DATABASES[1:]
HOLDER = """
import sys
from tests.support.processes import hold

def tell(word):
    print(word, flush=True)

hold(sys.argv[1], sys.argv[2], tell, sys.stdin.readline)
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
    schema.expand(company, Ledger.open(company, SCOPE, tmp_path))
    return any_database


@pytest.fixture
def ledger(url: str) -> Ledger:
    """The ledger in that database."""
    return Ledger(Company.connect(url, Layout()).engine, SCOPE, in_database=True)


def holder(url: str, name: str) -> Holder:
    """A process that is about to take the writer lock when told."""
    process = Holder(url, name)
    assert "ready" == process.heard()
    return process


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
    process.tell()
    assert "held" == process.heard()
    with pytest.raises(LockedError, match="killed-run"), lock(ledger, WRITER, "next-run"):
        pass
    process.kill()
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
        process.tell()
    assert ["held", "refused"] == sorted(process.heard() for process in processes)
    for process in processes:
        process.end()


def test_a_run_is_noted_from_start_to_end(ledger: Ledger) -> None:
    """A run's row says who, what, when, how it ended and what it cost."""
    runs = Runs(ledger)
    runs.start("r1", "20_audit_user_ids", "audit")
    (row,) = runs.all(status="running")
    assert ("r1", "audit", operator(), None) == (row.run_id, row.act, row.operator, row.ended)
    runs.finish("r1", "done", {"total": 3}, {"v3": 7})
    (row,) = runs.all("audit")
    assert ("done", {"total": 3}, {"v3": 7}) == (row.status, row.summary, row.calls)
    assert row.started <= row.ended
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
    assert ["r1"] == [run.run_id for run in Runs(ledger).all()]


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
    assert run and ("now", "running") == (run.run_id, run.status)


def test_a_run_whose_process_is_gone_is_interrupted(url: str, ledger: Ledger) -> None:
    """While its holder lives a run is running; killed, it is interrupted before anybody notes so, and stays silent."""
    process, runs = holder(url, "killed"), Runs(ledger)
    process.tell()
    assert "held" == process.heard()
    runs.start("killed", "30_backfill_user_ids", "undo", plan="run")
    run = runs.writing()
    assert run and ("running", True) == (run.status, 0 <= run.silent < 30)
    process.kill()
    killed = runs.writing()
    assert killed and "interrupted" == killed.status
    assert "running" == runs.one("killed").status


# --- who may be told as gone ---------------------------------------------------------------------------------


def holding(ledger: Ledger, **changed: object) -> AbstractContextManager[object]:
    """Holds the writer lock, with some columns of its row changed."""

    @contextmanager
    def held() -> Iterator[None]:
        with lock(ledger, WRITER, "first-run"):
            with ledger.begin() as connection:
                connection.execute(sa.update(t.locks).values(**changed))
            yield

    return held()


def refused(ledger: Ledger) -> bool:
    """Whether the writer lock can't be taken now."""
    try:
        with lock(ledger, WRITER, "second-run"):
            return False
    except LockedError:
        return True


HERE = locks._process(os.getpid()).split()
NO_PID = 4_194_305
"""No process has this number: Linux ends at 4,194,304."""


@pytest.mark.skipif(not HERE, reason="this system does not tell when a process began")
@pytest.mark.parametrize(
    ("process", "pid", "is_held"),
    [
        (("another-boot", *HERE[1:]), NO_PID, True),
        ((HERE[0], "pid:[1]", HERE[2]), NO_PID, True),
        ((), NO_PID, True),
        (HERE, NO_PID, False),
        ((*HERE[:2], "1"), os.getpid(), False),
        (HERE, os.getpid(), True),
    ],
    ids=["another boot", "another container", "not told", "no such process", "another process since", "lives"],
)
def test_a_process_list_speaks_for_its_own_processes_alone(
    ledger: Ledger, process: Sequence[str], pid: int, is_held: bool
) -> None:
    """A second container of the same host name knows nothing of the first one's processes: the lease decides."""
    with holding(ledger, host=socket.gethostname(), pid=pid, process=" ".join(process)):
        assert is_held is refused(ledger)


def test_a_process_that_is_hidden_lives(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc shows an account its own processes alone, that of another account is not taken for gone."""
    process, shown = locks._process(os.getpid()), locks._process
    parent = os.getppid()
    monkeypatch.setattr(locks, "_process", lambda pid: "" if pid == parent else shown(pid))
    with holding(ledger, pid=parent, process=process):
        assert refused(ledger)


@pytest.mark.skipif(not HERE, reason="this system does not tell when a process began")
@pytest.mark.parametrize(
    "any_database", ["sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SERVERS)], indirect=True
)
def test_a_killed_process_that_nobody_has_waited_for_is_gone(url: str, ledger: Ledger) -> None:
    """Its parent may never ask how it ended, as in many containers: its lock is free at once all the same."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, "killed-run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin and process.stdout
    assert "ready" == process.stdout.readline().strip()
    process.stdin.write("go\n")
    process.stdin.flush()
    assert "held" == process.stdout.readline().strip()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not refused(ledger)
    finally:
        process.wait(30)


def test_a_clock_that_is_ahead_takes_no_lock(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is an hour ahead is refused while the lease lasts: that is counted by the database's clock."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    with holding(ledger, process=""):
        monkeypatch.setattr(locks, "datetime", Ahead)
        monkeypatch.setattr(locks, "utcnow", lambda: utcnow() + timedelta(hours=1))
        if ledger.engine.dialect.name != "sqlite":  # whose clock is that of the one machine that has the file
            monkeypatch.setattr(time, "time", lambda: datetime.now().timestamp() + 3600)
        assert refused(ledger)


@pytest.mark.parametrize(("ahead", "is_held"), [(timedelta(seconds=30), True), (timedelta(hours=2), False)])
def test_a_beat_from_far_ahead_holds_nothing(ledger: Ledger, ahead: timedelta, is_held: bool) -> None:
    """After a clock was set back, or a backup restored elsewhere, a dead holder's lock is not held for hours."""
    with holding(ledger, beat=utcnow() + ahead, process=""):
        assert is_held is refused(ledger)


# --- taking at once ------------------------------------------------------------------------------------------


def test_whoever_is_refused_does_not_wait_for_a_batch(ledger: Ledger) -> None:
    """While the holder is in the middle of a batch, another is told at once who holds the lock."""
    with lock(ledger, WRITER, "first-run") as held, ledger.begin() as connection:
        held.guard(connection)
        started = time.monotonic()
        assert refused(ledger)
        assert time.monotonic() - started < 5


def test_a_holder_that_stands_still_in_a_batch_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is over and its transaction is not: whoever waited for it in vain is told who it is, with exit 4."""
    monkeypatch.setattr(locks, "PATIENCE", 1)
    quick = impatient(ledger)
    with lock(ledger, WRITER, "first-run") as held:
        with ledger.begin() as connection:
            connection.execute(sa.update(t.locks).values(beat=utcnow() - timedelta(minutes=2), process=""))
        with ledger.begin() as connection:
            held.guard(connection)
            with pytest.raises(LockedError, match="first-run"), lock(quick, WRITER, "second-run"):
                pass


def impatient(ledger: Ledger) -> Ledger:
    """The same ledger through connections that wait a second for another's lock."""
    url = ledger.engine.url
    if url.drivername.startswith("sqlite"):
        quick = engines.create(url.render_as_string())
        sa.event.listen(quick, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 1000"))
    else:
        quick = engines.create(url.render_as_string(hide_password=False))
    if url.drivername.startswith("mariadb"):
        wait = "SET innodb_lock_wait_timeout = 1"
        sa.event.listen(quick, "connect", lambda connection, _: connection.cursor().execute(wait))
    return Ledger(quick, ledger.scope, in_database=True)


def test_many_take_their_own_locks_at_once(ledger: Ledger) -> None:
    """Runs of several notebooks that start in one moment all get their locks, and none meets a deadlock."""
    names = [f"{number}0_notebook" for number in range(8)]
    together = threading.Barrier(len(names))

    def take(name: str) -> str:
        together.wait()
        with lock(ledger, name, f"run-{name}"):
            together.wait()
        return name

    for _ in range(5):
        with ThreadPoolExecutor(len(names)) as executor:
            assert names == list(executor.map(take, names))


def test_the_lock_is_renewed_while_batches_are_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat comes through while two batches check the lock's number in their transactions."""
    if ledger.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    monkeypatch.setattr(locks, "BEAT", 0.05)
    beat = sa.select(t.locks.c.beat)
    with lock(ledger, WRITER, "run") as held, ledger.begin() as one, ledger.begin() as two:
        held.guard(one)
        held.guard(two)
        seen = set()
        for _ in range(1000):
            with ledger.reading.connect() as connection:
                seen.add(connection.execute(beat).scalar_one())
            if len(seen) > 2:
                return
    raise AssertionError("no beat came through")


def test_a_batch_sees_the_newest_number(ledger: Ledger) -> None:
    """A transaction that has read before the lock was taken over still finds that it was."""
    if ledger.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    with lock(ledger, WRITER, "first-run") as held, ledger.begin() as connection:
        connection.execute(sa.select(t.runs)).all()
        with ledger.begin() as other:
            other.execute(
                sa.update(t.fences).where(t.fences.c.name == WRITER).values(token=held.token + 1, run_id="next")
            )
        with pytest.raises(LockedError, match="taken over"):
            held.guard(connection)


def test_a_taking_that_fails_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database fails in the middle of a taking, the lock is as free as before, and the number unused."""

    def fail(*_: object) -> datetime:
        raise sa.exc.OperationalError("SELECT", {}, Exception("the server is gone"))

    with lock(ledger, WRITER, "first-run") as held:
        first = held.token
    with monkeypatch.context() as patched:
        patched.setattr(locks, "now", fail)
        with pytest.raises(DatabaseError, match="taking the lock writer"), lock(ledger, WRITER, "failed-run"):
            pass
    with lock(ledger, WRITER, "next-run") as held:
        assert first + 1 == held.token


def test_a_name_of_64_letters_can_be_held(ledger: Ledger) -> None:
    """The longest name that a run may have."""
    with lock(ledger, WRITER, "r" * 64) as held:
        Runs(ledger).start("r" * 64, "n" * 64, "apply", held=held)
        Runs(ledger).finish("r" * 64, "done", {}, held=held)
    assert "done" == Runs(ledger).one("r" * 64).status


def test_two_acts_that_write_never_share_a_name(ledger: Ledger) -> None:
    """The row of the first stays as it is, for its records are kept under its name; the second is refused."""
    runs = Runs(ledger)
    with lock(ledger, WRITER, "run") as held:
        runs.start("run", "30_backfill_user_ids", "apply", held=held)
        runs.finish("run", "done", {"applied": 1}, held=held)
    with lock(ledger, WRITER, "run") as held, pytest.raises(LockedError, match="has the id run"):
        runs.start("run", "30_backfill_user_ids", "undo", held=held)
    assert "apply" == runs.one("run").act


def test_an_act_that_lost_its_lock_notes_nothing(ledger: Ledger) -> None:
    """Neither a beginning nor an end; nor does it clear what the next act has staged under a number like its own."""
    runs = Runs(ledger)
    with lock(ledger, WRITER, "first-run") as held:
        runs.start("first-run", "30_backfill_user_ids", "apply", held=held)
        with ledger.begin() as connection:
            connection.execute(sa.update(t.fences).where(t.fences.c.name == WRITER).values(run_id="next-run"))
            staged = {"token": held.token, "place": 1, "table_name": "users", "row_id": "1", "column_name": "c"}
            connection.execute(sa.insert(t.stage), [staged])
        stage = Stage(ledger.engine, held)
        for act in (
            lambda: runs.finish("first-run", "done", {}, held=held),
            lambda: runs.start("other", "30_backfill_user_ids", "apply", held=held),
            lambda: change_log.mark_undone(ledger, held, "first-run", "earlier"),
            stage.clear,
        ):
            with pytest.raises(LockedError, match="taken over"):
                act()
    with ledger.engine.connect() as connection:
        assert 1 == connection.execute(sa.select(sa.func.count()).select_from(t.stage)).scalar_one()
    assert ["running"] == [run.status for run in runs.all()]
