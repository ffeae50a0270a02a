"""The facts about every user, and the bucket they mean, as one SQL query.

The rules themselves are given from above, as data; here they become one ``CASE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database.column_types import ID_LENGTH
from smartcar_ops.database.evidence.evidence import Evidence
from smartcar_ops.database.evidence.workspace import InOrder, Workspace, step
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import V2_STATE
from smartcar_ops.text import NIL, SHAPE

PATTERN = f"^{SHAPE.replace('?:', '')}$"
"""A UUID in lower case, as every database's own regular expressions take it."""

BETWEEN_IDS = "|"
"""Stands between the ids of a user's cars."""

Rules = Sequence[tuple[str, Sequence[tuple[str, bool]]]]
"""(bucket, the facts that must be true or false); the first that holds wins, the last holds always."""


class UserFacts(Evidence):
    """The evidence, what follows from it for each user, and the bucket that this means."""

    def __init__(self, at: Workspace) -> None:
        super().__init__(at)
        self._fed = at.fed

    def judged(self, rules: Rules) -> sa.Select[Any]:
        """(user_id, stored, current, named, sources, bucket, vehicles, vehicles_unlinked, and every fact), by user.

        Shorter ids come first, so that numbers stand in their own order.
        """
        facts = self._facts()
        bucket = sa.case(*((self._all(facts, wanted), name) for name, wanted in rules[:-1]), else_=rules[-1][0])
        return sa.select(facts, bucket.label("bucket")).order_by(sa.func.length(facts.c.user_id), facts.c.user_id)

    def counted(self, rules: Rules) -> sa.Select[Any]:
        """(bucket, users): counted in the database."""
        judged = self.judged(rules).order_by(None).subquery()
        return sa.select(judged.c.bucket, sa.func.count().label("users")).group_by(judged.c.bucket)

    def _car_counts(self) -> sa.CTE:
        """By user: how many cars, and their ids."""
        cars = self._cars
        ids = sa.func.aggregate_strings(cars.c.local_vehicle_id, BETWEEN_IDS).label("car_ids")
        query = sa.select(cars.c.user_id, sa.func.count().label("vehicles"), ids)
        return step(query.group_by(cars.c.user_id), "car_counts")

    def _unlinked(self) -> sa.CTE:
        """By user: how many cars are linked to none, and how many of these a source could still speak of."""
        cars, links = self._cars, self.links
        asked = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "tokens")
            .subquery("asked_tokens")
        )
        unread = sa.exists(self.unread_vehicles().order_by(None).subquery().select())
        stopped = sa.exists().where(self._scope.of(t.asked), t.asked.c.source == V2_STATE)
        could_speak = sa.or_(
            sa.and_(cars.c.token_alive == 1, asked.c.subject.is_(None), sa.not_(stopped)),
            sa.and_(cars.c.has_vin == 1, unread),
        )
        return step(
            sa.select(
                cars.c.user_id,
                sa.func.count().label("unlinked"),
                sa.func.sum(sa.case((could_speak, 1), else_=0)).label("open"),
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

    def _unfed(self) -> sa.CTE:
        """By user: how many linked vehicles no webhook is fed with."""
        seen = self.seen
        mine = sa.select(seen.c.user_id, seen.c.vehicle_id).where(seen.c.live == 1).distinct().subquery("mine")
        fed = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "subscriptions")
            .subquery("fed")
        )
        return step(
            sa.select(mine.c.user_id, sa.func.count().label("unfed"))
            .select_from(mine.outerjoin(fed, mine.c.vehicle_id == fed.c.subject))
            .where(fed.c.subject.is_(None))
            .group_by(mine.c.user_id),
            "unfed",
        )

    def _unbacked(self) -> sa.CTE:
        """Users whose one personal id is none of those that a car of theirs is, or ever was, connected under."""
        seen, person = self.seen, self.person
        backs = sa.case((seen.c.id == person.c.lowest, 1), else_=0)
        connected = sa.func.max(seen.c.live) == 1
        cars = (
            sa.select(seen.c.user_id)
            .join_from(seen, person, seen.c.user_id == person.c.user_id)
            .where(person.c.lowest == person.c.highest)
            .group_by(seen.c.user_id, seen.c.local_vehicle_id)
            .having(sa.or_(sa.func.max(backs) == 0, sa.and_(connected, sa.func.max(backs * seen.c.live) == 0)))
            .subquery("unbacked_cars")
        )
        return step(sa.select(cars.c.user_id).distinct(), "unbacked")

    def _split(self) -> sa.CTE:
        """(user_id, settled): users whose cars carry one id each, and not the same; settled where all are stored.

        Empty where the company keeps the id on the user alone: two ids are then a conflict.
        """
        seen, cars = self.seen, self._cars
        each = (
            sa.select(
                seen.c.user_id,
                sa.func.min(seen.c.id).label("lowest"),
                sa.func.max(seen.c.id).label("highest"),
                sa.func.max(cars.c.stored_holder).label("holder"),
            )
            .join_from(seen, cars, seen.c.local_vehicle_id == cars.c.local_vehicle_id)
            .where(sa.true() if self._per_vehicle else sa.false())
            .group_by(seen.c.user_id, seen.c.local_vehicle_id)
            .having(sa.func.max(seen.c.live) == 1)
            .subquery("each_car")
        )
        stored = sa.case((each.c.holder == each.c.lowest, 1), else_=0)
        return step(
            sa.select(each.c.user_id, sa.func.min(stored).label("settled"))
            .group_by(each.c.user_id)
            .having(
                sa.func.min(sa.case((each.c.lowest == each.c.highest, 1), else_=0)) == 1,
                sa.func.min(each.c.lowest) < sa.func.max(each.c.lowest),
            ),
            "split",
        )

    def standing(self, rules: Rules) -> sa.Select[Any]:
        """(user_id, named, decision, chosen, bucket) of a few users: what a backfill would decide for them now.

        ``decision`` is ``set`` where it would write the named id, ``conflict`` where a person must decide, otherwise
        empty. ``rules`` are those down to the one that sets. For a desk of a few users.
        """
        weighed = self._weighed()
        twins, elsewhere = self._twins(weighed), self._held_elsewhere(weighed)
        twinned = sa.or_(twins.c.id.is_not(None), elsewhere.c.user_id.is_not(None))
        facts = (
            sa.select(
                weighed.c.user_id,
                weighed.c.named,
                weighed.c.chosen,
                weighed.c.split,
                weighed.c.malformed,
                weighed.c.contradicted,
                _bit(twinned).label("twinned"),
                _bit(weighed.c.stored.is_not(None)).label("has_id"),
                sa.literal(0).label("confirmed"),
                _bit(weighed.c.named.is_not(None)).label("has_name"),
            )
            .select_from(
                weighed.outerjoin(twins, self._holds(weighed) == twins.c.id).outerjoin(
                    elsewhere, weighed.c.user_id == elsewhere.c.user_id
                )
            )
            .subquery("facts_of_few")
        )
        buckets = sa.case(*((self._all(facts, wanted), name) for name, wanted in rules), else_="")
        judged = sa.select(facts, buckets.label("bucket")).subquery("judged_few")
        ready, by_choice = judged.c.bucket == rules[-1][0], judged.c.chosen == 1
        decision = sa.case(
            (sa.and_(by_choice, judged.c.twinned == 1), "conflict"),
            (sa.and_(judged.c.split == 1, ready), ""),
            (sa.or_(ready, sa.and_(by_choice, judged.c.bucket.in_(("invalid", "conflict")))), "set"),
            (judged.c.bucket.in_(("invalid", "conflict", "shared")), "conflict"),
            else_="",
        )
        return sa.select(judged.c.user_id, judged.c.named, decision.label("decision"), judged.c.chosen, judged.c.bucket)

    def _held_elsewhere(self, weighed: sa.CTE) -> sa.CTE:
        """Users whose id another user's row holds now, unless a person chose otherwise for that one, or for both."""
        other, choice = self._at.holders, t.choices.c
        assert other is not None, "asked of a desk of a few users"
        rows = InOrder(weighed, other.table, other.holds(self._holds(weighed)))
        moves_on = sa.exists().where(
            self._scope.of(t.choices),
            choice.user_id == other.user_id,
            sa.or_(
                choice.smartcar_user_id.is_(None), choice.smartcar_user_id != weighed.c.named, weighed.c.chosen == 1
            ),
        )
        found = sa.select(weighed.c.user_id).select_from(rows)
        return step(found.where(other.user_id != weighed.c.user_id, sa.not_(moves_on)).distinct(), "held_elsewhere")

    def shared(self) -> sa.Select[Any]:
        """(id): ids that two users hold or would get."""
        return sa.select(self._twins(self._weighed()).c.id)

    def _facts(self) -> sa.Subquery:
        """Every fact about every user."""
        return self._with_others(self._weighed())

    def _weighed(self) -> sa.CTE:
        """What is known of each user by itself; of a few, only what their ids depend on."""
        people, person, car = self._people, self.person, self.car
        chosen, unbacked, split = self.chosen, self._unbacked(), self._split()
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
            unbacked.c.user_id.is_not(None),
            # What contradicted before it was gone stays for a person, until an id is stored.
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
            .outerjoin(unbacked, people.c.user_id == unbacked.c.user_id)
            .outerjoin(split, people.c.user_id == split.c.user_id)
        )
        if not self._at.few:
            counts, unlinked = self._car_counts(), self._unlinked()
            columns += [
                sa.func.coalesce(counts.c.vehicles, 0).label("vehicles"),
                counts.c.car_ids,
                sa.func.coalesce(unlinked.c.unlinked, 0).label("vehicles_unlinked"),
                sa.func.coalesce(unlinked.c.open, 0).label("open"),
            ]
            rows = rows.outerjoin(counts, people.c.user_id == counts.c.user_id)
            rows = rows.outerjoin(unlinked, people.c.user_id == unlinked.c.user_id)
        return step(sa.select(*columns).select_from(rows), "weighed")

    def _with_others(self, weighed: sa.CTE) -> sa.Subquery:
        """The facts that need the other users, and the connections as a whole."""
        twins, own = self._twins(weighed), self._confirmed_by_car(weighed)
        anywhere, unfed = self._connected_walk_ins(weighed), self._unfed() if self._fed else None
        holds = self._holds(weighed)
        listed = sa.exists().where(
            self._scope.of(t.asked), t.asked.c.source == "connections", t.asked.c.answer == "complete"
        )
        settled = sa.and_(weighed.c.split == 1, weighed.c.settled == 1)
        rows = (
            weighed.outerjoin(twins, holds == twins.c.id)
            .outerjoin(own, weighed.c.user_id == own.c.user_id)
            .outerjoin(anywhere, weighed.c.stored == anywhere.c.id)
        )
        unsubscribed: sa.ColumnElement[Any] = sa.cast(sa.null(), sa.Integer)
        if unfed is not None:
            rows = rows.outerjoin(unfed, weighed.c.user_id == unfed.c.user_id)
            unsubscribed = sa.func.coalesce(unfed.c.unfed, 0)
        by_none = sa.and_(weighed.c.vehicles == 0, anywhere.c.id.is_not(None))
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
                unsubscribed.label("vehicles_unsubscribed"),
                weighed.c.chosen,
                weighed.c.split,
                weighed.c.malformed,
                weighed.c.contradicted,
                _bit(twins.c.id.is_not(None)).label("twinned"),
                _bit(sa.or_(weighed.c.stored.is_not(None), settled)).label("has_id"),
                _bit(sa.or_(own.c.user_id.is_not(None), by_none, settled)).label("confirmed"),
                _bit(sa.or_(weighed.c.named.is_not(None), weighed.c.split == 1)).label("has_name"),
                _bit(weighed.c.vehicles > 0).label("has_vehicles"),
                _bit(sa.or_(weighed.c.open > 0, sa.not_(listed))).label("open_question"),
            )
            .select_from(rows)
            .subquery("facts")
        )

    @staticmethod
    def _holds(weighed: sa.CTE) -> sa.ColumnElement[Any]:
        """The id a user holds, or would get; what a person chose goes before what is stored."""
        would_get = sa.case((weighed.c.contradicted == 0, weighed.c.named))
        held = sa.case((weighed.c.malformed == 0, sa.func.coalesce(weighed.c.stored, would_get)))
        return sa.case((weighed.c.chosen == 1, weighed.c.named), else_=held)

    def _twins(self, weighed: sa.CTE) -> sa.CTE:
        """Ids that two users hold or would get; not where a person chose it for each of them."""
        holds = self._holds(weighed)
        held = sa.select(holds.label("id"), weighed.c.chosen).where(holds.is_not(None)).subquery("held")
        several = sa.and_(sa.func.count() > 1, sa.func.min(held.c.chosen) == 0)
        return step(sa.select(held.c.id).group_by(held.c.id).having(several), "twins")

    def _confirmed_by_car(self, weighed: sa.CTE) -> sa.CTE:
        """Users whose stored id a connection of an own car names."""
        seen = self.seen
        same = sa.and_(seen.c.user_id == weighed.c.user_id, seen.c.id == weighed.c.stored, seen.c.live == 1)
        holding = sa.select(weighed.c.user_id).join_from(weighed, seen, same).where(weighed.c.stored.is_not(None))
        return step(holding.distinct(), "own_cars")

    def _connected_walk_ins(self, weighed: sa.CTE) -> sa.CTE:
        """Stored ids of users without a car that any connection names."""
        walk_ins = sa.select(weighed.c.stored).where(weighed.c.vehicles == 0, weighed.c.stored.is_not(None))
        ids = t.connections.c.smartcar_user_id
        connected = sa.select(ids.label("id")).where(self._known, ids.in_(walk_ins))
        told = t.sightings
        sighted = sa.select(told.c.smartcar_user_id).where(
            self._scope.of(told), told.c.gone_at.is_(None), self._speaks(told), told.c.smartcar_user_id.in_(walk_ins)
        )
        return step(sa.union(connected, sighted), "anywhere")

    @staticmethod
    def _all(facts: sa.Subquery, wanted: Sequence[tuple[str, bool]]) -> sa.ColumnElement[bool]:
        return sa.and_(sa.true(), *(facts.c[name] == int(value) for name, value in wanted))


def _bit(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """1 or 0, never null: databases differ in how they give a boolean."""
    return sa.case((condition, 1), else_=0)
