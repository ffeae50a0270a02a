"""Helpers for the steps; each checks the schema first and does nothing if it is already as wanted."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

from smartcar_ops.database.sql_types import Column


def layout() -> tuple[str, dict[str, str]]:
    """Return the layout for rows that have none: its key, and its row of ``layouts``."""
    key, row = context.config.attributes["layout"]
    return str(key), dict(row)


def has_table(name: str) -> bool:
    """Return whether the table exists."""
    return sa.inspect(op.get_bind()).has_table(name)


def has_column(table: str, column: str) -> bool:
    """Return whether the table has the column."""
    return column in {known["name"] for known in sa.inspect(op.get_bind()).get_columns(table)}


def has_index(table: str, name: str) -> bool:
    """Return whether the table has the index."""
    return name in {known["name"] for known in sa.inspect(op.get_bind()).get_indexes(table)}


def add_column(table: str, column: Column) -> None:
    """Add a column."""
    if not has_column(table, column.name):
        op.add_column(table, column)


def create(table: sa.Table) -> None:
    """Create a table."""
    table.create(op.get_bind(), checkfirst=True)


def remember(name: str, value: str) -> None:
    """Store a value under a name, unless the name already has one."""
    meta = sa.table("smartcar_ops_meta", sa.column("name"), sa.column("value"))
    if op.get_bind().execute(sa.select(meta.c.value).where(meta.c.name == name)).first() is None:
        op.get_bind().execute(sa.insert(meta), [{"name": name, "value": value}])


def replace(table: sa.Table, *, unless: str) -> None:
    """Drop and recreate a table, without its rows, unless it already has this column."""
    if has_table(table.name) and not has_column(table.name, unless):
        op.drop_table(table.name)
    create(table)


def add_to_key(table: str, column: sa.Column[str], key: Sequence[str], value: str) -> None:
    """Add a text column and make it part of the primary key; existing rows get this value."""
    found = sa.inspect(op.get_bind()).get_pk_constraint(table)
    if op.get_bind().dialect.name == "sqlite":
        if list(found["constrained_columns"]) != list(key):
            _recreate(table, column, key, value)
        return
    quote = op.get_bind().dialect.identifier_preparer.quote
    if not has_column(table, column.name):
        op.add_column(table, sa.Column(column.name, column.type, nullable=False, server_default=value))
    op.alter_column(table, column.name, server_default=None, existing_type=column.type, existing_nullable=False)
    if list(found["constrained_columns"]) != list(key):
        named = (
            f"CONSTRAINT {quote(str(found['name']))}" if op.get_bind().dialect.name == "postgresql" else "PRIMARY KEY"
        )
        columns = ", ".join(quote(name) for name in key)
        op.execute(f"ALTER TABLE {quote(table)} DROP {named}, ADD PRIMARY KEY ({columns})")


def _recreate(table: str, column: sa.Column[str], key: Sequence[str], value: str) -> None:
    """Replace the table by a new one with the same name, because SQLite can't change a primary key."""
    connection = op.get_bind()
    old = sa.Table(table, sa.MetaData(), autoload_with=connection)
    names = [known.name for known in old.columns]
    columns = [sa.Column(known.name, known.type, nullable=known.nullable) for known in old.columns]
    new = sa.Table(
        f"{table}_new",
        sa.MetaData(),
        *columns,
        sa.Column(column.name, column.type, nullable=False),
        sa.PrimaryKeyConstraint(*key),
    )
    new.create(connection)
    rows = sa.select(*old.columns, sa.literal(value))
    connection.execute(sa.insert(new).from_select([*names, column.name], rows))
    op.drop_table(table)
    op.rename_table(new.name, table)
