"""Locks in the ledger: which run may act now, checked again in each transaction.

Each acquisition of a lock gets a higher number than the last. A holder that was suspended too long may lose its lock
while its process is alive, so each batch checks its number in its own transaction and writes nothing if the number
has changed. Leases use the database's own clock.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.sql_types import Condition
from smartcar_ops.errors import LockedError, SmartcarOpsError

if TYPE_CHECKING:
    from smartcar_ops.database.ledger.ledger import Ledger

log = logging.getLogger("smartcar_ops.database")

LEASE = t.LEASE
BEAT = 15.0
"""Seconds between two heartbeats of a holder."""

PATIENCE = 30
"""Seconds to wait for the last batch of a holder that is considered dead."""

WRITER = "writer"
"""The name of the one lock for everything that writes to the company's tables."""


def utcnow() -> datetime:
    """Return the current time as the ledger stores times: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def operator() -> str:
    """Return the name of the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


@dataclass(frozen=True)
class Held:
    """A lock that this run holds; ``token`` is the number of this acquisition."""

    _ledger: Ledger
    _name: str
    run_id: str
    token: int

    def check(self) -> None:
        """LockedError if another run has taken the lock; call it before each step that needs the lock."""
        with engines.failures(self._ledger.engine, "checking the lock"), self._ledger.reading.connect() as connection:
            self._refuse(connection.execute(self._fence()).first())

    def guard(self, connection: sa.Connection) -> None:
        """Check the lock in this connection's transaction; no other run can take it until the transaction ends."""
        self._refuse(connection.execute(self._fence().with_for_update(read=True)).first())

    def _fence(self) -> sa.Select[int, str]:
        return sa.select(t.fences.c.token, t.fences.c.run_id).where(t.fences.c.name == self._name)

    def _refuse(self, newest: sa.Row[int, str] | None) -> None:
        """LockedError if token or run differ; both are compared because a restored backup has an old number again."""
        if newest is None or tuple(newest) != (self.token, self.run_id):
            log.info("lock %s: lost to another run", self._name)
            raise LockedError(f"locked: the lock {self._name!r} was taken over; run again to continue.")


@contextmanager
def lock(ledger: Ledger, name: str, run_id: str) -> Iterator[Held]:
    """Hold a lock of this database while the block runs; LockedError, with the holder, if it is taken.

    The holder sends heartbeats; without one for 90 s, or if its process is known to have ended, it loses the lock.
    """
    token = _acquire(ledger, name, run_id)
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
        log.info("lock %s: released", name)


def lives(connection: sa.Connection, held: sa.RowMapping) -> bool:
    """Return whether the holder in this row of ``locks`` still has its lock, by the database's clock.

    A heartbeat far in the future comes from a clock that was since set back; it does not hold the lock.
    """
    beat: datetime = held["beat"]
    return abs(now(connection) - beat) < LEASE and not _is_gone(held)


def now(connection: sa.Connection) -> datetime:
    """Return the current time by the database's clock, in naive UTC."""
    return datetime.fromtimestamp(engines.clock(connection), UTC).replace(tzinfo=None)


def _acquire(ledger: Ledger, name: str, run_id: str) -> int:
    """Take the lock and return the number of this acquisition; does not wait for a lock that is held."""
    with engines.failures(ledger.engine, f"taking the lock {name}"):
        with ledger.reading.connect() as connection:
            _refuse_held(connection, name)
        for attempt in range(1, engines.TRIES + 1):
            try:
                _make_fence(ledger, name)
                return _acquire_free(ledger, name, run_id)
            except DBAPIError as error:
                if engines.has_waited(error):
                    raise _busy(ledger, name, error) from None
                if attempt == engines.TRIES or not engines.is_passing(error):
                    raise
    raise AssertionError("the last try returns or raises")


