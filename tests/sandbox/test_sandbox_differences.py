"""The planted differences as the wire shows them, in a world that has every kind."""

from __future__ import annotations

from collections import defaultdict

import httpx
import pytest

from smartcar_ops.sandbox import world as building
from smartcar_ops.sandbox.differences.plant import HARMLESS_KINDS, TRUE_KINDS
from smartcar_ops.sandbox.server import running
from smartcar_ops.sandbox.world import build_world
from tests.sandbox.conftest import take_token
from tests.sandbox.sandbox_comparer import compare
from tests.sandbox.sandbox_readings import V2, V3
from tests.sandbox.test_sandbox_truth import HARMLESS

USERS, SEED = 150, 0
CODES = {
    **{field: code for field, (code, _) in V3.items()},
    **dict.fromkeys((field for field in V2 if field.startswith("tire-")), "wheel-tires"),
    "storage-rear": "closure-reartrunk",
    "storage-front": "closure-fronttrunk",
    "system-status": "diagnostics-abs",
}


class Asked:
    """A sandbox of a world, and what it says of a car on both versions."""

    def __init__(self, world, client):
        self.world, self.client = world, client

    def compare(self, vehicle):
        """Field -> verdict."""
        return compare(self.client, self.app, vehicle.car.id, self.user(vehicle), vehicle.token)

    def user(self, vehicle):
        """The Smartcar user whose token it is."""
        return self.world.tokens[vehicle.token].user_id

    def signals(self, vehicle):
        """Code -> signal, and the vehicle's own attributes."""
        headers = {**self.app, "sc-user-id": self.user(vehicle)}
        answer = self.client.get(f"/v3/vehicles/{vehicle.car.id}/signals", headers=headers).json()
        return {item["id"]: item for item in answer["data"]} | {"vehicle": answer["included"]["vehicle"]["attributes"]}

    def item(self, vehicle, path):
        """An item of a V2 batch, without the time of the question."""
        answer = self.client.post(
            f"/v2.0/vehicles/{vehicle.car.id}/batch",
            headers={"authorization": f"Bearer {vehicle.token}"},
            json={"requests": [{"path": path}]},
        )
        item = answer.json()["responses"][0]
        for name in ("sc-fetched-at", *(("sc-data-age",) if "capacity" in path else ())):
            item.get("headers", {}).pop(name, None)
        item["body"].pop("requestId", None) if isinstance(item["body"], dict) else None
        return item

    def permissions(self, vehicle):
        """The scopes of the connection on V3."""
        query = {"filter[vehicleId]": vehicle.car.id, "filter[userId]": self.user(vehicle)}
        row = self.client.get("/v3/connections", params=query, headers=self.app).json()["data"][0]
        return row["attributes"]["permissions"]


@pytest.fixture(scope="module")
def asked():
    """The world with all kinds of differences, being served."""
    yield from serving(build_world(USERS, SEED))


@pytest.fixture(scope="module")
def plain(asked):
    """The same world with nothing planted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "plant", lambda rng, vehicles: [])
        world = build_world(USERS, SEED, asked.world.now)
    yield from serving(world)


def serving(world):
    """A world with its client and application token."""
    with running(world) as sandbox, httpx.Client(base_url=sandbox.url, trust_env=False) as client:
        served = Asked(world, client)
        served.app = take_token(sandbox)
        yield served


def test_an_independent_comparison_finds_every_kind(asked):
    """Each kind gets the verdicts the truth expects; what was not struck agrees or has no value."""
    expected, seen = defaultdict(dict), {}
    for d in asked.world.differences:
        expected[d.vehicle.id][d.field] = d.expected
    vehicles = {d.vehicle.id: d.vehicle for d in asked.world.differences}
    for key, vehicle in vehicles.items():
        seen[key] = asked.compare(vehicle)
        assert expected[key] == {field: seen[key][field] for field in expected[key]}
        assert {verdict for field, verdict in seen[key].items() if field not in expected[key]} <= HARMLESS
    assert {kind.name for kind in (*TRUE_KINDS, *HARMLESS_KINDS)} == {d.kind for d in asked.world.differences}


def test_each_kind_is_on_the_wire(asked, plain):
    """A struck field's V2 item, V3 signals or scopes are not what they are in the world with nothing planted."""
    for d in asked.world.differences:
        twin = next(v for v in plain.world.vehicles if v.id == d.vehicle.id)
        (one, other) = (wire(served, vehicle, d.field) for served, vehicle in ((asked, d.vehicle), (plain, twin)))
        assert one != other, (d.kind, d.field)


def wire(served, vehicle, field):
    """All that is said of a field's endpoint, signals and connection."""
    if field == "permissions":
        return served.permissions(vehicle)
    signals = served.signals(vehicle)
    code = CODES.get(field)
    group = [key for key in signals if key == code or (code and code.split("-")[0] == key.split("-")[0])]
    said = [signals["vehicle"], *({**signals[key], "links": None} for key in sorted(group))]
    return served.item(vehicle, V2[field][0]), said


def values(signal):
    """The entries of a signal's body."""
    return signal["attributes"]["body"]["values"]


def pressures(signal):
    """The wheels' numbers."""
    return [wheel["tirePressure"] for wheel in values(signal)]


def unit(signal):
    """The unit's word, or None."""
    return signal["attributes"]["body"].get("unit")


def number(signal):
    """The value, or the limit in force."""
    body = signal["attributes"]["body"]
    return body.get("value", body.get("activeLimit"))


def types(signal):
    """The kinds of limits there are."""
    return [entry["type"] for entry in values(signal)]


