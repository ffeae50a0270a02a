"""Applies a plan, or undoes a run, in batches; each batch is recorded in the ledger in the same transaction.

Batches grow, and are written in parallel, while the database answers quickly. Between two batches the run checks
whether it was requested to pause or cancel, whether the company's health query still passes, and whether too many rows
fail. If it is killed, applying the same plan again continues where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import HIDDEN, shown_id
from smartcar_ops.backfill.batches import BatchQueue, BatchSizer
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.planner import binding, plan, refuse_foreign_service, written_columns
from smartcar_ops.concurrency import prefetch
from smartcar_ops.database import schema
from smartcar_ops.database.compare_and_set import ChangeBatch, RowWriter
from smartcar_ops.database.evidence.duplicate_ids import HeldTwice
from smartcar_ops.database.evidence.readiness import UNREADY, Readiness
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import WRITER, Held, lock
from smartcar_ops.database.ledger.runs import PAUSE, PAUSED, Act, Run, Runs, RunStatus
from smartcar_ops.database.sql_types import Condition
from smartcar_ops.database.staging import SCHEMA, RowRange, Stage
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, LockedError, PlanError
from smartcar_ops.settings.logs import counts as counts_in_words
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.storage.run_log import Milestones
from smartcar_ops.text import NIL, SHAPE, UUID, thousands

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
"""The number of the evidence if there is no plan: the evidence is checked again for every row."""

POLL_SECONDS = 0.5
"""How often a paused run checks whether it may resume."""

MIN_FAILED_ROWS = 20
"""Failed rows from which on their share can stop a run."""

RowProgress = Callable[[int, int, int], None]
"""(rows done, rows in total, rows written)."""


@dataclass
class Applied:
    """The outcome of an apply or undo: row counts, and whether it finished; the rows themselves are in the ledger."""

    run_id: str
    ledger: Ledger = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    cancelled: bool = False
    stopped: str = ""
    """Why the run stopped by itself; empty if it did not."""

    @property
    def done(self) -> int:
        """Rows that have an outcome."""
        return self.counts.total()

    def count(self, outcome: str) -> int:
        """Return how many rows have this outcome."""
        return self.counts[outcome]

    @property
    def summary(self) -> dict[str, int]:
        """The row counts of summary.json."""
        return {
            "applied": self.count("written"),
            "skipped": self.count("skipped"),
            "failed": self.count("failed"),
        }

    @property
    def not_ready(self) -> int:
        """Rows skipped although unchanged, because the evidence no longer supports setting them."""
        return sum(rows for reason, rows in self.reasons().items() if reason in UNREADY)

    def reasons(self) -> dict[str, int]:
        """Return why rows were skipped: reason -> rows."""
        return change_log.reasons(self.ledger, self.run_id) if self.count("skipped") else {}

    @property
    def exit_code(self) -> int:
        """0; 1 if some row failed or the run stopped by itself; 3 if there was nothing to do."""
        if self.stopped:
            return 1
        if not self.done and not self.cancelled:
            return 3
        return int(self.count("failed") > 0)

    def changes(self, outcome: str = "") -> ParquetTable:
        """Return one row per change, read from the ledger: all of them, or those with one outcome."""
        changes = ParquetTable(CHANGE_COLUMNS)
        for rows in change_log.of_run(self.ledger, self.run_id, outcome):
            part = pd.DataFrame.from_records(rows, columns=list(CHANGE_COLUMNS))
            for name in ("before", "after"):
                part[name] = part[name].map(shown, na_action="ignore")
            changes.append(part)
        return changes.close()

    def table(self, outcome: str = "") -> pd.DataFrame:
        """Return the same rows as one DataFrame."""
        return self.changes(outcome).frame()


def apply(
    company: Company,
    ledger: Ledger,
    wanted: Plan,
    run_id: str,
    *,
    batch_size: int = 5000,
    progress: RowProgress | None = None,
) -> Applied:
    """Write the plan's rows to the company's tables; skip rows that have changed since the plan was made.

    Each change is recorded in the ledger, which must be in the database. ``batch_size`` is the most rows per
    transaction. Requests to pause or cancel (`Runs.request`) take effect between batches. PlanError if the plan was
    made for something else, LockedError if another run is writing.
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
    """Put back what a run, a batch or a row (``RUN[:BATCH[:ROW]]``) changed, unless it has been put back already.

    Rows that have changed since are skipped.
    """
    condition = standing(ledger, target)
    readiness = None
    if _sets_ids_again(ledger, target):
        readiness = Readiness.of(company, ledger, buckets.RULES_TO_SET, UNJUDGED)
    with BackfillRun(company, ledger, run_id, "undo", target, readiness) as act:
        act.stage(lambda stage: stage.fill_from(change_log.reverse_changes(condition)))
        return act.execute(batch_size, progress)


