"""Checks whether a plan's rows are still right to set, by the state of the database and the ledger during a batch.

The rules that made the plan are applied again to the few users of the batch, in the batch's own statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from smartcar_ops.database import column_types, engines
from smartcar_ops.database.column_types import smartcar_id_of, text_of, tidy
from smartcar_ops.database.evidence.evidence import UNPROVED
from smartcar_ops.database.evidence.user_facts import BETWEEN_IDS, Rules, UserFacts
from smartcar_ops.database.evidence.workspace import Holders, InOrder, Workspace, cte
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.sql_types import CompoundQuery, Condition, Expression, Query
from smartcar_ops.database.tables import Company

LookUp = Literal["index", "scan", "never"]

FEW_USERS = 20_000
"""Maximum number of users for which each batch scans all of them to find who has an id."""

NAMES_IT, NAMES_ANOTHER = 1, 2
"""Whether a connection has the id that is to be set, or another one."""

NOBODY = "no evidence names this id any more"
CHOSEN = "a person decided otherwise since"
CONTRADICTED = "the evidence contradicts it by now"
HELD = "another user holds or would get this id by now"
MOVED = "the car is another user's by now"
UNLINKED = "what links the car says otherwise by now"
FOR_A_PERSON = "its user's id is for a person to decide by now"
UNREADY = (NOBODY, CHOSEN, CONTRADICTED, HELD, MOVED, UNLINKED, FOR_A_PERSON)
"""Why a row that has not changed since the plan is not set."""


@dataclass(frozen=True)
class Readiness:
    """Applies the rules again.

    ``rules`` are those down to the one that sets, ``judged`` is the evidence number at the time of the plan.
    """

    company: Company
    ledger: Ledger
    rules: Rules
    judged: int
    look_up: LookUp

    @classmethod
    def of(cls, company: Company, ledger: Ledger, rules: Rules, judged: int) -> Readiness:
        """Return the check for this database; it finds who has an id by an index or, in a small table, by a scan."""
        column = company.user_id_column
        indexed = column is not None and _has_index(company, column.name)
        return cls(
            company, ledger, rules, judged, "index" if indexed else "scan" if company.count() <= FEW_USERS else "never"
        )

    def checks(self, connection: sa.Connection, table: str, column: str, staged: sa.CTE) -> Iterator[Query | None]:
        """Return queries for (place, why) of the staged rows that are right to set; each is slower and finds more rows.

        ``why`` is null for those rows. The last query also returns the other rows with the reason. None in place of a
        query means all rows, because nothing but the row itself can have changed.
        """
        is_as_judged = evidence_number(connection) == self.judged
        if table == "users":
            if is_as_judged:
                yield self._as_planned(staged)
            yield self._certain(staged)
            yield self._users(connection, staged)
        else:
            yield None if is_as_judged else self._vehicles(connection, column, staged)

    def _as_planned(self, staged: sa.CTE) -> Query:
        """Return the users whose cars are the planned ones, if there is no new evidence: nearly all users.

        A car whose own column has the same link as the ledger counts as planned, because this run may have set it.
        """
        company, of = self.company, self.ledger.scope.of
        names, vehicles, cars = company.layout.vehicles, company.vehicles, staged.c.staged_cars
        local = text_of(vehicles.c[names.id])
        here = sa.literal(BETWEEN_IDS).concat(local).concat(BETWEEN_IDS)
        is_odd = sa.func.replace(cars, here, BETWEEN_IDS) == cars
        stored = company.vehicle_id_column
        if stored is not None:
            link = t.ties.c
            same = sa.exists().where(
                of(t.ties), link.local_vehicle_id == local, link.vehicle_id == tidy(smartcar_id_of(stored))
            )
            is_odd = sa.or_(is_odd, cars.is_(None), sa.and_(stored.is_not(None), sa.not_(same)))
        now = self._owned(
            staged, sa.func.count().label("number"), sa.func.max(sa.case((is_odd, 1), else_=0)).label("odd")
        ).cte("cars_now")
        planned = sa.func.length(cars) - sa.func.length(sa.func.replace(cars, BETWEEN_IDS, "")) - 1
        return (
            sa.select(staged.c.staged_place.label("place"), sa.null().label("why"))
            .select_from(staged.outerjoin(now, now.c.place == staged.c.staged_place))
            .where(
                staged.c.staged_before_value.is_(None),
                sa.func.coalesce(now.c.odd, 0) == 0,
                sa.func.coalesce(now.c.number, 0) == sa.func.coalesce(planned, 0),
                self._is_free(staged.c.staged_after_value),
            )
        )

    def _owned(self, staged: sa.CTE, *columns: Expression) -> Query:
        """Return (place, …): the given aggregates over the cars that staged users own now."""
        company = self.company
        names, vehicles = company.layout.vehicles, company.vehicles
        owner, identity = vehicles.c[names.user_id], company.users.c[company.layout.users.id]
        is_mine = column_types.is_owner(owner, identity, staged.c.staged_user_id, company.engine.dialect.name)
        query = sa.select(staged.c.staged_place.label("place"), *columns).group_by(staged.c.staged_place)
        query = query.select_from(InOrder(staged, vehicles, is_mine))
        if isinstance(owner.type, sa.Integer):  # so that the database reads only this range
            number = sa.cast(staged.c.staged_user_id, owner.type)
            lowest, highest = (sa.select(end(number)).scalar_subquery() for end in (sa.func.min, sa.func.max))
            query = query.where(owner.between(lowest, highest))
        return query.where(sa.text(f"({names.where})")) if names.where else query

    def _certain(self, staged: sa.CTE) -> Query:
        """Return (place, why) of the staged users that are certainly right to set, by one look at each of their cars.

        No evidence about the user, past or present, has another id, and some evidence has this one now. That is true
        for most users by far; the rules are applied to the others.
        """
        of, after, user = self.ledger.scope.of, staged.c.staged_after_value, staged.c.staged_user_id
        personal, choice = t.personal.c, t.choices.c
        mine = sa.and_(of(t.personal), personal.user_id == user)
        another = sa.exists().where(mine, personal.smartcar_user_id != after)
        itself = sa.exists().where(mine, personal.source.not_in(UNPROVED), personal.gone_at.is_(None))
        connected, sighted = (self._by_cars(staged, table) for table in (t.connections, t.sightings))
        any_sighting = sa.exists().where(of(t.sightings))
        rows = staged.outerjoin(connected, connected.c.place == staged.c.staged_place)
        verdict = sa.func.coalesce(connected.c.verdict, 0)
        return (
            sa.select(staged.c.staged_place.label("place"), sa.null().label("why"))
            .select_from(rows)
            .where(
                staged.c.staged_before_value.is_(None),
                sa.or_(verdict == NAMES_IT, sa.and_(verdict == 0, itself)),
                sa.not_(sa.exists().where(of(t.choices), choice.user_id == user)),
                sa.not_(another),
                sa.or_(
                    sa.not_(any_sighting),
                    staged.c.staged_place.not_in(sa.select(sighted.c.place).where(sighted.c.verdict == NAMES_ANOTHER)),
                ),
                self._is_free(after),
            )
        )

    def _by_cars(self, staged: sa.CTE, table: sa.Table) -> sa.CTE:
        """(place, verdict): whether the rows of a ledger table for the user's current cars have the id or another one.

        `NAMES_ANOTHER` prevails. A car whose own column has another link than the ledger counts as `NAMES_ANOTHER`.
        """
        company, of, after = self.company, self.ledger.scope.of, staged.c.staged_after_value
        names, vehicles, link = company.layout.vehicles, company.vehicles, t.ties
        owner, identity = vehicles.c[names.user_id], company.users.c[company.layout.users.id]
        is_mine = column_types.is_owner(owner, identity, staged.c.staged_user_id, company.engine.dialect.name)
        is_linked = sa.and_(of(link), link.c.local_vehicle_id == text_of(vehicles.c[names.id]))
        is_listed = sa.and_(of(table), table.c.vehicle_id == link.c.vehicle_id)
        rows = InOrder(staged, vehicles, is_mine).outerjoin(link, is_linked).outerjoin(table, is_listed)
        verdict = sa.case(
            (table.c.smartcar_user_id != after, NAMES_ANOTHER),
            (sa.and_(table.c.smartcar_user_id == after, table.c.gone_at.is_(None)), NAMES_IT),
            else_=0,
        )
        stored = company.vehicle_id_column
        if stored is not None:
            same = sa.func.coalesce(link.c.vehicle_id == tidy(smartcar_id_of(stored)), sa.false())
            verdict = sa.case((sa.and_(stored.is_not(None), sa.not_(same)), NAMES_ANOTHER), else_=verdict)
        worst = sa.func.max(verdict).label("verdict")
        query = sa.select(staged.c.staged_place.label("place"), worst).select_from(rows)
        query = query.where(sa.text(f"({names.where})")) if names.where else query
        return cte(query.group_by(staged.c.staged_place), f"verdicts_of_{table.name}")

    def _is_free(self, id: sa.ColumnElement[str]) -> Condition:
        """Return the condition that no user has an id, as far as a batch checks that."""
        if self.look_up != "index":
            return id.not_in(sa.select(everybody_holding(self.company, anybody=self.look_up == "scan").c.held))
        column = self.company.user_id_column
        assert column is not None, "a plan is applied after expand"
        other = self.company.users.alias("other_users")
        return sa.not_(sa.exists().where(self._is_held(other.c[column.name], id)))

    def _users(self, connection: sa.Connection, staged: sa.CTE) -> Query:
        standing = cte(UserFacts(self._workspace(connection, staged)).standing(self.rules), "standing")
        row, after = standing.c, staged.c.staged_after_value
        same = sa.or_(row.named == after, sa.and_(row.named.is_(None), after.is_(None)))
        why = sa.case(
            (sa.and_(row.decision == "set", same), sa.null()),
            (row.chosen == 1, CHOSEN),
            (row.bucket == "shared", HELD),
            (row.bucket.in_(("conflict", "invalid")), CONTRADICTED),
            else_=NOBODY,
        )
        joined = staged.outerjoin(standing, row.user_id == staged.c.staged_row_id)
        return sa.select(staged.c.staged_place.label("place"), why.label("why")).select_from(joined)

    def _vehicles(self, connection: sa.Connection, column: str, staged: sa.CTE) -> Query:
        facts = UserFacts(self._workspace(connection, staged, with_cars=True))
        standing = cte(facts.standing(self.rules), "standing")
        car = cte(facts.cars().order_by(None), "cars_now")
        after = staged.c.staged_after_value
        linked = car.c.vehicle_user_id == after
        if column == self.company.layout.vehicles.smartcar_vehicle_id:
            linked = sa.and_(car.c.lowest == after, car.c.highest == after)
        why = sa.case(
            (car.c.local_vehicle_id.is_(None), UNLINKED),
            (standing.c.decision == "conflict", FOR_A_PERSON),
            (linked, sa.null()),
            else_=UNLINKED,
        )
        joined = staged.outerjoin(car, car.c.local_vehicle_id == staged.c.staged_row_id).outerjoin(
            standing, standing.c.user_id == staged.c.staged_user_id
        )
        return sa.select(staged.c.staged_place.label("place"), why.label("why")).select_from(joined)

    def _workspace(self, connection: sa.Connection, staged: sa.CTE, *, with_cars: bool = False) -> Workspace:
        """Return a workspace of a batch's users and their cars."""
        company = self.company
        owners = cte(
            sa.select(staged.c.staged_user_id.label("user_id")).where(staged.c.staged_user_id.is_not(None)).distinct(),
            "owners",
        )
        users, vehicles = company.users, company.vehicles
        names = company.layout
        is_user = column_types.is_named(users.c[names.users.id], owners.c.user_id, connection.dialect.name)
        owner, identity = vehicles.c[names.vehicles.user_id], users.c[names.users.id]
        is_owner = column_types.is_owner(owner, identity, owners.c.user_id, connection.dialect.name)
        now = datetime.now(UTC)
        people = company.people().select_from(InOrder(owners, users, is_user))
        cars: Query | CompoundQuery = company.cars(now).select_from(InOrder(owners, vehicles, is_owner))
        if with_cars:  # a car may have no user
            is_car = column_types.is_named(
                vehicles.c[names.vehicles.id], staged.c.staged_row_id, connection.dialect.name
            )
            cars = sa.union(cars, company.cars(now).select_from(InOrder(staged, vehicles, is_car)))
        return Workspace(
            connection,
            cte(people, "people"),
            cte(cars, "cars"),
            self.ledger.scope,
            company.vehicle_user_id_column is not None,
            few=True,
            holders=self._holders(),
        )

    def _holders(self) -> Holders:
        """Return how to find the users who have an id; finds none if each batch would have to scan a large table."""
        names, column = self.company.layout.users, self.company.user_id_column
        assert column is not None, "a plan is applied after expand"
        other = self.company.users.alias("other_users")
        held, user_id = other.c[column.name], text_of(other.c[names.id])
        if self.look_up == "index":
            return Holders(other, user_id, lambda id: self._is_held(held, id))
        holding = everybody_holding(self.company, anybody=self.look_up == "scan")
        return Holders(holding, holding.c.user_id, lambda id: holding.c.held == id)

    def _is_held(self, held: Expression, id: sa.ColumnElement[str]) -> Condition:
        """Return the condition that a row has an id, by the column's index; stored text may be in upper case."""
        letters = [id, sa.func.upper(id)] if isinstance(held.type, sa.String) else [id]
        dialect = self.company.engine.dialect.name
        return sa.or_(*(held == column_types.value_of(held, one, dialect) for one in letters))


def everybody_holding(company: Company, *, anybody: bool = True) -> sa.CTE:
    """(user_id, held): every user who has an id, trimmed and in lower case; no user without ``anybody``."""
    column, users = company.user_id_column, company.users
    assert column is not None, "a plan is applied after expand"
    rows = sa.select(
        text_of(users.c[company.layout.users.id]).label("user_id"), tidy(smartcar_id_of(column)).label("held")
    )
    chosen = rows.where(column.is_not(None) if anybody else sa.false())
    return cte(chosen, "holding")


def _has_index(company: Company, column: str) -> bool:
    """Return whether the users' table has an index that begins with this column."""
    users = company.users
    keys = [key for key in users.constraints if isinstance(key, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    return any([one.name for one in key.columns][:1] == [column] for key in (*keys, *users.indexes))


def evidence_number(connection: sa.Connection) -> int:
    """Return the number that rises with each change of the evidence."""
    query = sa.select(t.fences.c.token).where(t.fences.c.name == t.EVIDENCE_FENCE)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def judged_now(ledger: Ledger) -> int:
    """Return the evidence number to store with a plan; call it before the users are judged."""
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        return evidence_number(connection)
