"""The facts about every user and the resulting bucket, as one SQL query.

The rules are passed in as data and become one ``CASE``.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from smartcar_ops.database.column_types import ID_LENGTH
from smartcar_ops.database.evidence.evidence import Evidence
from smartcar_ops.database.evidence.workspace import InOrder, Workspace, cte
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import V2_STATE
from smartcar_ops.database.sql_types import Condition, Query
from smartcar_ops.text import NIL, SHAPE

PATTERN = f"^{SHAPE.replace('?:', '')}$"
"""A UUID in lower case, in a regular expression that every database accepts."""

BETWEEN_IDS = "|"
"""The separator between the ids of a user's cars."""

Rules = Sequence[tuple[str, Sequence[tuple[str, bool]]]]
"""(bucket, the facts that must be true or false); the first rule that holds applies, the last always holds."""


class UserFacts(Evidence):
    """The evidence, the facts about each user that follow from it, and the resulting bucket."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._subscriptions_known = workspace.subscriptions_known

    def judged(self, rules: Rules) -> Query:
        """Return one row per user, with its bucket.

        (user_id, stored, current, named, sources, bucket, vehicles, vehicles_unlinked, make, and every fact). Shorter
        ids come first, so that numeric ids are in numeric order.
        """
        facts = self._facts()
        bucket = sa.case(*((self._all(facts, wanted), name) for name, wanted in rules[:-1]), else_=rules[-1][0])
        return sa.select(facts, bucket.label("bucket")).order_by(sa.func.length(facts.c.user_id), facts.c.user_id)

    def counted(self, rules: Rules) -> Query:
        """Return (bucket, users), counted in the database."""
        judged = self.judged(rules).order_by(None).subquery()
        return sa.select(judged.c.bucket, sa.func.count().label("users")).group_by(judged.c.bucket)

    def _car_counts(self) -> sa.CTE:
        """Each user's number of cars, and their ids."""
        cars = self._cars
        ids = sa.func.aggregate_strings(cars.c.local_vehicle_id, BETWEEN_IDS).label("car_ids")
        query = sa.select(cars.c.user_id, sa.func.count().label("vehicles"), ids)
        return cte(query.group_by(cars.c.user_id), "car_counts")

    def _unlinked(self) -> sa.CTE:
        """Each user's number of unlinked cars, and how many of these a source could still link."""
        cars, links = self._cars, self.links
        asked = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "tokens")
            .subquery("asked_tokens")
        )
        unread = sa.exists(self.unread_vehicles().order_by(None).subquery().select())
        stopped = sa.exists().where(self._scope.of(t.asked), t.asked.c.source == V2_STATE)
        could_link = sa.or_(
            sa.and_(cars.c.token_alive == 1, asked.c.subject.is_(None), sa.not_(stopped)),
            sa.and_(cars.c.has_vin == 1, unread),
        )
        return cte(
            sa.select(
                cars.c.user_id,
                sa.func.count().label("unlinked"),
                sa.func.sum(sa.case((could_link, 1), else_=0)).label("open"),
            )
            .select_from(
                cars.outerjoin(links, cars.c.local_vehicle_id == links.c.local_vehicle_id).outerjoin(
                    asked, cars.c.local_vehicle_id == asked.c.subject
                )
            )
            .where(links.c.local_vehicle_id.is_(None))
            .group_by(cars.c.user_id),
            "unlinked",
        )

    def _unsubscribed(self) -> sa.CTE:
        """Each user's number of linked vehicles that are not subscribed to a webhook."""
        seen = self.seen
        mine = sa.select(seen.c.user_id, seen.c.vehicle_id).where(seen.c.live == 1).distinct().subquery("mine")
        subscribed = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "subscriptions")
            .subquery("subscribed")
        )
        return cte(
            sa.select(mine.c.user_id, sa.func.count().label("unsubscribed"))
            .select_from(mine.outerjoin(subscribed, mine.c.vehicle_id == subscribed.c.subject))
            .where(subscribed.c.subject.is_(None))
            .group_by(mine.c.user_id),
            "unsubscribed",
        )

    def _unsupported(self) -> sa.CTE:
        """Users whose only personal id is not among the ids that one of their cars is, or was, connected with."""
        seen, person = self.seen, self.person
        supports = sa.case((seen.c.id == person.c.lowest, 1), else_=0)
        connected = sa.func.max(seen.c.live) == 1
        cars = (
            sa.select(seen.c.user_id)
            .join_from(seen, person, seen.c.user_id == person.c.user_id)
            .where(person.c.lowest == person.c.highest)
            .group_by(seen.c.user_id, seen.c.local_vehicle_id)
            .having(sa.or_(sa.func.max(supports) == 0, sa.and_(connected, sa.func.max(supports * seen.c.live) == 0)))
            .subquery("unsupported_cars")
        )
        return cte(sa.select(cars.c.user_id).distinct(), "unsupported")

    def _split(self) -> sa.CTE:
        """(user_id, settled): users whose cars have one id each, but different ones; settled if all ids are stored.

        Empty if the company stores the id only per user: two ids are then a conflict.
        """
        seen, cars = self.seen, self._cars
        each = (
            sa.select(
                seen.c.user_id,
                sa.func.min(seen.c.id).label("lowest"),
                sa.func.max(seen.c.id).label("highest"),
                sa.func.max(cars.c.stored_vehicle_user_id).label("stored"),
            )
            .join_from(seen, cars, seen.c.local_vehicle_id == cars.c.local_vehicle_id)
            .where(sa.true() if self._per_vehicle else sa.false())
            .group_by(seen.c.user_id, seen.c.local_vehicle_id)
            .having(sa.func.max(seen.c.live) == 1)
            .subquery("each_car")
        )
        stored = sa.case((each.c.stored == each.c.lowest, 1), else_=0)
        return cte(
            sa.select(each.c.user_id, sa.func.min(stored).label("settled"))
            .group_by(each.c.user_id)
            .having(
                sa.func.min(sa.case((each.c.lowest == each.c.highest, 1), else_=0)) == 1,
                sa.func.min(each.c.lowest) < sa.func.max(each.c.lowest),
            ),
            "split",
        )

    def standing(self, rules: Rules) -> Query:
        """Return (user_id, named, decision, chosen, bucket): what a backfill would decide now, for a few users.

        ``decision`` is ``set`` if it would write the named id, ``conflict`` if a person must decide, otherwise
        empty. ``rules`` are those down to the one that sets.
        """
        weighed = self._weighed(with_vehicles=False)
        duplicates, elsewhere = self._duplicate_ids(weighed), self._held_elsewhere(weighed)
        is_duplicate = sa.or_(duplicates.c.id.is_not(None), elsewhere.c.user_id.is_not(None))
        facts = (
            sa.select(
                weighed.c.user_id,
                weighed.c.named,
                weighed.c.chosen,
                weighed.c.split,
                weighed.c.malformed,
                weighed.c.contradicted,
                _bit(is_duplicate).label("duplicate"),
                _bit(weighed.c.stored.is_not(None)).label("has_id"),
                sa.literal(0).label("confirmed"),
                _bit(weighed.c.named.is_not(None)).label("has_name"),
            )
            .select_from(
                weighed.outerjoin(duplicates, self._holds(weighed) == duplicates.c.id).outerjoin(
                    elsewhere, weighed.c.user_id == elsewhere.c.user_id
                )
            )
            .subquery("facts_of_few")
        )
        buckets = sa.case(*((self._all(facts, wanted), name) for name, wanted in rules), else_="")
        judged = sa.select(facts, buckets.label("bucket")).subquery("judged_few")
        ready, by_choice = judged.c.bucket == rules[-1][0], judged.c.chosen == 1
        decision = sa.case(
            (sa.and_(by_choice, judged.c.duplicate == 1), "conflict"),
            (sa.and_(judged.c.split == 1, ready), ""),
            (sa.or_(ready, sa.and_(by_choice, judged.c.bucket.in_(("invalid", "conflict")))), "set"),
            (judged.c.bucket.in_(("invalid", "conflict", "shared")), "conflict"),
            else_="",
        )
        return sa.select(judged.c.user_id, judged.c.named, decision.label("decision"), judged.c.chosen, judged.c.bucket)

    def _held_elsewhere(self, weighed: sa.CTE) -> sa.CTE:
        """Users whose id another user's row has now, unless a person chose otherwise for that user, or for both."""
        other, choice = self._workspace.holders, t.choices.c
        assert other is not None, "needs a workspace that can look up who has an id"
        rows = InOrder(weighed, other.table, other.holds(self._holds(weighed)))
        moves_on = sa.exists().where(
            self._scope.of(t.choices),
            choice.user_id == other.user_id,
            sa.or_(
                choice.smartcar_user_id.is_(None), choice.smartcar_user_id != weighed.c.named, weighed.c.chosen == 1
            ),
        )
        users = sa.select(weighed.c.user_id).select_from(rows)
        return cte(users.where(other.user_id != weighed.c.user_id, sa.not_(moves_on)).distinct(), "held_elsewhere")

    def shared(self) -> sa.Select[str]:
        """Return the ids that two users have or would get."""
        return sa.select(self._duplicate_ids(self._weighed(with_vehicles=False)).c.id)

    def _facts(self) -> sa.Subquery:
        """All facts about all users."""
        return self._with_others(self._weighed())

    def _weighed(self, *, with_vehicles: bool = True) -> sa.CTE:
        """The facts about each user alone; without ``with_vehicles``, only those that the id depends on."""
        people, person, car = self._people, self.person, self.car
        chosen, unsupported, split = self.chosen, self._unsupported(), self._split()
        stored = people.c.stored
        malformed = sa.and_(
            stored.is_not(None),
            sa.or_(sa.func.length(stored) != ID_LENGTH, stored == NIL, sa.not_(stored.regexp_match(PATTERN))),
        )
        is_chosen, personally = chosen.c.user_id.is_not(None), person.c.lowest.is_not(None)
        of_one_person = sa.and_(personally, person.c.lowest == person.c.highest)
        of_one_car = sa.and_(sa.not_(personally), car.c.lowest == car.c.highest)
        named = sa.case((is_chosen, chosen.c.id), (of_one_person, person.c.lowest), (of_one_car, car.c.lowest))
        is_split = sa.and_(sa.not_(personally), split.c.user_id.is_not(None))
        by_car = sa.and_(sa.not_(personally), sa.not_(is_split))
        two_ids = sa.or_(
            person.c.lowest < person.c.highest,
            sa.and_(by_car, car.c.lowest < car.c.highest),
            unsupported.c.user_id.is_not(None),
            # A contradiction with evidence that is gone remains a person's to decide, until an id is stored.
            sa.and_(stored.is_(None), sa.or_(person.c.ever_lowest != named, person.c.ever_highest != named)),
            sa.and_(stored.is_(None), by_car, car.c.lowest.is_not(None), car.c.ever_lowest < car.c.ever_highest),
        )
        another = sa.and_(stored.is_not(None), sa.case((named.is_(None), is_chosen), else_=stored != named))
        contradicted = sa.or_(sa.and_(sa.not_(is_chosen), two_ids), another)
        same = sa.or_(sa.not_(personally), car.c.lowest == person.c.lowest)
        agreeing = sa.case((sa.and_(car.c.lowest == car.c.highest, same), car.c.sources), else_=0)
        sources = sa.case((is_chosen, 1), else_=sa.func.coalesce(person.c.sources, 0) + agreeing)
        columns = [
            people.c.user_id,
            stored,
            people.c.current,
            named.label("named"),
            sources.label("sources"),
            _bit(is_chosen).label("chosen"),
            _bit(sa.and_(is_split, sa.not_(is_chosen))).label("split"),
            sa.func.coalesce(split.c.settled, 0).label("settled"),
            _bit(malformed).label("malformed"),
            _bit(contradicted).label("contradicted"),
        ]
        rows = (
            people.outerjoin(person, people.c.user_id == person.c.user_id)
            .outerjoin(car, people.c.user_id == car.c.user_id)
            .outerjoin(chosen, people.c.user_id == chosen.c.user_id)
            .outerjoin(unsupported, people.c.user_id == unsupported.c.user_id)
            .outerjoin(split, people.c.user_id == split.c.user_id)
        )
        if with_vehicles:
            counts, unlinked = self._car_counts(), self._unlinked()
            columns += [
                sa.func.coalesce(counts.c.vehicles, 0).label("vehicles"),
                counts.c.car_ids,
                sa.func.coalesce(unlinked.c.unlinked, 0).label("vehicles_unlinked"),
                sa.func.coalesce(unlinked.c.open, 0).label("open"),
                car.c.make,
            ]
            rows = rows.outerjoin(counts, people.c.user_id == counts.c.user_id)
            rows = rows.outerjoin(unlinked, people.c.user_id == unlinked.c.user_id)
        return cte(sa.select(*columns).select_from(rows), "weighed")

    def _with_others(self, weighed: sa.CTE) -> sa.Subquery:
        """All facts, with those that depend on other users and on the connections as a whole."""
        duplicates, own = self._duplicate_ids(weighed), self._confirmed_by_car(weighed)
        connected_ids = self._connected_ids(weighed)
        unsubscribed = self._unsubscribed() if self._subscriptions_known else None
        holds = self._holds(weighed)
        listed = sa.exists().where(
            self._scope.of(t.asked), t.asked.c.source == "connections", t.asked.c.answer == "complete"
        )
        settled = sa.and_(weighed.c.split == 1, weighed.c.settled == 1)
        rows = (
            weighed.outerjoin(duplicates, holds == duplicates.c.id)
            .outerjoin(own, weighed.c.user_id == own.c.user_id)
            .outerjoin(connected_ids, weighed.c.stored == connected_ids.c.id)
        )
        vehicles_unsubscribed: sa.ColumnElement[int] = sa.cast(sa.null(), sa.Integer)
        if unsubscribed is not None:
            rows = rows.outerjoin(unsubscribed, weighed.c.user_id == unsubscribed.c.user_id)
            vehicles_unsubscribed = sa.func.coalesce(unsubscribed.c.unsubscribed, 0)
        without_vehicles = sa.and_(weighed.c.vehicles == 0, connected_ids.c.id.is_not(None))
        return (
            sa.select(
                weighed.c.user_id,
                weighed.c.stored,
                weighed.c.current,
                weighed.c.named,
                weighed.c.sources,
                weighed.c.vehicles,
                weighed.c.car_ids,
                weighed.c.vehicles_unlinked,
                weighed.c.make,
                vehicles_unsubscribed.label("vehicles_unsubscribed"),
                weighed.c.chosen,
                weighed.c.split,
                weighed.c.malformed,
                weighed.c.contradicted,
                _bit(duplicates.c.id.is_not(None)).label("duplicate"),
                _bit(sa.or_(weighed.c.stored.is_not(None), settled)).label("has_id"),
                _bit(sa.or_(own.c.user_id.is_not(None), without_vehicles, settled)).label("confirmed"),
                _bit(sa.or_(weighed.c.named.is_not(None), weighed.c.split == 1)).label("has_name"),
                _bit(weighed.c.vehicles > 0).label("has_vehicles"),
                _bit(sa.or_(weighed.c.open > 0, sa.not_(listed))).label("open_question"),
            )
            .select_from(rows)
            .subquery("facts")
        )

    @staticmethod
    def _holds(weighed: sa.CTE) -> sa.ColumnElement[str]:
        """Return the id that a user has or would get; a person's choice overrides the stored id."""
        would_get = sa.case((weighed.c.contradicted == 0, weighed.c.named))
        held = sa.case((weighed.c.malformed == 0, sa.func.coalesce(weighed.c.stored, would_get)))
        return sa.case((weighed.c.chosen == 1, weighed.c.named), else_=held)

    def _duplicate_ids(self, weighed: sa.CTE) -> sa.CTE:
        """Ids that two users have or would get, unless a person chose the id for each of them."""
        holds = self._holds(weighed)
        held = sa.select(holds.label("id"), weighed.c.chosen).where(holds.is_not(None)).subquery("held")
        several = sa.and_(sa.func.count() > 1, sa.func.min(held.c.chosen) == 0)
        return cte(sa.select(held.c.id).group_by(held.c.id).having(several), "duplicate_ids")

    def _confirmed_by_car(self, weighed: sa.CTE) -> sa.CTE:
        """Users whose stored id is that of a connection of one of their own cars."""
        seen = self.seen
        same = sa.and_(seen.c.user_id == weighed.c.user_id, seen.c.id == weighed.c.stored, seen.c.live == 1)
        holding = sa.select(weighed.c.user_id).join_from(weighed, seen, same).where(weighed.c.stored.is_not(None))
        return cte(holding.distinct(), "own_cars")

    def _connected_ids(self, weighed: sa.CTE) -> sa.CTE:
        """Stored ids of users without vehicles that any connection has."""
        users_without_vehicles = sa.select(weighed.c.stored).where(
            weighed.c.vehicles == 0, weighed.c.stored.is_not(None)
        )
        ids = t.connections.c.smartcar_user_id
        connected = sa.select(ids.label("id")).where(self._known, ids.in_(users_without_vehicles))
        row = t.sightings
        sighted = sa.select(row.c.smartcar_user_id).where(
            self._scope.of(row),
            row.c.gone_at.is_(None),
            self._counts(row),
            row.c.smartcar_user_id.in_(users_without_vehicles),
        )
        return cte(sa.union(connected, sighted), "connected_ids")

    @staticmethod
    def _all(facts: sa.Subquery, wanted: Sequence[tuple[str, bool]]) -> Condition:
        return sa.and_(sa.true(), *(facts.c[name] == int(value) for name, value in wanted))


def _bit(condition: Condition) -> sa.ColumnElement[int]:
    """Return 1 or 0, never null, because databases return booleans differently."""
    return sa.case((condition, 1), else_=0)
