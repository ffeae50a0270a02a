"""The way in for what an act is about to write: a table of its own, filled as fast as the database takes it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv
from sqlalchemy.exc import DBAPIError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.locks import Held

COLUMNS = tuple(column.name for column in t.stage.columns if column is not t.stage.c.token)
SCHEMA = pa.schema([(name, pa.int64() if name == "place" else pa.string()) for name in COLUMNS])
"""The columns of staged rows with their Arrow types; each act adds its own number."""


@dataclass(frozen=True)
class RowRange:
    """The staged rows of one column of one table: their places, from the first to the last, and how many."""

    table: str
    column: str
    first: int
    last: int
    rows: int


class Stage:
    """The rows that one act has staged, under the number of its lock; those of other acts are never touched."""

    def __init__(self, engine: sa.Engine, held: Held) -> None:
        self._engine, self._held = engines.writer(engine), held
        self.is_mine = t.stage.c.token == held.token

    def fill(self, parts: Iterable[pa.Table]) -> None:
        """Adds these rows, of `SCHEMA`."""
        with self._staging() as connection:
            load = _copy if self._engine.dialect.driver == "psycopg" else _insert
            for rows in parts:
                if rows.num_rows:
                    token = pa.repeat(pa.scalar(self._held.token, pa.int64()), rows.num_rows)
                    load(connection, rows.add_column(0, t.stage.c.token.name, token))

    def fill_from(self, query: sa.Select[Any]) -> None:
        """Adds the query's rows, with the columns of `SCHEMA`; they never leave the database."""
        rows = query.subquery("rows_to_stage")
        staged = sa.select(sa.literal(self._held.token, sa.BigInteger), *rows.c)
        with self._staging() as connection:
            connection.execute(sa.insert(t.stage).from_select([t.stage.c.token.name, *COLUMNS], staged))

    def drop(self, places: sa.Select[Any]) -> None:
        """Takes out the rows at these places."""
        with self._staging() as connection:
            connection.execute(sa.delete(t.stage).where(self.is_mine, t.stage.c.place.in_(places)))

    @contextmanager
    def _staging(self) -> Iterator[sa.Connection]:
        """A transaction of this act; LockedError if its lock is another's by now."""
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            self._held.guard(connection)
            yield connection

    def sections(self) -> list[RowRange]:
        """What there is to write, a column at a time."""
        row = t.stage.c
        query = (
            sa.select(row.table_name, row.column_name, sa.func.min(row.place), sa.func.max(row.place), sa.func.count())
            .where(self.is_mine)
            .group_by(row.table_name, row.column_name)
            .order_by(sa.func.min(row.place))
        )
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            if self._engine.dialect.name in ("postgresql", "sqlite"):
                connection.exec_driver_sql(f"ANALYZE {t.stage.name}")  # or the first batches are planned for no row
            return [RowRange(*found) for found in connection.execute(query)]

    def clear(self) -> None:
        """Forgets the rows of this act."""
        with self._staging() as connection:
            if self._engine.dialect.name == "postgresql" and self._truncate(connection):
                return
            connection.execute(sa.delete(t.stage).where(self.is_mine))

    def _truncate(self, connection: sa.Connection) -> bool:
        """Empties the stage at once, if no other act has rows there and this account may.

        Millions of deleted rows would be left to be vacuumed.
        """
        others = sa.select(t.stage.c.token).where(sa.not_(self.is_mine)).limit(1)
        return connection.execute(others).first() is None and _truncated(connection)


def _truncated(connection: sa.Connection) -> bool:
    """Whether the stage could be emptied at once."""
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
    marks = ", ".join("?" for _ in t.stage.columns)  # without a dictionary a row, in half the time
    values = list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    connection.exec_driver_sql(f"INSERT INTO {t.stage.name} VALUES ({marks})", values)  # noqa: S608 (the kit's own name)


def _copy(connection: sa.Connection, rows: pa.Table) -> None:
    """PostgreSQL's own fast way in; a null is nothing between two commas, an empty text is quoted."""
    raw: Any = connection.connection.driver_connection
    lines = io.BytesIO()
    csv.write_csv(rows, lines, csv.WriteOptions(include_header=False, quoting_style="needed"))
    with raw.cursor() as cursor, cursor.copy(f"COPY {t.stage.name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.getbuffer())