def state(signal):
    """The status, the error's type where there is one, and whether there is a body."""
    status = signal["attributes"]["status"]
    return status["value"], status.get("error", {}).get("type"), "body" in signal["attributes"]


ON_V3 = {
    "unit-words": lambda s: unit(s) in ("kilometers", "percentage", "%", "kWhr", "kilowatt-hours"),
    "unit-missing": lambda s: unit(s) is None and number(s) > 1,
    "share-without-unit": lambda s: unit(s) is None and number(s) <= 1,
    "imperial-on-v3": lambda s: unit(s) in ("miles", "gallons"),
    "percent-as-fraction": lambda s: unit(s) == "percent" and number(s) <= 1,
    "percent-hundredfold": lambda s: unit(s) == "percent" and number(s) >= 500,
    "tires-in-psi": lambda s: unit(s) == "psi" and all(15 < p < 75 for p in pressures(s)),
    "tires-in-psi-mislabelled": lambda s: unit(s) in ("kPa", "bar") and all(15 < p < 75 for p in pressures(s)),
    "tires-in-bar": lambda s: unit(s) == "bar" and all(1 < p < 6 for p in pressures(s)),
    "tires-mislabelled": lambda s: unit(s) in ("bar", "psi", None) and all(100 < p for p in pressures(s)),
    "tire-without-reading": lambda s: {6553.5, 0} & set(pressures(s)),
    "places-shuffled": lambda s: values(s)[0]["row"] == 1,
    "places-named": lambda s: {"doors", "windows"} & (keys := s["attributes"]["body"].keys()) and "values" not in keys,
    "place-unknown-on-v3": lambda s: 1 == [place["isOpen"] for place in values(s)].count(None),
    "limit-active-only": lambda s: values(s) == [] and number(s),
    "limit-global-only": lambda s: types(s) == ["GLOBAL"] and number(s) is None,
    "limit-with-locations": lambda s: types(s) == ["LOCATION", "GLOBAL", "LOCATION"],
    "limit-by-charging-type": lambda s: types(s) == ["CHARGING_TYPE"] and number(s),
    "limit-at-location": lambda s: number(s) == values(s)[1]["limit"] != values(s)[0]["limit"],
    "additional-range": lambda s: 3 == len(s["attributes"]["body"]["additionalValues"]),
    "services-without-ids": lambda s: {None} == {record["id"] for record in values(s)},
    "null-members": lambda s: state(s) == ("SUCCESS", None, True),
    "status-unavailable": lambda s: state(s) == ("UNAVAILABLE", None, False),
    "state-without-body": lambda s: state(s) == ("ERROR", "VEHICLE_STATE", False),
    "cached-error": lambda s: state(s) == ("ERROR", "VEHICLE_STATE", True),
    "no-makers-time": lambda s: "oemUpdatedAt" not in s["meta"],
}


def statuses(item):
    """What V2 says of doors, windows and flaps."""
    parts = [part for list_ in item["body"].values() if isinstance(list_, list) for part in list_]
    return [part["status"] for part in parts]


def systems(item):
    """The systems V2 names."""
    return [system["systemId"] for system in item["body"]["systems"]]


ON_V2 = {
    "imperial-on-v2": lambda i: i["headers"]["sc-unit-system"] == "imperial",
    "limit-unplugged-on-v2": lambda i: (i["code"], i["body"]["code"]) == (409, "CHARGING_PLUG_NOT_CONNECTED"),
    "not-permitted-on-v2": lambda i: (i["code"], i["body"]["type"]) == (403, "PERMISSION"),
    "not-permitted-at-all": lambda i: i["code"] == 403,
    "not-equipped": lambda i: i["code"] == 200 and None in i["body"].values(),
    "place-unknown-on-v2": lambda i: "UNKNOWN" in statuses(i),
    "flap-unknown-on-v2": lambda i: "UNKNOWN" in statuses(i),
    "doors-locked-on-v2": lambda i: 4 == statuses(i).count("LOCKED"),
    "tire-without-reading-on-v2": lambda i: {6553.5, 0} & set(i["body"].values()),
    "system-tpms": lambda i: "SYSTEM_TPMS" in systems(i) and "SYSTEM_TIRE_PRESSURE_MONITORING" not in systems(i),
    "system-without-signal": lambda i: "SYSTEM_ENGINE" in systems(i),
    "services-with-numbers": lambda i: all(isinstance(record["serviceId"], int) for record in i["body"]),
    "capacity-undetermined": lambda i: i["body"].get("capacity", 0) is None or i["path"] == "/battery/capacity",
    "year-as-text": lambda i: isinstance(i["body"]["year"], str),
    "make-alias": lambda i: i["body"]["make"] == "VW",
}


@pytest.mark.parametrize("kind", ON_V3)
def test_the_shape_on_v3(asked, kind):
    """Each struck signal has the shape its kind is named after."""
    read = [asked.signals(d.vehicle).get(code_of(d)) for d in asked.world.differences if d.kind == kind]
    shown = [signal for signal in read if signal]
    assert shown
    assert [] == [signal["attributes"] for signal in shown if not ON_V3[kind](signal)]


def code_of(difference):
    """The signal that tells a struck field; a car with an engine has a hood in place of a front trunk."""
    hood = difference.field == "storage-front" and difference.vehicle.car.powertrain != "BEV"
    return "closure-enginecover" if hood else CODES[difference.field]


@pytest.mark.parametrize("kind", ON_V2)
def test_the_shape_on_v2(asked, kind):
    """Each struck endpoint has the shape its kind is named after."""
    shown = [asked.item(d.vehicle, V2[d.field][0]) for d in asked.world.differences if d.kind == kind]
    assert shown
    assert [] == [item for item in shown if not ON_V2[kind](item)]
