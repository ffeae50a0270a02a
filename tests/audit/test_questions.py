"""Questions without an answer: asked once more, counted, listed, and after three days given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.errors import BillingError, NotFoundError, SmartcarError
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from tests.support.house import House
from tests.support.recorded import readable, record

VINS = ("connections", "vins")
ILL = SmartcarError("smartcar: ill", status=500, type="SERVER", code="INTERNAL")


class Failing:
    """A method of a client that fails for some vehicles, so many times each (None: always), and counts its calls."""

    def __init__(self, method: Callable[..., Any], error: SmartcarError, times: int | None = None) -> None:
        self.method, self.error, self.times = method, error, times
        self.vehicles: set[str] = set()
        self.calls: list[str] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Fails, or asks."""
        subject = next((one for one in arguments if one in self.vehicles), "")
        self.calls += [subject] if subject else []
        if subject and (self.times is None or self.calls.count(subject) <= self.times):
            raise self.error
        return self.method(*arguments, **named)


@pytest.fixture
def vins(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> tuple[House, Failing]:
    """A company of 40 users whose connections are listed, and what fails when two VINs are read."""
    house = make_house(users=40).expand()
    house.ask(["connections"])
    failing = Failing(house.v3.vin, ILL)
    monkeypatch.setattr(house.v3, "vin", failing)
    failing.vehicles = {vehicle_id for vehicle_id, _ in house.linker()._unread()[:2]}
    return house, failing


def open_now(asked: SourceReport) -> set[tuple[str, int, bool]]:
    """(subject, days, given up) of the VINs without an answer."""
    rows = asked.table()
    rows = rows[rows["source"] == "vins"]
    return set(zip(rows["subject"], rows["days"], rows["gave_up"], strict=True))


def test_what_fails_once_is_answered_at_the_end(vins: tuple[House, Failing]) -> None:
    """A question that fails and then answers is no failure: the run is complete, and no question stays open."""
    house, failing = vins
    failing.times = 1
    asked = house.ask(VINS)
    assert (True, 0, {}) == (asked.complete, asked.unanswered, dict(asked.failed))
    assert dict.fromkeys(failing.vehicles, 2) == Counter(failing.calls)
    assert [] == house.ledger.rows(t.unanswered)


def test_what_fails_twice_leaves_the_run_incomplete(vins: tuple[House, Failing]) -> None:
    """It is counted and listed with its error; the next run asks just it again, and its answer ends that."""
    house, failing = vins
    asked = house.ask(VINS)
    assert (False, 2, {"vins": 2}) == (asked.complete, asked.unanswered, dict(asked.failed))
    assert {(vehicle, 1, False) for vehicle in failing.vehicles} == open_now(asked)
    assert {"500 SERVER INTERNAL"} == set(asked.table()["error"])
    assert {"unanswered": 2, "gave_up": 0} == asked.summary()
    failing.times = 0
    before = len(house.transport.calls)
    assert house.ask(VINS).complete
    assert 2 == len(house.transport.calls) - before
    assert [] == house.ledger.rows(t.unanswered)


def test_after_three_days_a_question_is_given_up(vins: tuple[House, Failing]) -> None:
    """A day counts once. Then it is listed and counted, holds up nobody, costs nothing for a week, and no user is sent
    to reconnect for it."""
    house, failing = vins
    failing.vehicles = {min(failing.vehicles)}
    vehicle = min(failing.vehicles)
    for days, later in ((1, 0), (1, 0), (2, 1)):
        house.now += timedelta(days=later)
        asked = house.ask(VINS)
        assert (False, {(vehicle, days, False)}) == (asked.complete, open_now(asked))
    reconnect = house.audit().counts["reconnect"]
    house.now += timedelta(days=1)
    given_up = house.ask(VINS)
    assert (True, 0, 1) == (given_up.complete, given_up.unanswered, given_up.gave_up)
    assert {(vehicle, 3, True)} == open_now(given_up)
    assert "1 given up after 3 days without an answer" in str(given_up)
    calls = len(failing.calls)
    house.now += timedelta(days=1)
    again = house.ask(VINS)
    assert 0 == house.linker().cost(["vins"]).total
    assert (calls, True, {(vehicle, 3, True)}) == (len(failing.calls), again.complete, open_now(again))
    assert reconnect == house.audit().counts["reconnect"]
    failing.times = 0
    house.now += timedelta(days=7)
    answered = house.ask(VINS)
    assert (True, 0) == (answered.complete, answered.gave_up)


@pytest.mark.parametrize("error", [BillingError("smartcar: no more", status=430)], ids=["430"])
def test_what_no_minute_helps_is_not_asked_twice(vins: tuple[House, Failing], error: SmartcarError) -> None:
    """A plan that allows no more is counted, and not asked again in the same run."""
    house, failing = vins
    failing.error = error
    asked = house.ask(VINS)
    assert ({"vins": 2}, 2) == (dict(asked.failed), len(failing.calls))


def test_what_failed_before_does_not_make_the_service_ill(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the same tokens fail run after run, a run that asks nothing else ends all the same, and counts them."""
    house = make_house(users=60).expand()
    broken = next(text for text, token in house.world.tokens.items() if token.behaviour == "broken")
    living = {car.token for car in house.company.cars_to_ask(house.now) if car.token_alive and car.token}
    struck, ask = {broken, *sorted(living - {broken})[:7]}, house.v2.user
    monkeypatch.setattr(house.v2, "user", lambda token: ask(broken if token in struck else token))
    for _ in range(2):
        asked = house.ask(["tokens"])
        assert (8, 8) == (asked.failed["tokens"], asked.unanswered)


def test_nothing_is_asked_once_more_beyond_the_allowance(vins: tuple[House, Failing]) -> None:
    """Where max_calls ends the asking, what failed waits for the next run, and both are counted."""
    house, failing = vins
    unread = len(house.linker()._unread())
    with house.transport.spending(Budget(TokenBucket(house.settings.allowance), max_calls=unread - 4, max_minutes=0)):
        asked = house.ask(VINS)
    assert {"vins": 2} == asked.not_read
    assert len(failing.calls) == asked.failed["vins"] <= 2
    assert not asked.complete


def test_a_list_that_fails_is_asked_again_within_the_hour(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscriptions without an answer: the next run asks for them although the connections are fresh."""
    house = make_house(users=40).expand()
    failing = Failing(house.management.subscriptions, ILL)
    failing.vehicles = {"live"}
    monkeypatch.setattr(house.management, "subscriptions", failing)
    asked = house.ask(["connections"])
    assert ({"subscriptions": 1}, False, 2) == (dict(asked.failed), asked.complete, len(failing.calls))
    assert house.ledger.subscribed_vehicles() is None
    assert {"subscriptions": 2} == house.linker().cost(["connections"]).units
    failing.times = 0
    assert house.ask(["connections"]).complete
    assert house.ledger.subscribed_vehicles()
    assert {} == house.linker().cost(["connections"]).units


@pytest.mark.parametrize(
    ("error", "times", "reads", "is_open"),
    [(ILL, 1, 2, False), (ILL, None, 2, True), (NotFoundError("smartcar: none", status=404), None, 1, False)],
    ids=["once", "always", "404"],
)
def test_a_vehicle_without_an_answer_is_read_once_more(
    house: House, monkeypatch: pytest.MonkeyPatch, error: SmartcarError, times: int | None, reads: int, is_open: bool
) -> None:
    """A vehicle that one version gave no answer for is read again at the end; still none, and it stays open."""
    house.ask()
    chosen = readable(house)[:3]
    failing = Failing(house.v3.signals_document, error, times)
    failing.vehicles = {chosen[1].vehicle_id}
    monkeypatch.setattr(house.v3, "signals_document", failing)
    reached = record(house, chosen, [])
    assert 3 == len(reached.keys)
    assert reads == sum(1 for call in house.transport.calls if call.template == "/vehicles/{id}/batch") - 2
    assert is_open == (chosen[1].key in reached.unanswered)
