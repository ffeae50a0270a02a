"""Runs and locks in the ledger: who does what now, and who may not start."""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from smartcar_ops.company import engines
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.errors import LockedError, SmartcarOpsError

LEASE = timedelta(seconds=90)
BEAT = 15.0
"""Seconds between two beats of a holder."""

WRITER = "writer"
"""The one lock of everything that writes to the company's tables."""


WRITING = ("apply", "undo")
"""Acts that write to the company's rows."""


def utcnow() -> datetime:
    """Now, as the ledger keeps times: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def operator() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


class Runs:
    """The register of runs in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(self, run_id: str, notebook: str, act: str, *, plan: str | None = None) -> None:
        """Notes that an act began."""
        row = {
            "run_id": run_id,
            "notebook": notebook,
            "act": act,
            "status": "running",
            "requested": "",
            "operator": operator(),
            "host": socket.gethostname(),
            "service": self._ledger.scope.service,
            "mode": self._ledger.scope.mode,
            "plan": plan,
            "started": utcnow(),
            "ended": None,
            "summary": None,
            "calls": None,
            "total": None,
            **dict.fromkeys(("written", "skipped", "failed", "batch"), 0),
            "beat": utcnow(),
        }
        self._ledger.put(t.runs, [row])

    def finish(
        self, run_id: str, status: str, summary: Mapping[str, Any], calls: Mapping[str, int] | None = None
    ) -> None:
        """Notes how an act ended, and what people will ask about it."""
        values = {
            "status": status,
            "ended": utcnow(),
            "summary": json.dumps(summary, default=str),
            "calls": json.dumps(dict(calls or {})),
        }
        self._update(run_id, values)

    def plan_made(self, run_id: str, plan: str) -> None:
        """Notes which plan a run made: dry runs are told apart, too."""
        self._update(run_id, {"plan": plan})

    def expect(self, run_id: str, total: int) -> None:
        """Notes how many rows an act is about to write."""
        self._update(run_id, {"total": total, "beat": utcnow()})

    def advance(self, connection: sa.Connection, run_id: str, batch: int, found: Mapping[str, int]) -> None:
        """Notes what a batch came to, in the batch's own transaction."""
        row = t.runs.c
        counts = {name: getattr(row, name) + found.get(name, 0) for name in ("written", "skipped", "failed")}
        connection.execute(sa.update(t.runs).where(row.run_id == run_id).values(batch=batch, beat=utcnow(), **counts))

    def of_plan(self, plan: str) -> bool:
        """Whether an earlier run has begun to carry out this plan."""
        known = sa.and_(self._ledger.scope.of(t.runs), t.runs.c.act == "apply", t.runs.c.plan == plan)
        return bool(self._read(sa.select(t.runs).where(known, t.runs.c.written > 0).limit(1)))

    def interrupted(self, holder: str) -> None:
        """Marks acts that wrote and are dead: whoever holds the writer lock is the only one alive."""
        dead = sa.and_(t.runs.c.act.in_(WRITING), t.runs.c.status == "running", t.runs.c.run_id != holder)
        with engines.failures(self._ledger.engine, "writing the runs"), self._ledger.begin() as connection:
            connection.execute(sa.update(t.runs).where(dead).values(status="interrupted", ended=utcnow()))

    def under_way(self, act: str) -> list[dict[str, Any]]:
        """The runs of an act that have not noted their end, of every scope: they are alive, or were killed."""
        row = t.runs.c
        return self._read(sa.select(t.runs).where(row.act == act, row.status == "running").order_by(row.started))

    def undoing(self, run_id: str) -> list[list[str]]:
        """Undos that have not noted yet what they put back of this run: each one's chain, as far as this run."""
        chains = [self.chain(undo) for undo in self.under_way("undo")]
        return [names[: names.index(run_id) + 1] for names in chains if run_id in names[1:]]

    def one(self, run_id: str) -> dict[str, Any] | None:
        """A run as it is now; None where there is none of this name."""
        return next(iter(self._read(sa.select(t.runs).where(t.runs.c.run_id == run_id))), None)

    def writing(self) -> dict[str, Any] | None:
        """The act that writes to the company's tables now; if there is none, the newest that wrote to them."""
        row = t.runs.c
        acts = sa.select(t.runs).where(self._ledger.scope.of(t.runs), row.act.in_(WRITING))
        under_way = sa.case((row.status == "running", 0), else_=1)  # another host's clock may be ahead
        found = self._read(acts.order_by(under_way, row.started.desc(), row.run_id.desc()).limit(1))
        return self.seen(found[0]) if found else None

    def seen(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The run with its status as it is: ``interrupted`` if it has not noted its end and its process has stopped.

        ``silent`` is the seconds since its last sign of life; None if it has ended, or its lock is gone.
        """
        if run["status"] != "running":
            return {**run, "silent": None}
        lives, silent = self._life(run)
        if lives:
            return {**run, "silent": silent}
        now = self.one(run["run_id"]) or run  # it may have ended between the two questions
        return {**now, "silent": silent, **({"status": "interrupted"} if now["status"] == "running" else {})}

    def _life(self, run: Mapping[str, Any]) -> tuple[bool, float | None]:
        """Whether the holder of a run's lock lives, and for how many seconds it has been silent."""
        name = WRITER if run["act"] in WRITING else run["notebook"]
        held = sa.select(t.locks).where(t.locks.c.name == name, t.locks.c.run_id == run["run_id"])
        with engines.failures(self._ledger.engine, "reading the locks"), self._ledger.reading.connect() as connection:
            row = connection.execute(held).mappings().first()
        if row is None:
            return False, None
        return _lives({**row}), max(0.0, (utcnow() - row["beat"]).total_seconds())

    def chain(self, undo: Mapping[str, Any]) -> list[str]:
        """The undo, the run that it undoes, the run that this one undoes if it is an undo itself, and so on."""
        names, run = [str(undo["run_id"])], undo
        while run and run["act"] == "undo":
            names.append(str(run["plan"]).partition(":")[0])
            run = self.one(names[-1]) or {}
        return names

    def forget(self, run_id: str) -> None:
        """Takes back that an act began."""
        with engines.failures(self._ledger.engine, "writing the runs"), self._ledger.begin() as connection:
            connection.execute(sa.delete(t.runs).where(t.runs.c.run_id == run_id))

    def request(self, run_id: str, word: str) -> bool:
        """Asks a running act to ``pause``, ``resume`` or ``cancel``; False where none runs under this id."""
        return self._update(run_id, {"requested": word}, running=True)

    def requested(self, run_id: str) -> str:
        """What the act was asked to do; empty for nothing."""
        query = sa.select(t.runs.c.requested).where(t.runs.c.run_id == run_id)
        with engines.failures(self._ledger.engine, "reading the runs"), self._ledger.reading.connect() as connection:
            return str(connection.execute(query).scalar_one_or_none() or "")

    def all(self, act: str | None = None, *, status: str | None = None) -> list[dict[str, Any]]:
        """The runs of this scope, oldest first, their summary and calls as mappings."""
        query = sa.select(t.runs).where(self._ledger.scope.of(t.runs)).order_by(t.runs.c.started, t.runs.c.run_id)
        if act:
            query = query.where(t.runs.c.act == act)
        if status:
            query = query.where(t.runs.c.status == status)
        return self._read(query)

    def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with engines.failures(self._ledger.engine, "reading the runs"), self._ledger.reading.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [{**row, "summary": _loads(row["summary"]), "calls": _loads(row["calls"])} for row in rows]

    def _update(self, run_id: str, values: Mapping[str, Any], *, running: bool = False) -> bool:
        statement = sa.update(t.runs).where(t.runs.c.run_id == run_id).values(**values)
        if running:
            statement = statement.where(t.runs.c.status == "running")
        with engines.failures(self._ledger.engine, "writing the runs"), self._ledger.begin() as connection:
            return bool(connection.execute(statement).rowcount)


@dataclass(frozen=True)
class Pace:
    """How far an act is: rows done of all, rows a second since it began, seconds left; None where not to be told."""

    done: int
    total: int
    per_second: float | None
    left: float | None


def pace(run: Mapping[str, Any]) -> Pace:
    """An act's pace, from its row in the ledger."""
    done, total = sum(run[name] or 0 for name in ("written", "skipped", "failed")), run["total"] or 0
    seconds = ((run["beat"] or run["started"]) - run["started"]).total_seconds()
    if not done or seconds <= 0:
        return Pace(done, total, None, None)
    return Pace(done, total, done / seconds, max(0, total - done) * seconds / done)


def _loads(value: str | None) -> dict[str, Any]:
    loaded = json.loads(value) if value else {}
    return loaded if isinstance(loaded, dict) else {}


class Held:
    """A lock that is held; ``check`` before each step that must not happen without it."""

    def __init__(self, ledger: Ledger, name: str, run_id: str) -> None:
        self._ledger, self._name, self._run_id = ledger, name, run_id

    def check(self) -> None:
        """LockedError where another has taken the lock meanwhile (this process stood still for too long)."""
        own = sa.select(t.locks.c.run_id).where(t.locks.c.name == self._name, t.locks.c.run_id == self._run_id)
        with engines.failures(self._ledger.engine, "checking the lock"), self._ledger.reading.connect() as connection:
            if connection.execute(own).first() is None:
                raise LockedError(f"locked: the lock {self._name!r} was taken over; run again, it goes on from there.")


@contextmanager
def lock(ledger: Ledger, name: str, run_id: str) -> Iterator[Held]:
    """Holds a lock of this database while the block runs; LockedError names the holder where there is one.

    The holder beats; one that has not for 90 s, or whose process on this host is gone, has lost the lock.
    """
    _take(ledger, name, run_id)
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(ledger, name, run_id, done), daemon=True)
    beating.start()
    try:
        yield Held(ledger, name, run_id)
    finally:
        done.set()
        beating.join()
        with suppress(SQLAlchemyError), ledger.begin() as connection:
            # Where the database is gone, the lease frees the lock.
            connection.execute(sa.delete(t.locks).where(t.locks.c.name == name, t.locks.c.run_id == run_id))


