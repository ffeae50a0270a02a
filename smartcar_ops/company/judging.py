"""The facts about every user, and the bucket they mean, as one SQL query.

The rules themselves are given from above, as data; here they become one ``CASE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.desk import Desk, step

UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Rules = Sequence[tuple[str, Sequence[tuple[str, bool]]]]
"""(bucket, the facts that must be true or false); the first that holds wins, the last holds always."""


class Facts:
    """The query's parts, each one named question; build once for a desk."""

    def __init__(self, at: Desk) -> None:
        self._people, self._cars, self._scope = at.people, at.cars, at.scope
        self._known = sa.and_(self._scope.of(t.connections), t.connections.c.gone_at.is_(None))
        self.links = self._links()
        self.named_by_car = step(
            sa.select(self.links.c.user_id, self.links.c.local_vehicle_id, t.connections.c.smartcar_user_id.label("id"))
            .join_from(self.links, t.connections, self._connected())
            .distinct(),
            "named_by_car",
        )
        self.named_personally = step(
            sa.select(t.personal.c.user_id, t.personal.c.smartcar_user_id.label("id"))
            .where(self._scope.of(t.personal))
            .distinct(),
            "named_personally",
        )

    def judged(self, rules: Rules) -> sa.Select[Any]:
        """(user_id, stored, current, named, bucket, vehicles, vehicles_unlinked, and every fact), by user."""
        facts = self._facts()
        bucket = sa.case(*((self._all(facts, wanted), name) for name, wanted in rules[:-1]), else_=rules[-1][0])
        return sa.select(facts, bucket.label("bucket")).order_by(facts.c.user_id)

    def counted(self, rules: Rules) -> sa.Select[Any]:
        """(bucket, users): counted in the database."""
        judged = self.judged(rules).order_by(None).subquery()
        return sa.select(judged.c.bucket, sa.func.count().label("users")).group_by(judged.c.bucket)

    def evidence(self) -> sa.Select[Any]:
        """(user_id, source, id): who names which id for whom."""
        person = sa.select(t.personal.c.user_id, t.personal.c.source, t.personal.c.smartcar_user_id.label("id"))
        by_car = sa.select(
            self.links.c.user_id, self.links.c.source, t.connections.c.smartcar_user_id.label("id")
        ).join_from(self.links, t.connections, self._connected())
        both = sa.union(person.where(self._scope.of(t.personal)), by_car).subquery()
        return sa.select(both).order_by(both.c.user_id, both.c.source, both.c.id)

    def cars(self) -> sa.Select[Any]:
        """(local_vehicle_id, user_id, current, vehicle_id, source): each car and the ids a connection links it to.

        A row per linked vehicle id; one row with a null id where none is.
        """
        linked = step(
            sa.select(self.links.c.local_vehicle_id, self.links.c.vehicle_id, self.links.c.source)
            .join_from(self.links, t.connections, self._connected())
            .distinct(),
            "linked",
        )
        cars = self._cars
        return (
            sa.select(cars.c.local_vehicle_id, cars.c.user_id, cars.c.current, linked.c.vehicle_id, linked.c.source)
            .join_from(cars, linked, cars.c.local_vehicle_id == linked.c.local_vehicle_id, isouter=True)
            .order_by(cars.c.user_id, cars.c.local_vehicle_id, linked.c.vehicle_id, linked.c.source)
        )

    def orphans(self) -> sa.Select[Any]:
        """(smartcar_user_id, vehicle_id, mode, first_seen): connections that no local user claims."""
        row = t.connections
        linked = sa.select(self.links.c.vehicle_id)
        claimed = sa.select(self._people.c.stored).where(self._people.c.stored.is_not(None))
        personal = sa.select(self.named_personally.c.id).join_from(
            self.named_personally, self._people, self.named_personally.c.user_id == self._people.c.user_id
        )
        return (
            sa.select(row.c.smartcar_user_id, row.c.vehicle_id, row.c.mode, row.c.first_seen)
            .where(
                self._scope.of(row),
                row.c.gone_at.is_(None),
                row.c.vehicle_id.not_in(linked),
                row.c.smartcar_user_id.not_in(claimed),
                row.c.smartcar_user_id.not_in(personal),
            )
            .order_by(row.c.smartcar_user_id, row.c.vehicle_id)
        )

    def unread_vehicles(self) -> sa.Select[Any]:
        """(vehicle_id, id): connected vehicles no car is linked to and whose VIN was not asked; one user each."""
        asked = sa.select(t.asked.c.subject).where(self._scope.of(t.asked), t.asked.c.source == "vins")
        vehicle = t.connections.c.vehicle_id
        return (
            sa.select(vehicle, sa.func.min(t.connections.c.smartcar_user_id).label("id"))
            .where(self._known, vehicle.not_in(sa.select(self.links.c.vehicle_id)), vehicle.not_in(asked))
            .group_by(vehicle)
            .order_by(vehicle)
        )

    def _connected(self) -> sa.ColumnElement[bool]:
        """That a connection known now is of a link's vehicle; on the table itself, for its index."""
        return sa.and_(self._known, self.links.c.vehicle_id == t.connections.c.vehicle_id)

    def _links(self) -> sa.CTE:
        """(local_vehicle_id, user_id, vehicle_id, source): by the company's own column, and by ties."""
        cars = self._cars
        stored = sa.select(
            cars.c.local_vehicle_id, cars.c.user_id, cars.c.vehicle_id, sa.literal("stored").label("source")
        ).where(cars.c.vehicle_id.is_not(None))
        tied = (
            sa.select(cars.c.local_vehicle_id, cars.c.user_id, t.ties.c.vehicle_id, t.ties.c.source)
            .join_from(cars, t.ties, cars.c.local_vehicle_id == t.ties.c.local_vehicle_id)
            .where(self._scope.of(t.ties))
        )
        return step(sa.union_all(stored, tied), "links")

    def _car_counts(self) -> sa.CTE:
        """By user: how many cars, how many of them unlinked, how many a source could still speak of."""
        cars = self._cars
        linked = sa.select(self.links.c.local_vehicle_id).distinct().subquery("linked")
        asked = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "tokens")
            .subquery("asked_tokens")
        )
        unread = sa.exists(self.unread_vehicles().subquery().select())
        unlinked = linked.c.local_vehicle_id.is_(None)
        could_speak = sa.or_(
            sa.and_(cars.c.token_alive == 1, asked.c.subject.is_(None)), sa.and_(cars.c.has_vin == 1, unread)
        )
        return step(
            sa.select(
                cars.c.user_id,
                sa.func.count().label("vehicles"),
                sa.func.sum(sa.case((unlinked, 1), else_=0)).label("unlinked"),
                sa.func.sum(sa.case((sa.and_(unlinked, could_speak), 1), else_=0)).label("open"),
            )
            .select_from(
                cars.outerjoin(linked, cars.c.local_vehicle_id == linked.c.local_vehicle_id).outerjoin(
                    asked, cars.c.local_vehicle_id == asked.c.subject
                )
            )
            .group_by(cars.c.user_id),
            "car_counts",
        )

    def _unbacked(self, personally: sa.CTE) -> sa.CTE:
        """Users whose one personal id is none of those that a car of theirs is connected under."""
        named = self.named_by_car
        backs = sa.case((named.c.id == personally.c.id, 1), else_=0)
        cars = (
            sa.select(named.c.user_id)
            .join_from(named, personally, named.c.user_id == personally.c.user_id)
            .where(personally.c.ids == 1)
            .group_by(named.c.user_id, named.c.local_vehicle_id)
            .having(sa.func.max(backs) == 0)
            .subquery()
        )
        return step(sa.select(cars.c.user_id).distinct(), "unbacked")

    def _one_id(self, named: sa.CTE, name: str) -> sa.CTE:
        ids, smallest = sa.func.count(named.c.id.distinct()), sa.func.min(named.c.id)
        return step(sa.select(named.c.user_id, ids.label("ids"), smallest.label("id")).group_by(named.c.user_id), name)

    def _facts(self) -> sa.CTE:
        people, counts = self._people, self._car_counts()
        person, car = self._one_id(self.named_personally, "person"), self._one_id(self.named_by_car, "car")
        unbacked = self._unbacked(person)
        stored = people.c.stored
        malformed = sa.and_(
            stored.is_not(None), sa.or_(sa.func.length(stored) != 36, sa.not_(stored.regexp_match(UUID_PATTERN)))
        )
        named = sa.case((person.c.ids == 1, person.c.id), (sa.and_(person.c.ids.is_(None), car.c.ids == 1), car.c.id))
        two_ids = sa.or_(
            sa.func.coalesce(person.c.ids, 0) > 1,
            sa.and_(person.c.ids.is_(None), sa.func.coalesce(car.c.ids, 0) > 1),
            unbacked.c.user_id.is_not(None),
        )
        contradicted = sa.or_(two_ids, sa.and_(stored.is_not(None), named.is_not(None), stored != named))
        weighed = step(
            sa.select(
                people.c.user_id,
                stored,
                people.c.current,
                named.label("named"),
                _bit(malformed).label("malformed"),
                _bit(contradicted).label("contradicted"),
                sa.func.coalesce(counts.c.vehicles, 0).label("vehicles"),
                sa.func.coalesce(counts.c.unlinked, 0).label("vehicles_unlinked"),
                sa.func.coalesce(counts.c.open, 0).label("open"),
            ).select_from(
                people.outerjoin(person, people.c.user_id == person.c.user_id)
                .outerjoin(car, people.c.user_id == car.c.user_id)
                .outerjoin(unbacked, people.c.user_id == unbacked.c.user_id)
                .outerjoin(counts, people.c.user_id == counts.c.user_id)
            ),
            "weighed",
        )
        return self._with_others(weighed)

    def _with_others(self, weighed: sa.CTE) -> sa.CTE:
        """The facts that need the other users, and the connections as a whole."""
        would_get = sa.case((weighed.c.contradicted == 0, weighed.c.named))
        holds = sa.case((weighed.c.malformed == 0, sa.func.coalesce(weighed.c.stored, would_get)))
        held = sa.select(holds.label("id")).where(holds.is_not(None)).subquery("held")
        twins = step(sa.select(held.c.id).group_by(held.c.id).having(sa.func.count() > 1), "twins")
        own_cars = step(sa.select(self.named_by_car.c.user_id, self.named_by_car.c.id).distinct(), "own_cars")
        anyone = sa.select(t.connections.c.smartcar_user_id.label("id")).where(self._known)
        anywhere = step(anyone.distinct(), "anywhere")
        by_own_car = sa.and_(own_cars.c.user_id == weighed.c.user_id, own_cars.c.id == weighed.c.stored)
        confirmed = sa.or_(own_cars.c.id.is_not(None), sa.and_(weighed.c.vehicles == 0, anywhere.c.id.is_not(None)))
        listed = sa.exists().where(
            self._scope.of(t.asked), t.asked.c.source == "connections", t.asked.c.answer == "complete"
        )
        return step(
            sa.select(
                weighed.c.user_id,
                weighed.c.stored,
                weighed.c.current,
                weighed.c.named,
                weighed.c.vehicles,
                weighed.c.vehicles_unlinked,
                weighed.c.malformed,
                weighed.c.contradicted,
                _bit(twins.c.id.is_not(None)).label("twinned"),
                _bit(weighed.c.stored.is_not(None)).label("has_id"),
                _bit(confirmed).label("confirmed"),
                _bit(weighed.c.named.is_not(None)).label("has_name"),
                _bit(weighed.c.vehicles > 0).label("has_vehicles"),
                _bit(sa.or_(weighed.c.open > 0, sa.not_(listed))).label("open_question"),
            ).select_from(
                weighed.outerjoin(twins, holds == twins.c.id)
                .outerjoin(own_cars, by_own_car)
                .outerjoin(anywhere, anywhere.c.id == weighed.c.stored)
            ),
            "facts",
        )

    @staticmethod
    def _all(facts: sa.CTE, wanted: Sequence[tuple[str, bool]]) -> sa.ColumnElement[bool]:
        return sa.and_(sa.true(), *(facts.c[name] == int(value) for name, value in wanted))


def _bit(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """1 or 0, never null: databases differ in how they give a boolean."""
    return sa.case((condition, 1), else_=0)
