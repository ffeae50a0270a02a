"""The recorded changes, by run, batch or row, and which of them are still in effect (not undone)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import CHUNK, Ledger
from smartcar_ops.database.ledger.locks import Held
from smartcar_ops.database.sql_types import Condition, Query

COLUMNS = (
    t.changes.c.run_id,
    t.changes.c.batch,
    t.changes.c.table_name.label("table"),
    t.changes.c.row_id,
    t.changes.c.user_id,
    t.changes.c.column_name.label("column"),
    t.changes.c.before_value.label("before"),
    t.changes.c.after_value.label("after"),
    t.changes.c.outcome,
    t.changes.c.reason,
)
"""The columns of a recorded change under the contract's names, and the reason of a skipped or failed one."""


class FailedRow(NamedTuple):
    """A row of the company's table that the database refused; ``reason`` is its error class."""

    table: str
    row_id: str
    column: str
    reason: str


class BatchCounts(NamedTuple):
    """One batch of a run: its rows by outcome, how many changes are in effect, and its end (naive UTC)."""

    batch: int
    table: str
    written: int
    skipped: int
    failed: int
    standing: int
    ended: datetime


class StandingChange(NamedTuple):
    """A change that is in effect: where it was written, and the value before and after; None for no value."""

    run_id: str
    batch: int
    table: str
    row_id: str
    column: str
    before: str | None
    after: str | None
    place: int


def of_run(ledger: Ledger, run_id: str, outcome: str = "") -> Iterator[Sequence[Sequence[object]]]:
    """Return the recorded changes of a run in batches, with `COLUMNS`; optionally only those with one outcome."""
    query = sa.select(*COLUMNS).where(t.changes.c.run_id == run_id).order_by(t.changes.c.batch, t.changes.c.place)
    query = query.where(t.changes.c.outcome == outcome) if outcome else query
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        yield from connection.execute(query, execution_options={"yield_per": CHUNK}).partitions()


def failures(ledger: Ledger, run_id: str, most: int) -> list[FailedRow]:
    """Return the first failed rows of a run, at most ``most``."""
    of = t.changes.c
    query = sa.select(of.table_name, of.row_id, of.column_name, of.reason).order_by(of.batch, of.place).limit(most)
    query = query.where(of.run_id == run_id, of.outcome == "failed")
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return [FailedRow(*row) for row in connection.execute(query)]


def reasons(ledger: Ledger, run_id: str) -> dict[str, int]:
    """Return why rows of a run were skipped: reason -> number of rows."""
    of = t.changes.c
    skipped = sa.and_(of.run_id == run_id, of.outcome == "skipped")
    query = sa.select(of.reason, sa.func.count()).where(skipped).group_by(of.reason)
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return {reason or "": int(rows) for reason, rows in connection.execute(query)}


def standing(
    run_id: str, batch: int | None = None, row: str | None = None, *, undoing: Iterable[Sequence[str]] = ()
) -> Condition:
    """Return the condition that a change of this run was written and not undone, optionally in one batch or row.

    ``row`` is an id, because a batch belongs to one table, or ``users/ID`` or ``vehicles/ID``. ``undoing`` are undos
    that have not yet recorded what they put back (`Runs.undoing`); it counts as recorded.
    """
    of = t.changes.c
    stands: Condition = of.undone_by.is_(None)
    for names in undoing:
        stands = _as_recorded(stands, *names)
    wanted = [of.run_id == run_id, of.outcome == "written", stands]
    if batch is not None:
        wanted.append(of.batch == batch)
    if row is not None:
        table, slash, row_id = row.partition("/")
        has_table = slash and table in ("users", "vehicles")
        wanted.append(of.row_id == (row_id if has_table else row))
        if has_table:
            wanted.append(of.table_name == table)
    return sa.and_(*wanted)


def _as_recorded(stands: Condition, undo: str, *names: str) -> Condition:
    """Return which changes of the last run are in effect once the undo has recorded what it put back of the first."""
    of, done = t.changes.c, t.changes.alias("done").c
    back = of.place.in_(sa.select(done.place).where(done.run_id == undo, done.outcome == "written"))
    if len(names) % 2:
        return sa.and_(stands, sa.not_(back))
    return sa.or_(stands, sa.and_(of.undone_by == names[-2], back))  # what its own undo put back is in effect again


def count_written(ledger: Ledger, since: datetime | None = None, until: datetime | None = None) -> int:
    """Return how many values the runs of this scope wrote or put back, from ``since`` until before ``until``."""
    of = t.changes.c
    written = [ledger.scope.of(t.runs), of.outcome == "written"]
    written += [of.at >= t.as_kept(since)] if since else []
    written += [of.at < t.as_kept(until)] if until else []
    query = sa.select(sa.func.count()).select_from(t.changes.join(t.runs, of.run_id == t.runs.c.run_id))
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return int(connection.execute(query.where(*written)).scalar_one())


