"""Every read endpoint of V2, and the signals that tell the same on V3."""

from __future__ import annotations

import pytest

from smartcar_ops.sandbox.api.v2.readings import ENDPOINTS
from smartcar_ops.sandbox.fleet.car_body import MISLABELLED, PLACES
from smartcar_ops.sandbox.fleet.car_upkeep import SYSTEMS
from smartcar_ops.sandbox.fleet.catalogue import MODELS
from smartcar_ops.sandbox.world import build_world


def fitting(world, powertrain):
    """A calm, linked car of a powertrain with its living token."""
    struck = {d.vehicle.car.id for d in world.differences}
    return next(
        v
        for v in world.vehicles
        if v.token_alive and v.tied and v.car.id not in struck and v.car.powertrain == powertrain
    )


class Car:
    """One car, asked on both versions."""

    def __init__(self, client, app, world, vehicle):
        self.client, self.vehicle = client, vehicle
        self.token = {"authorization": f"Bearer {vehicle.token}"}
        user = next(c.user_id for c in world.connections if c.vehicle_id == vehicle.car.id)
        read = client.get(f"/v3/vehicles/{vehicle.car.id}/signals", headers={**app, "sc-user-id": user})
        self.signals = {item["id"]: item["attributes"] for item in read.json()["data"]}

    def v2(self, path, **headers):
        """One endpoint of V2."""
        return self.client.get(f"/v2.0/vehicles/{self.vehicle.car.id}{path}", headers={**self.token, **headers})

    def batch(self, *paths):
        """Path -> item of a batch."""
        body = {"requests": [{"path": path} for path in paths]}
        answer = self.client.post(f"/v2.0/vehicles/{self.vehicle.car.id}/batch", headers=self.token, json=body)
        return {item["path"]: item for item in answer.json()["responses"]}

    def body(self, code):
        """The body of a signal that succeeded."""
        assert "SUCCESS" == self.signals[code]["status"]["value"], code
        return self.signals[code]["body"]


@pytest.fixture(params=["BEV", "ICE", "PHEV"])
def car(request, client, app, world):
    """A car of each powertrain."""
    return Car(client, app, world, fitting(world, request.param))


@pytest.fixture
def hybrid(client, app, world):
    """A car that has everything: battery, tank and engine."""
    return Car(client, app, world, fitting(world, "PHEV"))


def test_every_endpoint_answers_alike_alone_and_in_a_batch(hybrid):
    """A plug-in hybrid answers every endpoint with 200, in a batch as alone."""
    items = hybrid.batch(*ENDPOINTS)
    for path in ENDPOINTS:
        alone = hybrid.v2("" if path == "/" else path)
        assert (200, 200) == (alone.status_code, items[path]["code"]), path
        assert alone.json() == items[path]["body"]
        for name, value in items[path]["headers"].items():
            if name != "sc-fetched-at" and "capacity" not in path:
                assert value == alone.headers[name]


def test_both_versions_tell_the_same_numbers(hybrid):
    """Fractions on V2 are percents on V3; litres, kPa, degrees and kWh are the same."""
    told = {path: item["body"] for path, item in hybrid.batch(*ENDPOINTS).items()}
    assert told["/charge/limit"]["limit"] * 100 == pytest.approx(hybrid.body("charge-chargelimits")["activeLimit"])
    oil = hybrid.body("internalcombustionengine-oillife")
    assert told["/engine/oil"]["lifeRemaining"] * 100 == pytest.approx(oil["value"])
    assert told["/fuel"]["amountRemaining"] == hybrid.body("internalcombustionengine-amountremaining")["value"]
    assert told["/battery/capacity"]["capacity"] == hybrid.body("tractionbattery-nominalcapacity")["capacity"]
    place = hybrid.body("location-preciselocation")
    assert told["/location"] == {name: place[name] for name in ("latitude", "longitude")}
    tires = {(t["row"], t["column"]): t["tirePressure"] for t in hybrid.body("wheel-tires")["values"]}
    assert {PLACES[place]: kpa for place, kpa in told["/tires/pressure"].items()} == tires


def test_both_versions_tell_the_same_closures(car):
    """OPEN is isOpen, by row and column; hood or front trunk by powertrain; no port without a battery."""
    told = car.v2("/security").json()
    for part, code in (("doors", "closure-doors"), ("windows", "closure-windows")):
        v3 = {(v["row"], v["column"]): v["isOpen"] for v in car.body(code)["values"]}
        assert {PLACES[p["type"]]: p["status"] == "OPEN" for p in told[part]} == v3
    storage = {part["type"]: part["status"] == "OPEN" for part in told["storage"]}
    front = "closure-fronttrunk" if car.vehicle.car.powertrain == "BEV" else "closure-enginecover"
    assert {"rear": car.body("closure-reartrunk")["isOpen"], "front": car.body(front)["isOpen"]} == storage
    assert told["isLocked"] == car.body("closure-islocked")["value"]
    has_port = car.vehicle.car.powertrain != "ICE"
    assert has_port == bool(told["chargingPort"])
    flap = car.signals["charge-ischargingportflapopen"]["status"]["value"]
    assert ("SUCCESS" if has_port else "ERROR") == flap