def _acquire_free(ledger: Ledger, name: str, run_id: str) -> int:
    """Take the lock in one transaction; it locks the fence first, which waits for batches with the last number."""
    row = {"operator": operator(), "host": socket.gethostname(), "pid": os.getpid(), "process": _process(os.getpid())}
    with ledger.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
        fence = sa.select(t.fences.c.token).where(t.fences.c.name == name).with_for_update()
        token = int(connection.execute(fence).scalar_one()) + 1
        row_exists = _refuse_held(connection, name)
        connection.execute(sa.update(t.fences).where(t.fences.c.name == name).values(token=token, run_id=run_id))
        taken = {"run_id": run_id, "token": token, "beat": now(connection), **row}
        mine = sa.update(t.locks).where(t.locks.c.name == name).values(taken)
        # On MySQL, updating a missing row would block others from inserting their locks.
        if not (row_exists and connection.execute(mine).rowcount):
            connection.execute(sa.insert(t.locks), [{"name": name, **taken}])
    return token


def _refuse_held(connection: sa.Connection, name: str) -> bool:
    """Return whether a dead holder left its row; LockedError if the lock is held."""
    held = connection.execute(sa.select(t.locks).where(t.locks.c.name == name)).mappings().first()
    if held is not None and lives(connection, held):
        raise _refusal(name, held)
    return held is not None


def _busy(ledger: Ledger, name: str, error: Exception) -> Exception:
    """Return the error for a fence that could not be locked in time: its holder is suspended during a batch."""
    with ledger.reading.connect() as connection:
        held = connection.execute(sa.select(t.locks).where(t.locks.c.name == name)).mappings().first()
    return error if held is None else _refusal(name, held)


def _make_fence(ledger: Ledger, name: str) -> None:
    """Create the lock's fence if there is none, because only an existing row can be locked."""
    with ledger.reading.connect() as connection:
        if connection.execute(sa.select(t.fences.c.name).where(t.fences.c.name == name)).first() is not None:
            return
    with suppress(IntegrityError), ledger.begin() as connection:
        connection.execute(sa.insert(t.fences), [{"name": name, "token": 0, "run_id": ""}])


def _refusal(name: str, held: sa.RowMapping) -> LockedError:
    """Return the error that says who holds the lock."""
    return LockedError(
        f"locked: {held['operator']} on {held['host']} (process {held['pid']}, run {held['run_id']}) "
        f"holds the lock {name!r}; wait for it, or end that run."
    )


def _is_gone(held: sa.RowMapping) -> bool:
    """Return whether the holder's process is known to have ended.

    That is known only in the same process list: the same boot of the same machine, in the same container.
    """
    process_list = str(held["process"] or "").rpartition(" ")[0]
    if not process_list or process_list != _process(os.getpid()).rpartition(" ")[0]:
        return False
    now = _process(held["pid"])
    return now != held["process"] if now else not _exists(held["pid"])


def _exists(pid: int) -> bool:
    """Return whether the process exists; another account's process may be hidden, so it counts as existing."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _process(pid: int) -> str:
    """Return ``boot process-list start`` of a process; empty if the system does not show it.

    A killed process that was not reaped is still listed; its start is given as ``dead``.
    """
    try:
        values = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        state, *numbers = values.split()
        return f"{_process_list()} {'dead' if state in 'ZX' else numbers[18]}"
    except (OSError, IndexError, ValueError):
        return ""


@cache
def _process_list() -> str:
    """Return the id of this process list: the machine's boot and the namespace of process ids.

    OSError if ``/proc`` belongs to another namespace, in which this process has another id.
    """
    if Path("/proc/self").readlink().name != str(os.getpid()):
        raise OSError
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _beat(ledger: Ledger, mine: Condition, done: threading.Event) -> None:
    statement = sa.update(t.locks).where(mine)
    while not done.wait(BEAT):
        try:
            with engines.failures(ledger.engine, "renewing the lock"), ledger.begin() as connection:
                connection.execute(statement.values(beat=now(connection)))
        except SmartcarOpsError as error:  # the next heartbeat may succeed; the lease decides
            log.warning("a lock could not be renewed; it is lost if this lasts %d s: %s", LEASE.seconds, error)
