"""Exactly a plan, then, if need be, the way back: in batches, each with its records, as a run that lives in SQL.

A batch is as large as the database answers quickly, and so is how many are written at once; between two batches the
run looks whether somebody asked it to pause or cancel, whether the company's health query still says yes, and whether
too many rows fail. Killed anywhere, the same plan applied again goes on where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from smartcar_ops.audit.result import HIDDEN, shown_id
from smartcar_ops.backfill.batches import BatchQueue, BatchSizer
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.planner import binding, plan, refuse_foreign_service, written_columns
from smartcar_ops.concurrency import prefetch
from smartcar_ops.database import schema
from smartcar_ops.database.changes import ChangeBatch, Changes
from smartcar_ops.database.evidence import buckets
from smartcar_ops.database.evidence.duplicate_ids import HeldTwice
from smartcar_ops.database.evidence.readiness import UNREADY, Readiness
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import WRITER, Held, lock
from smartcar_ops.database.ledger.runs import Act, Run, Runs, RunStatus
from smartcar_ops.database.staging import SCHEMA, RowRange, Stage
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, LockedError, PlanError
from smartcar_ops.settings.logs import counts as counts_in_words
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.storage.run_log import Milestones
from smartcar_ops.text import NIL, SHAPE, UUID

__all__ = ["Applied", "apply", "binding", "plan", "refuse_foreign_service", "undo", "undo_preview"]

log = logging.getLogger("smartcar_ops.backfill")

CHANGE_COLUMNS = {
    "run_id": "str",
    "batch": "int64",
    "table": "str",
    "row_id": "str",
    "user_id": "str",
    "column": "str",
    "before": "str",
    "after": "str",
    "outcome": "str",
    "reason": "str",
}
"""The columns of ``changes`` with their types; ``reason`` is why a failed row failed."""

NOTEBOOK = "30_backfill_user_ids"
UNJUDGED = -1
"""The evidence's number of what was not planned: every row is asked about."""

POLL = 0.5
"""Seconds between two looks at a paused run's wishes."""

FAILED_AT_LEAST = 20
"""So many rows must have failed before their share stops a run."""

RowProgress = Callable[[int, int, int], None]
"""(rows done, of, written)."""


@dataclass
class Applied:
    """What became of a plan's rows, and whether it ran to its end; the rows themselves are in the ledger."""

    run_id: str
    ledger: Ledger = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    cancelled: bool = False
    stopped: str = ""
    """Why the run stopped by itself; empty where it did not."""

    @property
    def done(self) -> int:
        """Rows dealt with."""
        return self.counts.total()

    def count(self, outcome: str) -> int:
        """How many rows ended so."""
        return self.counts[outcome]

    @property
    def summary(self) -> dict[str, int]:
        """Rows applied, skipped and failed."""
        return {
            "applied": self.count("written"),
            "skipped": self.count("skipped"),
            "failed": self.count("failed"),
        }

    @property
    def not_ready(self) -> int:
        """Skipped rows that were as planned, and no longer right to set."""
        return sum(rows for reason, rows in self.reasons().items() if reason in UNREADY)

    def reasons(self) -> dict[str, int]:
        """Why rows were skipped: reason -> rows."""
        return change_log.reasons(self.ledger, self.run_id) if self.count("skipped") else {}

    @property
    def exit_code(self) -> int:
        """0; 1 where some row failed, or the run stopped by itself; 3 where nothing was open."""
        if self.stopped:
            return 1
        if not self.done and not self.cancelled:
            return 3
        return int(self.count("failed") > 0)

    def kept(self, outcome: str = "") -> ParquetTable:
        """A row a change, under the contract's names, or those with one outcome; read from the ledger."""
        spool = ParquetTable(CHANGE_COLUMNS)
        for rows in change_log.of_run(self.ledger, self.run_id, outcome):
            part = pd.DataFrame.from_records(rows, columns=list(CHANGE_COLUMNS))
            for name in ("before", "after"):
                part[name] = part[name].map(shown, na_action="ignore")
            spool.append(part)
        return spool.close()

    def table(self, outcome: str = "") -> pd.DataFrame:
        """The same, all at once."""
        return self.kept(outcome).frame()


