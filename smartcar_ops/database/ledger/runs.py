"""The register of runs in the ledger: past ones and those under way."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import WRITER, Held, operator, utcnow
from smartcar_ops.database.sql_types import Query
from smartcar_ops.errors import LockedError
from smartcar_ops.storage.run_folder import STAMP


class RunStatus(StrEnum):
    """The status of a run; ``interrupted`` means that its process ended without recording an end."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Act(StrEnum):
    """What a run of the kit's own notebooks does; a backfill has ``apply`` and ``undo``."""

    AUDIT = "audit"
    COMPARE = "compare"
    DECIDE = "decide"
    APPLY = "apply"
    UNDO = "undo"


WRITING = (Act.APPLY, Act.UNDO)
"""Acts that write to the company's rows."""

PAUSE, PAUSED = "pause", "paused"
"""What a run is requested to do, and what it answers once no batch is in progress; both are in ``requested``."""


@dataclass(frozen=True)
class Run:
    """One row of the ledger's ``runs``; times are naive UTC.

    ``act`` is one of `Act`, or the first word of your own notebook's name. ``plan`` is an apply's plan or an undo's
    target. ``calls`` are units by API. ``silent`` is the seconds since the last heartbeat; only `Runs.seen` sets it.
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
    paused: bool = False
    """Whether it has answered a request to pause: no batch is in progress."""

    @classmethod
    def of_row(cls, row: sa.RowMapping) -> Run:
        """Build a run from a row; counts that an older ledger left empty are 0."""
        counts = {name: row[name] or 0 for name in ("written", "skipped", "failed", "batch")}
        mappings = {name: _loads(row[name]) for name in ("summary", "calls")}
        paused = row["requested"] == PAUSED
        requested = PAUSE if paused else row["requested"]
        status = RunStatus(row["status"])
        return cls(**{**row, **counts, **mappings, "status": status, "requested": requested, "paused": paused})

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, according to the ledger."""
        return self.status is RunStatus.RUNNING

    @property
    def began(self) -> datetime:
        """When it began, in UTC."""
        return self.started.replace(tzinfo=UTC)

    @property
    def writes(self) -> bool:
        """Whether it writes to the company's rows."""
        return self.act in WRITING


def act_of(notebook: str) -> str:
    """Return the first word of a notebook's name after its number, such as ``audit``."""
    return (notebook.partition("_")[2] or notebook).partition("_")[0][:16]


def run_row(ledger: Ledger, run_id: str, notebook: str, act: str, **changed: Any) -> dict[str, Any]:
    """Return the ledger's row of a run that starts now, with these columns changed."""
    return {
        "run_id": run_id,
        "notebook": notebook,
        "act": act,
        "status": RunStatus.RUNNING,
        "requested": "",
        "operator": operator(),
        "host": socket.gethostname(),
        "service": ledger.scope.service,
        "mode": ledger.scope.mode,
        "layout": ledger.scope.layout,
        "token": None,
        "plan": None,
        "started": utcnow(),
        "ended": None,
        "summary": None,
        "calls": None,
        "total": None,
        **dict.fromkeys(("written", "skipped", "failed", "batch"), 0),
        "beat": utcnow(),
        **changed,
    }


