"""Recordings without what is private: nothing of it stays, and what is compared stays comparable."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from smartcar_ops.compare.judging.agreement import metres
from smartcar_ops.compare.redaction import HIDDEN, Redactor
from tests.support.house import House
from tests.support.recorded import judged, readable, record

VIN, OTHER = "1HGCM82633A004352", "5YJSA1E26FFP12345"
HOME, WORK = {"latitude": 48.137154, "longitude": 11.576124}, {"latitude": 48.139, "longitude": 11.579}


def signal(code: str, body: Any) -> dict[str, Any]:
    """A signal of V3's."""
    return {"id": code, "attributes": {"code": code, "status": {"value": "SUCCESS"}, "body": body}}


def signals(*rows: dict[str, Any]) -> dict[str, Any]:
    """V3's list."""
    return {"data": list(rows), "included": {"vehicle": {"id": "v1", "attributes": {"make": "KIA"}}}}


def batch(path: str, body: Any) -> dict[str, Any]:
    """A V2 batch with one answer."""
    return {"responses": [{"path": path, "code": 200, "body": body}]}


def value(body: dict[str, Any], place: int = 0) -> Any:
    """A signal's value."""
    return body["data"][place]["attributes"]["body"]["value"]


def test_one_vin_is_one_word_on_both_sides() -> None:
    """The same VIN, however it is written, becomes the same word; another VIN another word; also inside of texts."""
    redactor = Redactor()
    v3 = redactor.signals(signals(signal("vehicleidentification-vin", {"value": VIN})))
    v2 = redactor.batch(batch("/vin", {"vin": f" {VIN.lower()} "}))
    other = redactor.batch(batch("/vin", {"vin": OTHER}))
    assert "VIN 1" == value(v3) == v2["responses"][0]["body"]["vin"]
    assert "VIN 2" == other["responses"][0]["body"]["vin"]
    text = redactor.signals(signals(signal("vehicleidentification-trim", {"value": f"of {VIN}"})))
    assert "of VIN 1" == value(text)


def test_what_is_told_as_a_vin_is_hidden_whatever_it_looks_like() -> None:
    """A VIN of another length is one where it is told as one."""
    found = Redactor().signals(signals(signal("vehicleidentification-vin", {"value": "VIWP1AB29P15LA85784N"})))
    assert "VIN 1" == value(found)


@pytest.mark.parametrize("there", [WORK, {"latitude": 48.137154, "longitude": 11.6}, HOME])
def test_places_are_moved_as_one(there: dict[str, float]) -> None:
    """No coordinate stays, and two places of a vehicle are as far apart as before, to a few centimetres a kilometre."""
    redactor = Redactor()
    v3 = redactor.signals(signals(signal("location-preciselocation", HOME)))
    v2 = redactor.batch(batch("/location", there))
    here, moved = v3["data"][0]["attributes"]["body"], v2["responses"][0]["body"]
    assert {"latitude": 0, "longitude": 0} == here
    before = metres((HOME["latitude"], HOME["longitude"]), (there["latitude"], there["longitude"]))
    after = metres((here["latitude"], here["longitude"]), (moved["latitude"], moved["longitude"]))
    assert before == pytest.approx(after, rel=1e-4, abs=0.02)


@pytest.mark.parametrize(
    ("path", "body", "gone"),
    [
        ("/battery/nominal_capacity", {"url": "https://connect.example.com/x?vehicle_id=1&token=abecb6e7"}, "abecb6e7"),
        ("/service/history", [{"garage": "ann@example.com"}], "ann@example.com"),
        ("/service/history", [{"details": {"address": "Main Street 5"}}], "Main Street"),
        ("/x", {"note": "sent with my-secret-token"}, "my-secret-token"),
        ("/x", {"near": {"lat": 48.1, "lng": 11.5}}, "48.1"),
    ],
)
def test_what_else_is_private(path: str, body: Any, gone: str) -> None:
    """Addresses with a query, e-mails, streets, tokens and places under other names are hidden."""
    assert gone not in json.dumps(Redactor(["my-secret-token"]).batch(batch(path, body)))


def test_a_nickname_is_a_persons() -> None:
    """The name that an owner gave the car is hidden, a missing one stays missing."""
    found = Redactor().signals(
        signals(*(signal("vehicleidentification-nickname", {"value": name}) for name in ("Bob's car", None)))
    )
    assert [HIDDEN, None] == [value(found, 0), value(found, 1)]


@pytest.mark.parametrize("body", [None, [], "text", {"data": None}, {"data": [1, {"attributes": 7}]}, {"responses": 3}])
def test_any_body_may_come(body: Any) -> None:
    """Bodies of another shape come out as they went in."""
    assert body == Redactor().signals(body) == Redactor().batch(body)


def test_ids_and_words_stay(house: House) -> None:
    """What the ledger keeps of a house has no VIN, place or token of it, and is judged as the answers themselves."""
    house.ask()
    seen: list[Any] = []
    chosen = readable(house)
    record(house, chosen, seen)
    kept = [found.redacted([found.pair.token or ""]) for found in seen]
    text = json.dumps([found.document() for found in kept])
    raw = json.dumps([found.document() for found in seen])
    vins = {car["vin"] for car in house.truth["vehicles"] if car["vin"]}
    places = {str(car.v2["location"].value["latitude"]) for car in house.world.cars.values()}
    tokens = {pair.token for pair in chosen}
    assert [vin for vin in vins if vin in raw] and [place for place in places if place in raw]
    assert [] == [one for one in (*vins, *tokens) if one and one in text]
    # As whole numbers: a shifted place may begin with another one's digits.
    assert [] == [place for place in places if re.search(rf"(?<![\d.]){re.escape(place)}(?!\d)", text)]
    told, again = judged(house, seen).fields, judged(house, kept).fields
    names = [name for name in told.columns if not name.endswith("_value")]
    assert told[names].equals(again[names])
