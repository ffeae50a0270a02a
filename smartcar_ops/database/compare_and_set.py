"""The only writes to the company's rows, by an apply or an undo: compare and set, recorded in the same transaction.

A row that changed since the plan, or since the apply that is undone, is skipped.

A batch is one statement for its rows and one for their records, whatever its size. In its own transaction it checks
that the run still holds its lock, that each row is unchanged since the plan, and that it is still right to set. If
the database refuses a batch, it is halved until only the refused rows remain: these are recorded as failed, the others
are written.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from smartcar_ops.database import column_types, engines
from smartcar_ops.database.evidence.readiness import MOVED, Readiness
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.change_log import Written
from smartcar_ops.database.ledger.locks import Held, utcnow
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.database.sql_types import Condition, Expression, Query
from smartcar_ops.database.staging import COLUMNS, RowRange
from smartcar_ops.database.tables import Company

log = logging.getLogger("smartcar_ops.backfill")

OWN_REFUSALS = (1644, 3819, 4025)
"""MySQL's error numbers for a row that a trigger or check refuses; its drivers raise them as OperationalError."""

GONE = "the row is gone"
CHANGED = "changed since the plan"
NOT_WRITTEN = "NotWritten"
"""The reason of a row that is unchanged since the plan but that the database did not set, without an error."""

MOST_IN_A_RING = 1000
"""Maximum number of rows with each other's ids that are set together."""


class NotWrittenError(Exception):
    """The database reported a value as set that it did not set, or it set several rows with one id."""


@dataclass(frozen=True)
class RowChange:
    """One value to set if the row still has ``before``; ``table`` is ``users`` or ``vehicles``."""

    table: str
    row_id: str
    user_id: str | None
    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ChangeBatch:
    """A range of staged places, with the batch's number in its run."""

    number: int
    first: int
    last: int

    @property
    def halves(self) -> tuple[ChangeBatch, ChangeBatch]:
        """The two halves of a batch with several places."""
        middle = (self.first + self.last) // 2
        return ChangeBatch(self.number, self.first, middle), ChangeBatch(self.number, middle + 1, self.last)


