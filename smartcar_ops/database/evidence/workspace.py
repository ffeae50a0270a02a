"""Opens a workspace for the audit's queries: one connection that can read users, vehicles and evidence together.

If the ledger is a file, the few columns of the company's tables that the queries need are first copied into temporary
tables of that file, and the same queries run there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from smartcar_ops.database import bulk_read, engines
from smartcar_ops.database.ledger.ledger import CHUNK, SUBSCRIPTIONS, Ledger, Scope
from smartcar_ops.database.sql_types import ColumnType, CompoundQuery, Condition, Query
from smartcar_ops.database.tables import Company

MATERIALIZING = ("postgresql", "sqlite")
"""Databases where an intermediate result is stored once, in a temporary table.

MySQL can't read a temporary table twice in one query.
"""


@dataclass(frozen=True)
class Holders:
    """All users again, to find who has an id: their id as text, and the condition that a row has a Smartcar user id."""

    table: sa.FromClause
    user_id: sa.ColumnElement[str]
    holds: Callable[[sa.ColumnElement[str]], Condition]


@dataclass(frozen=True)
class Workspace:
    """One connection with the users, the vehicles and the evidence of one scope."""

    connection: sa.Connection
    people: sa.FromClause
    cars: sa.FromClause
    scope: Scope
    per_vehicle: bool = False
    """Whether the company keeps the Smartcar user id per vehicle as well."""
    subscriptions_known: bool = False
    """Whether it is known which vehicles are subscribed to a webhook."""
    few: bool = False
    """Whether people and cars are those of a few users, whose evidence is then looked up for each in one query."""
    holders: Holders | None = None
    """How to find the users who have an id; only for a few users, and only if it is asked."""
    all_cars: sa.FromClause | None = None
    """(local_vehicle_id, vehicle_id) of every car of the company, if ``cars`` are only those of a few users."""
    _materialized: dict[str, sa.FromClause] = field(default_factory=dict, init=False, repr=False)

    def materialize(self, query: Query | CompoundQuery, name: str) -> sa.FromClause:
        """Return an intermediate result that several queries use, computed once for this workspace.

        It is a temporary table, dropped with the connection's transaction; if none can be created, a CTE of each query.
        """
        if name not in self._materialized:
            table = self._temporary_table(query, name)
            self._materialized[name] = cte(query, name) if table is None else table
        return self._materialized[name]

    def _temporary_table(self, query: Query | CompoundQuery, name: str) -> sa.FromClause | None:
        if self.few or self.connection.dialect.name not in MATERIALIZING:
            return None
        create = sa.CreateTableAs(query, f"smartcar_ops_{name}_", temporary=True)
        try:
            with self.connection.begin_nested():
                self.connection.execute(create)
                self.connection.exec_driver_sql(f"ANALYZE {create.table.name}")
        except DBAPIError:  # no right to create it, or a read-only session
            return None
        return _by_name(create.table)

    def rows(self, query: Query) -> Iterator[dict[str, Any]]:
        """Return the rows of a query with few rows."""
        with engines.failures(self.connection.engine, "judging the users"):
            for row in self.connection.execute(query).mappings():
                yield dict(row)

    def table(self, query: Query) -> pa.Table:
        """Return the rows of a query with few rows as one Arrow table, with the types that `tables` gives them."""
        types = [(column.name, _arrow(column.type)) for column in query.selected_columns]
        return pa.Table.from_pylist(list(self.rows(query)), pa.schema(types))

    def tables(self, query: Query) -> Iterator[pa.Table]:
        """Return the query's rows in batches, as Arrow tables of text, integers and times, with constant memory."""
        types = {column.name: _arrow(column.type) for column in query.selected_columns}
        with engines.failures(self.connection.engine, "judging the users"):
            if self.connection.dialect.driver == "psycopg":
                yield from bulk_read.copied(self.connection, query, types)
            else:
                yield from bulk_read.fetched(self.connection, query, types)


def _arrow(kind: ColumnType) -> pa.DataType:
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.timestamp("us") if isinstance(kind, sa.DateTime) else pa.string()


