"""Bulk-loads the rows that a run is about to write into the stage table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from smartcar_ops.database import bulk_write, engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.locks import Held
from smartcar_ops.database.sql_types import Query

if TYPE_CHECKING:
    pass

COLUMNS = tuple(column.name for column in t.stage.columns if column is not t.stage.c.token)
SCHEMA = pa.schema([(name, pa.int64() if name == "place" else pa.string()) for name in COLUMNS])
"""The columns of staged rows with their Arrow types; each run adds its lock's number."""


@dataclass(frozen=True)
class RowRange:
    """The staged rows for one column of one table: their first and last place, and their number."""

    table: str
    column: str
    first: int
    last: int
    rows: int


class Stage:
    """The rows that one run has staged, under the number of its lock; other runs' rows are never changed."""

    def __init__(self, engine: sa.Engine, held: Held) -> None:
        self._engine, self._held = engines.writer(engine), held
        self.is_mine = t.stage.c.token == held.token

    def fill(self, parts: Iterable[pa.Table]) -> None:
        """Add these rows, which have the columns of `SCHEMA`."""
        with self._staging() as connection:
            for rows in parts:
                token = pa.repeat(pa.scalar(self._held.token, pa.int64()), rows.num_rows)
                bulk_write.load(connection, t.stage, rows.add_column(0, t.stage.c.token.name, token))

    def fill_from(self, query: Query) -> None:
        """Add the query's rows, which have the columns of `SCHEMA`, inside the database."""
        rows = query.subquery("rows_to_stage")
        staged = sa.select(sa.literal(self._held.token, sa.BigInteger), *rows.c)
        with self._staging() as connection:
            connection.execute(sa.insert(t.stage).from_select([t.stage.c.token.name, *COLUMNS], staged))

    def drop(self, places: sa.Select[int]) -> None:
        """Delete the rows at these places."""
        with self._staging() as connection:
            connection.execute(sa.delete(t.stage).where(self.is_mine, t.stage.c.place.in_(places)))

    @contextmanager
    def _staging(self) -> Iterator[sa.Connection]:
        """Begin a transaction of this run; LockedError if its lock was taken over."""
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            self._held.guard(connection)
            yield connection

    def sections(self) -> list[RowRange]:
        """Return the staged rows by table and column."""
        row = t.stage.c
        query = (
            sa.select(row.table_name, row.column_name, sa.func.min(row.place), sa.func.max(row.place), sa.func.count())
            .where(self.is_mine)
            .group_by(row.table_name, row.column_name)
            .order_by(sa.func.min(row.place))
        )
        with engines.failures(self._engine, "staging the changes"), self._engine.begin() as connection:
            if self._engine.dialect.name in ("postgresql", "sqlite"):
                connection.exec_driver_sql(f"ANALYZE {t.stage.name}")  # or it is planned as if empty
            return [RowRange(*section) for section in connection.execute(query)]

    def clear(self) -> None:
        """Delete the rows of this run."""
        with self._staging() as connection:
            if self._engine.dialect.name == "postgresql" and self._truncate(connection):
                return
            connection.execute(sa.delete(t.stage).where(self.is_mine))

    def _truncate(self, connection: sa.Connection) -> bool:
        """Truncate the stage if no other run has rows there and this account may; return whether that worked.

        Millions of deleted rows would have to be vacuumed.
        """
        others = sa.select(t.stage.c.token).where(sa.not_(self.is_mine)).limit(1)
        return connection.execute(others).first() is None and _truncated(connection)


def _truncated(connection: sa.Connection) -> bool:
    """Truncate the stage; return whether that worked."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"TRUNCATE {t.stage.name}")
    except DBAPIError:
        return False
    return True
