"""Who names which Smartcar user for whom, and by what: one SQL query each, over the company's rows and the ledger.

Where a row is looked for among millions, it is joined and found missing, never ``NOT IN``: PostgreSQL would go
through the list for every row.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from smartcar_ops.database.column_types import ID_LENGTH
from smartcar_ops.database.evidence.workspace import InOrder, Workspace, step
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.text import NIL

SOURCES = ("choice", "external_id", "gone", "management", "redirects", "stored", "tokens", "vins", "webhooks")
"""What evidence can come from; a set of them is a number in SQL, a power of two each, in this order.

``gone`` is none: it says of the others that a later list no longer had what they said.
"""

UNPROVED = ("redirects", "webhooks")
"""Sources that anybody may have sent: they speak for Smartcar users who are on the list of connections."""


class Together(GenericFunction[int]):
    """The set of all sources in a group of rows, each a set itself."""

    type = sa.Integer()
    name = "bit_or"
    inherit_cache = True


@compiles(Together, "sqlite")
def _together_one_by_one(sets: Together, compiler: Any, **options: Any) -> str:
    """SQLite has no such function: the greatest of each source's bits, and these added."""
    told = compiler.process(sets.clauses, **options)
    return "(" + " + ".join(f"max({told} & {1 << place})" for place in range(len(SOURCES))) + ")"


def sources_of(mask: int | None) -> list[str]:
    """The names of a set of sources."""
    return [name for place, name in enumerate(SOURCES) if (mask or 0) & 1 << place]