class Runs:
    """The register of runs in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def start(self, run_id: str, notebook: str, act: str, *, plan: str | None = None, held: Held | None = None) -> None:
        """Record the start of a run; a writing run does so under the number of its lock.

        LockedError if that lock was taken over, or another writing run has this id.
        """
        row = run_row(self.ledger, run_id, notebook, act, token=held.token if held else None, plan=plan)
        if held is None:
            self.ledger.put(t.runs, [row])
            return
        mine = t.runs.c.run_id == run_id
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            held.guard(connection)
            if connection.execute(sa.select(t.runs.c.act).where(mine)).scalar() in WRITING:
                raise LockedError(f"locked: another run has the id {run_id}; run again, which takes a new id.")
            connection.execute(sa.delete(t.runs).where(mine))
            connection.execute(sa.insert(t.runs), [row])

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        summary: Mapping[str, object],
        calls: Mapping[str, int] | None = None,
        *,
        held: Held | None = None,
    ) -> None:
        """Record the end of a run with its summary; LockedError if its lock was taken over."""
        values = {
            "status": status,
            "ended": utcnow(),
            "summary": json.dumps(summary, default=str),
            "calls": json.dumps(dict(calls or {})),
        }
        self._update(run_id, values, held=held)

    def plan_made(self, run_id: str, plan: str) -> None:
        """Record the plan that a run made."""
        self._update(run_id, {"plan": plan})

    def expect(self, run_id: str, total: int) -> None:
        """Record how many rows a run is about to write."""
        self._update(run_id, {"total": total, "beat": utcnow()})

    def advance(self, connection: sa.Connection, held: Held, batch: int | None, added: Mapping[str, int]) -> None:
        """Record a batch's counts in the batch's own transaction; LockedError if the run is no longer running."""
        row = t.runs.c
        mine = sa.and_(row.run_id == held.run_id, row.token == held.token, row.status == RunStatus.RUNNING)
        counts = {name: getattr(row, name) + added.get(name, 0) for name in ("written", "skipped", "failed")}
        numbered = {} if batch is None else {"batch": batch}
        updated = connection.execute(sa.update(t.runs).where(mine).values(beat=utcnow(), **counts, **numbered))
        if updated.rowcount != 1:
            raise LockedError(f"locked: another run has taken over from run {held.run_id}; run again to continue.")

    def of_plan(self, plan: str) -> bool:
        """Return whether an earlier run has written rows of this plan."""
        known = sa.and_(self.ledger.scope.of(t.runs), t.runs.c.act == Act.APPLY, t.runs.c.plan == plan)
        return bool(self._read(sa.select(t.runs).where(known, t.runs.c.written > 0).limit(1)))

    def interrupted(self, held: Held) -> None:
        """Mark other writing runs as interrupted, and delete the rows they had staged.

        Only the holder of the writer lock may write, so another run can write nothing more even if it is alive.
        """
        dead = sa.and_(t.runs.c.act.in_(WRITING), t.runs.c.status == RunStatus.RUNNING, t.runs.c.run_id != held.run_id)
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            held.guard(connection)
            connection.execute(sa.update(t.runs).where(dead).values(status=RunStatus.INTERRUPTED, ended=utcnow()))
            connection.execute(sa.delete(t.stage).where(t.stage.c.token != held.token))

    def under_way(self, act: str) -> list[Run]:
        """Return the runs of an act without a recorded end, in every scope; they are alive or were killed."""
        row = t.runs.c
        return self._read(
            sa.select(t.runs).where(row.act == act, row.status == RunStatus.RUNNING).order_by(row.started)
        )

    def undoing(self, run_id: str) -> list[list[str]]:
        """Return the chains, up to this run, of undos that have not yet recorded what they put back of it."""
        chains = [self.chain(undo) for undo in self.under_way(Act.UNDO)]
        return [names[: names.index(run_id) + 1] for names in chains if run_id in names[1:]]

    def one(self, run_id: str) -> Run | None:
        """Return a run; None if there is none with this id."""
        return next(iter(self._read(sa.select(t.runs).where(t.runs.c.run_id == run_id))), None)

    def writing(self) -> Run | None:
        """Return the run that writes to the company's tables now; if there is none, the newest that wrote to them."""
        row = t.runs.c
        acts = sa.select(t.runs).where(self.ledger.scope.of(t.runs), row.act.in_(WRITING))
        under_way = sa.case((row.status == RunStatus.RUNNING, 0), else_=1)  # another host's clock may be ahead
        newest = self._read(acts.order_by(under_way, row.started.desc(), row.run_id.desc()).limit(1))
        return self.seen(newest[0]) if newest else None

    def pulse(self) -> tuple[object, ...]:
        """Return values that change whenever a run that writes starts, moves on, is asked for something or ends.

        It is one statement that reads one row of each table by its primary key, so a panel may send it every second.
        Only the death of a run's process does not change them.
        """
        fence, run, held = t.fences.c, t.runs.c, t.locks.c
        counts = (run.total, run.written, run.skipped, run.failed, run.batch)
        query = (
            sa.select(fence.token, fence.run_id, run.status, run.requested, *counts, held.token)
            .select_from(t.fences)
            .outerjoin(t.runs, run.run_id == fence.run_id)
            .outerjoin(t.locks, held.name == fence.name)
            .where(fence.name == WRITER)
        )
        with engines.failures(self.ledger.engine, "reading the runs"), self.ledger.reading.connect() as connection:
            return tuple(connection.execute(query).first() or ())

    def that_wrote(self, most: int) -> list[Run]:
        """Return the newest runs of this scope that wrote rows or put rows back, newest first, at most ``most``."""
        row = t.runs.c
        wrote = sa.and_(self.ledger.scope.of(t.runs), row.act.in_(WRITING), row.written > 0)
        found = self._read(sa.select(t.runs).where(wrote).order_by(row.started.desc(), row.run_id.desc()).limit(most))
        return list(map(self.seen, found))

    def seen(self, run: Run) -> Run:
        """Return the run with its true status: ``interrupted`` if it recorded no end and its process has stopped.

        ``silent`` is the seconds since its last heartbeat; None if it has ended or its lock is gone.
        """
        if not run.is_running:
            return run
        lives, silent = self._life(run)
        if lives:
            return replace(run, silent=silent)
        now = self.one(run.run_id) or run  # it may have ended between the two queries
        return replace(now, silent=silent, status=RunStatus.INTERRUPTED if now.is_running else now.status)

    def _life(self, run: Run) -> tuple[bool, float | None]:
        """Return whether the holder of a run's lock is alive, and the seconds since its last heartbeat."""
        name = WRITER if run.writes else run.notebook
        held = sa.select(t.locks).where(t.locks.c.name == name, t.locks.c.run_id == run.run_id)
        with engines.failures(self.ledger.engine, "reading the locks"), self.ledger.reading.connect() as connection:
            row = connection.execute(held).mappings().first()
            if row is None:
                return False, None
            silent = (locks.now(connection) - row["beat"]).total_seconds()
            return locks.lives(connection, row), max(0.0, silent)

    def chain(self, undo: Run) -> list[str]:
        """Return the ids of the undo, of the run that it undoes, of the run that this one undoes, and so on."""
        names: list[str] = [undo.run_id]
        run: Run | None = undo
        while run and run.act == Act.UNDO:
            names.append(str(run.plan).partition(":")[0])
            run = self.one(names[-1])
        return names

    def free_name(self, moment: datetime, notebook: str) -> str:
        """Return an unused run id for this time; if it is taken, one for a later second."""
        while self.one(name := f"{moment:{STAMP}}__{notebook}"):
            moment += timedelta(seconds=1)
        return name

    def forget(self, run_id: str) -> None:
        """Delete the record of a run."""
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            connection.execute(sa.delete(t.runs).where(t.runs.c.run_id == run_id))

    def request(self, run_id: str, word: str) -> bool:
        """Ask a running run to ``pause``, ``resume`` or ``cancel``; return False if no run with this id is running."""
        return self._update(run_id, {"requested": word}, running=True)

    def answer_pause(self, run_id: str) -> None:
        """Record that the run is paused, unless it was asked for something else in the meantime."""
        asked = sa.and_(t.runs.c.run_id == run_id, t.runs.c.requested == PAUSE)
        with engines.failures(self.ledger.engine, "writing the runs"), self.ledger.begin() as connection:
            connection.execute(sa.update(t.runs).where(asked).values(requested=PAUSED))

    def requested(self, run_id: str) -> str:
        """Return what the run was asked to do, or `PAUSED` once it has answered; empty for nothing."""
        query = sa.select(t.runs.c.requested).where(t.runs.c.run_id == run_id)
        with engines.failures(self.ledger.engine, "reading the runs"), self.ledger.reading.connect() as connection:
            return str(connection.execute(query).scalar_one_or_none() or "")

    def all(self, act: str | None = None, *, status: RunStatus | None = None) -> list[Run]:
        """Return the runs of this scope, oldest first."""
        query = sa.select(t.runs).where(self.ledger.scope.of(t.runs)).order_by(t.runs.c.started, t.runs.c.run_id)
        if act:
            query = query.where(t.runs.c.act == act)
        if status:
            query = query.where(t.runs.c.status == status)
        return self._read(query)

    def newest(self) -> dict[str, Run]:
        """Return the newest run of each notebook in this scope."""
        mine, row = self.ledger.scope.of(t.runs), t.runs.c
        starts = sa.select(row.notebook, sa.func.max(row.started).label("started")).where(mine).group_by(row.notebook)
        last = starts.subquery()
        joined = sa.and_(row.notebook == last.c.notebook, row.started == last.c.started)
        return {run.notebook: run for run in self._read(sa.select(t.runs).join(last, joined).where(mine))}

    def _read(self, query: Query) -> list[Run]:
        with engines.failures(self.ledger.engine, "reading the runs"), self.ledger.reading.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return list(map(Run.of_row, rows))

    def _update(
        self, run_id: str, values: Mapping[str, object], *, running: bool = False, held: Held | None = None
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
    """A run's progress: rows done and in total, rows per second, seconds left; None if not known yet."""

    done: int
    total: int
    per_second: float | None
    left: float | None


def pace(run: Run) -> Pace:
    """Return a run's progress and speed, from its row in the ledger."""
    done, total = run.written + run.skipped + run.failed, run.total or 0
    seconds = ((run.beat or run.started) - run.started).total_seconds()
    if not done or seconds <= 0:
        return Pace(done, total, None, None)
    return Pace(done, total, done / seconds, max(0, total - done) * seconds / done)


def _loads(value: str | None) -> dict[str, Any]:
    loaded = json.loads(value) if value else {}
    return loaded if isinstance(loaded, dict) else {}
