"""Where judging happens: one connection that sees people, cars and evidence.

Where the ledger is a file, the few columns that judging needs are copied beside it first, and the same queries
run there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles

from smartcar_ops.database import bulk_read, engines
from smartcar_ops.database.ledger.ledger import CHUNK, SUBSCRIPTIONS, Ledger, Scope
from smartcar_ops.database.tables import Company

KEEPING = ("postgresql", "sqlite")
"""Databases where a step of judging is worked out once, into a table of this connection alone.

MySQL's own temporary tables can't be read twice in one query.
"""


@dataclass(frozen=True)
class Holders:
    """Every user's row once more: its id as text, and the condition that it holds a Smartcar user id."""

    table: sa.FromClause
    user_id: sa.ColumnElement[Any]
    holds: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]


@dataclass(frozen=True)
class Workspace:
    """Where judging happens: one connection that sees people, cars and evidence."""

    connection: sa.Connection
    people: sa.FromClause
    cars: sa.FromClause
    scope: Scope
    per_vehicle: bool = False
    """Whether the company keeps the Smartcar user id per vehicle as well."""
    fed: bool = False
    """Whether it is known which vehicles a webhook is fed with."""
    few: bool = False
    """Whether people and cars are those of a few users: what is known is then looked up for each, in one query."""
    holders: Holders | None = None
    """How to look up who holds an id, for a few users."""
    _kept: dict[str, sa.FromClause] = field(default_factory=dict, init=False, repr=False)

    def keep(self, query: sa.Select[Any] | sa.CompoundSelect[Any], name: str) -> sa.FromClause:
        """A step of judging that several questions need: worked out once for this desk.

        Its table goes with the connection's transaction. Where none may be made, it is a step of each query.
        """
        if name not in self._kept:
            made = self._made(query, name)
            self._kept[name] = step(query, name) if made is None else made
        return self._kept[name]

    def _made(self, query: sa.Select[Any] | sa.CompoundSelect[Any], name: str) -> sa.FromClause | None:
        if self.few or self.connection.dialect.name not in KEEPING:
            return None
        made = sa.CreateTableAs(query, f"smartcar_ops_{name}_", temporary=True)
        try:
            with self.connection.begin_nested():
                self.connection.execute(made)
                self.connection.exec_driver_sql(f"ANALYZE {made.table.name}")
        except DBAPIError:  # no right to, or a session that may only read
            return None
        return made.table

    def rows(self, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        """The query's rows, for those that are few."""
        with engines.failures(self.connection.engine, "judging the users"):
            for row in self.connection.execute(query).mappings():
                yield dict(row)

    def tables(self, query: sa.Select[Any]) -> Iterator[pa.Table]:
        """The query's rows in columns of text, whole numbers and times, so many at a time: memory does not grow."""
        types = {column.name: _arrow(column.type) for column in query.selected_columns}
        with engines.failures(self.connection.engine, "judging the users"):
            if self.connection.dialect.driver == "psycopg":
                yield from bulk_read.copied(self.connection, query, types)
            else:
                yield from bulk_read.fetched(self.connection, query, types)


def _arrow(kind: sa.types.TypeEngine[Any]) -> pa.DataType:
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.timestamp("us") if isinstance(kind, sa.DateTime) else pa.string()


@contextmanager
def desk(company: Company, ledger: Ledger, now: datetime) -> Iterator[Workspace]:
    """A desk in the company's database, or, with the ledger in a file, in that file on copied ids."""
    people, cars = company.people(), company.cars(now)
    about = ledger.scope, company.holder_column is not None, ledger.knows(SUBSCRIPTIONS)
    if ledger.in_database:
        with engines.failures(company.engine, "judging the users"), company.engine.connect() as connection:
            yield Workspace(connection, step(people, "people"), step(cars, "cars", once=False), *about)
        return
    with engines.failures(ledger.engine, "judging the users"), ledger.reading.connect() as connection:
        copies = [_copy(company, connection, query, name) for query, name in ((people, "people"), (cars, "cars"))]
        yield Workspace(connection, copies[0], copies[1], *about)
        connection.rollback()


def _copy(company: Company, connection: sa.Connection, query: sa.Select[Any], name: str) -> sa.Table:
    columns = [
        sa.Column(column.name, sa.Integer if column.name in ("token_alive", "has_vin") else sa.String)
        for column in query.selected_columns
    ]
    table = sa.Table(f"judged_{name}", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    table.create(connection)
    with engines.failures(company.engine, f"reading the {name}"), company.engine.connect() as reading:
        for rows in reading.execution_options(yield_per=CHUNK).execute(query).mappings().partitions():
            connection.execute(sa.insert(table), [dict(row) for row in rows])
    return table


def step(query: sa.Select[Any] | sa.CompoundSelect[Any], name: str, *, once: bool = True) -> sa.CTE:
    """A named step of the query, worked out once: SQLite else repeats it for every row it is joined to.

    Not ``once``: PostgreSQL may read it where it is needed, on several cores, and writes it down nowhere.

    No table of the company has the name: a CTE called like the table it reads would be its own source.
    """
    step = query.cte(f"smartcar_ops_{name}_")
    step = step.prefix_with("MATERIALIZED", dialect="sqlite")
    return step.prefix_with("MATERIALIZED" if once else "NOT MATERIALIZED", dialect="postgresql")


class InOrder(sa.Join):
    """A join whose left side is read first.

    SQLite, which knows nothing of how many rows the ledger has, else goes through the left side for each of them.
    """

    inherit_cache = True


@compiles(InOrder)
def _as_any_join(join: InOrder, compiler: Any, **options: Any) -> str:
    return str(compiler.visit_join(join, **options))


@compiles(InOrder, "sqlite")
def _as_cross_join(join: InOrder, compiler: Any, **options: Any) -> str:
    left, right = (compiler.process(side, **{**options, "asfrom": True}) for side in (join.left, join.right))
    condition = compiler.process(join.onclause, **{**options, "asfrom": False})
    return f"{left} CROSS JOIN {right} ON {condition}"
