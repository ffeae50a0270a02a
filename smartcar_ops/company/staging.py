"""The way in for what an act is about to write: a table of its own, filled as fast as the database takes it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv
from sqlalchemy.exc import DBAPIError

from smartcar_ops.company import engines
from smartcar_ops.company import ledger_tables as t

COLUMNS = tuple(column.name for column in t.stage.columns)
SCHEMA = pa.schema([(name, pa.int64() if name == "place" else pa.string()) for name in COLUMNS])
"""The columns of staged rows with their Arrow types."""


@dataclass(frozen=True)
class Section:
    """The staged rows of one column of one table: their places, from the first to the last, and how many."""

    table: str
    column: str
    first: int
    last: int
    rows: int


class Stage:
    """The staged rows; only the holder of the writer lock may use it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engines.writer(engine)

    def fill(self, parts: Iterable[pa.Table]) -> None:
        """Takes these rows, of `SCHEMA`, in place of whatever an interrupted act left."""
        self.clear()
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            load = _copy if self._engine.dialect.driver == "psycopg" else _insert
            for rows in parts:
                if rows.num_rows:
                    load(connection, rows)

    def fill_from(self, query: sa.Select[Any]) -> None:
        """Takes the query's rows, which never leave the database."""
        self.clear()
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            connection.execute(sa.insert(t.stage).from_select(list(COLUMNS), query))

    def drop(self, places: sa.Select[Any]) -> None:
        """Takes out the rows at these places."""
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            connection.execute(sa.delete(t.stage).where(t.stage.c.place.in_(places)))

    def sections(self) -> list[Section]:
        """What there is to write, a column at a time."""
        row = t.stage.c
        query = (
            sa.select(row.table_name, row.column_name, sa.func.min(row.place), sa.func.max(row.place), sa.func.count())
            .group_by(row.table_name, row.column_name)
            .order_by(sa.func.min(row.place))
        )
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            if self._engine.dialect.name in ("postgresql", "sqlite"):
                connection.exec_driver_sql(f"ANALYZE {t.stage.name}")  # or the first batches are planned for no row
            return [Section(*found) for found in connection.execute(query)]

    def clear(self) -> None:
        """Forgets every staged row."""
        with engines.failures(self._engine, "clearing the stage"), self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql" and _truncate(connection):
                return
            connection.execute(sa.delete(t.stage))


def _truncate(connection: sa.Connection) -> bool:
    """Empties the stage at once, where this account may; deleting millions of rows leaves them to be vacuumed."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"TRUNCATE {t.stage.name}")
    except DBAPIError:
        return False
    return True


def _insert(connection: sa.Connection, rows: pa.Table) -> None:
    if connection.dialect.paramstyle != "qmark":
        connection.execute(sa.insert(t.stage), rows.to_pylist())
        return
    marks = ", ".join("?" for _ in COLUMNS)  # without a dictionary a row, in half the time
    values = list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    connection.exec_driver_sql(f"INSERT INTO {t.stage.name} VALUES ({marks})", values)  # noqa: S608 (the kit's own name)


def _copy(connection: sa.Connection, rows: pa.Table) -> None:
    """PostgreSQL's own fast way in; a null is nothing between two commas, an empty text is quoted."""
    raw: Any = connection.connection.driver_connection
    lines = io.BytesIO()
    csv.write_csv(rows, lines, csv.WriteOptions(include_header=False, quoting_style="needed"))
    with raw.cursor() as cursor, cursor.copy(f"COPY {t.stage.name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.getbuffer())