def apply(
    company: Company,
    ledger: Ledger,
    wanted: Plan,
    run_id: str,
    *,
    batch_size: int = 5000,
    progress: RowProgress | None = None,
) -> Applied:
    """Does exactly what the plan says, row by row where the row still is as planned.

    Writes the company's rows and their records; needs the ledger in the database. ``batch_size`` is the most rows a
    transaction. Pausing and cancelling are asked for in the ledger (`Runs.request`) and obeyed between batches.
    Errors: PlanError for a foreign plan, LockedError while another run writes.
    """
    refuse_foreign_service(ledger)
    if not ledger.in_database:
        schema.scope_ledger(company, ledger.scope)
    wanted.check(binding(company, ledger), written_columns(company))
    readiness = Readiness.of(company, ledger, buckets.RULES_TO_SET, wanted.seal.judged)
    with BackfillRun(company, ledger, run_id, "apply", wanted.hash, readiness) as act:
        act.stage(lambda stage: _fill(stage, company, wanted))
        if Runs(ledger).of_plan(wanted.hash):
            act.drop_done(change_log.done_by_plan(ledger, wanted.hash))
        return act.execute(batch_size, progress)


def _fill(stage: Stage, company: Company, wanted: Plan) -> None:
    with prefetch(_staged(company, wanted)) as rows:
        stage.fill(rows)


def undo(
    company: Company,
    ledger: Ledger,
    target: str,
    run_id: str,
    *,
    batch_size: int = 5000,
    progress: RowProgress | None = None,
) -> Applied:
    """Puts back what a run, a batch or a row of it (``RUN[:BATCH[:ROW]]``) changed and nobody has put back since.

    A row changed since is skipped.
    """
    condition = standing(ledger, target)
    readiness = None
    if _puts_ids_in_again(ledger, target):
        readiness = Readiness.of(company, ledger, buckets.RULES_TO_SET, UNJUDGED)
    with BackfillRun(company, ledger, run_id, "undo", target, readiness) as act:
        act.stage(lambda stage: stage.fill_from(change_log.way_back(condition)))
        return act.execute(batch_size, progress)


def _puts_ids_in_again(ledger: Ledger, target: str) -> bool:
    """Whether what is undone took ids out, so that undoing it is like applying a plan: it must still be right."""
    run = Runs(ledger).one(target.partition(":")[0])
    return run is not None and run.act == Act.UNDO and not _puts_ids_in_again(ledger, str(run.plan))


def undo_preview(ledger: Ledger, target: str, rows: int) -> tuple[int, pd.DataFrame]:
    """How many changes would undo ``RUN[:BATCH[:ROW]]``, and the first of them; PlanError for an unknown run."""
    count, found = change_log.first(ledger, standing(ledger, target, as_noted=True), rows)
    names = ["place", "table", "row_id", "user_id", "column", "before", "after", "cars"]
    frame = pd.DataFrame.from_records(found, columns=names).drop(columns=["place", "cars"])
    for name in ("before", "after"):
        frame[name] = frame[name].map(shown, na_action="ignore")
    return count, frame


def standing(ledger: Ledger, target: str, *, as_noted: bool = False) -> change_log.Condition:
    """Which changes that can be undone ``RUN[:BATCH[:ROW]]`` names; PlanError where the ledger has no such run.

    ``as_noted``: what an undo under way, or killed, has put back does not stand, though the next act will note it.
    """
    run, _, rest = target.partition(":")
    batch, _, row = rest.partition(":")
    if batch and not batch.isdigit():
        raise PlanError(f"undo: {target!r} names the batch {batch!r}; expected RUN, RUN:BATCH or RUN:BATCH:ROW.")
    known = Runs(ledger).one(run)
    if known is None:
        raise PlanError(f"undo: the ledger has no run {run!r}; `smartcar-ops runs` lists them.")
    if known.layout != ledger.scope.layout:
        raise PlanError(
            f"undo: the run {run!r} changed other tables than smartcar_ops.toml names now, "
            f"{ledger.tables_of(known.layout)}; name those, and undo again."
        )
    undoing = Runs(ledger).undoing(run) if as_noted else []
    return change_log.standing(run, int(batch) if batch else None, row or None, undoing=undoing)


