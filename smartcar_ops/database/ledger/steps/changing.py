"""What several steps need: each looks at the schema first, and does nothing where it is already as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op


def layout() -> tuple[str, dict[str, str]]:
    """The layout that the ledger's rows without one belong to: its key, and its row of ``layouts``."""
    key, row = context.config.attributes["layout"]
    return str(key), dict(row)


def has_table(name: str) -> bool:
    """Whether the table is there."""
    return sa.inspect(op.get_bind()).has_table(name)


def has_column(table: str, column: str) -> bool:
    """Whether the table has the column."""
    return column in {known["name"] for known in sa.inspect(op.get_bind()).get_columns(table)}


def has_index(table: str, name: str) -> bool:
    """Whether the table has the index."""
    return name in {known["name"] for known in sa.inspect(op.get_bind()).get_indexes(table)}


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Adds a column."""
    if not has_column(table, column.name):
        op.add_column(table, column)


def create(table: sa.Table) -> None:
    """Makes a table."""
    table.create(op.get_bind(), checkfirst=True)


def remember(name: str, value: str) -> None:
    """Keeps a value under a name, unless there is one."""
    meta = sa.table("smartcar_ops_meta", sa.column("name"), sa.column("value"))
    if op.get_bind().execute(sa.select(meta.c.value).where(meta.c.name == name)).first() is None:
        op.get_bind().execute(sa.insert(meta), [{"name": name, "value": value}])


def replace(table: sa.Table, *, unless: str) -> None:
    """Makes a table anew, without its rows, unless it has this column already."""
    if has_table(table.name) and not has_column(table.name, unless):
        op.drop_table(table.name)
    create(table)


def add_to_key(table: str, column: sa.Column[str], key: Sequence[str], value: str) -> None:
    """Adds a text column and makes it part of the primary key; the rows there are get this value."""
    found = sa.inspect(op.get_bind()).get_pk_constraint(table)
    if op.get_bind().dialect.name == "sqlite":
        if list(found["constrained_columns"]) != list(key):
            _made_anew(table, column, key, value)
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


def _made_anew(table: str, column: sa.Column[str], key: Sequence[str], value: str) -> None:
    """SQLite changes no primary key: the table is made anew and takes the old one's name."""
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
