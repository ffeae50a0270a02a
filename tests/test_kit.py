"""The front door: one line each for a user, a vehicle, the audit, the comparison and progress, in any notebook."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import smartcar_ops
from smartcar_ops.database.ledger.runs import Act, Runs, RunStatus
from smartcar_ops.errors import ParameterError, SettingsError, SmartcarError
from smartcar_ops.kit import Kit
from tests.support.house import House


@pytest.fixture
def asked(make_house: Callable[..., House]) -> House:
    """A company of 60 users, expanded, callbacks played, everything asked."""
    house = make_house().expand().play_callbacks()
    house.ask()
    return house


@pytest.fixture
def kit(asked: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kit]:
    """The kit on that company, from a folder that has nothing to do with it."""
    for name, value in asked.environment.items():
        monkeypatch.setenv(name, value)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield smartcar_ops.connect()
    assert [] == list(elsewhere.iterdir()), "the kit left something behind"


def test_connecting_opens_nothing(kit: Kit, asked: House, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where it acts; the first question opens the database."""
    assert repr(kit) == f"Acting on {asked.settings.where}."
    assert asked.settings.where.split(" as ")[0] in kit._repr_html_()
    assert "" == capsys.readouterr().out


def test_audit_without_a_call(kit: Kit, asked: House, capsys: pytest.CaptureFixture[str]) -> None:
    """By what is known: the same buckets as the audit's own, no call, and the day has its snapshot."""
    found = kit.audit()
    assert asked.audit().counts == found.counts
    assert found.verdict.rstrip(".") in found._repr_html_()
    assert {"ready", "mapped"} <= set(found.users["bucket"])
    assert "" == capsys.readouterr().out
    assert found.counts["mapped"] == smartcar_ops.history()["mapped"].iloc[-1]


def test_an_audit_that_asks_says_its_cost_first(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """The cost stands before the first call, and `max_calls` is kept."""
    kit.audit(ask=True, max_calls=3)
    assert capsys.readouterr().out.startswith("Cost: at most ")


def test_one_user(kit: Kit, asked: House) -> None:
    """By your own id, as a number or as text."""
    user = asked.rows("users")[0]["id"]
    assert kit.user(id=user).sentences == kit.user(id=str(user)).sentences
    with pytest.raises(ParameterError, match="there is no user '999999'"):
        kit.user(id=999999)


def test_one_vehicle_read_now_and_looked_at_again(kit: Kit, asked: House, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare` reads it and says the cost first; `vehicle` shows what was read, without a call."""
    plan = asked.plan().rows
    proposed = plan[(plan["table"] == "vehicles") & (plan["decision"] == "set")].set_index("row_id")["proposed"]
    alive = [car.local_vehicle_id for car in asked.company.cars_to_ask(asked.now) if car.token_alive]
    vehicle = next(proposed[car] for car in alive if car in proposed)
    assert "was not read" in repr(kit.vehicle(id=vehicle))
    assert "" == capsys.readouterr().out
    read = kit.compare(vehicle_id=vehicle.upper())
    assert capsys.readouterr().out.startswith("Cost: at most ")
    seen = kit.vehicle(id=vehicle)
    assert "" == capsys.readouterr().out
    assert len(read.fields) > 30
    pd.testing.assert_frame_equal(read.fields, seen.fields)
    assert "Odometer" in seen._repr_html_()


def test_what_fails_is_one_sentence_and_its_calls_are_known(kit: Kit, asked: House) -> None:
    """A vehicle without a living token can't be compared; what was spent on it stands in the runs."""
    plan = asked.plan().rows
    proposed = plan[(plan["table"] == "vehicles") & (plan["decision"] == "set")].set_index("row_id")["proposed"]
    dead = [car.local_vehicle_id for car in asked.company.cars_to_ask(asked.now) if not car.token_alive]
    vehicle = next(proposed[car] for car in dead if car in proposed)
    with pytest.raises(SmartcarError, match="no V2 token younger than two hours"):
        kit.compare(vehicle_id=vehicle)
    run = Runs(asked.ledger).all(Act.COMPARE)[-1]
    assert (RunStatus.FAILED, 1) == (run.status, run.calls["v3"])


def test_connections_of_one_smartcar_user(kit: Kit, asked: House) -> None:
    """The guide's step: who is connected to what, for one Smartcar user, and for nobody else."""
    person = next(iter(asked.v3.connections("live").connections)).user_id
    found = kit.connections(user_id=person)
    assert {person} == set(found["user_id"])
    assert len(found) == sum(one.user_id == person for one in asked.v3.connections("live").connections)


def test_progress(kit: Kit) -> None:
    """The verdict of the last audit, and before one that there is none."""
    assert "There is no audit" in repr(kit.progress())
    kit.audit()
    shown = kit.progress()
    assert f"of {shown.result.total} users" in repr(shown)
    assert repr(shown).split(";")[0][:30] in shown._repr_html_()


def test_the_doctor(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """Its checks as a table, its cost first."""
    found = kit.doctor()
    assert "at most 5 calls" in capsys.readouterr().out
    assert found.verdict == repr(found)
    assert "schema phase" in found._repr_html_()


@pytest.mark.parametrize("name", ["user", "vehicle", "compare", "connections"])
def test_ids_are_named(kit: Kit, name: str) -> None:
    """No id by position: two UUIDs can't be swapped; what is no UUID is refused before any call."""
    (parameter,) = inspect.signature(getattr(kit, name)).parameters.values()
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    if name != "user":
        with pytest.raises(ParameterError, match="is not a Smartcar id; expected a UUID"):
            getattr(kit, name)(**{parameter.name: "4711"})


def test_half_a_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As everywhere: never the sandbox where something real is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMARTCAR_CLIENT_ID", "client_x")
    with pytest.raises(SettingsError, match="SMARTCAR_"):
        smartcar_ops.connect()