def _sets_ids_again(ledger: Ledger, target: str) -> bool:
    """Return whether the run to undo removed ids, so that undoing it, like a plan, needs evidence that still holds."""
    run = Runs(ledger).one(target.partition(":")[0])
    return run is not None and run.act == Act.UNDO and not _sets_ids_again(ledger, str(run.plan))


def undo_preview(ledger: Ledger, target: str, rows: int) -> tuple[int, pd.DataFrame]:
    """Return how many changes an undo of ``RUN[:BATCH[:ROW]]`` would put back, and the first ``rows`` of them.

    PlanError if the run is unknown.
    """
    count, first_rows = change_log.first(ledger, standing(ledger, target, as_noted=True), rows)
    names = ["place", "table", "row_id", "user_id", "column", "before", "after", "cars"]
    frame = pd.DataFrame.from_records(first_rows, columns=names).drop(columns=["place", "cars"])
    for name in ("before", "after"):
        frame[name] = frame[name].map(shown, na_action="ignore")
    return count, frame


def standing(ledger: Ledger, target: str, *, as_noted: bool = False) -> Condition:
    """Return the condition for the changes of ``RUN[:BATCH[:ROW]]`` that can be undone; PlanError if unknown.

    ``as_noted`` leaves out what a running or killed undo has put back but not yet marked as undone.
    """
    run, _, rest = target.partition(":")
    batch, _, row = rest.partition(":")
    if batch and not batch.isdigit():
        raise PlanError(
            f"undo: the batch in {target!r} is {batch!r}, not a number; expected RUN, RUN:BATCH or RUN:BATCH:ROW."
        )
    known = Runs(ledger).one(run)
    if known is None:
        raise PlanError(f"undo: the ledger has no run {run!r}; `smartcar-ops runs` lists them.")
    if known.layout != ledger.scope.layout:
        raise PlanError(
            f"undo: the run {run!r} changed other tables than those in smartcar_ops.toml: "
            f"{ledger.tables_of(known.layout)}; set these in smartcar_ops.toml, then undo again."
        )
    undoing = Runs(ledger).undoing(run) if as_noted else []
    return change_log.standing(run, int(batch) if batch else None, row or None, undoing=undoing)