def batches(
    ledger: Ledger, run_id: str, stands: Condition, *, after: int | None = None, most: int | None = None
) -> list[BatchCounts]:
    """Return a run's batches, in order; optionally only those after a batch, and at most ``most``.

    ``stands`` is the condition for changes in effect (`standing`).
    """
    of = t.changes.c
    counted = [sa.func.count(sa.case((of.outcome == outcome, 1))) for outcome in ("written", "skipped", "failed")]
    counted.append(sa.func.count(sa.case((stands, 1))))
    query = sa.select(of.batch, of.table_name, *counted, sa.func.max(of.at)).where(of.run_id == run_id)
    query = query.group_by(of.batch, of.table_name).order_by(of.batch, of.table_name).limit(most)
    query = query if after is None else query.where(of.batch > after)
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return [BatchCounts(*row) for row in connection.execute(query)]


def first(ledger: Ledger, condition: Condition, rows: int) -> tuple[int, Sequence[Sequence[object]]]:
    """Return how many staged rows would undo these changes, and the first of them."""
    query = reverse_changes(condition)
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
        return int(count), connection.execute(query.order_by("place").limit(rows)).all()


def reverse_changes(condition: Condition) -> Query:
    """Return the query for the staged rows that would undo these changes."""
    of = t.changes.c
    return sa.select(
        of.place,
        of.table_name,
        of.row_id,
        of.user_id,
        of.column_name,
        of.after_value,
        of.before_value,
        sa.cast(sa.null(), sa.Text).label("cars"),
    ).where(condition)


def first_standing(ledger: Ledger, stands: Condition, rows: int) -> tuple[int, list[StandingChange]]:
    """Return how many changes are in effect, and the first of them."""
    count = sa.select(sa.func.count()).select_from(t.changes).where(stands)
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        number = connection.execute(count).scalar_one()
    return int(number), standing_after(ledger, stands, rows)


def standing_after(
    ledger: Ledger, stands: Condition, rows: int, after: tuple[int, int] | None = None
) -> list[StandingChange]:
    """Return changes that are in effect, in order: the first, or those after a (batch, place), at most ``rows``."""
    of = t.changes.c
    columns = (of.run_id, of.batch, of.table_name, of.row_id, of.column_name, of.before_value, of.after_value, of.place)
    query = sa.select(*columns).where(stands).order_by(of.batch, of.place).limit(rows)
    if after is not None:
        batch, place = after
        query = query.where(sa.or_(of.batch > batch, sa.and_(of.batch == batch, of.place > place)))
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return [StandingChange(*row) for row in connection.execute(query)]


Written: TypeAlias = "sa.Select[int, str, str, str, str | None]"
"""A query for (place, table, row id, column, after) of written changes."""


def done_by_plan(ledger: Ledger, plan: str) -> Written:
    """Return the query for the changes that earlier, interrupted runs of a plan have written."""
    runs = sa.select(t.runs.c.run_id).where(ledger.scope.of(t.runs), t.runs.c.act == "apply", t.runs.c.plan == plan)
    of = t.changes.c
    query = sa.select(of.place, of.table_name, of.row_id, of.column_name, of.after_value)
    return query.where(of.run_id.in_(runs), of.outcome == "written", of.undone_by.is_(None))


def tally(ledger: Ledger, changes: Query) -> dict[str, int]:
    """Return how many rows of ``users`` and ``vehicles`` a query for changes names, each row of a plan once."""
    of = changes.subquery().c
    query = sa.select(of.table_name, sa.func.count(of.place.distinct())).group_by(of.table_name)
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return {table: int(rows) for table, rows in connection.execute(query)}


def mark_undone(ledger: Ledger, held: Held, undo: str, target: str, *before_that: str) -> None:
    """Record that an undo has put back the changes of the run ``target``; calling it again changes nothing.

    LockedError if the lock was taken over: the new holder has recorded it, and may have undone the undo since.

    If ``target`` is an undo itself, the changes that it had put back are in effect again; if the next run is an undo
    too, its changes are undone again, and so on through the runs ``before_that``.
    """
    of = t.changes.c
    written = sa.select(of.place).where(of.run_id == undo, of.outcome == "written").subquery()
    back = of.place.in_(sa.select(written.c.place))
    with engines.failures(ledger.engine, "recording the undo"), ledger.begin() as connection:
        held.guard(connection)
        undone = sa.update(t.changes).where(of.run_id == target, of.outcome == "written", back)
        connection.execute(undone.values(undone_by=undo))
        for number, run in enumerate(before_that):
            by = (target, *before_that)[number]
            was, now = (by, None) if number % 2 == 0 else (None, by)
            update = sa.update(t.changes).where(of.run_id == run, of.outcome == "written", of.undone_by == was, back)
            connection.execute(update.values(undone_by=now))
