"""Undone in any order, taken over, or with a ledger put back: nothing is put where it no longer belongs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.database.evidence import duplicate_ids, readiness
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.errors import LockedError
from tests.conftest import DATABASES
from tests.database.evidence.test_readiness import chosen, outcome, run
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NAIVE, NOBODY, NOW, PERSONS, VEHICLES, Desk

A, B = PERSONS[:2]


@pytest.fixture(params=DATABASES)
def desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """An expanded database of every kind in turn."""
    return Desk(make_database(request.param), tmp_path)


def applied(desk: Desk, run_id: str) -> None:
    """Plans, and applies that."""
    runner.apply(desk.company, desk.ledger, runner.plan(desk.company, desk.ledger, NOW), run_id)


def held(desk: Desk) -> list[str | None]:
    """The users' ids."""
    with desk.company.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT smartcar_user_id FROM users ORDER BY id")).scalars())


def test_an_undo_does_not_give_back_an_id_that_is_anothers_by_now(desk: Desk) -> None:
    """A person gave user 1 another id, and user 2 got the first one: undoing the first does not make it two users'."""
    desk.fill(PlainCompany({"1": A, "2": None}, choices={"1": B}), NOBODY)
    applied(desk, "moved")
    second = {"user_id": "2", "smartcar_user_id": A, "chosen_by": "Ada", "reason": "asked", "chosen_at": NAIVE}
    desk.ledger.record(t.choices, [second])
    applied(desk, "given")
    with desk.ledger.begin() as connection:
        connection.execute(sa.delete(t.choices))
    undone = runner.undo(desk.company, desk.ledger, "moved", "back")
    assert {("users", "1"): readiness.HELD} == outcome(desk, undone)
    assert [B, A] == held(desk)
    runner.undo(desk.company, desk.ledger, "given", "given back")
    assert 1 == runner.undo(desk.company, desk.ledger, "moved", "back again").count("written")
    assert [A, None] == held(desk)


def test_an_id_that_the_kit_gave_is_not_put_back_once_the_company_gave_it_to_another(desk: Desk) -> None:
    """User 1 got an id and then another one; the company gave the first to user 2: the undo leaves it there."""
    desk.fill(PlainCompany({"1": None, "2": None}, choices={"1": A}), NOBODY)
    applied(desk, "first")
    chosen(B)(desk)
    applied(desk, "second")
    run(f"UPDATE users SET smartcar_user_id = '{A}' WHERE id = 2")(desk)
    undone = runner.undo(desk.company, desk.ledger, "second", "back")
    assert {("users", "1"): readiness.HELD} == outcome(desk, undone)
    assert [B, A] == held(desk)


def test_the_companys_own_id_is_put_back_again_and_again_even_if_two_had_it(desk: Desk) -> None:
    """The company gave two users one id; what an undo put back once is still the company's own the second time."""
    desk.fill(PlainCompany({"1": A, "2": A}, choices={"1": B}), NOBODY)
    for times in ("once", "twice"):
        applied(desk, times)
        assert [B, A] == held(desk)
        assert 1 == runner.undo(desk.company, desk.ledger, times, f"back {times}").count("written")
        assert [A, A] == held(desk)


def test_an_undo_puts_back_an_id_that_it_takes_from_another(desk: Desk) -> None:
    """Where one run moved an id from one user to the other, its undo moves it back at once."""
    desk.fill(PlainCompany({"1": A, "2": None}, choices={"1": B, "2": A}), NOBODY)
    applied(desk, "run")
    assert [B, A] == held(desk)
    with desk.ledger.begin() as connection:
        connection.execute(sa.delete(t.choices))
    assert 2 == runner.undo(desk.company, desk.ledger, "run", "back").count("written")
    assert [A, None] == held(desk)


def test_what_a_later_run_changed_is_undone_first(desk: Desk) -> None:
    """A row that holds what a run wrote because a later one wrote the same is that one's to put back."""
    desk.fill(PlainCompany({"1": None}, choices={"1": A}), NOBODY)
    applied(desk, "first")
    run(f"UPDATE users SET smartcar_user_id = '{B}'")(desk)  # the company's own
    applied(desk, "second")
    undone = runner.undo(desk.company, desk.ledger, "first", "back")
    assert {("users", "1"): duplicate_ids.CHANGED_LATER} == outcome(desk, undone)
    assert 1 == runner.undo(desk.company, desk.ledger, "second", "second back").count("written")
    assert [B] == held(desk)


def test_an_undone_value_does_not_come_back_by_a_later_undo(desk: Desk) -> None:
    """Undone out of order, a run's value does not return when the run that took it out is undone, too."""
    desk.fill(PlainCompany({"1": None}, choices={"1": A}), NOBODY)
    applied(desk, "set")
    chosen(None)(desk)
    applied(desk, "emptied")
    run(f"UPDATE users SET smartcar_user_id = '{A}'")(desk)
    undone = runner.undo(desk.company, desk.ledger, "set", "back")
    assert {("users", "1"): duplicate_ids.CHANGED_LATER} == outcome(desk, undone)
    assert [A] == held(desk)


def test_a_plan_older_than_a_restored_ledger_is_asked_about(desk: Desk) -> None:
    """A backup of the ledger was put back and other evidence came: a car's id is set only if it still links it."""
    first, second = VEHICLES[:2]
    desk.fill(PlainCompany({"1": B}, [PlainCar("11", "1")], {(first, B), (second, B)}), NOBODY)
    tie = {"source": "vins", "local_vehicle_id": "11", "seen_at": NAIVE}
    with desk.ledger.begin() as connection:
        numbers = {row[0]: row[1] for row in connection.execute(sa.select(t.fences.c.name, t.fences.c.token))}
    desk.ledger.record(t.ties, [{**tie, "vehicle_id": first}])
    plan = runner.plan(desk.company, desk.ledger, NOW)
    with desk.ledger.begin() as connection:
        connection.execute(sa.delete(t.ties))
        for name, number in numbers.items():
            connection.execute(sa.update(t.fences).where(t.fences.c.name == name).values(token=number))
    desk.ledger.record(t.ties, [{**tie, "vehicle_id": second}])
    done = runner.apply(desk.company, desk.ledger, plan, "run")
    assert {("vehicles", "11"): readiness.UNLINKED} == outcome(desk, done)


def aged(desk: Desk) -> None:
    """The lock's last beat is two minutes old."""
    with desk.company.engine.begin() as connection:
        beat = connection.execute(sa.select(t.locks.c.beat)).scalar_one()
        connection.execute(sa.update(t.locks).values(beat=beat - timedelta(minutes=2)))


def test_an_act_whose_lock_was_taken_over_is_told_so(desk: Desk) -> None:
    """The act that took over leaves it nothing to do: it ends as locked out, not as one that lost count of its rows."""
    desk.fill(PlainCompany({"1": None, "2": None, "3": None}, choices=dict(zip("123", PERSONS, strict=True))), NOBODY)
    plan = runner.plan(desk.company, desk.ledger, NOW)
    others: list[Any] = []

    def taken_over(*_: Any) -> None:
        if not others:
            others.append(None)
            aged(desk)
            others[0] = runner.apply(desk.company, desk.ledger, plan, "thief")

    with pytest.raises(LockedError):
        runner.apply(desk.company, desk.ledger, plan, "first", batch_size=1, progress=taken_over)
    assert 2 == others[0].count("written")
    assert PERSONS == held(desk)
