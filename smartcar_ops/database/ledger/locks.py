"""Locks in the ledger: who may act now, and proof in each transaction that it still is so.

Each taking of a lock has a number that only rises. A holder that stood still for too long may lose its lock while it
lives; a batch therefore checks its number in its own transaction, and writes nothing once the number is another's.
Leases are counted by the database's own clock.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.errors import LockedError, SmartcarOpsError

if TYPE_CHECKING:
    from smartcar_ops.database.ledger.ledger import Ledger

log = logging.getLogger("smartcar_ops.database")

LEASE = t.LEASE
BEAT = 15.0
"""Seconds between two beats of a holder."""

PATIENCE = 30
"""Seconds to wait for the last batch of a holder that is taken for dead."""

WRITER = "writer"
"""The one lock of everything that writes to the company's tables."""


def utcnow() -> datetime:
    """Now, as the ledger keeps times: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def operator() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


@dataclass(frozen=True)
class Held:
    """A lock that is held, under the number of this taking."""

    _ledger: Ledger
    _name: str
    run_id: str
    token: int

    def check(self) -> None:
        """LockedError if another has taken the lock meanwhile: before each step that must not happen without it."""
        with engines.failures(self._ledger.engine, "checking the lock"), self._ledger.reading.connect() as connection:
            self._refuse(connection.execute(self._fence()).first())

    def guard(self, connection: sa.Connection) -> None:
        """The same for the transaction of this connection: until its end nobody else can take the lock."""
        self._refuse(connection.execute(self._fence().with_for_update(read=True)).first())

    def _fence(self) -> sa.Select[int, str]:
        return sa.select(t.fences.c.token, t.fences.c.run_id).where(t.fences.c.name == self._name)

    def _refuse(self, newest: Sequence[Any] | None) -> None:
        """The run counts, too: a backup of the database that was restored has an old number again."""
        if newest is None or tuple(newest) != (self.token, self.run_id):
            log.info("lock %s: lost to another run", self._name)
            raise LockedError(f"locked: the lock {self._name!r} was taken over; run again, it goes on from there.")


@contextmanager
def lock(ledger: Ledger, name: str, run_id: str) -> Iterator[Held]:
    """Holds a lock of this database while the block runs; LockedError names the holder if there is one.

    The holder beats; one that has not for 90 s, or whose process is known to be gone, has lost the lock.
    """
    token = _take(ledger, name, run_id)
    log.info("lock %s: taken by run %s", name, run_id)
    mine = sa.and_(t.locks.c.name == name, t.locks.c.token == token)
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(ledger, mine, done), daemon=True)
    beating.start()
    try:
        yield Held(ledger, name, run_id, token)
    finally:
        done.set()
        beating.join()
        with suppress(SQLAlchemyError), ledger.begin() as connection:
            # If the database is gone, the lease frees the lock.
            connection.execute(sa.delete(t.locks).where(mine))
        log.info("lock %s: given back", name)


def lives(connection: sa.Connection, held: Mapping[Any, Any]) -> bool:
    """Whether the holder of this row of ``locks`` still has its lock, by the database's clock.

    A beat from far ahead is of a clock that was set back since, or of another one: it holds no lock for ever.
    """
    beat: datetime = held["beat"]
    return abs(now(connection) - beat) < LEASE and not _is_gone(held)


def now(connection: sa.Connection) -> datetime:
    """This moment by the database's clock, as the ledger keeps times."""
    return datetime.fromtimestamp(engines.clock(connection), UTC).replace(tzinfo=None)


def _take(ledger: Ledger, name: str, run_id: str) -> int:
    """Takes the lock, and gives the number of this taking; whoever sees that it is held does not wait for it."""
    with engines.failures(ledger.engine, f"taking the lock {name}"):
        with ledger.reading.connect() as connection:
            _refuse_held(connection, name)
        for attempt in range(1, engines.TRIES + 1):
            try:
                _make_fence(ledger, name)
                return _take_free(ledger, name, run_id)
            except DBAPIError as error:
                if engines.has_waited(error):
                    raise _busy(ledger, name, error) from None
                if attempt == engines.TRIES or not engines.is_passing(error):
                    raise
    raise AssertionError("the last try returns or raises")


