"""Names for SQLAlchemy's generic types; most have no useful parameter, because the company's layout decides it."""

from __future__ import annotations

from typing import Any, TypeAlias

import sqlalchemy as sa

Query: TypeAlias = "sa.Select[*tuple[Any, ...]]"
"""A SELECT with any columns; the function that returns it says which."""

CompoundQuery: TypeAlias = "sa.CompoundSelect[*tuple[Any, ...]]"
"""A UNION of such queries."""

Expression: TypeAlias = "sa.ColumnElement[Any]"
"""A column or an SQL expression of any type, such as one of the company's own columns."""

Condition: TypeAlias = "sa.ColumnElement[bool]"
"""An SQL expression that is true or false for a row."""

Column: TypeAlias = "sa.Column[Any]"
"""A column of a table, of any type."""

ColumnType: TypeAlias = "sa.types.TypeEngine[Any]"
"""The SQL type of a column, such as ``sa.Integer()``."""
