"""Everything that is known about one user, as rows: links, evidence, decision, changes, and the bucket over time.

The user is judged by the same rules as in an audit, together with everybody who has, or could get, one of the ids that
are named for the user; so it takes no longer in a large company.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.column_types import ID_LENGTH
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import Workspace, open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.sql_types import Condition, Query
from smartcar_ops.database.tables import IDS, Company

OTHERS = 200
"""At most so many other users are judged together with one; who already has one of the ids comes first."""

CHANGES = 200
"""At most so many changes of a user's rows are shown, the newest first."""


@contextmanager
def open_around(company: Company, ledger: Ledger, user_id: str, now: datetime) -> Iterator[Workspace]:
    """Open a workspace of one user and the others who have, or could get, an id that is named for that user."""
    with open_workspace(company, ledger, now, {user_id}) as alone:
        ids = _ids_named(alone)
    others = _others(company, ledger, ids, now) if ids else ()
    with open_workspace(company, ledger, now, {user_id, *others}) as workspace:
        yield workspace


def _ids_named(workspace: Workspace) -> set[str]:
    """Return every id that is stored, chosen or named for the workspace's users."""
    facts = UserFacts(workspace)
    queries = (
        sa.select(workspace.people.c.stored.label("id")),
        sa.select(facts.personal.c.id),
        sa.select(facts.seen.c.id),
        sa.select(facts.chosen.c.id),
    )
    return {row["id"] for query in queries for row in workspace.rows(query) if len(row["id"] or "") == ID_LENGTH}


def _others(company: Company, ledger: Ledger, ids: Collection[str], now: datetime) -> list[str]:
    """Return users who have, or could get, one of these Smartcar ids; at most `OTHERS`."""
    people, found = company.people().subquery("everybody"), dict[str, None]()
    has = sa.select(people.c.user_id).where(people.c.stored.in_(ids)).limit(OTHERS)
    with engines.failures(company.engine, "looking for ids held twice"), company.engine.connect() as connection:
        found |= dict.fromkeys(connection.execute(has).scalars())
    of = ledger.scope.of
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        for table in (t.personal, t.choices):
            named = sa.select(table.c.user_id).where(of(table), table.c.smartcar_user_id.in_(ids)).distinct()
            found |= dict.fromkeys(connection.execute(named.limit(OTHERS)).scalars())
        vehicles = _vehicles(connection, ledger, ids)
        cars = {
            car
            for some in _parts(vehicles)
            for car in connection.execute(
                sa.select(t.ties.c.local_vehicle_id).where(of(t.ties), t.ties.c.vehicle_id.in_(some))
            ).scalars()
        }
    found |= dict.fromkeys(_owners(company, vehicles, cars, now))
    return list(found)[:OTHERS]


def _vehicles(connection: sa.Connection, ledger: Ledger, ids: Collection[str]) -> set[str]:
    """Return the vehicles that a connection or a sighting, also one that is gone, gives to these Smartcar users."""
    return {
        vehicle
        for table in (t.connections, t.sightings)
        for vehicle in connection.execute(
            sa.select(table.c.vehicle_id).where(ledger.scope.of(table), table.c.smartcar_user_id.in_(ids)).distinct()
        ).scalars()
    }


def _owners(company: Company, vehicles: set[str], cars: set[str], now: datetime) -> Iterator[str]:
    """Yield the users whose cars are among these, or stored as these vehicles; stops after `OTHERS`."""
    every, left = company.cars(now).subquery("every_car"), OTHERS
    for column, wanted in ((every.c.local_vehicle_id, cars), (every.c.vehicle_id, vehicles)):
        for some in _parts(wanted):
            query = sa.select(every.c.user_id).where(column.in_(some), every.c.user_id.is_not(None)).distinct()
            with engines.failures(company.engine, "reading the vehicles"), company.engine.connect() as connection:
                owners = connection.execute(query.limit(left)).scalars().all()
            yield from owners
            left -= len(owners)
            if left <= 0:
                return


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(values)
    return (ordered[start : start + IDS] for start in range(0, len(ordered), IDS))


