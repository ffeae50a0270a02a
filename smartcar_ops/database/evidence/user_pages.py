"""Pages of the users, each in the bucket of the last audit: found, sorted and cut by the database.

The buckets are those that the last audit left in the ledger; a user's ids, vehicles and evidence are those of now. A
page is one statement, on MySQL and MariaDB two. If the ledger is a file, it is a few, and only the users on the page
are read from the company's database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import MATERIALIZING, InOrder, Workspace, copied, cte
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.history.user_states import STILL
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.sql_types import Condition, Expression, Query
from smartcar_ops.database.tables import Company

COUNTED = ("vehicles", "make")
"""The columns that are worked out for every user if they decide the order; for others, only for those on the page."""

SORTS = ("user_id", "smartcar_user_id", "bucket", *COUNTED)
"""The columns that a page can be sorted by."""

SORTS_OF_FILE = ("user_id", "bucket")
"""Those that the ledger knows by itself, if it is a file."""

FEW = 200
"""Users whose facts are read together where the database can't do it for all at once."""

BETWEEN, WITHIN = "|", ":"
"""Separators between the ids named for a user, and between an id and its sources."""


@dataclass(frozen=True)
class UserFilter:
    """Which users are shown, and in which order: all, those in a bucket, those whose id begins with a text, or both."""

    bucket: str = ""
    prefix: str = ""
    sort: str = "user_id"
    descending: bool = False


def sorts(ledger: Ledger) -> tuple[str, ...]:
    """Return the columns that the pages can be sorted by."""
    if not ledger.in_database:
        return SORTS_OF_FILE
    return SORTS if _at_once(ledger) else tuple(name for name in SORTS if name not in COUNTED)


def page(
    company: Company, ledger: Ledger, now: datetime, wanted: UserFilter, start: int, rows: int
) -> tuple[int, pa.Table]:
    """Return how many users are wanted, and these rows of them: see `PageFacts.shown`.

    The number is 0 if there is none on this page.
    """
    if ledger.in_database and _at_once(ledger):
        with _in_database(company, ledger, now, wanted, start, rows) as facts:
            found = facts.workspace.table(facts.shown(wanted, start, rows))
        return (found["total"][0].as_py() if found.num_rows else 0), found
    query = _listed(company, ledger, wanted).offset(start).limit(rows)
    with engines.failures(ledger.engine, "reading the users"), ledger.reading.connect() as connection:
        listed = connection.execute(query).mappings().all()
    total, ids = (listed[0]["total"] if listed else 0), [row["user_id"] for row in listed]
    opened = _of_few if ledger.in_database else _in_file
    with opened(company, ledger, now, wanted, ids) as facts:
        return total, facts.workspace.table(facts.shown(wanted))


def every(company: Company, ledger: Ledger, now: datetime, wanted: UserFilter) -> Iterator[pa.Table]:
    """Yield the rows of all pages, in batches with constant memory."""
    if ledger.in_database and not _at_once(ledger):
        query = _listed(company, ledger, wanted)
        with engines.failures(ledger.engine, "reading the users"), ledger.reading.connect() as connection:
            listed = connection.execute(query, execution_options={"yield_per": FEW}).mappings()
            for part in listed.partitions():
                ids = [row["user_id"] for row in part]
                with _of_few(company, ledger, now, wanted, ids) as facts:
                    yield facts.workspace.table(facts.shown(wanted))
        return
    whole = _in_database if ledger.in_database else _in_file
    with whole(company, ledger, now, wanted) as facts:
        yield from facts.workspace.tables(facts.shown(wanted))


def _at_once(ledger: Ledger) -> bool:
    """Return whether one statement can find the users and their facts.

    MySQL computes an intermediate result again for each use of it: there, the users are found first.
    """
    return ledger.engine.dialect.name in MATERIALIZING


def _listed(company: Company, ledger: Ledger, wanted: UserFilter) -> Query:
    """Return the query for the wanted users alone, with their ``total``; a file knows only its own ids and buckets."""
    if ledger.in_database:
        query = _with_states(company.people().subquery("everybody"), ledger, wanted)
    else:
        row = t.user_states.c
        query = sa.select(row.user_id, row.bucket, _total()).where(*_is_wanted(ledger, wanted))
    return query.order_by(*_order(wanted, query.selected_columns))


