"""Queries for the evidence: which source gives which Smartcar user id to which user.

Missing rows among millions are found by an outer join, never by ``NOT IN``, for which PostgreSQL would scan the list
for every row.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from smartcar_ops.database.column_types import ID_LENGTH
from smartcar_ops.database.evidence.workspace import InOrder, Workspace, cte
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.sql_types import Condition, Query
from smartcar_ops.text import NIL

SOURCES = ("choice", "external_id", "gone", "management", "redirects", "stored", "tokens", "vins", "webhooks")
"""The sources of evidence. In SQL, a set of them is a number with one bit per source, in this order.

``gone`` is not a source: it marks that a later list lacked the evidence.
"""

UNPROVED = ("redirects", "webhooks")
"""Sources that anyone could have sent; they count only for Smartcar users in the list of connections."""


SEVERAL = "several"
"""The make of a user who has connected cars of several makes."""


class BitOr(GenericFunction[int]):
    """The union of the source sets in a group of rows."""

    type = sa.Integer()
    name = "bit_or"
    inherit_cache = True


@compiles(BitOr, "sqlite")
def _bit_by_bit(sets: BitOr, compiler: SQLCompiler, **options: object) -> str:
    """SQLite has no such function: add the maximum of each bit."""
    value = compiler.process(sets.clauses, **options)
    return "(" + " + ".join(f"max({value} & {1 << place})" for place in range(len(SOURCES))) + ")"


def sources_of(mask: int | None) -> list[str]:
    """Return the names in a set of sources."""
    return [name for place, name in enumerate(SOURCES) if (mask or 0) & 1 << place]


class Evidence:
    """The queries for the evidence in one workspace; create it once per workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._scope = workspace, workspace.scope
        self._people, self._cars = workspace.people, workspace.cars
        self._per_vehicle = workspace.per_vehicle
        self._known = sa.and_(self._scope.of(t.connections), t.connections.c.gone_at.is_(None))

    def disputed(self) -> sa.Select[str, str, int]:
        """Return (user_id, id, sources) for users whose evidence has more than one id."""
        person, car = self.person, self.car
        several = cte(
            sa.union(
                sa.select(person.c.user_id).where(person.c.ever_lowest < person.c.ever_highest),
                sa.select(car.c.user_id).where(car.c.ever_lowest < car.c.ever_highest),
                sa.select(car.c.user_id)
                .join_from(person, car, person.c.user_id == car.c.user_id)
                .where(person.c.ever_lowest != car.c.ever_lowest),
            ),
            "several",
        )
        both = sa.union_all(
            *(
                sa.select(rows.c.user_id, rows.c.id, _source_or_gone(rows)).join_from(
                    several, rows, rows.c.user_id == several.c.user_id
                )
                for rows in (self.personal, self.seen)
            )
        ).subquery("both_kinds")
        return (
            sa.select(both.c.user_id, both.c.id, BitOr(both.c.source).label("sources"))
            .group_by(both.c.user_id, both.c.id)
            .order_by(both.c.user_id, both.c.id)
        )

    def cars(self) -> Query:
        """Return one row per car.

        (local_vehicle_id, user_id, current, lowest, highest, sources, vehicle_user_id, current_vehicle_user_id).
        ``lowest`` and ``highest`` are the vehicle ids that a connection links to the car: equal if there is one, null
        if there is none. ``vehicle_user_id`` is the Smartcar user id of the car's connection,
        ``current_vehicle_user_id`` the stored one; both are null if the company has no such column.
        """
        cars, seen = self._cars, self.seen
        grouped = cte(
            sa.select(
                seen.c.local_vehicle_id,
                sa.func.min(seen.c.vehicle_id).label("lowest"),
                sa.func.max(seen.c.vehicle_id).label("highest"),
                BitOr(seen.c.source).label("sources"),
            )
            .where(seen.c.live == 1)
            .group_by(seen.c.local_vehicle_id),
            "grouped",
            once=False,
        )
        users = self._vehicle_user_ids() if self._per_vehicle else None
        query = sa.select(
            cars.c.local_vehicle_id,
            cars.c.user_id,
            cars.c.current,
            grouped.c.lowest,
            grouped.c.highest,
            grouped.c.sources,
            (users.c.vehicle_user_id if users is not None else sa.null()).label("vehicle_user_id"),
            cars.c.current_vehicle_user_id,
        )
        rows = cars.outerjoin(grouped, cars.c.local_vehicle_id == grouped.c.local_vehicle_id)
        if users is not None:
            rows = rows.outerjoin(users, cars.c.local_vehicle_id == users.c.local_vehicle_id)
        return query.select_from(rows).order_by(sa.func.length(cars.c.local_vehicle_id), cars.c.local_vehicle_id)

    def orphans(self) -> sa.Select[str, str, str, datetime]:
        """Return (smartcar_user_id, vehicle_id, mode, first_seen) of connections without a local user."""
        row, people = t.connections, self._people
        linked = cte(sa.select(self.links.c.vehicle_id).distinct(), "linked_vehicles")
        stored = sa.select(people.c.stored.label("id")).where(people.c.stored.is_not(None))
        personal = (
            sa.select(self.personal.c.id)
            .join_from(self.personal, people, self.personal.c.user_id == people.c.user_id)
            .where(self.personal.c.live == 1)
        )
        claimed = cte(sa.union(stored, personal), "claimed")
        return (
            sa.select(row.c.smartcar_user_id, row.c.vehicle_id, row.c.mode, row.c.first_seen)
            .select_from(
                row.outerjoin(linked, row.c.vehicle_id == linked.c.vehicle_id).outerjoin(
                    claimed, row.c.smartcar_user_id == claimed.c.id
                )
            )
            .where(self._known, linked.c.vehicle_id.is_(None), claimed.c.id.is_(None))
            .order_by(row.c.smartcar_user_id, row.c.vehicle_id)
        )

    def unread_vehicles(self) -> sa.Select[str, str]:
        """Return (vehicle_id, id) of unlinked connected vehicles whose VIN was not read, with one of their users."""
        row, linked = t.connections, self._linked_vehicles()
        asked = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "vins")
            .subquery("asked_vins")
        )
        return (
            sa.select(row.c.vehicle_id, sa.func.min(row.c.smartcar_user_id).label("id"))
            .select_from(
                row.outerjoin(linked, row.c.vehicle_id == linked.c.vehicle_id).outerjoin(
                    asked, row.c.vehicle_id == asked.c.subject
                )
            )
            .where(self._known, linked.c.vehicle_id.is_(None), asked.c.subject.is_(None))
            .group_by(row.c.vehicle_id)
            .order_by(row.c.vehicle_id)
        )

    def _linked_vehicles(self) -> sa.CTE:
        """(vehicle_id): the vehicles that any car of the company is linked to."""
        cars = self._workspace.all_cars
        if cars is None:
            return cte(sa.select(self.links.c.vehicle_id).distinct(), "linked_vehicles")
        stored = sa.select(cars.c.vehicle_id).where(cars.c.vehicle_id.is_not(None))
        same = cars.c.local_vehicle_id == t.ties.c.local_vehicle_id
        tied = sa.select(t.ties.c.vehicle_id).select_from(InOrder(t.ties, cars, same)).where(self._scope.of(t.ties))
        return cte(sa.union(stored, tied), "linked_vehicles")

    @cached_property
    def links(self) -> sa.FromClause:
        """(local_vehicle_id, user_id, vehicle_id, source): links from the company's own column and from the ledger."""
        cars = self._cars
        stored = sa.select(
            cars.c.local_vehicle_id, cars.c.user_id, cars.c.vehicle_id, _bit("stored").label("source")
        ).where(cars.c.vehicle_id.is_not(None))
        linked = (
            sa.select(cars.c.local_vehicle_id, cars.c.user_id, t.ties.c.vehicle_id, _bits(t.ties))
            .select_from(InOrder(cars, t.ties, cars.c.local_vehicle_id == t.ties.c.local_vehicle_id))
            .where(self._scope.of(t.ties))
        )
        return self._workspace.materialize(sa.union_all(stored, linked), "links")

    @cached_property
    def seen(self) -> sa.FromClause:
        """(user_id, local_vehicle_id, vehicle_id, id, source, live, make): who is connected to each user's own cars.

        ``live`` is 0 if a later list lacked the row: it no longer proves an id, but a contradiction with it remains.
        """
        links, sightings = self.links, t.sightings
        connected = self._through(links, t.connections, links.c.source).where(self._scope.of(t.connections))
        sighted = self._through(links, sightings, _bits(sightings)).where(
            self._scope.of(sightings), self._counts(sightings)
        )
        return self._workspace.materialize(sa.union_all(connected, sighted), "seen")

    def _counts(self, table: sa.Table) -> Condition:
        """Return the condition that a row counts; unproved sources do so only for listed Smartcar users."""
        row = t.connections.c
        known = sa.exists().where(self._known, row.smartcar_user_id == table.c.smartcar_user_id)
        proved = table.c.source.not_in(UNPROVED)
        return sa.or_(proved, table.c.checked == 1, known) if "checked" in table.c else sa.or_(proved, known)

    @staticmethod
    def _through(links: sa.FromClause, table: sa.Table, source: sa.ColumnElement[int]) -> Query:
        """Return the Smartcar users in a table of the ledger for the vehicles that cars are linked to."""
        rows = InOrder(links, table, links.c.vehicle_id == table.c.vehicle_id)
        car = links.c.user_id, links.c.local_vehicle_id, links.c.vehicle_id
        make = (table.c.make if "make" in table.c else sa.cast(sa.null(), t.connections.c.make.type)).label("make")
        query = sa.select(*car, table.c.smartcar_user_id.label("id"), source, _live(table), make).select_from(rows)
        return query.where(_is_id(table.c.smartcar_user_id), _is_id(table.c.vehicle_id))

    @cached_property
    def personal(self) -> sa.FromClause:
        """(user_id, id, source, live): the personal evidence, which is about one user only."""
        row = t.personal
        query = sa.select(row.c.user_id, row.c.smartcar_user_id.label("id"), _bits(row), _live(row))
        query = self._of_people(query, row).where(self._scope.of(row), self._counts(row))
        return self._workspace.materialize(query.where(_is_id(row.c.smartcar_user_id)), "personal")

    def _of_people(self, query: Query, table: sa.Table) -> Query:
        """Return the query on a table of the ledger; for a few users, only on their rows."""
        if not self._workspace.few:
            return query
        people = self._people
        return query.select_from(InOrder(people, table, people.c.user_id == table.c.user_id))

    def _vehicle_user_ids(self) -> sa.CTE:
        """(local_vehicle_id, vehicle_user_id): a car's only Smartcar user or, of several, the one of its own user."""
        seen, people, person, chosen = self.seen, self._people, self.person, self.chosen
        own = sa.or_(seen.c.id == chosen.c.id, seen.c.id == people.c.stored, seen.c.id == person.c.lowest)
        lowest, highest, live = sa.func.min(seen.c.id), sa.func.max(seen.c.id), seen.c.live == 1
        one = sa.func.min(sa.case((live, seen.c.id)))
        return cte(
            sa.select(
                seen.c.local_vehicle_id,
                sa.case((lowest == highest, one), else_=sa.func.min(sa.case((sa.and_(own, live), seen.c.id)))).label(
                    "vehicle_user_id"
                ),
            )
            .select_from(
                seen.outerjoin(people, seen.c.user_id == people.c.user_id)
                .outerjoin(person, seen.c.user_id == person.c.user_id)
                .outerjoin(chosen, seen.c.user_id == chosen.c.user_id)
            )
            .group_by(seen.c.local_vehicle_id),
            "vehicle_user_ids",
        )

    @cached_property
    def person(self) -> sa.FromClause:
        """The ids in a user's personal evidence: (user_id, lowest, highest, ever_lowest, ever_highest, sources)."""
        return self._workspace.materialize(_one_id(self.personal), "person")

    @cached_property
    def car(self) -> sa.FromClause:
        """The ids from a user's own cars: (user_id, lowest, highest, ever_lowest, ever_highest, sources, make).

        ``make`` is that of the connected cars: `SEVERAL` if they differ, null if it is not known.
        """
        lowest, highest = sa.func.min(self.seen.c.make), sa.func.max(self.seen.c.make)
        make = sa.case((lowest == highest, lowest), (lowest.is_not(None), SEVERAL)).label("make")
        return self._workspace.materialize(_one_id(self.seen).add_columns(make), "car")

    @cached_property
    def chosen(self) -> sa.FromClause:
        """(user_id, id): the decisions; a null id means that the user has none."""
        row = t.choices
        query = sa.select(row.c.user_id, row.c.smartcar_user_id.label("id"))
        return self._workspace.materialize(self._of_people(query, row).where(self._scope.of(row)), "chosen")