class Evidence:
    """The query's parts, each one named question; build once for a desk."""

    def __init__(self, at: Workspace) -> None:
        self._at, self._people, self._cars, self._scope = at, at.people, at.cars, at.scope
        self._per_vehicle = at.per_vehicle
        self._known = sa.and_(self._scope.of(t.connections), t.connections.c.gone_at.is_(None))

    def disputed(self) -> sa.Select[Any]:
        """(user_id, id, sources): who names which id for whom, where a user's evidence names more than one."""
        person, car = self.person, self.car
        several = step(
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
                sa.select(rows.c.user_id, rows.c.id, _told(rows)).join_from(
                    several, rows, rows.c.user_id == several.c.user_id
                )
                for rows in (self.personal, self.seen)
            )
        ).subquery("both_kinds")
        return (
            sa.select(both.c.user_id, both.c.id, Together(both.c.source).label("sources"))
            .group_by(both.c.user_id, both.c.id)
            .order_by(both.c.user_id, both.c.id)
        )

    def cars(self) -> sa.Select[Any]:
        """A row a car: (local_vehicle_id, user_id, current, lowest, highest, sources, holder, current_holder).

        ``lowest`` and ``highest`` are the vehicle ids that a connection ties to the car: equal where it is one, null
        where there is none. ``holder`` is the one Smartcar user the car is its user's under, ``current_holder`` what
        is stored for it; both null where the id is not kept per vehicle.
        """
        cars, seen = self._cars, self.seen
        grouped = step(
            sa.select(
                seen.c.local_vehicle_id,
                sa.func.min(seen.c.vehicle_id).label("lowest"),
                sa.func.max(seen.c.vehicle_id).label("highest"),
                Together(seen.c.source).label("sources"),
            )
            .where(seen.c.live == 1)
            .group_by(seen.c.local_vehicle_id),
            "grouped",
            once=False,
        )
        holders = self._holders() if self._per_vehicle else None
        query = sa.select(
            cars.c.local_vehicle_id,
            cars.c.user_id,
            cars.c.current,
            grouped.c.lowest,
            grouped.c.highest,
            grouped.c.sources,
            (holders.c.holder if holders is not None else sa.null()).label("holder"),
            cars.c.current_holder,
        )
        rows = cars.outerjoin(grouped, cars.c.local_vehicle_id == grouped.c.local_vehicle_id)
        if holders is not None:
            rows = rows.outerjoin(holders, cars.c.local_vehicle_id == holders.c.local_vehicle_id)
        return query.select_from(rows).order_by(sa.func.length(cars.c.local_vehicle_id), cars.c.local_vehicle_id)

    def orphans(self) -> sa.Select[Any]:
        """(smartcar_user_id, vehicle_id, mode, first_seen): connections that no local user claims."""
        row, people = t.connections, self._people
        linked = step(sa.select(self.links.c.vehicle_id).distinct(), "linked_vehicles")
        stored = sa.select(people.c.stored.label("id")).where(people.c.stored.is_not(None))
        personal = (
            sa.select(self.personal.c.id)
            .join_from(self.personal, people, self.personal.c.user_id == people.c.user_id)
            .where(self.personal.c.live == 1)
        )
        claimed = step(sa.union(stored, personal), "claimed")
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

    def unread_vehicles(self) -> sa.Select[Any]:
        """(vehicle_id, id): connected vehicles no car is linked to and whose VIN was not asked; one user each."""
        row = t.connections
        linked = step(sa.select(self.links.c.vehicle_id).distinct(), "linked_vehicles")
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

    @cached_property
    def links(self) -> sa.FromClause:
        """(local_vehicle_id, user_id, vehicle_id, source): by the company's own column, and by ties."""
        cars = self._cars
        stored = sa.select(
            cars.c.local_vehicle_id, cars.c.user_id, cars.c.vehicle_id, _bit("stored").label("source")
        ).where(cars.c.vehicle_id.is_not(None))
        tied = (
            sa.select(cars.c.local_vehicle_id, cars.c.user_id, t.ties.c.vehicle_id, _bits(t.ties))
            .select_from(InOrder(cars, t.ties, cars.c.local_vehicle_id == t.ties.c.local_vehicle_id))
            .where(self._scope.of(t.ties))
        )
        return self._at.keep(sa.union_all(stored, tied), "links")

    @cached_property
    def seen(self) -> sa.FromClause:
        """(user_id, local_vehicle_id, vehicle_id, id, source, live): by the user's own cars, who is connected to them.

        ``live`` is 0 where a later list no longer had it: that names nobody, but what contradicted it stays in doubt.
        """
        links, told = self.links, t.sightings
        connected = self._through(links, t.connections, links.c.source).where(self._scope.of(t.connections))
        sighted = self._through(links, told, _bits(told)).where(self._scope.of(told), self._speaks(told))
        return self._at.keep(sa.union_all(connected, sighted), "seen")

    def _speaks(self, told: sa.Table) -> sa.ColumnElement[bool]:
        """That a row counts: what anybody may have sent does so only for Smartcar users who are on the list."""
        row = t.connections.c
        known = sa.exists().where(self._known, row.smartcar_user_id == told.c.smartcar_user_id)
        proved = told.c.source.not_in(UNPROVED)
        return sa.or_(proved, told.c.checked == 1, known) if "checked" in told.c else sa.or_(proved, known)

    @staticmethod
    def _through(links: sa.FromClause, told: sa.Table, source: sa.ColumnElement[Any]) -> sa.Select[Any]:
        """Whom a table of the ledger names for the vehicles that cars are linked to."""
        rows = InOrder(links, told, links.c.vehicle_id == told.c.vehicle_id)
        car = links.c.user_id, links.c.local_vehicle_id, links.c.vehicle_id
        query = sa.select(*car, told.c.smartcar_user_id.label("id"), source, _live(told)).select_from(rows)
        return query.where(_is_id(told.c.smartcar_user_id), _is_id(told.c.vehicle_id))

    @cached_property
    def personal(self) -> sa.FromClause:
        """(user_id, id, source, live): what speaks for one user alone."""
        row = t.personal
        query = sa.select(row.c.user_id, row.c.smartcar_user_id.label("id"), _bits(row), _live(row))
        query = self._of_people(query, row).where(self._scope.of(row), self._speaks(row))
        return self._at.keep(query.where(_is_id(row.c.smartcar_user_id)), "personal")

    def _of_people(self, query: sa.Select[Any], told: sa.Table) -> sa.Select[Any]:
        """The query on a table of the ledger: on all of it, or, for a few people, on what is known of them."""
        people = self._people
        return query.select_from(InOrder(people, told, people.c.user_id == told.c.user_id)) if self._at.few else query

    def _holders(self) -> sa.CTE:
        """(local_vehicle_id, holder): the one Smartcar user of a car, or, of several, the one that is its user's."""
        seen, people, person, chosen = self.seen, self._people, self.person, self.chosen
        own = sa.or_(seen.c.id == chosen.c.id, seen.c.id == people.c.stored, seen.c.id == person.c.lowest)
        lowest, highest, live = sa.func.min(seen.c.id), sa.func.max(seen.c.id), seen.c.live == 1
        one = sa.func.min(sa.case((live, seen.c.id)))
        return step(
            sa.select(
                seen.c.local_vehicle_id,
                sa.case((lowest == highest, one), else_=sa.func.min(sa.case((sa.and_(own, live), seen.c.id)))).label(
                    "holder"
                ),
            )
            .select_from(
                seen.outerjoin(people, seen.c.user_id == people.c.user_id)
                .outerjoin(person, seen.c.user_id == person.c.user_id)
                .outerjoin(chosen, seen.c.user_id == chosen.c.user_id)
            )
            .group_by(seen.c.local_vehicle_id),
            "holders",
        )

    @cached_property
    def person(self) -> sa.FromClause:
        """What speaks for a user alone: (user_id, lowest, highest, ever_lowest, ever_highest, sources)."""
        return self._at.keep(_one_id(self.personal), "person")

    @cached_property
    def car(self) -> sa.FromClause:
        """What a user's own cars say: (user_id, lowest, highest, ever_lowest, ever_highest, sources)."""
        return self._at.keep(_one_id(self.seen), "car")

    @cached_property
    def chosen(self) -> sa.FromClause:
        """(user_id, id): what people chose; a null id: none."""
        row = t.choices
        query = sa.select(row.c.user_id, row.c.smartcar_user_id.label("id"))
        return self._at.keep(self._of_people(query, row).where(self._scope.of(row)), "chosen")


