"""Random companies with random evidence, and the databases that they are put into, anew for every example."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import judge_users
from smartcar_ops.database import schema
from smartcar_ops.database.evidence import user_facts
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import KEPT, Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.layout import Layout
from tests.support.plain_rules import NIL, PlainCar, PlainCompany

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
PERSONS = [str(uuid.UUID(int=0xA << 124 | number)) for number in range(3)]
VEHICLES = [str(uuid.UUID(int=0xC << 124 | number)) for number in range(4)]
USERS = ["1", "2", "3"]
CARS = ["11", "12", "13", "14"]
OTHERS = [{"service": "other"}, {"mode": "simulated"}, {"layout": "other"}]
"""What another scope has another of."""

HERE = Scope("here", "live")

stored_texts = st.one_of(
    st.none(),
    st.sampled_from(PERSONS),
    st.sampled_from(
        [NIL, PERSONS[0].upper(), f" {PERSONS[1]}  ", "", "   ", "undefined", PERSONS[2][:35], PERSONS[2] + "0"]
    ),
    st.sampled_from([f"{PERSONS[0][:-1]}g", PERSONS[0].replace("-", "")]),
)
cars = st.builds(
    PlainCar,
    id=st.just(""),
    user=st.sampled_from([*USERS, None]),
    vehicle_id=st.one_of(st.none(), st.none(), st.sampled_from([*VEHICLES, VEHICLES[0].upper(), ""])),
    token_alive=st.booleans(),
    has_vin=st.booleans(),
)


def connected_to(most: int) -> st.SearchStrategy[set[tuple[str, str]]]:
    """Up to so many pairs of a vehicle and who is connected to it."""
    return st.sets(st.tuples(st.sampled_from(VEHICLES), st.sampled_from(PERSONS)), max_size=most)


connections = connected_to(6)
personal = st.sets(st.tuples(st.sampled_from([*USERS, "99"]), st.sampled_from(PERSONS)), max_size=3)
ties = st.sets(st.tuples(st.sampled_from([*CARS, "98"]), st.sampled_from(VEHICLES)), max_size=4)


def numbered(rows: list[PlainCar]) -> list[PlainCar]:
    """The cars under the ids of their places."""
    return [
        PlainCar(id, car.user, car.vehicle_id, car.token_alive, car.has_vin)
        for id, car in zip(CARS, rows, strict=False)
    ]


companies = st.builds(
    PlainCompany,
    people=st.dictionaries(st.sampled_from(USERS), stored_texts, min_size=1),
    cars=st.lists(cars, max_size=4).map(numbered),
    connections=connections,
    personal=personal,
    sightings=connected_to(2),
    gone=connected_to(2),
    gone_personal=st.sets(st.tuples(st.sampled_from(USERS), st.sampled_from(PERSONS)), max_size=2),
    webhooks=connected_to(2),
    redirects=st.sets(st.tuples(st.sampled_from(USERS), st.sampled_from(PERSONS), st.booleans()), max_size=1),
    choices=st.dictionaries(st.sampled_from([*USERS, "99"]), st.none() | st.sampled_from(PERSONS), max_size=2),
    ties=ties,
    listed=st.booleans(),
    tokens_asked=st.sets(st.sampled_from(CARS)),
    vins_asked=st.sets(st.sampled_from(VEHICLES)),
)
elsewhere = st.builds(PlainCompany, people=st.just({}), connections=connections, personal=personal, ties=ties)
other_tables = st.builds(PlainCompany, people=st.just({}), personal=personal, ties=ties)
others = st.tuples(elsewhere, elsewhere, other_tables).map(list)
"""What is known in other scopes; of other tables of the same Smartcar, only what is about their own rows."""


class Desk:
    """One expanded database, or one before expand with its ledger in a file, filled anew for every example."""

    def __init__(self, url: str, reports: Path, *, expanded: bool = True) -> None:
        engine = sa.create_engine(url)
        wide = ", smartcar_user_id VARCHAR(64)" if expanded else ""
        car = ", smartcar_vehicle_id VARCHAR(64)" if expanded else ""
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE TABLE users (id INTEGER PRIMARY KEY{wide})"))
            connection.execute(
                sa.text(
                    "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER, vin VARCHAR(17), "
                    f"vehicle_access_token VARCHAR(255), token_created_at TIMESTAMP NULL{car})"
                )
            )
        engine.dispose()
        self.company, self.expanded = Company.connect(url, Layout()), expanded
        self.ledger = Ledger.open(self.company, HERE, reports)
        if expanded:
            schema.expand(self.company, self.ledger)
            self.ledger = Ledger.open(self.company, HERE, reports)
        assert expanded == self.ledger.in_database

    def fill(self, plain: PlainCompany, others: list[PlainCompany]) -> None:
        """Puts the rows and the evidence straight into their tables."""
        with self.ledger.begin() as connection:
            for table in KEPT:
                connection.execute(sa.delete(table))
        self._rows(plain)
        self._evidence(self.ledger.scope, plain)
        for scope, other in zip(OTHERS, others, strict=True):
            self._evidence(replace(self.ledger.scope, **scope), other)

    def _rows(self, plain: PlainCompany) -> None:
        users: list[dict[str, Any]] = [{"id": int(id)} for id in plain.people]
        rows: list[dict[str, Any]] = [
            {
                "id": int(car.id),
                "user_id": int(car.user) if car.user else None,
                "vin": f"VIN{car.id}" if car.has_vin else None,
                "vehicle_access_token": "tok",
                "token_created_at": NAIVE - timedelta(hours=0.5 if car.token_alive else 5),
            }
            for car in plain.cars
        ]
        if self.expanded:
            users = [{"id": int(id), "smartcar_user_id": text} for id, text in plain.people.items()]
            rows = [{**row, "smartcar_vehicle_id": car.vehicle_id} for row, car in zip(rows, plain.cars, strict=True)]
        with self.company.engine.begin() as connection:
            for table, wanted in ((self.company.users, users), (self.company.vehicles, rows)):
                connection.execute(sa.delete(table))  # type: ignore[arg-type]
                if wanted:
                    connection.execute(sa.insert(table), wanted)  # type: ignore[arg-type]

    def _evidence(self, scope: Scope, plain: PlainCompany) -> None:
        gone = plain.gone - plain.connections
        seen = {"seen_at": NAIVE, "gone_at": None}
        links = [
            scope.row(
                t.connections,
                vehicle_id=vehicle,
                smartcar_user_id=person,
                make="A",
                model="B",
                powertrain="BEV",
                first_seen=NAIVE,
                gone_at=NAIVE if (vehicle, person) in gone else None,
            )
            for vehicle, person in plain.connections | gone
        ]
        persons = [
            scope.row(t.personal, source=source, user_id=user, smartcar_user_id=id, checked=0, **seen)
            for user, id in plain.personal
            for source in ("tokens", "webhooks")
        ]
        once = {"source": "external_id", "checked": 0, "seen_at": NAIVE, "gone_at": NAIVE}
        persons += [
            scope.row(t.personal, user_id=user, smartcar_user_id=id, **once) for user, id in plain.gone_personal
        ]
        persons += [
            scope.row(t.personal, source="redirects", user_id=user, smartcar_user_id=id, checked=int(checked), **seen)
            for (user, id), checked in {row[:2]: row[2] for row in sorted(plain.redirects)}.items()
        ]
        tied = [
            scope.row(t.ties, source=source, local_vehicle_id=car, vehicle_id=vehicle, seen_at=NAIVE)
            for car, vehicle in plain.ties
            for source in ("tokens", "vins")
        ]
        told = [
            scope.row(t.sightings, source=source, vehicle_id=vehicle, smartcar_user_id=person, **seen)
            for source, pairs in (("management", plain.sightings), ("webhooks", plain.webhooks | plain.sightings))
            for vehicle, person in pairs
        ]
        by = {"chosen_by": "Ada", "reason": "asked them", "chosen_at": NAIVE}
        chosen = [scope.row(t.choices, user_id=user, smartcar_user_id=id, **by) for user, id in plain.choices.items()]
        asked = [("tokens", car) for car in plain.tokens_asked] + [("vins", vehicle) for vehicle in plain.vins_asked]
        answers = [
            scope.row(t.asked, source=source, subject=it, asked_at=NAIVE, answer="answered") for source, it in asked
        ]
        word = "complete" if plain.listed else "incomplete"
        answers.append(scope.row(t.asked, source="connections", subject="*", asked_at=NAIVE, answer=word))
        with self.ledger.begin() as connection:
            evidence = ((t.connections, links), (t.sightings, told), (t.personal, persons), (t.choices, chosen))
            for table, rows in (*evidence, (t.ties, tied), (t.asked, answers)):
                if rows:
                    connection.execute(sa.insert(table), rows)

    def judged(self) -> dict[str, str]:
        """user id -> bucket, by the SQL rules."""
        with open_workspace(self.company, self.ledger, NOW) as at:
            return {row["user_id"]: row["bucket"] for row in at.rows(user_facts.UserFacts(at).judged(buckets.RULES))}

    def counted(self) -> dict[str, int]:
        """Users by bucket, counted in the database."""
        with open_workspace(self.company, self.ledger, NOW) as at:
            return {row["bucket"]: row["users"] for row in at.rows(user_facts.UserFacts(at).counted(buckets.RULES))}

    def orphans(self) -> set[tuple[str, str]]:
        """(Smartcar user, vehicle) of the connections nobody claims."""
        found = judge_users(self.company, self.ledger, NOW).orphans
        return set(zip(found["smartcar_user_id"], found["vehicle_id"], strict=True))


LOOSE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
NOBODY = [PlainCompany({})] * len(OTHERS)
"""Nothing is known in any other scope."""


def quickly(examples: int, full: int) -> Callable[[Any], Any]:
    """So many examples, more with ``--full``, the same ones every time, no deadline."""
    if settings.default.max_examples > 50:  # type: ignore[union-attr]
        examples = full
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=LOOSE)