class BackfillRun:
    """One act that writes, from the lock to its last record; there is one at a time."""

    def __init__(
        self, company: Company, ledger: Ledger, run_id: str, name: str, plan_hash: str, readiness: Readiness | None
    ) -> None:
        self._company, self._ledger, self._run_id = company, ledger, run_id
        self._name, self._plan, self._readiness = name, plan_hash, readiness
        self._runs = Runs(ledger)
        self._applied = Applied(run_id, ledger)
        self._status = RunStatus.FAILED

    def __enter__(self) -> BackfillRun:
        schema.scope_ledger(self._company, self._ledger.scope)
        self._lock = lock(self._ledger, WRITER, self._run_id)
        self._held: Held = self._lock.__enter__()
        self._stage = Stage(self._company.engine, self._held)
        self._changes = Changes(self._company, self._runs, self._held, self._readiness)
        try:
            self._settle()
            self._runs.interrupted(self._held)
            self._runs.start(self._run_id, NOTEBOOK, self._name, plan=self._plan, held=self._held)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """What was undone is noted before the run's end: killed in between, the next act does so.

        An act whose lock was taken over notes nothing: it is no longer its own to end.
        """
        try:
            if kind is not None and issubclass(kind, LockedError):
                return
            # The first failure says more than the next.
            with suppress(DatabaseError, LockedError) if kind else nullcontext():
                self._settle()
                self._runs.finish(self._run_id, self._status, self._applied.summary, held=self._held)
                self._stage.clear()
        finally:
            self._lock.__exit__(None, None, None)

    def stage(self, fill: Callable[[Stage], None]) -> None:
        """Stages what is to be written, in place of whatever an earlier act with this number left."""
        self._stage.clear()
        fill(self._stage)

    def drop_done(self, done: change_log.Written) -> None:
        """Leaves out what earlier runs wrote and the tables still hold: it is not open."""
        for section in self._stage.sections():
            self._stage.drop(self._changes.already_set(section, done))

    def execute(self, batch_size: int, progress: RowProgress | None) -> Applied:
        """Writes the staged rows in batches; what was recorded is what was done."""
        sections = self._stage.sections()
        total = sum(section.rows for section in sections)
        self._runs.expect(self._run_id, total)
        started = time.perf_counter()
        log.info("%s: %s rows, at most %s in a batch", self._name, f"{total:,}", f"{batch_size:,}")
        twice = HeldTwice(self._company, self._ledger, self._held, self._readiness)
        if self._name == "undo":
            self._applied.counts += twice.skip_changed_later(self._undone())
        self._applied.counts += twice.skip_staged()
        if self._applied.done:
            sections = self._stage.sections()
        for section in sections:
            self._changes.check_right(section)
        ended = self._write(BatchQueue(self._changes, sections, batch_size), total, progress)
        self._applied.counts.update(twice.take_back())
        if ended:
            self._status = self._ending(total)
        came = counts_in_words(self._applied.counts)
        log.info("%s: %s: %s in %.1f s", self._name, self._status, came, seconds_since(started))
        return self._applied

    def _undone(self) -> Run:
        """The apply that this undo is about, by way of undos in between; PlanError if the ledger lost it."""
        this = self._runs.one(self._run_id)
        first = self._runs.chain(this)[-1] if this else self._run_id
        found = self._runs.one(first)
        if found is None:
            raise PlanError(f"undo: the ledger has no run {first!r}, which this undo goes back to.")
        return found

    def _ending(self, total: int) -> RunStatus:
        """``done`` if every staged row was dealt with; rows that are not accounted for are never done."""
        if self._applied.done == total:
            return RunStatus.DONE
        self._held.check()  # whoever takes the lock over clears the stage: what is left is that act's to do
        self._applied.stopped = f"only {self._applied.done:,} of {total:,} rows are accounted for"
        return RunStatus.STOPPED

    def _write(self, lanes: BatchQueue, total: int, progress: RowProgress | None) -> bool:
        """Whether all was written; what stops the run, or fails, lets the batches under way end first."""
        running, goes_on, number = dict[Future[tuple[Counter[str], float]], BatchSizer](), True, 1
        failures: list[BaseException] = []
        milestones = Milestones(log, f"{self._name}: rows")
        with ThreadPoolExecutor(thread_name_prefix="writer") as executor:
            while True:
                while goes_on and (found := lanes.next_batch(number)) and (goes_on := self._may_go_on()):
                    lane, section, batch = found
                    running[executor.submit(self._timed, section, batch)] = lane
                    number += 1
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    lane, error = running.pop(done), done.exception()
                    if error is not None:
                        goes_on = False
                        failures.append(error)
                        continue
                    counts, seconds = done.result()
                    lane.took(seconds)
                    self._applied.counts += counts
                    milestones.reached(self._applied.done, total)
                    if progress:
                        progress(self._applied.done, total, self._applied.count("written"))
        if failures:
            raise failures[0]
        return goes_on

    def _timed(self, section: RowRange, batch: ChangeBatch) -> tuple[Counter[str], float]:
        """What a batch came to, and its seconds."""
        started = time.perf_counter()
        counts = self._changes.write(section, batch)
        seconds = seconds_since(started)
        told = batch.number, section.table, section.column, counts_in_words(counts), seconds
        log.info("batch %d: %s.%s, %s in %.2f s", *told)
        return counts, seconds

    def _may_go_on(self) -> bool:
        """Waits while the run is paused; False where it was cancelled, or something says stop."""
        self._held.check()
        paused = False
        while (word := self._runs.requested(self._run_id)) == "pause":
            if not paused:
                log.info("%s: paused, as somebody asked", self._name)
            paused = True
            time.sleep(POLL)
            self._held.check()
        if paused or word == "cancel":
            log.info("%s: %s, as somebody asked", self._name, "cancelled" if word == "cancel" else "resumed")
        if word == "cancel":
            self._status, self._applied.cancelled = RunStatus.CANCELLED, True
        self._applied.stopped = self._reason_to_stop()
        if self._applied.stopped:
            log.info("%s: stops, for %s", self._name, self._applied.stopped)
            self._status = RunStatus.STOPPED
        return not self._applied.cancelled and not self._applied.stopped

    def _reason_to_stop(self) -> str:
        health, failed = self._company.layout.health, self._applied.count("failed")
        if failed >= FAILED_AT_LEAST and failed > health.failed_share * self._applied.done:
            share = health.failed_share
            return (
                f"{failed:,} of {self._applied.done:,} rows failed, more than [health] failed_share = {share:g} allows"
            )
        if health.query and not self._company.is_healthy():
            return "the [health] query says no"
        return ""

    def _settle(self) -> None:
        """Notes what undos have put back: this one, and any that was killed before it could; each one once."""
        for run in self._runs.under_way(Act.UNDO):
            change_log.mark_undone(self._ledger, self._held, *self._runs.chain(run))