def _take_free(ledger: Ledger, name: str, run_id: str) -> int:
    """One transaction: the fence is locked first, so that batches under the last number have ended by then."""
    row = {"operator": operator(), "host": socket.gethostname(), "pid": os.getpid(), "process": _process(os.getpid())}
    with ledger.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
        fence = sa.select(t.fences.c.token).where(t.fences.c.name == name).with_for_update()
        token = int(connection.execute(fence).scalar_one()) + 1
        is_there = _refuse_held(connection, name)
        connection.execute(sa.update(t.fences).where(t.fences.c.name == name).values(token=token, run_id=run_id))
        taken = {"run_id": run_id, "token": token, "beat": now(connection), **row}
        mine = sa.update(t.locks).where(t.locks.c.name == name).values(taken)
        # On MySQL, to change a row that is not there would keep takers of other locks from adding theirs.
        if not (is_there and connection.execute(mine).rowcount):
            connection.execute(sa.insert(t.locks), [{"name": name, **taken}])
    return token


def _refuse_held(connection: sa.Connection, name: str) -> bool:
    """LockedError if the lock is held; otherwise whether one that died has left its row."""
    held = connection.execute(sa.select(t.locks).where(t.locks.c.name == name)).mappings().first()
    if held is not None and lives(connection, held):
        raise _refusal(name, held)
    return held is not None


def _busy(ledger: Ledger, name: str, error: Exception) -> Exception:
    """What to say when the fence could not be had in time: a holder that stands still in the middle of a batch."""
    with ledger.reading.connect() as connection:
        held = connection.execute(sa.select(t.locks).where(t.locks.c.name == name)).mappings().first()
    return error if held is None else _refusal(name, held)


def _make_fence(ledger: Ledger, name: str) -> None:
    """Makes the lock's fence if it was never taken: a row that is not there can't be locked."""
    with ledger.reading.connect() as connection:
        if connection.execute(sa.select(t.fences.c.name).where(t.fences.c.name == name)).first() is not None:
            return
    with suppress(IntegrityError), ledger.begin() as connection:
        connection.execute(sa.insert(t.fences), [{"name": name, "token": 0, "run_id": ""}])


def _refusal(name: str, held: Mapping[Any, Any]) -> LockedError:
    """Who holds the lock."""
    return LockedError(
        f"locked: {held['operator']} on {held['host']} (process {held['pid']}, run {held['run_id']}) "
        f"holds the lock {name!r}; wait for it, or end that run."
    )


def _is_gone(held: Mapping[Any, Any]) -> bool:
    """Whether the holder's process is known to have ended.

    Only the process list that it was in can tell: that of the same boot of the same machine, in the same container.
    """
    known = str(held["process"] or "").rpartition(" ")[0]
    if not known or known != _process(os.getpid()).rpartition(" ")[0]:
        return False
    now = _process(held["pid"])
    return now != held["process"] if now else not _exists(held["pid"])


def _exists(pid: int) -> bool:
    """Whether there is a process of this number; one of another account may be hidden and is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _process(pid: int) -> str:
    """``boot process-list start`` of a process; empty if this system does not tell, or shows no such process.

    A killed process that nobody has waited for is still listed: it has no start any more.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        state, *numbers = told.split()
        return f"{_process_list()} {'dead' if state in 'ZX' else numbers[18]}"
    except (OSError, IndexError, ValueError):
        return ""


@cache
def _process_list() -> str:
    """Which list of processes this one is in: the machine's boot, and the namespace of process ids.

    OSError if ``/proc`` is another list's, where this process has another number.
    """
    if Path("/proc/self").readlink().name != str(os.getpid()):
        raise OSError
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _beat(ledger: Ledger, mine: sa.ColumnElement[bool], done: threading.Event) -> None:
    statement = sa.update(t.locks).where(mine)
    while not done.wait(BEAT):
        try:
            with engines.failures(ledger.engine, "beating"), ledger.begin() as connection:
                connection.execute(statement.values(beat=now(connection)))
        except SmartcarOpsError as error:  # the next beat may come through; the lease decides
            log.warning("a lock could not be renewed; it is lost if that goes on for %d s: %s", LEASE.seconds, error)