@contextmanager
def open_workspace(
    company: Company, ledger: Ledger, now: datetime, users: Collection[str] | None = None
) -> Iterator[Workspace]:
    """Open a workspace in the company's database, or in the ledger's file with copied ids.

    With ``users``, a few hundred at most, it has only them and their cars, and takes no longer in a large company. What
    depends on other users, such as whether an id is shared, is then found only among them.
    """
    people, cars = company.people(users), company.cars(now, users)
    every = company.cars(now).subquery("every_car")
    links = sa.select(every.c.local_vehicle_id, every.c.vehicle_id) if users is not None else None
    known = ledger.knows(SUBSCRIPTIONS)

    def made(
        connection: sa.Connection, people: sa.FromClause, cars: sa.FromClause, all_cars: sa.FromClause | None
    ) -> Workspace:
        per_vehicle, few = company.vehicle_user_id_column is not None, all_cars is not None
        return Workspace(connection, people, cars, ledger.scope, per_vehicle, known, few, all_cars=all_cars)

    if ledger.in_database:
        with engines.failures(company.engine, "judging the users"), company.engine.connect() as connection:
            all_cars = None if links is None else cte(links, "all_cars", once=False)
            yield made(connection, cte(people, "people"), cte(cars, "cars", once=False), all_cars)
        return
    with engines.failures(ledger.engine, "judging the users"), ledger.reading.connect() as connection:
        copied_people, copied_cars, copied_links = (
            None if query is None else copied(company, connection, query, name)
            for query, name in ((people, "people"), (cars, "cars"), (links, "all_cars"))
        )
        assert copied_people is not None and copied_cars is not None
        yield made(connection, copied_people, copied_cars, copied_links)
        connection.rollback()


def copied(company: Company, connection: sa.Connection, query: Query, name: str) -> sa.TableClause:
    """Copy the result of a query on the company's database into a temporary table of the ledger's file."""
    columns = [
        sa.Column(column.name, sa.Integer if column.name in ("token_alive", "has_vin") else sa.String)
        for column in query.selected_columns
    ]
    table = sa.Table(f"judged_{name}", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    table.create(connection)
    with engines.failures(company.engine, f"reading the {name}"), company.engine.connect() as reading:
        for rows in reading.execution_options(yield_per=CHUNK).execute(query).mappings().partitions():
            connection.execute(sa.insert(table), [dict(row) for row in rows])
    return _by_name(table)


def _by_name(table: sa.Table) -> sa.TableClause:
    """Return the table as its name and columns, so that SQLAlchemy compiles a query over it once for all workspaces."""
    return sa.table(table.name, *(sa.column(column.name, column.type) for column in table.columns))


def cte(query: Query | CompoundQuery, name: str, *, once: bool = True) -> sa.CTE:
    """Return the query as a CTE that is computed once; otherwise SQLite repeats it for every row it is joined to.

    Without ``once``, PostgreSQL may inline it, run it in parallel and store nothing.

    The name has a prefix so that no company table has it: a CTE with the name of the table it reads would refer to
    itself.
    """
    named = query.cte(f"smartcar_ops_{name}_")
    named = named.prefix_with("MATERIALIZED", dialect="sqlite")
    return named.prefix_with("MATERIALIZED" if once else "NOT MATERIALIZED", dialect="postgresql")


class InOrder(sa.Join):
    """A join whose left side is read first.

    Otherwise SQLite, which does not know how many rows the ledger has, may scan the left side for each of them.
    """

    inherit_cache = True


@compiles(InOrder)
def _as_any_join(join: InOrder, compiler: Any, **options: object) -> str:
    return str(compiler.visit_join(join, **options))


@compiles(InOrder, "sqlite")
def _as_cross_join(join: InOrder, compiler: SQLCompiler, **options: object) -> str:
    assert join.onclause is not None, "without a condition, SQLAlchemy derives one"
    left, right = (compiler.process(side, **{**options, "asfrom": True}) for side in (join.left, join.right))
    condition = compiler.process(join.onclause, **{**options, "asfrom": False})
    return f"{left} CROSS JOIN {right} ON {condition}"