def _staged(company: Company, wanted: Plan) -> Generator[pa.Table]:
    """The plan's rows to set, a column of a table after the other, each at its place in that order."""
    done = 0
    for table, column in wanted.columns():
        for part in wanted.to_set(table, column):
            places = pa.array(range(done + 1, done + 1 + len(part)), pa.int64())
            done += len(part)
            _refuse_others(table, column, part["proposed"])
            before = _before(company, table, column, part)
            names = ("table", "row_id", "user_id", "column")
            columns = [places, *(part[name] for name in names), before, part["proposed"], part["cars"]]
            yield pa.Table.from_arrays(columns, SCHEMA.names).cast(SCHEMA)


def _refuse_others(table: str, column: str, proposed: pa.ChunkedArray) -> None:
    """PlanError unless every value is an id of Smartcar's, or none: the plan checked it, and so does the write."""
    is_id = pc.match_substring_regex(proposed, f"^{SHAPE}$")
    if not pc.all(
        pc.and_(is_id, pc.not_equal(proposed, NIL)), min_count=0
    ).as_py():  # where none is to be set, it is null
        raise PlanError(
            f"plan: a value for {column!r} of the {table} is no id of Smartcar's; expected a UUID. Plan again."
        )


def _before(company: Company, table: str, column: str, part: pa.Table) -> pa.ChunkedArray:
    """What the rows must still hold: as planned, or, where the plan does not show it, as it is and would be shown."""
    current = part["current"]
    if not pc.any(pc.starts_with(current, HIDDEN)).as_py():
        return current
    planned = dict(zip(part["row_id"].to_pylist(), current.to_pylist(), strict=True))
    hidden = [row for row, told in planned.items() if told and told.startswith(HIDDEN)]
    for row, now in company.values(table, column, hidden).items():
        if now and shown(now) == planned[row]:
            planned[row] = now
    return pa.chunked_array([pa.array(planned.values(), pa.string())])


def shown(value: str) -> str | None:
    """A value as people may see it: an id, or a known slip; anything else may be somebody's e-mail."""
    is_id = UUID.fullmatch(value.strip())
    return shown_id({"value": value, "malformed": not is_id}, "value")
