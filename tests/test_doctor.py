"""Is everything in place? Each question's line, and what the whole says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smartcar_ops.clients import paused_bucket, shared_bucket
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.doctor import Checkup, checkup, note
from tests.support.house import House


def states(found: Checkup) -> dict[str, str]:
    """question -> state."""
    return {line.question: line.state for line in found.lines}


def asked(house: House, **changed: str) -> Checkup:
    """A checkup with some variables changed."""
    return checkup(house.read_settings(**changed), house.now)


def test_a_house_in_order_passes_every_line_in_five_calls(house: House) -> None:
    """Exit 0, every line passes, with a token, three pages of one and one V2 user."""
    found = asked(house)
    assert {"pass"} == set(states(found).values())
    assert 0 == found.exit_code
    assert 5 == len(house.sandbox.arrivals) == sum(found.calls.values())
    assert f"({len(found.lines)} of {len(found.lines)} checks pass)" in found.verdict


def test_before_expand_the_rights_are_unknown(make_house: Callable[..., House]) -> None:
    """Writing is not tried before expand, which is no failure; nothing is written."""
    for kind in ("sqlite", "postgresql", "mariadb"):
        house = make_house(kind, users=40)
        before = {name: house.rows(name) for name in house.tables()}
        found = asked(house)
        assert ("unknown", 0) == (states(found)["permissions"], found.exit_code)
        line = next(line for line in found.lines if line.question == "schema phase")
        assert "before" in line.found and "40_schema_phases" in line.next_step
        assert before == {name: house.rows(name) for name in house.tables()}


@pytest.mark.parametrize(
    ("changed", "question"),
    [
        ({"SMARTCAR_CLIENT_SECRET": "wrong"}, "application token"),
        ({"SMARTCAR_DATABASE_URL": "sqlite:////nowhere/at/all.sqlite"}, "database"),
        ({"SMARTCAR_IAM_ORIGIN": "http://127.0.0.1:1"}, "application token"),
    ],
)
def test_a_world_that_fails_is_exit_2_and_the_other_lines_are_asked(
    house: House, changed: dict[str, str], question: str
) -> None:
    """A refused secret, a missing database or an unreachable host fails its line; the rest still answer."""
    found = asked(house, **changed)
    assert ("fail", 2) == (states(found)[question], found.exit_code)
    assert 18 == len(found.lines)
    assert "pass" == states(found)["allowance"]
    assert question in found.verdict
    assert not [line for line in found.lines if "wrong" in line.found]


def test_what_nobody_foresaw_fails_its_line_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other lines are still asked; the sentence tells the kind and the place, not the error's own text."""

    def fail(*_: object, **__: object) -> None:
        raise UnicodeError("the text of it, with a secret")

    monkeypatch.setattr("smartcar_ops.database.tables.Company.connect", fail)
    found = asked(house)
    assert ("fail", "pass", 2) == (states(found)["database"], states(found)["V3 connections"], found.exit_code)
    assert "UnicodeError" in found.verdict and "secret" not in found.verdict


def test_no_users_is_a_finding(house: House) -> None:
    """An empty table of users fails its line with exit 1, not 2."""
    house.execute("DELETE FROM vehicles")
    house.execute("DELETE FROM users")
    found = asked(house)
    assert ("fail", "unknown", 1) == (states(found)["users"], states(found)["V2 tokens"], found.exit_code)


def test_dead_tokens_are_no_failure(house: House) -> None:
    """Without a living token V2 can't be asked: unknown, and no token is sent."""
    house.execute("UPDATE vehicles SET token_created_at = '2020-01-01 00:00:00'")
    found = asked(house)
    assert ("unknown", "unknown", 0) == (states(found)["V2 tokens"], states(found)["V2 answers"], found.exit_code)
    assert "/v2.0/user" not in [path for _, _, path in house.sandbox.arrivals]


def test_living_tokens_are_counted(house: House) -> None:
    """The line says how many of how many cars have a token younger than two hours."""
    alive = sum(1 for car in house.company.cars_to_ask(house.now) if car.token_alive)
    line: Any = next(line for line in asked(house).lines if line.question == "V2 tokens")
    assert f"{alive} of {len(house.rows('vehicles'))} vehicles" in line.found


def test_a_refused_management_token_is_named(house: House) -> None:
    """A wrong management token fails its own line with exit 2 and is not shown; without one the line is unknown."""
    refused = asked(house, SMARTCAR_MANAGEMENT_TOKEN="another-plant")
    assert ("fail", 2) == (states(refused)["management token"], refused.exit_code)
    assert "another-plant" not in str(refused.table().to_dict())
    missing = asked(house, SMARTCAR_MANAGEMENT_TOKEN="")
    assert ("unknown", 0) == (states(missing)["management token"], missing.exit_code)


