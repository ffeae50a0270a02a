"""Where judging happens: one connection that sees people, cars and evidence.

Where the ledger is a file, the few columns that judging needs are copied beside it first, and the same queries
run there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from smartcar_ops.company import engines
from smartcar_ops.company.ledger import CHUNK, Ledger, Scope
from smartcar_ops.company.tables import Company


@dataclass(frozen=True)
class Desk:
    """Where judging happens: one connection that sees people, cars and evidence."""

    connection: sa.Connection
    people: sa.FromClause
    cars: sa.FromClause
    scope: Scope

    def rows(self, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        """The query's rows, streamed."""
        with engines.failures(self.connection.engine, "judging the users"):
            result = self.connection.execution_options(yield_per=CHUNK).execute(query)
            for row in result.mappings():
                yield dict(row)


@contextmanager
def desk(company: Company, ledger: Ledger, now: datetime) -> Iterator[Desk]:
    """A desk in the company's database, or, with the ledger in a file, in that file on copied ids."""
    people, cars = company.people(), company.cars(now)
    if ledger.in_database:
        with engines.failures(company.engine, "judging the users"), company.engine.connect() as connection:
            yield Desk(connection, step(people, "people"), step(cars, "cars"), ledger.scope)
        return
    with engines.failures(ledger.engine, "judging the users"), ledger.reading.connect() as connection:
        copies = [_copy(company, connection, query, name) for query, name in ((people, "people"), (cars, "cars"))]
        yield Desk(connection, copies[0], copies[1], ledger.scope)
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


def step(query: sa.Select[Any] | sa.CompoundSelect[Any], name: str) -> sa.CTE:
    """A named step of the query, worked out once: SQLite else repeats it for every row it is joined to.

    No table of the company has the name: a CTE called like the table it reads would be its own source.
    """
    step = query.cte(f"smartcar_ops_{name}_")
    for dialect in ("sqlite", "postgresql"):
        step = step.prefix_with("MATERIALIZED", dialect=dialect)
    return step
