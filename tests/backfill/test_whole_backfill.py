"""Whatever the company and the evidence: a backfill gives nobody an id that something speaks against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from smartcar_ops.backfill import runner
from tests.conftest import DATABASES
from tests.support import plain_rules
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import CARS, NOBODY, NOW, PERSONS, VEHICLES, Desk, companies, others, quickly


@pytest.fixture
def any_desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """An expanded database of every kind in turn."""
    return Desk(make_database(request.param), tmp_path)


def stored(desk: Desk) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """User -> the Smartcar id that stands there, car -> the vehicle id."""
    with desk.company.engine.connect() as connection:
        users = connection.exec_driver_sql("SELECT id, smartcar_user_id FROM users")
        people = {str(id): text for id, text in users}
        cars = connection.exec_driver_sql("SELECT id, smartcar_vehicle_id FROM vehicles")
        return people, {str(id): text for id, text in cars}


def backfill(desk: Desk, run: str) -> runner.Applied:
    """Plans and applies; the same plan again has nothing open and changes nothing."""
    plan = runner.plan(desk.company, desk.ledger, NOW)
    applied = runner.apply(desk.company, desk.ledger, plan, run, batch_size=2)
    once = stored(desk)
    again = runner.apply(desk.company, desk.ledger, plan, f"{run} again", batch_size=2)
    assert (3, 0) == (again.exit_code, again.done)
    assert once == stored(desk)
    assert len(plan.changes()) == applied.count("written") == applied.done
    return applied


def speaks_against(company: PlainCompany, user: str, id: str) -> list[str]:
    """What contradicts this id for this user; what a person chose is the last word."""
    if user in company.choices:
        return [] if company.choices[user] == id else ["the choice"]
    found = [f"personal {other}" for other in plain_rules.personally(company, user) if other != id]
    for car in company.cars:
        connected = plain_rules.connected(company, car) if car.user == user else set()
        if connected and id not in connected:
            found.append(f"car {car.id}")
    if not plain_rules.personally(company, user):
        found += [f"by car {other}" for other in plain_rules.by_cars(company, user) if other != id]
    return found


def check(desk: Desk, plain: PlainCompany, others: list[PlainCompany]) -> None:
    """One example: what was set and what was not, for everybody."""
    desk.fill(plain, others)
    before, cars_before = stored(desk)
    buckets = plain_rules.buckets(plain)
    backfill(desk, "run")
    after, cars_after = stored(desk)
    for user, id in after.items():
        if id != before[user]:
            assert id == plain.choices.get(user) if id is None else not speaks_against(plain, user, id)
            twins = [other for other in after if other != user and (after[other] or "").strip().lower() == id]
            assert not id or not twins or plain.choices.keys() >= {user, *twins}, "a shared id is for people"
        if buckets[user] == "ready":
            assert {id} == plain_rules.evidence(plain, user)
        elif user not in plain.choices:
            assert id == before[user], buckets[user]
    for car in plain.cars:
        named = {vehicle for vehicle, _ in plain_rules.connected_now(plain)}
        tied = {vehicle for local, vehicle in plain.ties if local == car.id and vehicle in named}
        if cars_after[car.id] != cars_before[car.id]:
            assert {cars_after[car.id]} == tied
            assert buckets.get(car.user or "") not in ("conflict", "shared", "invalid") or car.user in plain.choices
    assert {} == {row: n for row, n in runner.plan(desk.company, desk.ledger, NOW).tally.items() if "set" in row}
    runner.undo(desk.company, desk.ledger, "run", "undo", batch_size=3)
    assert (before, cars_before) == stored(desk)


FAMILY = PlainCompany(
    {"1": None, "2": f" {PERSONS[1].upper()} ", "3": "undefined"},
    [PlainCar(CARS[0], "1", None, True, True), PlainCar(CARS[1], "3", None, True, True)],
    {(VEHICLES[0], PERSONS[0]), (VEHICLES[0], PERSONS[1]), (VEHICLES[1], PERSONS[2])},
    {("1", PERSONS[0])},
    choices={"3": PERSONS[2]},
    ties={(CARS[0], VEHICLES[0]), (CARS[1], VEHICLES[1])},
)


@pytest.mark.parametrize("any_desk", DATABASES, indirect=True)
@quickly(10, 300)
@given(plain=companies, others=others)
@example(plain=FAMILY, others=NOBODY)
def test_nobody_gets_an_id_that_something_speaks_against(any_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """Every id set is contradicted by nothing, every undisputed one is set; done once, nothing is left to set."""
    check(any_desk, plain, others)