class PageFacts(UserFacts):
    """What is shown of the users of a workspace, whose ``people`` have a ``bucket`` and the ``total`` as well."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace

    def shown(self, wanted: UserFilter, start: int = 0, rows: int | None = None) -> Query:
        """Return one row per user.

        (user_id, stored, bucket, named, sources, chosen, malformed, disputed, vehicles, make, total). ``disputed`` are
        the ids and their sources if the evidence names several, see `ids_of`. ``total`` is the number of wanted users.
        """
        people, car, weighed = self._people, self.car, self._weighed(with_vehicles=False)
        counts, disputed = self._car_counts(), self._disputed_ids()
        query = (
            sa.select(
                people.c.user_id,
                people.c.stored,
                people.c.bucket,
                weighed.c.named,
                weighed.c.sources,
                weighed.c.chosen,
                weighed.c.malformed,
                disputed.c.disputed,
                sa.func.coalesce(counts.c.vehicles, 0).label("vehicles"),
                car.c.make,
                people.c.total,
            )
            .select_from(people)
            .join(weighed, people.c.user_id == weighed.c.user_id)
            .outerjoin(counts, people.c.user_id == counts.c.user_id)
            .outerjoin(car, people.c.user_id == car.c.user_id)
            .outerjoin(disputed, people.c.user_id == disputed.c.user_id)
        )
        query = query.order_by(*_order(wanted, query.selected_columns))
        return query.offset(start).limit(rows) if rows is not None and wanted.sort in COUNTED else query

    def _disputed_ids(self) -> sa.CTE:
        """(user_id, disputed): the ids that are named for a user, with their sources, if there are several."""
        named = self.disputed().order_by(None).subquery("ids_of_several")
        one = named.c.id.concat(WITHIN).concat(sa.cast(named.c.sources, sa.String(12)))
        ids = sa.func.aggregate_strings(one, BETWEEN).label("disputed")
        return cte(sa.select(named.c.user_id, ids).group_by(named.c.user_id), "disputed_ids")


def ids_of(disputed: str) -> dict[str, int]:
    """Return the ids in ``disputed`` with the set of their sources."""
    pairs = (one.split(WITHIN) for one in disputed.split(BETWEEN))
    return {id: int(sources) for id, sources in pairs}


@contextmanager
def _in_database(
    company: Company, ledger: Ledger, now: datetime, wanted: UserFilter, start: int = 0, rows: int | None = None
) -> Iterator[PageFacts]:
    """Open a workspace with the wanted users: those on the page, unless the order needs the facts about all of them."""
    people = _with_states(company.people().subquery("everybody"), ledger, wanted)
    if rows is not None and wanted.sort not in COUNTED:
        people = people.order_by(*_order(wanted, people.selected_columns)).offset(start).limit(rows)
    with engines.failures(company.engine, "reading the users"), company.engine.connect() as connection:
        shown, cars = cte(people, "people"), company.cars(now).subquery("every_car")
        mine = sa.select(cars).join_from(cars, shown, cars.c.user_id == shown.c.user_id)
        yield _facts(connection, company, ledger, shown, mine)


@contextmanager
def _of_few(
    company: Company, ledger: Ledger, now: datetime, wanted: UserFilter, ids: Sequence[str]
) -> Iterator[PageFacts]:
    """Open a workspace in the database with the users who have these ids, found by their index."""
    people = cte(_with_states(company.people(ids).subquery("everybody"), ledger, wanted), "people")
    with engines.failures(company.engine, "reading the users"), company.engine.connect() as connection:
        yield _facts(connection, company, ledger, people, company.cars(now, ids))


@contextmanager
def _in_file(
    company: Company, ledger: Ledger, now: datetime, wanted: UserFilter, ids: Sequence[str] | None = None
) -> Iterator[PageFacts]:
    """Open a workspace in the ledger's file, with copies of the users and cars with these ids, or of all of them."""
    with engines.failures(ledger.engine, "reading the users"), ledger.reading.connect() as connection:
        everybody = copied(company, connection, company.people(ids), "people")
        cars = copied(company, connection, company.cars(now, ids), "cars")
        people = cte(_with_states(everybody, ledger, wanted), "people")
        mine = sa.select(cars).join_from(cars, people, cars.c.user_id == people.c.user_id)
        yield _facts(connection, company, ledger, people, mine)
        connection.rollback()


def _facts(connection: sa.Connection, company: Company, ledger: Ledger, people: sa.CTE, cars: Query) -> PageFacts:
    per_vehicle = company.vehicle_user_id_column is not None
    return PageFacts(Workspace(connection, people, cte(cars, "cars"), ledger.scope, per_vehicle, few=True))


def _with_states(everybody: sa.FromClause, ledger: Ledger, wanted: UserFilter) -> Query:
    """Return (user_id, stored, current, bucket, total) of the wanted users whom the company still has."""
    people, row = everybody.c, t.user_states.c
    query = sa.select(people.user_id, people.stored, people.current, row.bucket, _total())
    rows = InOrder(everybody, t.user_states, people.user_id == row.user_id)
    return query.select_from(rows).where(*_is_wanted(ledger, wanted))


def _is_wanted(ledger: Ledger, wanted: UserFilter) -> Iterator[Condition]:
    """Yield the conditions that a row of the users' states is the last audit's, and one that is wanted."""
    row = t.user_states.c
    yield ledger.scope.of(t.user_states)
    yield row.until == STILL
    if wanted.bucket:
        yield row.bucket == wanted.bucket
    if wanted.prefix:  # no LIKE: some databases ignore case there, and % and _ would need an escape
        yield sa.func.substr(row.user_id, 1, len(wanted.prefix)) == wanted.prefix


def _total() -> sa.ColumnElement[int]:
    return sa.func.count().over().label("total")


def _order(wanted: UserFilter, columns: sa.ColumnCollection[str, Any]) -> list[Expression]:
    """Return the order of the rows; users without a value come last, and equal ones in the order of their ids."""
    by_id = [sa.func.length(columns["user_id"]), columns["user_id"]]
    if wanted.sort == "user_id":
        return [column.desc() for column in by_id] if wanted.descending else by_id
    column = columns["stored" if wanted.sort == "smartcar_user_id" else wanted.sort]
    missing = sa.case((column.is_(None), 1), else_=0)
    return [missing, column.desc() if wanted.descending else column, *by_id]
