"""The only writes to the company's rows: compare and set, each with its record in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from smartcar_ops.company import engines
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.runs import utcnow
from smartcar_ops.company.tables import Company, native


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
class Outcome:
    """What became of a change: ``written``, ``skipped`` (the row was no longer as planned) or ``failed``."""

    change: Change
    batch: int
    outcome: str


def write(company: Company, ledger: Ledger, run_id: str, batch: int, wanted: Sequence[Change]) -> list[Outcome]:
    """Sets one batch in one transaction, its records included; all of it or nothing.

    A row that no longer is as planned is skipped, a row the database refuses is failed; neither stops the others.
    DatabaseError where the database itself fails.
    """
    outcomes = []
    engine = engines.writer(company.engine)
    with engines.failures(engine, f"writing batch {batch}"), engine.begin() as connection:
        for change in wanted:
            outcomes.append(Outcome(change, batch, _set(company, connection, change)))
        connection.execute(sa.insert(t.changes), [_record(run_id, outcome) for outcome in outcomes])
    return outcomes


def written(ledger: Ledger, run_id: str, batch: int | None = None, row: str | None = None) -> list[Outcome]:
    """The recorded changes of a run that were written, newest batch first; narrowed to a batch or a row.

    A row is an id, or ``users/ID`` or ``vehicles/ID`` where both tables have it.
    """
    query = sa.select(t.changes).where(t.changes.c.run_id == run_id, t.changes.c.outcome == "written")
    if batch is not None:
        query = query.where(t.changes.c.batch == batch)
    if row is not None:
        table, slash, row_id = row.partition("/")
        named = slash and table in ("users", "vehicles")
        query = query.where(t.changes.c.row_id == (row_id if named else row))
        query = query.where(t.changes.c.table_name == table) if named else query
    return recorded(ledger, query.order_by(t.changes.c.batch.desc(), t.changes.c.table_name, t.changes.c.row_id))


def of_run(ledger: Ledger, run_id: str) -> list[Outcome]:
    """Every recorded change of a run, whatever became of it."""
    return recorded(ledger, sa.select(t.changes).where(t.changes.c.run_id == run_id))


def recorded(ledger: Ledger, query: sa.Select[Any]) -> list[Outcome]:
    """Outcomes from rows of the ledger's changes."""
    with engines.failures(ledger.engine, "reading the changes"), ledger.reading.connect() as connection:
        return [
            Outcome(
                Change(
                    row["table_name"],
                    row["row_id"],
                    row["user_id"],
                    row["column_name"],
                    row["before_value"],
                    row["after_value"],
                ),
                row["batch"],
                row["outcome"],
            )
            for row in connection.execute(query).mappings()
        ]


def _set(company: Company, connection: sa.Connection, change: Change) -> str:
    table, identity, column = _place(company, change.table)
    section = company.layout.users if change.table == "users" else company.layout.vehicles
    still = column.is_(None) if change.before is None else _same(connection, column, change.before)
    # The layout's own condition again: no row beside those that were judged is touched.
    chosen = sa.text(f"({section.where})") if section.where else sa.true()
    statement = sa.update(table).where(identity == native(identity, change.row_id), still, chosen)
    try:
        with connection.begin_nested() as savepoint:
            result = connection.execute(statement.values({column: change.after}))
            if result.rowcount > 1:
                savepoint.rollback()
                return "failed"
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return "failed"
    return "written" if result.rowcount == 1 else "skipped"


def _same(connection: sa.Connection, column: sa.ColumnElement[Any], before: str) -> sa.ColumnElement[bool]:
    """Letter for letter: MySQL's own comparison overlooks case and blanks at the end."""
    if connection.dialect.name in ("mysql", "mariadb"):
        return sa.cast(column, sa.LargeBinary) == sa.cast(sa.literal(before), sa.LargeBinary)
    return column == before


def _place(company: Company, name: str) -> tuple[sa.Table, sa.ColumnElement[Any], sa.ColumnElement[Any]]:
    if name == "users":
        names = company.layout.users
        return company.users, company.users.c[names.id], company.users.c[names.smartcar_user_id]
    cars, table = company.layout.vehicles, company.vehicles
    assert isinstance(table, sa.Table), "a structure given by [vehicles] from is read only"
    return table, table.c[cars.id], table.c[cars.smartcar_vehicle_id]


def _record(run_id: str, outcome: Outcome) -> dict[str, Any]:
    change = outcome.change
    return {
        "run_id": run_id,
        "table_name": change.table,
        "row_id": change.row_id,
        "batch": outcome.batch,
        "user_id": change.user_id,
        "column_name": change.column,
        "before_value": change.before,
        "after_value": change.after,
        "outcome": outcome.outcome,
        "at": utcnow(),
    }
