"""Finds the column types of the layout's own SELECT without reading its rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from smartcar_ops.database.column_types import ID_LENGTH, MYSQL
from smartcar_ops.database.sql_types import ColumnType

POSTGRESQL_TYPES: dict[str, Callable[[], ColumnType]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), sa.BigInteger),
    **dict.fromkeys(("text", "character varying", "character"), sa.String),
    "numeric": sa.Numeric,
    "real": sa.Float,
    "double precision": sa.Float,
    "uuid": sa.Uuid,
    "bytea": sa.LargeBinary,
    "boolean": sa.Boolean,
    "date": sa.Date,
    "timestamp without time zone": sa.DateTime,
    "timestamp with time zone": partial(sa.DateTime, timezone=True),
}
"""Column types by PostgreSQL's type names."""

MYSQL_STRING = 254
MYSQL_TEXTS = (249, 250, 251, 252, 253, MYSQL_STRING)
MYSQL_TYPES: dict[int, Callable[[], ColumnType]] = {
    **dict.fromkeys((1, 2, 3, 8, 9), sa.BigInteger),
    **dict.fromkeys((4, 5), sa.Float),
    **dict.fromkeys((0, 246), sa.Numeric),
    10: sa.Date,
    **dict.fromkeys((7, 12), sa.DateTime),
    16: mysql.BIT,
}
"""Column types by MySQL's type numbers."""


def types_of(connection: sa.Connection, select: str, probe: sa.CursorResult[*tuple[object, ...]]) -> list[ColumnType]:
    """Return the types of a SELECT's columns, as far as the kit distinguishes them."""
    names, dialect = list(probe.keys()), connection.dialect
    described: list[Any] = list(probe.cursor.description or ())
    functions = {"postgresql": "pg_typeof(probe.{0})::text", "mysql": "charset(probe.{0})"}
    function = functions.get("mysql" if dialect.name in MYSQL else dialect.name)
    if function is None:
        return [sa.types.NullType() for _ in names]
    quote = dialect.identifier_preparer.quote_identifier
    columns = ", ".join(function.format(quote(name)) for name in names)
    # The result is one row of nulls, which still have their types.
    query = f"SELECT {columns} FROM (SELECT 1 AS one) one LEFT JOIN ({select}) probe ON 1 = 0"  # noqa: S608
    row = connection.execute(sa.text(query)).one()
    if dialect.name == "postgresql":
        return [POSTGRESQL_TYPES.get(name, sa.types.NullType)() for name in row]
    return [_mysql_type(column[1], column[3], charset) for column, charset in zip(described, row, strict=True)]


def _mysql_type(code: int, size: int | None, charset: str) -> ColumnType:
    """Return a type by its MySQL number, which all drivers provide."""
    if code in MYSQL_TEXTS:
        if charset != "binary":
            return sa.String()
        return sa.Uuid() if code == MYSQL_STRING and size == ID_LENGTH else sa.LargeBinary()
    return MYSQL_TYPES.get(code, sa.types.NullType)()