def test_both_versions_tell_the_same_upkeep(car):
    """Systems, trouble codes and services, one signal a system and one list each."""
    systems = {
        s["systemId"]: (s["status"], s["description"]) for s in car.v2("/diagnostics/system_status").json()["systems"]
    }
    codes = {system.id: f"diagnostics-{system.name}".lower() for system in SYSTEMS}
    v3 = {own: car.body(codes[own]) for own in systems}
    assert systems == {own: (body["status"], body["description"]) for own, body in v3.items()}
    active = [(code["code"], code["timestamp"]) for code in car.v2("/diagnostics/dtcs").json()["activeCodes"]]
    assert active == [(c["code"], c["timestamp"]) for c in car.body("diagnostics-dtclist")["values"]]
    assert len(active) == car.body("diagnostics-dtccount")["value"]
    records = [(r["serviceId"], r["serviceDate"], r["odometerDistance"]) for r in car.v2("/service/history").json()]
    assert records == [(r["id"], r["time"], r["odometer"]) for r in car.body("service-records")["values"]]


def test_some_car_has_records_codes_and_alerts(world):
    """The world is not only tidy: some cars have been serviced, have a code, have an alert."""
    cars = list(world.cars.values())
    assert any(car.v2["services"].value for car in cars)
    assert any(car.v2["trouble-codes"].value for car in cars)
    alerts = [car.v2[s.field].value for car in cars for s in SYSTEMS if car.v2[s.field].value]
    assert {"OK", "ALERT"} == {alert["status"] for alert in alerts}


def test_a_car_has_more_than_thirty_signals(car):
    """As real ones have; those it is not capable of are errors."""
    good = [code for code, told in car.signals.items() if told["status"]["value"] == "SUCCESS"]
    assert len(good) > 30
    assert len(good) < len(car.signals)
    assert all(code == code.lower() == told["code"] for code, told in car.signals.items())


def test_a_car_that_does_not_charge_tells_the_last_flow(world, client, app):
    """Wattage is ERROR NOT_CHARGING with the last good body (seen)."""
    struck = {d.vehicle.car.id for d in world.differences}
    vehicle = next(
        v
        for v in world.vehicles
        if v.token_alive and v.tied and v.car.id not in struck and v.car.v2["charging"].value is False
    )
    told = Car(client, app, world, vehicle).signals["charge-wattage"]
    assert ("VEHICLE_STATE", "NOT_CHARGING") == (told["status"]["error"]["type"], told["status"]["error"]["code"])
    assert ("watts", True) == (told["body"]["unit"], told["body"]["value"] > 1000)


def test_imperial_bodies(hybrid):
    """Miles, gallons and psi, wherever V2 has units; percentages and places stay."""
    metric = {path: hybrid.v2(path).json() for path in ("/fuel", "/tires/pressure", "/battery", "/service/history")}
    imperial = {"sc-unit-system": "imperial"}
    fuel = hybrid.v2("/fuel", **imperial)
    assert metric["/fuel"]["amountRemaining"] / 3.785411784 == pytest.approx(fuel.json()["amountRemaining"])
    assert metric["/fuel"]["percentRemaining"] == fuel.json()["percentRemaining"]
    tires = hybrid.v2("/tires/pressure", **imperial)
    assert metric["/tires/pressure"]["frontLeft"] / 6.894757 == pytest.approx(tires.json()["frontLeft"])
    assert metric["/battery"]["range"] / 1.609344 == pytest.approx(hybrid.v2("/battery", **imperial).json()["range"])
    for one, other in zip(metric["/service/history"], hybrid.v2("/service/history", **imperial).json(), strict=True):
        assert one["odometerDistance"] / 1.609344 == pytest.approx(other["odometerDistance"])
    assert {"imperial"} == {fuel.headers["sc-unit-system"], tires.headers["sc-unit-system"]}
    assert "sc-unit-system" not in hybrid.v2("/location", **imperial).headers


def test_one_make_mislabels_its_tires():
    """Its V3 tires say bar beside numbers in kPa; all others say kPa."""
    assert set(MISLABELLED) < {model.make for model in MODELS}
    world = build_world(60, 1)
    struck = {d.vehicle.car.id for d in world.differences}
    for car in (car for car in world.cars.values() if car.id not in struck):
        tires = car.v3["tires"].value
        assert ("bar" if car.v3["vehicle-make"].value.upper() in MISLABELLED else "kPa") == tires.label
        assert all(200 < pressure < 300 for pressure in tires.pressures.values())


def test_permissions_come_by_pages(hybrid, world):
    """limit and offset are taken; the count is of all; the names are the connection's on V3."""
    everything = hybrid.v2("/permissions").json()
    own = next(c for c in world.connections if c.vehicle_id == hybrid.vehicle.car.id)
    assert list(own.permissions) == everything["permissions"]
    page = hybrid.v2("/permissions?limit=2&offset=3").json()
    assert everything["permissions"][3:5] == page["permissions"]
    assert {"count": len(everything["permissions"]), "offset": 3} == page["paging"]
