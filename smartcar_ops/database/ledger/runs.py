"""Runs in the ledger: who did what, and who does what now."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import WRITER, Held, operator, utcnow
from smartcar_ops.errors import LockedError
from smartcar_ops.storage.run_folder import STAMP


class RunStatus(StrEnum):
    """How a run stands. ``interrupted``: its process ended without noting how."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Act(StrEnum):
    """What a run does, if it is one of the kit's own: the word of its notebook's name, or what a backfill does."""

    AUDIT = "audit"
    COMPARE = "compare"
    DECIDE = "decide"
    APPLY = "apply"
    UNDO = "undo"


WRITING = (Act.APPLY, Act.UNDO)
"""Acts that write to the company's rows."""


@dataclass(frozen=True)
class Run:
    """One row of the ledger's ``runs``, times in UTC without a time zone.

    ``act`` is one of `Act`, or the word of a user's own notebook. ``plan`` is an apply's plan or an undo's target.
    ``calls`` are units by API. ``silent`` is the seconds since the last sign of life, known only from `Runs.seen`.
    """

    run_id: str
    notebook: str
    act: str
    status: RunStatus
    requested: str
    operator: str
    host: str
    service: str
    mode: str
    layout: str
    token: int | None
    plan: str | None
    started: datetime
    ended: datetime | None
    summary: Mapping[str, Any]
    calls: Mapping[str, int]
    total: int | None
    written: int
    skipped: int
    failed: int
    batch: int
    beat: datetime | None
    silent: float | None = None

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> Run:
        """Read a row; counts that an older ledger left empty are 0."""
        counts = {name: row[name] or 0 for name in ("written", "skipped", "failed", "batch")}
        mappings = {name: _loads(row[name]) for name in ("summary", "calls")}
        return cls(**{**row, **counts, **mappings, "status": RunStatus(row["status"])})

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as the ledger knows."""
        return self.status is RunStatus.RUNNING

    @property
    def writes(self) -> bool:
        """Whether it is an act that writes to the company's rows."""
        return self.act in WRITING


def act_of(notebook: str) -> str:
    """What a notebook does, in the one word of its name after the number: ``audit``."""
    return (notebook.partition("_")[2] or notebook).partition("_")[0][:16]