class BackfillRun:
    """One apply or undo, from taking the writer lock to its last record; only one at a time per database."""

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
        self._writer = RowWriter(self._company, self._runs, self._held, self._readiness)
        try:
            self._mark_undone()
            self._runs.interrupted(self._held)
            self._runs.start(self._run_id, NOTEBOOK, self._name, plan=self._plan, held=self._held)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Mark what was undone, then end the run; if it is killed in between, the next run marks it.

        A run whose lock was taken over by another process records nothing more.
        """
        try:
            if kind is not None and issubclass(kind, LockedError):
                return
            # If there is an error already, it says more than one raised here.
            with suppress(DatabaseError, LockedError) if kind else nullcontext():
                self._mark_undone()
                self._runs.finish(self._run_id, self._status, self._applied.summary, held=self._held)
                self._stage.clear()
        finally:
            self._lock.__exit__(None, None, None)

    def stage(self, fill: Callable[[Stage], None]) -> None:
        """Stage the rows to write, and remove any that an earlier run with the same lock number left."""
        self._stage.clear()
        fill(self._stage)

    def drop_done(self, done: change_log.Written) -> None:
        """Drop rows that earlier runs of the plan wrote and that still have these values."""
        for section in self._stage.sections():
            self._stage.drop(self._writer.already_set(section, done))

    def execute(self, batch_size: int, progress: RowProgress | None) -> Applied:
        """Write the staged rows in batches; return the outcome as recorded in the ledger."""
        sections = self._stage.sections()
        total = sum(section.rows for section in sections)
        self._runs.expect(self._run_id, total)
        started = time.perf_counter()
        log.info("%s: %s rows, at most %s in a batch", self._name, f"{total:,}", f"{batch_size:,}")
        duplicates = HeldTwice(self._company, self._ledger, self._held, self._readiness)
        if self._name == "undo":
            self._applied.counts += duplicates.skip_changed_later(self._undone())
        self._applied.counts += duplicates.skip_staged()
        if self._applied.done:
            sections = self._stage.sections()
        for section in sections:
            self._writer.check_right(section)
        finished = self._write(BatchQueue(self._writer, sections, batch_size), total, progress)
        self._applied.counts.update(duplicates.take_back())
        if finished:
            self._status = self._ending(total)
        outcome = counts_in_words(self._applied.counts)
        log.info("%s: %s: %s in %.1f s", self._name, self._status, outcome, seconds_since(started))
        return self._applied

    def _undone(self) -> Run:
        """Return the apply that this undo, through any undos in between, belongs to; PlanError if it is gone."""
        this = self._runs.one(self._run_id)
        first = self._runs.chain(this)[-1] if this else self._run_id
        applied = self._runs.one(first)
        if applied is None:
            raise PlanError(f"undo: the ledger has no run {first!r}, the apply that this undo belongs to.")
        return applied

    def _ending(self, total: int) -> RunStatus:
        """Return ``done`` if every staged row has an outcome, otherwise ``stopped``."""
        if self._applied.done == total:
            return RunStatus.DONE
        self._held.check()  # a process that took over the lock clears the staged rows; they are then its to write
        self._applied.stopped = f"only {self._applied.done:,} of {thousands(total, 'rows')} have an outcome"
        return RunStatus.STOPPED

    def _write(self, queue: BatchQueue, total: int, progress: RowProgress | None) -> bool:
        """Write all batches; return False if the run was cancelled or stopped.

        Before it stops or raises an error, the batches in progress are finished.
        """
        running, may_continue, number = dict[Future[tuple[Counter[str], float]], BatchSizer](), True, 1
        failures: list[BaseException] = []
        milestones = Milestones(log, f"{self._name}: rows")
        with ThreadPoolExecutor(thread_name_prefix="writer") as executor:
            while True:
                while (
                    may_continue
                    and (found := queue.next_batch(number))
                    and (may_continue := self._may_continue(running))
                ):
                    sizer, section, batch = found
                    running[executor.submit(self._timed, section, batch)] = sizer
                    number += 1
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    sizer, error = running.pop(done), done.exception()
                    if error is not None:
                        may_continue = False
                        failures.append(error)
                        continue
                    counts, seconds = done.result()
                    sizer.record(seconds)
                    self._applied.counts += counts
                    milestones.reached(self._applied.done, total)
                    if progress:
                        progress(self._applied.done, total, self._applied.count("written"))
        if failures:
            raise failures[0]
        return may_continue

    def _timed(self, section: RowRange, batch: ChangeBatch) -> tuple[Counter[str], float]:
        """Write a batch; return its row counts by outcome, and the seconds it took."""
        started = time.perf_counter()
        counts = self._writer.write(section, batch)
        seconds = seconds_since(started)
        outcome = counts_in_words(counts)
        log.info("batch %d: %s.%s, %s in %.2f s", batch.number, section.table, section.column, outcome, seconds)
        return counts, seconds

    def _may_continue(self, batches: Collection[Future[Any]]) -> bool:
        """Wait while the run is paused; return False if it was cancelled, or must stop.

        The run is recorded as paused once the batches in progress are done.
        """
        self._held.check()
        paused = False
        while (request := self._runs.requested(self._run_id)) in (PAUSE, PAUSED):
            if not paused:
                log.info("%s: paused on request", self._name)
            paused = True
            if request == PAUSE and all(batch.done() for batch in batches):
                self._runs.answer_pause(self._run_id)
            time.sleep(POLL_SECONDS)
            self._held.check()
        if paused or request == "cancel":
            log.info("%s: %s on request", self._name, "cancelled" if request == "cancel" else "resumed")
        if request == "cancel":
            self._status, self._applied.cancelled = RunStatus.CANCELLED, True
        self._applied.stopped = self._reason_to_stop()
        if self._applied.stopped:
            log.info("%s: stopping, because %s", self._name, self._applied.stopped)
            self._status = RunStatus.STOPPED
        return not self._applied.cancelled and not self._applied.stopped

    def _reason_to_stop(self) -> str:
        health, failed = self._company.layout.health, self._applied.count("failed")
        if failed >= MIN_FAILED_ROWS and failed > health.failed_share * self._applied.done:
            share = health.failed_share
            return (
                f"{failed:,} of {self._applied.done:,} rows failed, more than [health] failed_share = {share:g} allows"
            )
        if health.query and not self._company.is_healthy():
            return "the [health] query failed"
        return ""

    def _mark_undone(self) -> None:
        """Mark what undos have put back, this one and any that was killed before it could; each once."""
        for run in self._runs.under_way(Act.UNDO):
            change_log.mark_undone(self._ledger, self._held, *self._runs.chain(run))


def _staged(company: Company, wanted: Plan) -> Generator[pa.Table]:
    """Yield the plan's rows to set, column by column, numbered in that order."""
    done = 0
    for table, column in wanted.columns():
        for part in wanted.to_set(table, column):
            places = pa.array(range(done + 1, done + 1 + len(part)), pa.int64())
            done += len(part)
            _refuse_invalid_ids(table, column, part["proposed"])
            before = _before(company, table, column, part)
            names = ("table", "row_id", "user_id", "column")
            columns = [places, *(part[name] for name in names), before, part["proposed"], part["cars"]]
            yield pa.Table.from_arrays(columns, SCHEMA.names).cast(SCHEMA)


