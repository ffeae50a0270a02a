"""The audit's SQL rules and plain Python, written from the contract, put everybody in the same bucket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given

from tests.support import plain_rules
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NOBODY, PERSONS, VEHICLES, Desk, companies, others, quickly


def agree(desk: Desk, plain: PlainCompany, others: list[PlainCompany]) -> None:
    """The SQL and the plain function say the same of everybody, counts add up, orphans are equal."""
    desk.fill(plain, others)
    if not desk.expanded:
        plain.people = dict.fromkeys(plain.people)
        plain.cars = [PlainCar(car.id, car.user, None, car.token_alive, car.has_vin) for car in plain.cars]
    expected = plain_rules.buckets(plain)
    judged = desk.judged()
    assert expected == judged
    counts: dict[str, int] = {}
    for bucket in expected.values():
        counts[bucket] = counts.get(bucket, 0) + 1
    assert counts == desk.counted()
    assert plain_rules.orphans(plain) == desk.orphans()


CAR = PlainCar("11", "1", None, True, True)
FAMILY = PlainCompany(
    {"1": None},
    [CAR],
    {(VEHICLES[0], PERSONS[0]), (VEHICLES[0], PERSONS[1])},
    {("1", PERSONS[0])},
    {("11", VEHICLES[0])},
)


@quickly(15, 60)
@given(plain=companies, others=others)
@example(plain=FAMILY, others=NOBODY)
def test_sql_equals_the_plain_rules_on_sqlite(sqlite_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """Whatever the company and the evidence, SQLite's buckets, counts and orphans are those of the plain rules."""
    agree(sqlite_desk, plain, others)


@quickly(10, 40)
@given(plain=companies, others=others)
def test_sql_equals_the_plain_rules_with_the_ledger_in_a_file(
    file_desk: Desk, plain: PlainCompany, others: Any
) -> None:
    """Before expand nothing is stored, and judging on the file's copies says what the plain rules say."""
    agree(file_desk, plain, others)


@pytest.mark.parametrize("server_desk", ["postgresql", "mariadb"], indirect=True)
@quickly(8, 30)
@given(plain=companies, others=others)
@example(plain=FAMILY, others=NOBODY)
def test_sql_equals_the_plain_rules_on_servers(server_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """PostgreSQL and MariaDB judge as the plain rules do."""
    agree(server_desk, plain, others)


def one(**changes: Any) -> PlainCompany:
    """A user with one car that a connection names, changed."""
    base: dict[str, Any] = {
        "people": {"1": None},
        "cars": [CAR],
        "connections": {(VEHICLES[0], PERSONS[0])},
        "ties": {("11", VEHICLES[0])},
    }
    return PlainCompany(**{**base, **changes})


@pytest.mark.parametrize(
    ("bucket", "plain"),
    [
        ("ready", one()),
        ("mapped", one(people={"1": PERSONS[0].upper()})),
        ("conflict", one(people={"1": PERSONS[1]})),
        ("invalid", one(people={"1": "undefined"})),
        ("unconfirmed", one(people={"1": PERSONS[0]}, connections=set())),
        ("unconfirmed", one(people={"1": PERSONS[0]}, ties=set())),
        ("ready", FAMILY),
        ("conflict", one(personal={("1", PERSONS[1])})),
        ("conflict", one(personal={("1", PERSONS[0]), ("1", PERSONS[1])})),
        ("conflict", one(connections={(VEHICLES[0], PERSONS[0]), (VEHICLES[0], PERSONS[1])})),
        ("ready", one(cars=[], ties=set(), connections=set(), personal={("1", PERSONS[0])})),
        ("mapped", one(cars=[], ties=set(), people={"1": PERSONS[0]})),
        ("no_vehicles", one(cars=[], ties=set())),
        ("unasked", one(ties=set())),
        ("unasked", one(connections=set(), ties=set(), tokens_asked={"11"}, listed=False)),
        ("reconnect", one(ties=set(), tokens_asked={"11"}, vins_asked={VEHICLES[0]})),
        ("shared", one(people={"1": None, "2": PERSONS[0]})),
        ("ready", one(connections=set(), sightings={(VEHICLES[0], PERSONS[0])})),
        ("conflict", one(sightings={(VEHICLES[0], PERSONS[1])})),
        ("ready", one(sightings={(VEHICLES[0], PERSONS[1])}, choices={"1": PERSONS[1]})),
        ("conflict", one(people={"1": PERSONS[1]}, choices={"1": PERSONS[0]})),
        ("mapped", one(people={"1": PERSONS[0]}, choices={"1": PERSONS[0]}, personal={("1", PERSONS[1])})),
        ("ready", one(people={"1": None, "2": PERSONS[0]}, choices={"1": PERSONS[0], "2": None})),
        ("shared", one(people={"1": None, "2": PERSONS[0]}, choices={"1": PERSONS[0]})),
        ("reconnect", one(choices={"1": None}, tokens_asked={"11"}, vins_asked={VEHICLES[0]})),
    ],
)
def test_known_cases_fall_where_the_contract_says(sqlite_desk: Desk, bucket: str, plain: PlainCompany) -> None:
    """The plain rules themselves, and the SQL with them, put textbook cases where people would."""
    assert bucket == plain_rules.buckets(plain)["1"]
    sqlite_desk.fill(plain, NOBODY)
    assert bucket == sqlite_desk.judged()["1"]


@pytest.mark.parametrize("desk", ["sqlite_desk", "file_desk"])
def test_a_second_judgement_compiles_no_query_anew(
    desk: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging twice compiles each query once, although every workspace has temporary tables of its own."""
    wanted: Desk = request.getfixturevalue(desk)
    wanted.fill(one(), NOBODY)
    first = wanted.judged()
    compiled: list[str] = []
    compiler = wanted.company.engine.dialect.statement_compiler
    render = compiler.visit_select

    def count(self: Any, select: Any, *places: Any, **options: Any) -> Any:
        if not self.stack and not options.get("literal_binds"):  # CREATE TABLE … AS has its values in it
            compiled.append(str(select))
        return render(self, select, *places, **options)

    monkeypatch.setattr(compiler, "visit_select", count)
    assert (first, []) == (wanted.judged(), compiled)