class RowWriter:
    """Writes the staged rows, section by section, for one run that holds the writer lock.

    With ``readiness``, it also checks whether each row is still right to set.
    """

    def __init__(self, company: Company, runs: Runs, held: Held, readiness: Readiness | None = None) -> None:
        self._company, self._runs, self._held, self._readiness = company, runs, held, readiness
        self._engine = engines.writer(company.engine)

    @property
    def takes_several(self) -> bool:
        """Whether batches may be written in parallel: SQLite has one writer, MariaDB also locks neighboring rows."""
        return self._engine.dialect.name == "postgresql"

    def check_right(self, section: RowRange) -> None:
        """DatabaseError if this account may not write the section's column; tries an update of no rows."""
        table, _, column = self._place(section)
        doing = f"trying to write {table.name}.{column.name}"
        with engines.failures(self._engine, doing), self._engine.connect() as connection:
            value = self._value(column, sa.literal(column_types.PROBE))
            connection.execute(sa.update(table).where(sa.false()).values({column: value}))
            connection.rollback()

    def next_batch(self, section: RowRange, after: int, size: int, number: int) -> ChangeBatch | None:
        """Return the next batch of a section, at most ``size`` rows; None at its end."""
        places = (
            sa.select(t.stage.c.place)
            .where(self._is_mine, t.stage.c.place > after, t.stage.c.place <= section.last)
            .order_by(t.stage.c.place)
            .limit(size)
            .subquery()
        )
        query = sa.select(sa.func.min(places.c.place), sa.func.max(places.c.place))
        with engines.failures(self._engine, "reading the stage"), self._engine.connect() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else ChangeBatch(number, first, last)

    def already_set(self, section: RowRange, done: Written) -> sa.Select[int]:
        """Return the places of these records of the section's column whose rows still have the written value."""
        columns = ("place", "table_name", "row_id", "column_name", "after_value")
        rows = sa.select(
            *(column.label(f"staged_{name}") for name, column in zip(columns, done.subquery().c, strict=True))
        )
        earlier = rows.subquery("done_before")
        table, _, column = self._place(section)
        row = earlier.c
        of_section = sa.and_(row.staged_table_name == section.table, row.staged_column_name == section.column)
        holds = sa.and_(self._is_row(section, earlier), self._holds(column, row.staged_after_value))
        return sa.select(row.staged_place).join(table, holds).where(of_section)

    def write(self, section: RowRange, batch: ChangeBatch) -> Counter[str]:
        """Write a batch; return outcome -> rows.

        A row that has changed since the plan, or is no longer right to set, is skipped; one that the database refuses
        is failed; neither stops the others. DatabaseError if the database itself fails, LockedError if the lock was
        taken over; a committed batch is always complete.
        """
        for attempt in range(1, engines.TRIES + 1):
            try:
                return self._write(section, batch)
            except (DBAPIError, NotWrittenError) as error:
                if isinstance(error, DBAPIError) and (error.connection_invalidated or not _is_of_rows(error)):
                    if attempt < engines.TRIES and engines.is_passing(error):
                        log.info("batch %d: another transaction blocked it, trying again", batch.number)
                        continue
                    with engines.failures(self._engine, f"writing batch {batch.number}"):
                        raise
                if batch.first == batch.last:
                    return self._write_single(section, batch, error)
                break
        outcomes: Counter[str] = Counter()
        for half in batch.halves:
            outcomes += self.write(section, half)
        return outcomes

    def _write(self, section: RowRange, batch: ChangeBatch) -> Counter[str]:
        with self._engine.begin() as connection:
            self._held.guard(connection)
            staged, outcomes = self._staged(batch), Counter[str]()
            write = self._set_and_record if connection.dialect.name == "postgresql" else self._record_and_set
            wanted = connection.execute(sa.select(sa.func.count()).select_from(self._staged(batch))).scalar_one()
            for ready in self._checks(connection, section, staged):
                outcomes["written"] += write(connection, section, batch, staged, ready, outcomes["written"])
                if outcomes["written"] == wanted:
                    break
            else:
                outcomes += self._record_the_rest(connection, section, batch, staged, ready)
            self._runs.advance(connection, self._held, batch.number, outcomes)
        return +outcomes

    def _checks(self, connection: sa.Connection, section: RowRange, staged: sa.CTE) -> Iterator[sa.CTE | None]:
        """Return queries for (place, why) of staged rows, each slower and finding more rows; None means all rows.

        A query is built only when it is needed, because building it takes longer than most batches.
        """
        if self._readiness is None:
            yield None
            return
        for check in self._readiness.checks(connection, section.table, section.column, staged):
            yield None if check is None else _computed_once(check, "ready")

    def _set_and_record(
        self,
        connection: sa.Connection,
        section: RowRange,
        batch: ChangeBatch,
        staged: sa.CTE,
        ready: sa.CTE | None,
        _before: int = 0,
    ) -> int:
        """Write on PostgreSQL, in one statement: the rows that the update returns are recorded as written."""
        table, _, column = self._place(section)
        update = sa.update(table).where(self._is_row(section, staged), self._near(section, staged))
        update = update.where(self._holds(column, staged.c.staged_before_value), *self._conditions(section, staged))
        if ready is not None:
            update = update.where(ready.c.place == staged.c.staged_place, ready.c.why.is_(None))
        is_set = _is_true(self._holds(column, staged.c.staged_after_value))
        done = (
            update.values({column: self._value(column, staged.c.staged_after_value)})
            .returning(staged.c.staged_place.label("place"), is_set.label("is_set"))
            .cte("done")
        )
        rows = staged.join(done, staged.c.staged_place == done.c.place)
        record = self._record(batch, staged, rows, sa.literal("written"))
        recorded = record.returning(t.changes.c.place).cte("recorded")
        written = sa.select(sa.func.count()).select_from(recorded).scalar_subquery()
        query = sa.select(written, sa.func.count(done.c.place), sa.func.bool_and(done.c.is_set))
        records, places, all_set = connection.execute(query).one()
        if records != places or all_set is False:
            raise NotWrittenError
        return int(records)

    def _record_and_set(
        self,
        connection: sa.Connection,
        section: RowRange,
        batch: ChangeBatch,
        staged: sa.CTE,
        ready: sa.CTE | None,
        before: int = 0,
    ) -> int:
        """Write on other databases: lock the rows (SQLite locks all), compare, record and set them.

        ``before`` is the number of the batch's rows that are already recorded and set.
        """
        table, identity, column = self._place(section)
        is_row = sa.and_(self._is_row(section, staged), *self._conditions(section, staged))
        if connection.dialect.name != "sqlite":
            connection.execute(sa.select(identity).join_from(staged, table, is_row).with_for_update()).all()
        rows = staged.join(table, sa.and_(is_row, self._holds(column, staged.c.staged_before_value)))
        if ready is not None:
            rows = rows.join(ready, sa.and_(ready.c.place == staged.c.staged_place, ready.c.why.is_(None)))
        connection.execute(self._record(batch, staged, rows, sa.literal("written")))
        row, place = t.changes.c, t.stage.c.place
        still_staged = sa.select(place).where(self._is_mine, place.between(batch.first, batch.last))
        done = (
            sa.select(row.row_id.label("staged_row_id"), row.after_value.label("staged_after_value"))
            .where(self._recorded(batch), row.outcome == "written", row.place.in_(still_staged))
            .subquery("done")
        )
        is_done = sa.and_(self._is_row(section, done), self._chosen(section))
        after = self._value(column, done.c.staged_after_value)
        result = connection.execute(sa.update(table).where(is_done).values({column: after}))
        written = connection.execute(sa.select(sa.func.count()).select_from(done)).scalar_one()
        is_set = sa.and_(is_done, self._holds(column, done.c.staged_after_value))
        count = connection.execute(sa.select(sa.func.count()).select_from(done.join(table, is_set))).scalar_one()
        if not result.rowcount == written == count:
            raise NotWrittenError
        return int(written) - before

    def _record_the_rest(
        self, connection: sa.Connection, section: RowRange, batch: ChangeBatch, staged: sa.CTE, ready: sa.CTE | None
    ) -> Counter[str]:
        """Record the rows of a batch that were not written, with the reason; a row without a reason has failed."""
        table, identity, column = self._place(section)
        before = staged.c.staged_before_value
        recorded = sa.select(t.changes.c.place).where(self._recorded(batch)).subquery("recorded")
        rows = staged.outerjoin(recorded, recorded.c.place == staged.c.staged_place).outerjoin(
            table, sa.and_(self._is_row(section, staged), self._chosen(section))
        )
        cases: list[tuple[Condition, str | sa.ColumnElement[str]]] = [
            (identity.is_(None), GONE),
            (sa.not_(_is_true(self._holds(column, before))), CHANGED),
            (sa.not_(_is_true(self._same_owner(section, staged))), MOVED),
        ]
        if ready is not None:
            rows = rows.outerjoin(ready, ready.c.place == staged.c.staged_place)
            cases.append((ready.c.why.is_not(None), ready.c.why))
        reason = sa.case(*cases, else_=NOT_WRITTEN)
        outcome = sa.case((reason == NOT_WRITTEN, "failed"), else_="skipped")
        left = sa.select(staged.c.staged_place, outcome.label("outcome"), reason.label("reason")).select_from(rows)
        rest = left.where(recorded.c.place.is_(None)).cte("rest")
        joined = staged.join(rest, rest.c.staged_place == staged.c.staged_place)
        connection.execute(self._record(batch, staged, joined, rest.c.outcome, rest.c.reason))
        row = t.changes.c
        query = sa.select(row.outcome, sa.func.count()).where(self._recorded(batch), row.outcome != "written")
        return Counter({row[0]: row[1] for row in connection.execute(query.group_by(row.outcome))})

    def _record(
        self,
        batch: ChangeBatch,
        staged: sa.FromClause,
        rows: sa.FromClause,
        outcome: sa.ColumnElement[str],
        reason: sa.ColumnElement[str] | None = None,
    ) -> sa.Insert:
        """Return the insert that records a batch's staged rows, each with its outcome."""
        values: dict[str, Expression] = {
            "run_id": sa.literal(self._held.run_id),
            "batch": sa.literal(batch.number),
            **{name: staged.c[f"staged_{name}"] for name in COLUMNS if name in t.changes.c},
            "outcome": outcome,
            "reason": sa.cast(sa.null() if reason is None else reason, t.changes.c.reason.type),
            "at": sa.literal(utcnow(), t.changes.c.at.type),
        }
        query = sa.select(*[value.label(name) for name, value in values.items()]).select_from(rows)
        return sa.insert(t.changes).from_select(list(values), query)

    def _write_single(self, section: RowRange, batch: ChangeBatch, error: Exception) -> Counter[str]:
        """Handle a refused single row: write it together with the rows that have its new id, or record it as failed."""
        if isinstance(error, IntegrityError):
            ring = self._ring(section, batch)
            if len(ring) > 1:
                try:
                    return self._write_ring(section, batch, ring)
                except (DBAPIError, NotWrittenError):
                    pass  # refused for another reason than duplicate ids
        return self._fail(batch, error)

    def _ring(self, section: RowRange, batch: ChangeBatch) -> list[int]:
        """Return the batch's place and those of staged rows each of which has the id that the previous one gets."""
        row, places = t.stage.c, [batch.first]
        mine = sa.and_(self._is_mine, row.table_name == section.table, row.column_name == section.column)
        with engines.failures(self._engine, "reading the stage"), self._engine.connect() as connection:
            wanted = connection.execute(sa.select(row.after_value).where(mine, row.place == batch.first)).scalar()
            while wanted is not None and len(places) < MOST_IN_A_RING:
                having_it = sa.select(row.place, row.after_value).where(mine, row.before_value == wanted)
                following = connection.execute(having_it.order_by(row.place).limit(1)).first()
                if following is None or following[0] in places:
                    break
                places.append(following[0])
                wanted = following[1]
        return places

    def _write_ring(self, section: RowRange, batch: ChangeBatch, places: list[int]) -> Counter[str]:
        """Write rows with each other's ids in one transaction, setting them to null first; all of them or none."""
        with self._engine.begin() as connection:
            self._held.guard(connection)
            staged = self._staged(places)
            *_, ready = self._checks(connection, section, staged)
            if ready is not None:
                unready = sa.select(sa.func.count()).select_from(ready).where(ready.c.why.is_not(None))
                if connection.execute(unready).scalar_one():
                    raise NotWrittenError
            rows = connection.execute(sa.select(self._staged(places))).mappings().all()
            for row in rows:
                self._set_one(connection, section, row, row["staged_before_value"], None)
            for row in rows:
                self._set_one(connection, section, row, None, row["staged_after_value"])
            connection.execute(self._record(batch, staged, staged, sa.literal("written")))
            others = sa.and_(self._is_mine, t.stage.c.place.in_(places), t.stage.c.place != batch.first)
            connection.execute(sa.delete(t.stage).where(others))
            outcomes = Counter({"written": len(places)})
            self._runs.advance(connection, self._held, batch.number, outcomes)
        return outcomes

    def _set_one(
        self,
        connection: sa.Connection,
        section: RowRange,
        row: sa.RowMapping,
        before: str | None,
        after: str | None,
    ) -> None:
        """Set one row from ``before`` to ``after``; NotWrittenError if that does not change exactly one row."""
        table, _, column = self._place(section)
        kind = t.stage.c.after_value.type
        texts = {name: sa.literal(row[name], kind) for name in ("staged_row_id", "staged_user_id")}
        staged = sa.select(*(text.label(name) for name, text in texts.items())).subquery("one")
        is_row = sa.and_(self._is_row(section, staged), *self._conditions(section, staged))
        is_row = sa.and_(is_row, self._holds(column, sa.literal(before, kind)))
        value = self._value(column, sa.literal(after, kind))
        if connection.execute(sa.update(table).where(is_row).values({column: value})).rowcount != 1:
            raise NotWrittenError

    def _fail(self, batch: ChangeBatch, error: Exception) -> Counter[str]:
        """Record the one row of a batch as failed, with the error's class only; its text may contain personal data."""
        cause = getattr(error, "orig", None) or error
        reason = NOT_WRITTEN if isinstance(error, NotWrittenError) else type(cause).__name__[:64]
        staged = self._staged(batch)
        with engines.failures(self._engine, "recording a failed row"), self._engine.begin() as connection:
            self._held.guard(connection)
            connection.execute(self._record(batch, staged, staged, sa.literal("failed"), sa.literal(reason)))
            outcomes = Counter({"failed": 1})
            self._runs.advance(connection, self._held, batch.number, outcomes)
        return outcomes

    @property
    def _is_mine(self) -> Condition:
        """The condition that a staged row belongs to this run."""
        return t.stage.c.token == self._held.token

    def _staged(self, places: ChangeBatch | list[int]) -> sa.CTE:
        """Return the staged rows; the prefix keeps their columns apart from those in the company's own condition."""
        columns = [column.label(f"staged_{column.name}") for column in t.stage.columns]
        place = t.stage.c.place
        chosen = place.between(places.first, places.last) if isinstance(places, ChangeBatch) else place.in_(places)
        staged = sa.select(*columns).where(self._is_mine, chosen).cte("staged")
        return staged.prefix_with("MATERIALIZED", dialect="postgresql")

    def _recorded(self, batch: ChangeBatch) -> Condition:
        """Return the condition that a record belongs to this run and batch."""
        row = t.changes.c
        return sa.and_(
            row.run_id == self._held.run_id, row.batch == batch.number, row.place.between(batch.first, batch.last)
        )

    def _place(self, section: RowRange) -> tuple[sa.Table, Expression, Expression]:
        """Return (table, its id column, the column to set)."""
        layout, company = self._company.layout, self._company
        table = company.users if section.table == "users" else company.vehicles
        assert isinstance(table, sa.Table), "[vehicles] from is read-only"
        names = layout.users if section.table == "users" else layout.vehicles
        return table, table.c[names.id], table.c[section.column]

    def _conditions(self, section: RowRange, staged: sa.FromClause) -> tuple[Condition, ...]:
        """Return the conditions for a row besides its value."""
        return self._chosen(section), self._same_owner(section, staged)

    def _chosen(self, section: RowRange) -> Condition:
        """Return the layout's own ``where`` condition, so that no row outside it is changed."""
        names = self._company.layout.users if section.table == "users" else self._company.layout.vehicles
        return sa.text(f"({names.where})") if names.where else sa.true()  # type: ignore[return-value]

    def _same_owner(self, section: RowRange, staged: sa.FromClause) -> Condition:
        """Return the condition that a car still belongs to the planned user; an undo does not check it."""
        if section.table == "users" or self._readiness is None:
            return sa.true()
        table, _, _ = self._place(section)
        owner, planned = table.c[self._company.layout.vehicles.user_id], staged.c.staged_user_id
        same = column_types.owner_of(owner, self._company.users.c[self._company.layout.users.id]) == planned
        return sa.or_(same, sa.and_(owner.is_(None), planned.is_(None)))

    def _is_row(self, section: RowRange, staged: sa.FromClause) -> Condition:
        """Return the condition that a company row is the one with the staged row's id."""
        _, identity, _ = self._place(section)
        return column_types.is_named(identity, staged.c.staged_row_id, self._engine.dialect.name)

    def _holds(self, column: Expression, text: sa.ColumnElement[str]) -> Condition:
        """Return the condition that a column has exactly this Smartcar id or text; null for no text."""
        same = column_types.is_same(column_types.smartcar_id_of(column), text, self._engine.dialect.name)
        return sa.or_(sa.and_(column.is_(None), text.is_(None)), same)

    def _value(self, column: Expression, text: sa.ColumnElement[str]) -> Expression:
        """Return a text as a value of the column."""
        return column_types.value_of(column, text, self._engine.dialect.name)

    def _near(self, section: RowRange, staged: sa.CTE) -> Condition:
        """Return the condition for the range of numeric ids of the staged rows, so that only this range is read."""
        _, identity, _ = self._place(section)
        if not isinstance(identity.type, sa.Integer):
            return sa.true()
        number = sa.cast(staged.c.staged_row_id, identity.type)
        lowest, highest = (sa.select(end(number)).scalar_subquery() for end in (sa.func.min, sa.func.max))
        return identity.between(lowest, highest)


def _computed_once(query: Query, name: str) -> sa.CTE:
    named = query.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")
    return named.prefix_with("MATERIALIZED", dialect="sqlite")


def _is_true(condition: Condition) -> Condition:
    """Return the condition with false in place of null."""
    return sa.case((condition, sa.true()), else_=sa.false())


def _is_of_rows(error: DBAPIError) -> bool:
    """Return whether the database refused a row's value, not the statement as a whole."""
    if not isinstance(error, OperationalError):
        return True
    arguments: tuple[object, ...] = getattr(error.orig, "args", ())
    return bool(arguments) and arguments[0] in OWN_REFUSALS