def _refuse_invalid_ids(table: str, column: str, proposed: pa.ChunkedArray) -> None:
    """PlanError unless every value is a Smartcar id or null: checked once more right before it is written."""
    is_id = pc.match_substring_regex(proposed, f"^{SHAPE}$")
    if not pc.all(pc.and_(is_id, pc.not_equal(proposed, NIL)), min_count=0).as_py():  # null clears the column
        raise PlanError(
            f"plan: a value for {column!r} of the {table} is not a Smartcar id; expected a UUID. Plan again."
        )


def _before(company: Company, table: str, column: str, part: pa.Table) -> pa.ChunkedArray:
    """Return the values that the rows must still have to be written: those of the plan.

    If the plan hides a value, it is the current value, provided that it would be hidden in the same way.
    """
    current = part["current"]
    if not pc.any(pc.starts_with(current, HIDDEN)).as_py():
        return current
    planned = dict(zip(part["row_id"].to_pylist(), current.to_pylist(), strict=True))
    hidden = [row for row, value in planned.items() if value and value.startswith(HIDDEN)]
    for row, value in company.values(table, column, hidden).items():
        if value and shown(value) == planned[row]:
            planned[row] = value
    return pa.chunked_array([pa.array(planned.values(), pa.string())])


def shown(value: str) -> str | None:
    """Return a value as it may be shown: an id or a known slip; anything else is hidden, as it may be an e-mail."""
    is_id = UUID.fullmatch(value.strip())
    return shown_id({"value": value, "malformed": not is_id}, "value")