class Runs:
    """The register of runs in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def start(self, run_id: str, notebook: str, act: str, *, plan: str | None = None, held: Held | None = None) -> None:
        """Notes that an act began; one that writes does so under the number of its lock.

        LockedError if that was taken over, or if another act that writes has this name: its records are kept under it.
        """
        row = {
            "run_id": run_id,
            "notebook": notebook,
            "act": act,
            "status": RunStatus.RUNNING,
            "requested": "",
            "operator": operator(),
            "host": socket.gethostname(),
            "service": self.ledger.scope.service,
            "mode": self.ledger.scope.mode,
            "layout": self.ledger.scope.layout,
            "token": held.token if held else None,
            "plan": plan,
            "started": utcnow(),
            "ended": None,
            "summary": None,
            "calls": None,
            "total": None,
            **dict.fromkeys(("written", "skipped", "failed", "batch"), 0),
            "beat": utcnow(),
        }
        if held is None:
            self.ledger.put(t.runs, [row])
            return
        mine = t.runs.c.run_id == run_id
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            held.guard(connection)
            if connection.execute(sa.select(t.runs.c.act).where(mine)).scalar() in WRITING:
                raise LockedError(f"locked: another act is named {run_id}; run again, under a new name.")
            connection.execute(sa.delete(t.runs).where(mine))
            connection.execute(sa.insert(t.runs), [row])

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        summary: Mapping[str, Any],
        calls: Mapping[str, int] | None = None,
        *,
        held: Held | None = None,
    ) -> None:
        """Notes how an act ended, and what people will ask about it; LockedError if its lock was taken over."""
        values = {
            "status": status,
            "ended": utcnow(),
            "summary": json.dumps(summary, default=str),
            "calls": json.dumps(dict(calls or {})),
        }
        self._update(run_id, values, held=held)

    def plan_made(self, run_id: str, plan: str) -> None:
        """Notes which plan a run made: dry runs are told apart, too."""
        self._update(run_id, {"plan": plan})

    def expect(self, run_id: str, total: int) -> None:
        """Notes how many rows an act is about to write."""
        self._update(run_id, {"total": total, "beat": utcnow()})

    def advance(self, connection: sa.Connection, held: Held, batch: int | None, found: Mapping[str, int]) -> None:
        """Notes what a batch came to, in the batch's own transaction; LockedError if the run is no longer under way."""
        row = t.runs.c
        mine = sa.and_(row.run_id == held.run_id, row.token == held.token, row.status == RunStatus.RUNNING)
        counts = {name: getattr(row, name) + found.get(name, 0) for name in ("written", "skipped", "failed")}
        numbered = {} if batch is None else {"batch": batch}
        noted = connection.execute(sa.update(t.runs).where(mine).values(beat=utcnow(), **counts, **numbered))
        if noted.rowcount != 1:
            raise LockedError(
                f"locked: another act has taken over from run {held.run_id}; run again, it goes on from there."
            )

    def of_plan(self, plan: str) -> bool:
        """Whether an earlier run has begun to carry out this plan."""
        known = sa.and_(self.ledger.scope.of(t.runs), t.runs.c.act == Act.APPLY, t.runs.c.plan == plan)
        return bool(self._read(sa.select(t.runs).where(known, t.runs.c.written > 0).limit(1)))

    def interrupted(self, held: Held) -> None:
        """Marks acts that wrote and are dead, and forgets what they had staged.

        Whoever holds the writer lock is the only one that may write; one that lives on writes nothing any more.
        """
        dead = sa.and_(t.runs.c.act.in_(WRITING), t.runs.c.status == RunStatus.RUNNING, t.runs.c.run_id != held.run_id)
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            held.guard(connection)
            connection.execute(sa.update(t.runs).where(dead).values(status=RunStatus.INTERRUPTED, ended=utcnow()))
            connection.execute(sa.delete(t.stage).where(t.stage.c.token != held.token))

    def under_way(self, act: str) -> list[Run]:
        """The runs of an act that have not noted their end, of every scope: they are alive, or were killed."""
        row = t.runs.c
        return self._read(
            sa.select(t.runs).where(row.act == act, row.status == RunStatus.RUNNING).order_by(row.started)
        )

    def undoing(self, run_id: str) -> list[list[str]]:
        """Undos that have not noted yet what they put back of this run: each one's chain, as far as this run."""
        chains = [self.chain(undo) for undo in self.under_way(Act.UNDO)]
        return [names[: names.index(run_id) + 1] for names in chains if run_id in names[1:]]

    def one(self, run_id: str) -> Run | None:
        """A run as it is now; None where there is none of this name."""
        return next(iter(self._read(sa.select(t.runs).where(t.runs.c.run_id == run_id))), None)

    def writing(self) -> Run | None:
        """The act that writes to the company's tables now; if there is none, the newest that wrote to them."""
        row = t.runs.c
        acts = sa.select(t.runs).where(self.ledger.scope.of(t.runs), row.act.in_(WRITING))
        under_way = sa.case((row.status == RunStatus.RUNNING, 0), else_=1)  # another host's clock may be ahead
        found = self._read(acts.order_by(under_way, row.started.desc(), row.run_id.desc()).limit(1))
        return self.seen(found[0]) if found else None

    def seen(self, run: Run) -> Run:
        """The run with its status as it is: ``interrupted`` if it has not noted its end and its process has stopped.

        ``silent`` is the seconds since its last sign of life; None if it has ended, or its lock is gone.
        """
        if not run.is_running:
            return run
        lives, silent = self._life(run)
        if lives:
            return replace(run, silent=silent)
        now = self.one(run.run_id) or run  # it may have ended between the two questions
        return replace(now, silent=silent, status=RunStatus.INTERRUPTED if now.is_running else now.status)

    def _life(self, run: Run) -> tuple[bool, float | None]:
        """Whether the holder of a run's lock lives, and for how many seconds it has been silent."""
        name = WRITER if run.writes else run.notebook
        held = sa.select(t.locks).where(t.locks.c.name == name, t.locks.c.run_id == run.run_id)
        with engines.failures(self.ledger.engine, "reading the locks"), self.ledger.reading.connect() as connection:
            row = connection.execute(held).mappings().first()
            if row is None:
                return False, None
            silent = (locks.now(connection) - row["beat"]).total_seconds()
            return locks.lives(connection, row), max(0.0, silent)

    def chain(self, undo: Run) -> list[str]:
        """The undo, the run that it undoes, the run that this one undoes if it is an undo itself, and so on."""
        names: list[str] = [undo.run_id]
        run: Run | None = undo
        while run and run.act == Act.UNDO:
            names.append(str(run.plan).partition(":")[0])
            run = self.one(names[-1])
        return names

    def free_name(self, moment: datetime, notebook: str) -> str:
        """A name for a run of this moment that no other has: a later second where it is taken."""
        while self.one(name := f"{moment:{STAMP}}__{notebook}"):
            moment += timedelta(seconds=1)
        return name

    def forget(self, run_id: str) -> None:
        """Takes back that an act began."""
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            connection.execute(sa.delete(t.runs).where(t.runs.c.run_id == run_id))

    def request(self, run_id: str, word: str) -> bool:
        """Asks a running act to ``pause``, ``resume`` or ``cancel``; False where none runs under this id."""
        return self._update(run_id, {"requested": word}, running=True)

    def requested(self, run_id: str) -> str:
        """What the act was asked to do; empty for nothing."""
        query = sa.select(t.runs.c.requested).where(t.runs.c.run_id == run_id)
        with engines.failures(self.ledger.engine, "reading the runs"), self.ledger.reading.connect() as connection:
            return str(connection.execute(query).scalar_one_or_none() or "")

    def all(self, act: str | None = None, *, status: RunStatus | None = None) -> list[Run]:
        """The runs of this scope, oldest first, their summary and calls as mappings."""
        query = sa.select(t.runs).where(self.ledger.scope.of(t.runs)).order_by(t.runs.c.started, t.runs.c.run_id)
        if act:
            query = query.where(t.runs.c.act == act)
        if status:
            query = query.where(t.runs.c.status == status)
        return self._read(query)

    def _read(self, query: sa.Select[Any]) -> list[Run]:
        with engines.failures(self.ledger.engine, "reading the runs"), self.ledger.reading.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return list(map(Run.of_row, rows))

    def _update(
        self, run_id: str, values: Mapping[str, Any], *, running: bool = False, held: Held | None = None
    ) -> bool:
        statement = sa.update(t.runs).where(t.runs.c.run_id == run_id).values(**values)
        if running:
            statement = statement.where(t.runs.c.status == RunStatus.RUNNING)
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            if held:
                held.guard(connection)
            return bool(connection.execute(statement).rowcount)


@dataclass(frozen=True)
class Pace:
    """How far an act is: rows done of all, rows a second since it began, seconds left; None where not to be told."""

    done: int
    total: int
    per_second: float | None
    left: float | None


def pace(run: Run) -> Pace:
    """An act's pace, from its row in the ledger."""
    done, total = run.written + run.skipped + run.failed, run.total or 0
    seconds = ((run.beat or run.started) - run.started).total_seconds()
    if not done or seconds <= 0:
        return Pace(done, total, None, None)
    return Pace(done, total, done / seconds, max(0, total - done) * seconds / done)


def _loads(value: str | None) -> dict[str, Any]:
    loaded = json.loads(value) if value else {}
    return loaded if isinstance(loaded, dict) else {}