def _take(ledger: Ledger, name: str, run_id: str) -> None:
    row = {"run_id": run_id, "operator": operator(), "host": socket.gethostname(), "pid": os.getpid()}
    query = sa.select(t.locks).where(t.locks.c.name == name)
    with engines.failures(ledger.engine, f"taking the lock {name}"):
        with ledger.begin() as connection:
            held = connection.execute(query).mappings().first()
            if held is not None:
                if _lives(held):
                    raise _refusal(name, held)
                stale = sa.and_(
                    t.locks.c.name == name, t.locks.c.run_id == held["run_id"], t.locks.c.beat == held["beat"]
                )
                connection.execute(sa.delete(t.locks).where(stale))
        try:
            with ledger.begin() as connection:
                connection.execute(sa.insert(t.locks), [{"name": name, "beat": utcnow(), **row}])
        except IntegrityError:
            with ledger.reading.connect() as connection:
                first = connection.execute(query).mappings().first()
            raise _refusal(name, first) from None


def _refusal(name: str, held: Mapping[Any, Any] | None) -> LockedError:
    """Who holds the lock; None where it was another a moment ago."""
    if held is None:
        return LockedError(f"locked: another run took the lock {name!r} at the same moment; run again.")
    return LockedError(
        f"locked: {held['operator']} on {held['host']} (process {held['pid']}, run {held['run_id']}) "
        f"holds the lock {name!r}; wait for it, or end that run."
    )


def _lives(held: Mapping[str, Any]) -> bool:
    if held["host"] == socket.gethostname() and not _process_lives(held["pid"]):
        return False
    return bool(utcnow() - held["beat"] < LEASE)


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _beat(ledger: Ledger, name: str, run_id: str, done: threading.Event) -> None:
    statement = sa.update(t.locks).where(t.locks.c.name == name, t.locks.c.run_id == run_id)
    while not done.wait(BEAT):
        try:
            with engines.failures(ledger.engine, "beating"), ledger.begin() as connection:
                connection.execute(statement.values(beat=utcnow()))
        except SmartcarOpsError:
            continue  # the next beat may come through; the lease decides