def test_the_clock_is_told_from_the_answers(house: House) -> None:
    """The line says how far this clock is from the service's, without a call of its own."""
    line: Any = next(line for line in asked(house).lines if line.question == "clock")
    assert "pass" == line.state
    assert "within a minute of Smartcar's" == line.found


def test_columns_are_listed_by_name(make_house: Callable[..., House]) -> None:
    """Each table's line has the columns it reads, by the layout's names, and those that are not there yet."""
    house = make_house(users=40, toml='[vehicles]\nvin = "chassis"\n')
    lines = {line.question: line for line in asked(house).lines}
    assert ("pass", "id; missing: smartcar_user_id (smartcar_user_id)") == (
        lines["users' columns"].state,
        lines["users' columns"].found,
    )
    assert "vehicle_access_token" in lines["vehicles' columns"].found
    assert "chassis (vin)" in lines["vehicles' columns"].found
    assert "[vehicles]" in lines["vehicles' columns"].next_step


def test_an_act_that_was_killed_fails_its_line(house: House) -> None:
    """The doctor tells how far an interrupted undo came, in its own words, and where the way on is told; exit 1."""
    runs = Runs(house.ledger)
    runs.start("undo", "30_backfill_user_ids", "undo", plan="run")
    found = asked(house)
    (line,) = (line for line in found.lines if line.question == "writing runs")
    assert ("fail", "Undo of run, interrupted: 0 put back, 0 skipped, 0 failed") == (line.state, line.found)
    assert (1, True) == (found.exit_code, "`smartcar-ops runs`" in line.next_step)
    runs.finish("undo", "done", {})
    assert "pass" == states(asked(house))["writing runs"]


@pytest.mark.parametrize("expanded", [False, True])
def test_what_a_checkup_spent_is_known_to_every_total(make_house: Callable[..., House], expanded: bool) -> None:
    """Its calls stand among the runs, before expand in the file; the progress report's sum has them."""
    house = make_house(users=40)
    house = house.expand() if expanded else house
    found = asked(house)
    note(house.settings, found.verdict, found.calls)
    (run,) = Runs(house.open_ledger()).all()
    assert ("doctor", "done", found.calls) == (run.act, run.status, run.calls)
    assert len(house.sandbox.arrivals) == 5 == sum(run.calls.values())


def test_a_checkup_without_a_database_is_noted_nowhere(house: House) -> None:
    """Where the database can't be reached there is nothing to note it in, and that is no error."""
    note(house.read_settings(SMARTCAR_DATABASE_URL="sqlite:////nowhere/at/all.sqlite"), "all is well", {"v3": 1})
    assert [] == Runs(house.ledger).all()


@pytest.mark.parametrize("expanded", [True, False])
def test_a_pause_is_shown_and_ended_once_smartcar_answers(make_house: Callable[..., House], expanded: bool) -> None:
    """The doctor ends a pause that Smartcar asked for where V3 answers it, and says so; else it names the pause."""
    house = make_house(users=40)
    house = house.expand() if expanded else house
    shared_bucket(house.settings, house.ledger).hold(3000)
    silent = asked(house, SMARTCAR_VEHICLE_API_V3_ORIGIN="http://127.0.0.1:1")
    assert "fail" == states(silent)["V3 connections"]
    bucket = paused_bucket(house.settings, house.ledger)
    assert bucket and 2900 < bucket.paused() <= 3000
    line = next(line for line in asked(house).lines if line.question == "allowance")
    assert "pass" == line.state
    assert "Smartcar asked for a pause (50 minutes left); V3 has just responded, so the pause is over" in line.found
    assert paused_bucket(house.settings, house.ledger) is None


def test_looking_for_a_pause_writes_nothing(house: House) -> None:
    """Where no allowance was ever taken, looking leaves the ledger as it is; what can't be read is none."""
    before = house.rows("smartcar_ops_meta")
    assert paused_bucket(house.settings, house.ledger) is None
    assert before == house.rows("smartcar_ops_meta")
    for text in ("garbage", "nan@1@1e99", "1@2@inf", "1@inf@3"):
        house.ledger.remember(f"allowance:{house.ledger.scope.service}", text)
        assert paused_bucket(house.settings, house.ledger) is None
        shared_bucket(house.settings, house.ledger).take(1, until=0)
