"""The only writes to the company's rows: compare and set, each with its record in the same transaction.

A batch is one statement for its rows and one for their records, however many rows it has. Where the database refuses
a batch, it is halved until the rows that it refuses stand alone: these are recorded as failed, the others are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from smartcar_ops.company import engines, kinds
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.runs import utcnow
from smartcar_ops.company.staging import COLUMNS, Section
from smartcar_ops.company.tables import Company

OWN_REFUSALS = (1644, 3819, 4025)
"""MySQL's numbers for a row that a trigger or a check refuses, which its drivers call operational."""

Note = Callable[[sa.Connection, Counter[str]], None]
"""Called within each transaction, with what it wrote: outcome -> rows."""


@dataclass(frozen=True)
class Change:
    """One value to set where the row still holds ``before``; ``table`` is ``users`` or ``vehicles``."""

    table: str
    row_id: str
    user_id: str | None
    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Batch:
    """A range of staged places, under its number in the run."""

    number: int
    first: int
    last: int


class Changes:
    """Carries out staged rows of one section after the other, as one run."""

    def __init__(self, company: Company, run_id: str) -> None:
        self._company, self._run_id = company, run_id
        self._engine = engines.writer(company.engine)

    @property
    def takes_several(self) -> bool:
        """Whether two batches may be written at once: SQLite has one writer, MariaDB locks what is beside a row."""
        return self._engine.dialect.name == "postgresql"

    def check_right(self, section: Section) -> None:
        """DatabaseError where this account may not write the section's column: tried on no row."""
        table, _, column = self._place(section)
        doing = f"trying to write {table.name}.{column.name}"
        with engines.failures(self._engine, doing), self._engine.connect() as connection:
            value = kinds.value_of(column, sa.literal(kinds.PROBE), self._engine.dialect.name)
            connection.execute(sa.update(table).where(sa.false()).values({column: value}))
            connection.rollback()

    def next_batch(self, section: Section, after: int, size: int, number: int) -> Batch | None:
        """The next so many staged rows of a section; None at its end."""
        places = (
            sa.select(t.stage.c.place)
            .where(t.stage.c.place > after, t.stage.c.place <= section.last)
            .order_by(t.stage.c.place)
            .limit(size)
            .subquery()
        )
        query = sa.select(sa.func.min(places.c.place), sa.func.max(places.c.place))
        with engines.failures(self._engine, "reading the stage"), self._engine.connect() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else Batch(number, first, last)

    def write(self, section: Section, batch: Batch, note: Note) -> Counter[str]:
        """Sets a batch: outcome -> rows. ``note`` is called within each transaction, with what it wrote.

        A row that no longer is as planned is skipped, a row that the database refuses is failed; neither stops the
        others. DatabaseError where the database itself fails: what is committed by then is whole.
        """
        for attempt in range(1, engines.TRIES + 1):
            try:
                return self._write(section, batch, note)
            except DBAPIError as error:
                if error.connection_invalidated or not _is_of_rows(error):
                    if attempt < engines.TRIES and engines.is_passing(error):
                        continue
                    with engines.failures(self._engine, f"writing batch {batch.number}"):
                        raise
                if batch.first == batch.last:
                    return self._fail(batch, error, note)
                break
        found: Counter[str] = Counter()
        middle = (batch.first + batch.last) // 2
        for first, last in ((batch.first, middle), (middle + 1, batch.last)):
            found += self.write(section, Batch(batch.number, first, last), note)
        return found

    def _write(self, section: Section, batch: Batch, note: Note) -> Counter[str]:
        with self._engine.begin() as connection:
            write = self._set_and_record if connection.dialect.name == "postgresql" else self._record_and_set
            found = write(connection, section, batch)
            note(connection, found)
        return found

    def _set_and_record(self, connection: sa.Connection, section: Section, batch: Batch) -> Counter[str]:
        """PostgreSQL: the rows that the update returns are those that were written; all in one statement."""
        table, _, column = self._place(section)
        wanted = _staged(batch).cte("staged").prefix_with("MATERIALIZED")
        done = (
            sa.update(table)
            .where(self._is_row(section, wanted), self._near(section, wanted))
            .where(self._as_planned(column, wanted), self._chosen(section))
            .values({column: kinds.value_of(column, wanted.c.staged_after_value, connection.dialect.name)})
            .returning(wanted.c.staged_place.label("place"))
            .cte("done")
        )
        rows = wanted.outerjoin(done, wanted.c.staged_place == done.c.place)
        record = self._record(batch, wanted, rows, _outcome(done.c.place.is_not(None)))
        recorded = record.returning(t.changes.c.outcome).cte("recorded")
        return _counted(connection, sa.select(recorded.c.outcome))

    def _record_and_set(self, connection: sa.Connection, section: Section, batch: Batch) -> Counter[str]:
        """Elsewhere: the rows are locked (SQLite locks them all), looked at, recorded, and set as recorded."""
        table, identity, column = self._place(section)
        wanted = _staged(batch).subquery("staged")
        is_row = sa.and_(self._is_row(section, wanted), self._chosen(section))
        if connection.dialect.name != "sqlite":
            connection.execute(sa.select(identity).join_from(wanted, table, is_row).with_for_update()).all()
        rows = wanted.outerjoin(table, sa.and_(is_row, self._as_planned(column, wanted)))
        connection.execute(self._record(batch, wanted, rows, _outcome(identity.is_not(None))))
        done = (
            sa.select(t.changes.c.row_id.label("staged_row_id"), t.changes.c.after_value.label("staged_after_value"))
            .where(self._mine(batch), t.changes.c.outcome == "written")
            .subquery("done")
        )
        after = kinds.value_of(column, done.c.staged_after_value, connection.dialect.name)
        done_rows = sa.and_(self._is_row(section, done), self._chosen(section))
        result = connection.execute(sa.update(table).where(done_rows).values({column: after}))
        found = _counted(connection, sa.select(t.changes.c.outcome).where(self._mine(batch)))
        if result.rowcount != found["written"]:
            raise IntegrityError("one id, several rows", None, ValueError("an id of the plan names several rows"))
        return found

    def _record(
        self,
        batch: Batch,
        wanted: sa.FromClause,
        rows: sa.FromClause,
        outcome: sa.ColumnElement[str],
        reason: str | None = None,
    ) -> sa.Insert:
        """Records a batch's staged rows, each with its outcome."""
        values: dict[str, sa.ColumnElement[Any]] = {
            "run_id": sa.literal(self._run_id),
            "batch": sa.literal(batch.number),
            **{name: wanted.c[f"staged_{name}"] for name in COLUMNS},
            "outcome": outcome,
            "reason": sa.cast(sa.literal(reason), t.changes.c.reason.type),
            "at": sa.literal(utcnow(), t.changes.c.at.type),
        }
        query = sa.select(*[value.label(name) for name, value in values.items()]).select_from(rows)
        return sa.insert(t.changes).from_select(list(values), query)

    def _fail(self, batch: Batch, error: DBAPIError, note: Note) -> Counter[str]:
        """Records the one row of a batch as failed; the error's class alone, for its words may hold people's data."""
        reason = type(error.orig if error.orig is not None else error).__name__[:64]
        staged = _staged(batch).subquery("staged")
        with engines.failures(self._engine, "recording a failed row"), self._engine.begin() as connection:
            connection.execute(self._record(batch, staged, staged, sa.literal("failed"), reason))
            found = Counter({"failed": 1})
            note(connection, found)
        return found

    def _mine(self, batch: Batch) -> sa.ColumnElement[bool]:
        """That a record is of this run and batch."""
        row = t.changes.c
        return sa.and_(
            row.run_id == self._run_id, row.batch == batch.number, row.place.between(batch.first, batch.last)
        )

    def _place(self, section: Section) -> tuple[sa.Table, sa.ColumnElement[Any], sa.ColumnElement[Any]]:
        """(table, its id, the column to set)."""
        layout, company = self._company.layout, self._company
        table = company.users if section.table == "users" else company.vehicles
        assert isinstance(table, sa.Table), "a structure given by [vehicles] from is read only"
        names = layout.users if section.table == "users" else layout.vehicles
        return table, table.c[names.id], table.c[section.column]

    def _chosen(self, section: Section) -> sa.ColumnElement[bool]:
        """The layout's own condition again: no row beside those that were judged is touched."""
        names = self._company.layout.users if section.table == "users" else self._company.layout.vehicles
        return sa.text(f"({names.where})") if names.where else sa.true()  # type: ignore[return-value]

    def _is_row(self, section: Section, staged: sa.FromClause) -> sa.ColumnElement[bool]:
        """That a row of the company's is the one a staged row names; by its own type, so that its index is used."""
        _, identity, _ = self._place(section)
        return kinds.is_named(identity, staged.c.staged_row_id, self._engine.dialect.name)

    def _as_planned(self, column: sa.ColumnElement[Any], staged: sa.FromClause) -> sa.ColumnElement[bool]:
        """That a value is still what it was, letter for letter."""
        before = staged.c.staged_before_value
        same = kinds.is_same(kinds.smartcar_id_of(column), before, self._engine.dialect.name)
        return sa.or_(sa.and_(column.is_(None), before.is_(None)), same)

    def _near(self, section: Section, staged: sa.CTE) -> sa.ColumnElement[bool]:
        """Between which ids the staged rows are, where ids are numbers: the database then reads no others."""
        _, identity, _ = self._place(section)
        if not isinstance(identity.type, sa.Integer):
            return sa.true()
        number = sa.cast(staged.c.staged_row_id, identity.type)
        lowest, highest = (sa.select(end(number)).scalar_subquery() for end in (sa.func.min, sa.func.max))
        return identity.between(lowest, highest)


def _counted(connection: sa.Connection, outcomes: sa.Select[Any]) -> Counter[str]:
    """How many rows have each outcome."""
    outcome = outcomes.subquery("outcomes").c.outcome
    query = sa.select(outcome, sa.func.count()).group_by(outcome)
    return Counter({row[0]: row[1] for row in connection.execute(query)})


def _outcome(written: sa.ColumnElement[bool]) -> sa.ColumnElement[str]:
    return sa.case((written, "written"), else_="skipped")


def _staged(batch: Batch) -> sa.Select[Any]:
    """A batch's staged rows; no column has a name that the company's own condition may mean."""
    columns = [column.label(f"staged_{column.name}") for column in t.stage.columns]
    return sa.select(*columns).where(t.stage.c.place.between(batch.first, batch.last))


def _is_of_rows(error: DBAPIError) -> bool:
    """Whether the database refused what a row would hold, and not the work as a whole."""
    if not isinstance(error, OperationalError):
        return True
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return bool(arguments) and arguments[0] in OWN_REFUSALS
