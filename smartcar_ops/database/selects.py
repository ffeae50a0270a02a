"""What types the columns of the layout's own SELECT have, learnt without reading a row of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from smartcar_ops.database.column_types import ID_LENGTH, MYSQL

POSTGRESQL_TYPES: dict[str, Callable[[], sa.types.TypeEngine[Any]]] = {
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
"""The types of a SELECT's columns by PostgreSQL's names of them."""

MYSQL_STRING = 254
MYSQL_TEXTS = (249, 250, 251, 252, 253, MYSQL_STRING)
MYSQL_TYPES: dict[int, Callable[[], sa.types.TypeEngine[Any]]] = {
    **dict.fromkeys((1, 2, 3, 8, 9), sa.BigInteger),
    **dict.fromkeys((4, 5), sa.Float),
    **dict.fromkeys((0, 246), sa.Numeric),
    10: sa.Date,
    **dict.fromkeys((7, 12), sa.DateTime),
    16: mysql.BIT,
}
"""The same by MySQL's numbers."""


def types_of(connection: sa.Connection, select: str, probe: sa.CursorResult[Any]) -> list[sa.types.TypeEngine[Any]]:
    """The types of the columns that a SELECT gives, as far as the kit treats them in ways of their own."""
    names, dialect = list(probe.keys()), connection.dialect
    described: list[Any] = list(probe.cursor.description or ())
    told = {"postgresql": "pg_typeof(probe.{0})::text", "mysql": "charset(probe.{0})"}
    ask = told.get("mysql" if dialect.name in MYSQL else dialect.name)
    if ask is None:
        return [sa.types.NullType() for _ in names]
    quote = dialect.identifier_preparer.quote_identifier
    asked = ", ".join(ask.format(quote(name)) for name in names)
    # One row, all of it null: the types are known although nothing was found.
    query = f"SELECT {asked} FROM (SELECT 1 AS one) one LEFT JOIN ({select}) probe ON 1 = 0"  # noqa: S608
    found = connection.execute(sa.text(query)).one()
    if dialect.name == "postgresql":
        return [POSTGRESQL_TYPES.get(one, sa.types.NullType)() for one in found]
    return [_mysql_type(column[1], column[3], charset) for column, charset in zip(described, found, strict=True)]


def _mysql_type(code: int, size: int | None, charset: str) -> sa.types.TypeEngine[Any]:
    """By MySQL's number of a type, which all its drivers give."""
    if code in MYSQL_TEXTS:
        if charset != "binary":
            return sa.String()
        return sa.Uuid() if code == MYSQL_STRING and size == ID_LENGTH else sa.LargeBinary()
    return MYSQL_TYPES.get(code, sa.types.NullType)()
