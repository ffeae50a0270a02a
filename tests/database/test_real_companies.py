"""Companies as they are: schemas, ids of every kind, names of their own, deleted users, cars from a SELECT."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit.result import judge_users
from smartcar_ops.backfill import runner
from smartcar_ops.database import schema as phases
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.layout import Layout

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
HERE = Scope("s", "live")
PEOPLE = 6
GONE, WITHOUT = 2, 5
"""The number of a user who was deleted, and of one whose cars nothing is known of."""


@dataclass(frozen=True)
class Traits:
    """How a company differs from the guide's: what its ids are, and which of its tables' names and places."""

    ids: str = "integer"
    schema: str = ""
    renamed: bool = False
    deleted: bool = False
    linked: bool = False


@dataclass
class RealCompany:
    """The tables of such a company, filled, with connections that name every user's car but one's."""

    url: str
    traits: Traits
    reports: Path
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = ("users", "vehicles", "id", "user_id", "smartcar_user_id", "smartcar_vehicle_id")
        own = ("Kunden", "Fahrzeuge", "Nr", "Kunde", "SC Nutzer", "SC Auto") if self.traits.renamed else plain
        self.names = dict(zip(plain, own, strict=True))
        self.engine = sa.create_engine(self.url)
        self._make()
        self.company = Company.connect(self.url, self._layout())
        phases.expand(self.company, Ledger.open(self.company, HERE, self.reports))
        self.ledger = Ledger.open(self.company, HERE, self.reports)
        self._learn()

    def quoted(self, name: str) -> str:
        """A table or column as this database writes it."""
        return self.engine.dialect.identifier_preparer.quote_identifier(self.names.get(name, name))

    def table(self, name: str) -> str:
        """A table with its schema."""
        return f"{self.traits.schema}.{self.quoted(name)}" if self.traits.schema else self.quoted(name)

    def id(self, number: int) -> str:
        """The id of a user or a car, as text."""
        if self.traits.ids == "text":
            return f"Kunde-é/{number}:x"
        return str(uuid.UUID(int=0xF << 124 | number)) if self.traits.ids == "uuid" else str(number)

    def car(self, number: int) -> str:
        """The id of the car of a user."""
        return self.id(number + 100)

    def _make(self) -> None:
        native = "UUID" if self.engine.dialect.name == "postgresql" else "CHAR(36)"
        kind = {"integer": "BIGINT", "text": "VARCHAR(60)", "uuid": native}[self.traits.ids]
        id, user = self.quoted("id"), self.quoted("user_id")
        statements = [f"CREATE SCHEMA {self.traits.schema}"] if self.traits.schema else []
        statements.append(f"CREATE TABLE {self.table('users')} ({id} {kind} PRIMARY KEY, deleted_at TIMESTAMP NULL)")
        if self.traits.linked:
            statements += [
                f"CREATE TABLE cars ({id} {kind} PRIMARY KEY, vin VARCHAR(17))",
                f"CREATE TABLE tokens (car {kind} PRIMARY KEY, secret VARCHAR(99), since TIMESTAMP NULL)",
                f"CREATE TABLE owners (car {kind}, owner {kind}, PRIMARY KEY (car, owner))",
            ]
        else:
            columns = f"{id} {kind} PRIMARY KEY, {user} {kind}, sold INTEGER DEFAULT 0"
            statements.append(f"CREATE TABLE {self.table('vehicles')} ({columns})")
        if self.traits.schema:
            statements += [
                f"CREATE TABLE public.users ({id} {kind} PRIMARY KEY, smartcar_user_id VARCHAR(36))",
                f"INSERT INTO public.users VALUES ('{self.id(1)}', NULL)",
            ]
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            for number in range(1, PEOPLE + 1):
                self._insert(connection, number)

    def _insert(self, connection: sa.Connection, number: int) -> None:
        gone = "'2026-01-01 00:00:00'" if number == GONE else "NULL"
        person, car = self.id(number), self.car(number)
        rows = {f"{self.table('users')} ({self.quoted('id')}, deleted_at)": f"'{person}', {gone}"}
        if self.traits.linked:
            rows["cars"] = f"'{car}', 'VIN{number}'"
            rows["owners"] = f"'{car}', '{person}'"
            rows["tokens"] = f"'{car}', 'secret', '2026-11-23 11:30:00'"
        else:
            rows[f"{self.table('vehicles')} ({self.quoted('id')}, {self.quoted('user_id')})"] = f"'{car}', '{person}'"
        for table, values in rows.items():
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({values})")

    def _layout(self) -> Layout:
        users: dict[str, Any] = {
            "table": self.names["users"],
            "schema": self.traits.schema,
            "id": self.names["id"],
            "smartcar_user_id": self.names["smartcar_user_id"],
            "where": "deleted_at IS NULL" if self.traits.deleted else "",
        }
        vehicles: dict[str, Any] = {"id": self.names["id"], "user_id": self.names["user_id"]}
        if self.traits.linked:
            id, user = self.quoted("id"), self.quoted("user_id")
            vehicles["from"] = (
                f"SELECT c.{id}, o.owner AS {user}, c.vin, k.secret AS vehicle_access_token, "
                f"k.since AS token_created_at FROM cars c JOIN owners o ON o.car = c.{id} "
                f"LEFT JOIN tokens k ON k.car = c.{id}"
            )
        else:
            vehicles |= {"table": self.names["vehicles"], "schema": self.traits.schema}
            vehicles |= {"smartcar_vehicle_id": self.names["smartcar_vehicle_id"]}
            vehicles |= {"where": "sold = 0 OR sold IS NULL" if self.traits.deleted else ""}
        return Layout.model_validate({"users": users, "vehicles": vehicles})

    def _learn(self) -> None:
        known = [number for number in range(1, PEOPLE + 1) if number != WITHOUT]
        made = {"make": "A", "model": "B", "powertrain": "BEV"}
        pairs = [{"vehicle_id": sc_car(number), "smartcar_user_id": sc_user(number), **made} for number in known]
        self.ledger.record_connections(pairs, complete=True, now=NAIVE)
        ties = [{"local_vehicle_id": self.car(n), "vehicle_id": sc_car(n), "seen_at": NAIVE} for n in known]
        self.ledger.record(t.ties, [{"source": "vins", **tie} for tie in ties])

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table of the company's."""
        own = ["cars", "owners", "tokens"] if self.traits.linked else [self.table("vehicles")]
        tables = [self.table("users"), *own, *(["public.users"] if self.traits.schema else [])]
        with self.engine.connect() as connection:
            return {
                table: [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1").mappings()]
                for table in tables
            }

    def ids(self, table: str, column: str) -> dict[str, str]:
        """Row id -> what is stored there, where something is."""
        query = f"SELECT {self.quoted('id')}, {self.quoted(column)} FROM {self.table(table)}"
        with self.engine.connect() as connection:
            return {str(id): stored for id, stored in connection.exec_driver_sql(query) if stored is not None}


def sc_user(number: int) -> str:
    """Smartcar's id of a user."""
    return str(uuid.UUID(int=0xA << 124 | number))


def sc_car(number: int) -> str:
    """Smartcar's id of a user's car."""
    return str(uuid.UUID(int=0xC << 124 | number))


SHORT = [
    ("sqlite", Traits("uuid", renamed=True, deleted=True)),
    ("sqlite", Traits("text", linked=True)),
    ("postgresql", Traits("uuid", schema="crm", renamed=True, deleted=True)),
    ("postgresql", Traits("uuid", linked=True, deleted=True)),
    ("mariadb", Traits("uuid", renamed=True, linked=True)),
    ("mariadb", Traits("text", renamed=True, deleted=True)),
]
EVERY = [
    (kind, Traits(ids, schema, renamed, deleted, linked))
    for kind in ("sqlite", "postgresql", "mariadb")
    for ids in ("integer", "uuid", "text")
    for schema in (("", "crm") if kind == "postgresql" else ("",))
    for renamed in (False, True)
    for deleted in (False, True)
    for linked in (False, True)
]
LONG = [pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case not in SHORT]


@pytest.mark.parametrize(("kind", "traits"), [*SHORT, *LONG])
def test_a_company_as_it_is_goes_there_and_back(
    make_database: Callable[[str], str], tmp_path: Path, kind: str, traits: Traits
) -> None:
    """Audit, plan, apply, audit and undo work on its own tables and rows alone, and leave no other a trace."""
    real = RealCompany(make_database(kind), traits, tmp_path)
    before, served = (
        real.rows(),
        [n for n in range(1, PEOPLE + 1) if n != WITHOUT and not (traits.deleted and n == GONE)],
    )
    users = {real.id(number): sc_user(number) for number in served}
    cars = {} if traits.linked else {real.car(n): sc_car(n) for n in range(1, PEOPLE + 1) if n != WITHOUT}
    assert {real.id(number): "ready" for number in served} == {
        user: bucket for user, bucket in buckets(real).items() if bucket == "ready"
    }
    plan = runner.plan(real.company, real.ledger, NOW)
    assert 0 == plan.counts("users")["conflict"]
    applied = runner.apply(real.company, real.ledger, plan, "run", batch_size=2)
    assert (0, len(users) + len(cars)) == (applied.exit_code, applied.count("written"))
    assert users == real.ids("users", "smartcar_user_id")
    assert traits.linked or cars == real.ids("vehicles", "smartcar_vehicle_id")
    assert dict.fromkeys(users, "mapped") == {user: b for user, b in buckets(real).items() if user in users}
    assert PEOPLE - traits.deleted == len(buckets(real))
    undone = runner.undo(real.company, real.ledger, "run", "undo", batch_size=3)
    assert (0, len(users) + len(cars)) == (undone.exit_code, undone.count("written"))
    assert before == real.rows()
    one = next(iter(users))
    runner.apply(real.company, real.ledger, plan, "again")
    assert 1 == runner.undo(real.company, real.ledger, f"again:1:{one}", "one").count("written")
    assert {user: id for user, id in users.items() if user != one} == real.ids("users", "smartcar_user_id")
    real.engine.dispose()


def buckets(real: RealCompany) -> dict[str, str]:
    """User -> bucket, by an audit."""
    found = judge_users(real.company, real.ledger, NOW).users
    return dict(zip(found["user_id"], found["bucket"], strict=True))