def _one_id(named: sa.FromClause) -> sa.Select[Any]:
    """(user_id, lowest, highest, ever_lowest, ever_highest, sources): equal ids where the evidence names one.

    The first two are null where nothing is live; the next two know what is gone, too.
    """
    live = named.c.live == 1
    return sa.select(
        named.c.user_id,
        sa.func.min(sa.case((live, named.c.id))).label("lowest"),
        sa.func.max(sa.case((live, named.c.id))).label("highest"),
        sa.func.min(named.c.id).label("ever_lowest"),
        sa.func.max(named.c.id).label("ever_highest"),
        Together(sa.case((live, named.c.source), else_=0)).label("sources"),
    ).group_by(named.c.user_id)


def _is_id(id: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """That what stands there can be an id of Smartcar's: the readers see to it, and older kits' did not."""
    return sa.and_(sa.func.length(id) == ID_LENGTH, id != NIL)


def _live(told: sa.Table) -> sa.ColumnElement[int]:
    """1, or 0 where a later list no longer had the row."""
    return sa.case((told.c.gone_at.is_(None), 1), else_=0).label("live")


def _told(rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Where a row comes from, and whether it is gone."""
    return sa.case((rows.c.live == 1, rows.c.source), else_=rows.c.source + _bit("gone")).label("source")


def _bits(told: sa.Table) -> sa.ColumnElement[int]:
    """The source of a ledger's row, as a set of one."""
    return sa.case({name: _bit(name) for name in SOURCES}, value=told.c.source, else_=sa.literal(0)).label("source")


def _bit(source: str) -> sa.ColumnElement[int]:
    return sa.literal(1 << SOURCES.index(source))
