"""The faults of V3's signals, times and store, and V2's units."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smartcar_ops.sandbox.api.json_api import counts_milliseconds
from smartcar_ops.sandbox.api.v3.signals import is_cached, is_nulled
from smartcar_ops.sandbox.fleet.model import LIVE, SUCCESS


@pytest.fixture(scope="module")
def calm(world):
    """A live battery connection on which nothing is planted."""
    struck = {d.vehicle.car.id for d in world.differences}
    return next(
        c
        for c in world.connections
        if c.mode == LIVE and c.vehicle_id not in struck and world.cars[c.vehicle_id].powertrain == "BEV"
    )


def by_code(answer):
    """Code -> item."""
    return {item["id"]: item for item in answer.json()["data"]}


def test_cached_error_bodies(play, calm):
    """The chosen third of the signals with a value are ERROR ASLEEP with the same body and a day-old time."""
    good, asleep = by_code(play().signals(calm)), by_code(play("cached-error-bodies").signals(calm))
    valued = [code for code, item in good.items() if item["attributes"]["status"]["value"] == SUCCESS]
    struck = {code for code in valued if is_cached(calm.vehicle_id, code)}
    assert 0.15 < len(struck) / len(valued) < 0.5
    for code in valued:
        status = asleep[code]["attributes"]["status"]
        assert ("ERROR" if code in struck else SUCCESS) == status["value"]
        assert good[code]["attributes"]["body"] == asleep[code]["attributes"]["body"]
        if code in struck and "oemUpdatedAt" in good[code]["meta"]:
            assert ("VEHICLE_STATE", "ASLEEP") == (status["error"]["type"], status["error"]["code"])
            assert asleep[code]["meta"]["oemUpdatedAt"] < good[code]["meta"]["oemUpdatedAt"]


def test_success_with_nulls(play, calm):
    """The chosen third stay SUCCESS and every value is null; places and units stay."""
    good, nulled = by_code(play().signals(calm)), by_code(play("success-with-nulls").signals(calm))
    struck = [
        code
        for code, item in good.items()
        if item["attributes"]["status"]["value"] == SUCCESS and is_nulled(calm.vehicle_id, code)
    ]
    assert struck
    for code in struck:
        assert SUCCESS == nulled[code]["attributes"]["status"]["value"]
        assert set(good[code]["attributes"]["body"]) == set(nulled[code]["attributes"]["body"])
        body = nulled[code]["attributes"]["body"]
        assert body.get("value") is None
        for place in body.get("values", []):
            assert {None} == {value for name, value in place.items() if name not in ("row", "column", "type")}


def test_epoch_times(play, world):
    """Times are numbers: milliseconds for some cars and seconds for others, in lists too."""
    caller = play("epoch-times")
    live = [c for c in world.connections if c.mode == LIVE]
    for in_milliseconds in (True, False):
        one = next(c for c in live if counts_milliseconds(c.vehicle_id) is in_milliseconds)
        at = by_code(caller.signals(one))["odometer-traveleddistance"]["meta"]["oemUpdatedAt"]
        seconds = at / 1000 if in_milliseconds else at
        assert abs(world.now.timestamp() - seconds) < timedelta(days=30).total_seconds()
        row = caller.v3("/connections", filter__vehicleId=one.vehicle_id).json()["data"][0]
        assert isinstance(row["meta"]["createdAt"], int)


def test_empty_store(play, calm):
    """200 with nothing, and 404 on a signal that every car has."""
    caller = play("empty-store")
    body = caller.signals(calm).json()
    assert ([], 0) == (body["data"], body["meta"]["totalCount"])
    path = f"/vehicles/{calm.vehicle_id}/signals/odometer-traveleddistance"
    assert 404 == caller.v3(path, calm.user_id).status_code


def test_signal_404(play, calm):
    """The list is full and every single signal is 404."""
    caller = play("signal-404")
    assert by_code(caller.signals(calm))
    path = f"/vehicles/{calm.vehicle_id}/signals/odometer-traveleddistance"
    assert 404 == caller.v3(path, calm.user_id).status_code


def test_imperial_whatever_was_asked(play, world):
    """V2 answers miles to a metric question, and its header says imperial."""
    vehicle = next(v for v in world.vehicles if v.token_alive and v.tied and not v.car.moving)
    caller = play("imperial")
    answer = caller.v2(f"/vehicles/{vehicle.car.id}/odometer", vehicle.token, **{"sc-unit-system": "metric"})
    assert "imperial" == answer.headers["sc-unit-system"]
    assert vehicle.car.v2["odometer"].value / 1.609344 == pytest.approx(answer.json()["distance"])