class OneUser(UserFacts):
    """The queries for what is known about one user of a workspace; each is sorted."""

    def __init__(self, workspace: Workspace, user_id: str) -> None:
        super().__init__(workspace)
        self._user_id = user_id

    def links_found(self) -> Query:
        """(local_vehicle_id, vehicle_id, source, seen_at): the user's cars, with what links each to a vehicle."""
        cars, row = self._cars, t.ties
        tied = sa.and_(self._scope.of(row), row.c.local_vehicle_id == cars.c.local_vehicle_id)
        stored = sa.select(
            cars.c.local_vehicle_id, cars.c.vehicle_id, sa.literal("stored").label("source"), _no_time()
        ).where(self._is_mine(cars), cars.c.vehicle_id.is_not(None))
        known = (
            sa.select(cars.c.local_vehicle_id, row.c.vehicle_id, row.c.source, row.c.seen_at)
            .select_from(cars.outerjoin(row, tied))
            .where(self._is_mine(cars))
        )
        return _sorted(sa.union_all(stored, known), "local_vehicle_id", "vehicle_id", "source")

    def personal_found(self) -> Query:
        """(source, smartcar_user_id, seen_at, gone_at, counts): what names the user alone."""
        row = t.personal
        query = sa.select(row.c.source, row.c.smartcar_user_id, row.c.seen_at, row.c.gone_at, self._counted(row))
        mine = query.where(self._scope.of(row), row.c.user_id == self._user_id)
        return _sorted(mine, "smartcar_user_id", "source")

    def cars_found(self) -> Query:
        """Who is connected to the user's cars.

        (local_vehicle_id, vehicle_id, source, smartcar_user_id, seen_at, gone_at, counts, make, model, powertrain); the
        last three are null where the list of connections has none.
        """
        links, named, seen = self.links, t.connections, t.sightings
        mine = sa.select(links.c.local_vehicle_id, links.c.vehicle_id).where(self._is_mine(links)).distinct()
        own = mine.subquery("own_links")
        place = own.c.local_vehicle_id, own.c.vehicle_id
        connected = (
            sa.select(
                *place,
                sa.literal("connections").label("source"),
                named.c.smartcar_user_id,
                named.c.first_seen.label("seen_at"),
                named.c.gone_at,
                sa.literal(1).label("counts"),
                named.c.make,
                named.c.model,
                named.c.powertrain,
            )
            .join_from(own, named, own.c.vehicle_id == named.c.vehicle_id)
            .where(self._scope.of(named))
        )
        nothing = (sa.cast(sa.null(), named.c[name].type).label(name) for name in ("make", "model", "powertrain"))
        sighted = (
            sa.select(
                *place,
                seen.c.source,
                seen.c.smartcar_user_id,
                seen.c.seen_at,
                seen.c.gone_at,
                self._counted(seen),
                *nothing,
            )
            .join_from(own, seen, own.c.vehicle_id == seen.c.vehicle_id)
            .where(self._scope.of(seen))
        )
        return _sorted(sa.union_all(connected, sighted), "local_vehicle_id", "vehicle_id", "smartcar_user_id", "source")

    def _counted(self, table: sa.Table) -> sa.ColumnElement[int]:
        return sa.case((self._counts(table), 1), else_=0).label("counts")

    def _is_mine(self, table: sa.FromClause) -> Condition:
        return table.c.user_id == self._user_id


def _no_time() -> sa.ColumnElement[datetime]:
    return sa.cast(sa.null(), t.ties.c.seen_at.type).label("seen_at")


def _sorted(query: sa.Select[object] | sa.CompoundSelect[object], *names: str) -> Query:
    rows = query.subquery("found")
    return sa.select(rows).order_by(*(rows.c[name] for name in names))


def choice(ledger: Ledger, user_id: str) -> list[dict[str, object]]:
    """Return the decision in force about a user: (smartcar_user_id, chosen_by, reason, chosen_at), or nothing."""
    row = t.choices
    query = sa.select(row.c.smartcar_user_id, row.c.chosen_by, row.c.reason, row.c.chosen_at)
    return _read(ledger, query.where(ledger.scope.of(row), row.c.user_id == user_id))


def changes(ledger: Ledger, user_id: str) -> list[dict[str, object]]:
    """Return what the kit wrote, or was to write, in the user's rows; the newest first, at most `CHANGES`.

    (at, run_id, operator, table, row_id, column, before, after, outcome, reason, undone_by); times are naive UTC.
    """
    row, run = t.changes.c, t.runs.c
    query = (
        sa.select(
            row.at,
            row.run_id,
            run.operator,
            row.table_name.label("table"),
            row.row_id,
            row.column_name.label("column"),
            row.before_value.label("before"),
            row.after_value.label("after"),
            row.outcome,
            row.reason,
            row.undone_by,
        )
        .join_from(t.changes, t.runs, run.run_id == row.run_id)
        .where(run.layout == ledger.scope.layout, row.user_id == user_id)
        .order_by(row.at.desc(), row.run_id.desc(), row.batch.desc(), row.place)
    )
    return _read(ledger, query.limit(CHANGES))


def states(ledger: Ledger, user_id: str) -> list[dict[str, object]]:
    """Return the user's buckets by day: (since, until, bucket), ``until`` exclusive; the earliest first."""
    row = t.user_states
    query = sa.select(row.c.since, row.c.until, row.c.bucket).order_by(row.c.since)
    return _read(ledger, query.where(ledger.scope.of(row), row.c.user_id == user_id))


def _read(ledger: Ledger, query: Query) -> list[dict[str, object]]:
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
