"""Smartcar's own Python SDK, pointed at the sandbox by its environment variables alone."""

from __future__ import annotations

import importlib

import httpx
import pytest

smartcar = pytest.importorskip("smartcar", reason="no official SDK: smartcar is not installed")

ORIGINS = (
    "SMARTCAR_API_ORIGIN",
    "SMARTCAR_AUTH_ORIGIN",
    "SMARTCAR_CONNECT_ORIGIN",
    "SMARTCAR_MANAGEMENT_API_ORIGIN",
    "SMARTCAR_VEHICLE_API_V3_ORIGIN",
)
BACK = "https://app.example.org/back"


@pytest.fixture
def point(monkeypatch):
    """Points the SDK at a sandbox; it reads its origins at import, so its config is read again."""
    config = importlib.import_module("smartcar.config")

    def at(sandbox):
        offered = sandbox.environment("sqlite://")
        for name in ORIGINS:
            monkeypatch.setenv(name, offered[name])
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        importlib.reload(config)

    yield at
    monkeypatch.undo()
    importlib.reload(config)


@pytest.fixture
def sdk(point, sandbox):
    """The SDK, pointed at the shared sandbox."""
    point(sandbox)
    return smartcar


@pytest.fixture
def auth(sdk, world):
    """The SDK's client of Connect and the V2 token endpoint."""
    known = world.credentials
    return sdk.AuthClient(known.application_id, known.v2_client_secret, BACK)


def connect(auth, **query):
    """What Connect sends back to the URL the SDK makes."""
    url = httpx.URL(auth.get_auth_url(["required:read_vin"], {"state": "s"}))
    answer = httpx.get(url.copy_merge_params(query), trust_env=False)
    return dict(httpx.URL(answer.headers["location"]).params)


def hybrid(world):
    """A car that answers every endpoint, and who is connected to it."""
    car = next(
        v.car
        for v in world.vehicles
        if v.tied and v.car.powertrain == "PHEV" and any(c.vehicle_id == v.car.id for c in world.connections)
    )
    return next(c for c in world.connections if c.vehicle_id == car.id)


@pytest.fixture
def vehicle(sdk, auth, world):
    """That car as the SDK sees it, with a token from a code."""
    one = hybrid(world)
    access = auth.exchange_code(connect(auth, pretend_user=one.user_id)["code"])
    return sdk.Vehicle(one.vehicle_id, access.access_token)


def test_code_refresh_and_vehicles(sdk, auth, world):
    """It exchanges Connect's code, refreshes, knows the user and lists the vehicles."""
    back = connect(auth)
    access = auth.exchange_code(back["code"])
    assert ("Bearer", 7200) == (access.token_type, access.expires_in)
    again = auth.exchange_refresh_token(access.refresh_token)
    assert access.refresh_token != again.refresh_token
    assert back["user_id"] == sdk.get_user(again.access_token).id
    listed = sdk.get_vehicles(again.access_token)
    assert {c.vehicle_id for c in world.connections if c.user_id == back["user_id"]} >= set(listed.vehicles)
    assert listed.paging.count == len(listed.vehicles) > 0


READS = {
    "attributes": ("make", "vehicle-make"),
    "vin": ("vin", "vin"),
    "battery_capacity": ("capacity", "capacity"),
    "charge": ("state", "charge-state"),
    "fuel": ("range", "fuel-range"),
    "odometer": ("distance", "odometer"),
    "lock_status": ("is_locked", "locked"),
}


def test_every_attribute_method(vehicle, world):
    """Each reading method gives the car's own values, with a request id in its meta."""
    told = world.cars[vehicle.vehicle_id].v2
    for name, (member, field) in READS.items():
        read = getattr(vehicle, name)()
        if not world.cars[vehicle.vehicle_id].moving:
            assert told[field].value == getattr(read, member), name
        assert read.meta.request_id
    assert told["battery-percent"].value / 100 == pytest.approx(vehicle.battery().percent_remaining, abs=1)
    assert told["capacity"].value == vehicle.nominal_capacity().capacity["nominal"]
    assert told["charge-limit"].value / 100 == pytest.approx(vehicle.get_charge_limit().limit)
    assert told["oil-life"].value / 100 == pytest.approx(vehicle.engine_oil().life_remaining)
    assert told["tires"].value.pressures["backRight"] == vehicle.tire_pressure().back_right
    assert told["location"].value["latitude"] == vehicle.location().latitude
    assert told["trouble-count"].value == len(vehicle.diagnostic_trouble_codes().active_codes)
    assert {"OK", "ALERT"} >= {system.status for system in vehicle.diagnostic_system_status().systems}
    assert len(told["services"].value) == len(vehicle.service_history().items)
    assert "read_vin" in vehicle.permissions({"limit": 100}).permissions
    assert vehicle.odometer().meta.unit_system == "metric"