def _one_id(evidence: sa.FromClause) -> Query:
    """Return (user_id, lowest, highest, ever_lowest, ever_highest, sources); the ids are equal if there is only one.

    The first two are null if no evidence is live; the next two include evidence that is gone.
    """
    live = evidence.c.live == 1
    return sa.select(
        evidence.c.user_id,
        sa.func.min(sa.case((live, evidence.c.id))).label("lowest"),
        sa.func.max(sa.case((live, evidence.c.id))).label("highest"),
        sa.func.min(evidence.c.id).label("ever_lowest"),
        sa.func.max(evidence.c.id).label("ever_highest"),
        BitOr(sa.case((live, evidence.c.source), else_=0)).label("sources"),
    ).group_by(evidence.c.user_id)


def _is_id(id: sa.ColumnElement[str]) -> Condition:
    """Return the condition that a value can be a Smartcar id; older kits stored others too."""
    return sa.and_(sa.func.length(id) == ID_LENGTH, id != NIL)


def _live(table: sa.Table) -> sa.ColumnElement[int]:
    """Return 1, or 0 if a later list lacked the row."""
    return sa.case((table.c.gone_at.is_(None), 1), else_=0).label("live")


def _source_or_gone(rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return a row's source, with the ``gone`` bit if it is gone."""
    return sa.case((rows.c.live == 1, rows.c.source), else_=rows.c.source + _bit("gone")).label("source")


def _bits(table: sa.Table) -> sa.ColumnElement[int]:
    """Return the source of a ledger row, as a set of one."""
    return sa.case({name: _bit(name) for name in SOURCES}, value=table.c.source, else_=sa.literal(0)).label("source")


def _bit(source: str) -> sa.ColumnElement[int]:
    return sa.literal(1 << SOURCES.index(source))