def test_batch(sdk, vehicle, world):
    """A batch gives the same readings by name, and raises only where an item failed."""
    read = vehicle.batch(["/odometer", "/battery/nominal_capacity", "/tires/pressure", "/nonsense", "/"])
    assert read.odometer().distance > 0
    assert read.tire_pressure().front_left > 200
    assert vehicle.vehicle_id == read.attributes().id
    with pytest.raises(sdk.SmartcarException) as raised:
        read.nonsense()
    assert (404, "RESOURCE_NOT_FOUND") == (raised.value.status_code, raised.value.type)


def test_commands(vehicle):
    """Every command succeeds."""
    done = [
        vehicle.lock(),
        vehicle.unlock(),
        vehicle.start_charge(),
        vehicle.stop_charge(),
        vehicle.set_charge_limit(0.8),
        vehicle.send_destination(1.0, 2.0),
    ]
    assert {"success"} == {action.status for action in done}


def test_webhook_and_disconnection(point, play, world):
    """It subscribes, unsubscribes with the management token, and disconnects."""
    caller = play()
    point(caller.sandbox)
    auth = smartcar.AuthClient(world.credentials.application_id, world.credentials.v2_client_secret, BACK)
    one = hybrid(world)
    access = auth.exchange_code(connect(auth, pretend_user=one.user_id)["code"])
    vehicle = smartcar.Vehicle(one.vehicle_id, access.access_token)
    hook = caller.v3("/webhooks").json()["data"][0]["id"]
    assert (hook, one.vehicle_id) == vehicle.subscribe(hook)[:2]
    assert "success" == vehicle.unsubscribe(world.credentials.management_token, hook).status
    assert "success" == vehicle.disconnect().status
    assert [(one.user_id, one.vehicle_id)] == caller.sandbox.left


def test_management_connections(sdk, world):
    """It pages through every connection by cursor."""
    found, paging = [], {"limit": 50}
    while True:
        page = sdk.get_connections(world.credentials.management_token, paging=paging)
        found += page.connections
        if page.paging.cursor is None:
            break
        paging = {"limit": 50, "cursor": page.paging.cursor}
    assert [(c.user_id, c.vehicle_id) for c in world.connections] == [(c.user_id, c.vehicle_id) for c in found]


def test_v3_vehicle_and_signals(point, play, newest):
    """Its V3 methods send no sc-user-id: they work where the sandbox accepts that, and raise where it does not."""
    caller = play("missing-user-accepted")
    point(caller.sandbox)
    token = caller.app["authorization"].removeprefix("Bearer ")
    found = smartcar.smartcar.get_vehicle(token, newest.vehicle_id)["body"]["data"]
    assert newest.vehicle_id == found["id"]
    vehicle = smartcar.Vehicle(newest.vehicle_id, token)
    signals = vehicle.get_signals()["body"]
    assert signals["meta"]["totalCount"] == len(signals["data"])
    one = vehicle.get_signal("odometer-traveleddistance")["body"]["data"]
    assert "km" == one["attributes"]["body"]["unit"]
    normal = play()
    point(normal.sandbox)
    with pytest.raises(smartcar.SmartcarException, match="MISSING_PARAMETER"):
        smartcar.Vehicle(newest.vehicle_id, normal.app["authorization"].removeprefix("Bearer ")).get_signals()


def test_its_own_exceptions(sdk, auth, world):
    """V2's errors and OAuth's become its exceptions, with type, code and request id."""
    with pytest.raises(sdk.SmartcarException) as raised:
        sdk.get_user("nobody")
    assert (401, "AUTHENTICATION", True) == (
        raised.value.status_code,
        raised.value.type,
        bool(raised.value.request_id),
    )
    with pytest.raises(sdk.SmartcarException) as raised:
        auth.exchange_code("nothing")
    assert (400, "invalid_grant") == (raised.value.status_code, raised.value.type)
    one = hybrid(world)
    access = auth.exchange_code(connect(auth, pretend_user=one.user_id)["code"])
    stranger = next(c.vehicle_id for c in world.connections if c.user_id != one.user_id)
    with pytest.raises(sdk.SmartcarException) as raised:
        sdk.Vehicle(stranger, access.access_token).odometer()
    assert (403, "PERMISSION") == (raised.value.status_code, raised.value.type)


def test_vehicle_rate_limit(point, play, world):
    """A throttled vehicle raises with the seconds to wait."""
    caller = play("vehicle-rate-limit")
    point(caller.sandbox)
    one = next(v for v in world.vehicles if v.token_alive and v.tied)
    vehicle = smartcar.Vehicle(one.car.id, one.token)
    for _ in range(6):
        vehicle.vin()
    with pytest.raises(smartcar.SmartcarException) as raised:
        vehicle.vin()
    assert ("VEHICLE", "1") == (raised.value.code, raised.value.retry_after)


def test_webhook_helpers(sdk, world):
    """Its helpers agree with the sandbox's signatures."""
    from smartcar_ops.sandbox.api.management.webhooks import sign

    key = world.credentials.management_token
    assert sdk.hash_challenge(key, "any") == sign(key, b"any")
    assert sdk.verify_payload(key, sign(key, b'{"a": 1}'), '{"a": 1}')
