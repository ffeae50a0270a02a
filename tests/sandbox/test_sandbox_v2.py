"""V2 over real HTTP: user tokens, readings, batches, and the management list."""

from __future__ import annotations

import pytest

from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE


def vehicle_of(world, persona, place=0):
    """A vehicle of the first user of a persona."""
    return next(u for u in world.users if u.persona == persona).vehicles[place]


def bearer(vehicle):
    """The header with the token of a vehicle."""
    return {"authorization": f"Bearer {vehicle.token}"}


def calm(world, powertrain="BEV"):
    """A linked car with a living token on which nothing is planted."""
    struck = {d.vehicle.car.id for d in world.differences}
    return next(
        v
        for v in world.vehicles
        if v.token_alive and v.tied and v.car.id not in struck and v.car.powertrain == powertrain
    )


def test_user_and_vehicles_of_a_token(client, world):
    """A token names its user and lists its cars, a page of them."""
    vehicle = vehicle_of(world, "one_token")
    token = world.tokens[vehicle.token]
    assert {"id": token.user_id} == client.get("/v2.0/user", headers=bearer(vehicle)).json()
    all_of_them = client.get("/v2.0/vehicles", headers=bearer(vehicle)).json()
    assert {"paging": {"count": 2, "offset": 0}, "vehicles": list(token.vehicle_ids)} == all_of_them
    second = client.get("/v2.0/vehicles?limit=1&offset=1", headers=bearer(vehicle)).json()
    assert [token.vehicle_ids[1]] == second["vehicles"]


@pytest.mark.parametrize(
    ("persona", "status", "type_"),
    [("vin_only", 401, "AUTHENTICATION"), ("revoked_token", 401, "AUTHENTICATION"), ("silent_token", 500, "SERVER")],
)
def test_tokens_that_do_not_answer(client, world, persona, status, type_):
    """Old and revoked tokens are 401, a broken one 500 on every path, in V2's shape with a request id."""
    vehicle = vehicle_of(world, persona)
    for path in ("/v2.0/user", "/v2.0/vehicles", f"/v2.0/vehicles/{vehicle.car.id}/odometer"):
        answer = client.get(path, headers=bearer(vehicle))
        body = answer.json()
        assert (status, status, type_) == (answer.status_code, body["statusCode"], body["type"])
        assert body["requestId"] == answer.headers["sc-request-id"]


def test_application_token_is_no_user_token(client, app):
    """V3's token is 401 on V2."""
    assert 401 == client.get("/v2.0/user", headers=app).status_code


def test_readings_and_their_headers(client, world):
    """Fractions from 0 to 1, the maker's time in sc-data-age, units only where there are units."""
    vehicle = calm(world)
    path = f"/v2.0/vehicles/{vehicle.car.id}"
    battery = client.get(f"{path}/battery", headers=bearer(vehicle))
    assert vehicle.car.v2["battery-percent"].value / 100 == pytest.approx(battery.json()["percentRemaining"])
    assert "metric" == battery.headers["sc-unit-system"]
    at = vehicle.car.v2["battery-percent"].at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert at == battery.headers["sc-data-age"]
    charge = client.get(f"{path}/charge", headers=bearer(vehicle))
    assert {"isPluggedIn", "state"} == set(charge.json())
    assert "sc-unit-system" not in charge.headers
    attributes = client.get(path, headers=bearer(vehicle))
    assert {"id", "make", "model", "year"} == set(attributes.json())
    assert "sc-data-age" not in attributes.headers


def test_imperial(client, world):
    """Asked for imperial units, V2 answers miles and says so."""
    vehicle = calm(world)
    path = f"/v2.0/vehicles/{vehicle.car.id}/odometer"
    answer = client.get(path, headers={**bearer(vehicle), "sc-unit-system": "imperial"})
    assert vehicle.car.v2["odometer"].value / 1.609344 == pytest.approx(answer.json()["distance"])
    assert "imperial" == answer.headers["sc-unit-system"]


def test_combustion_cars_have_no_battery(client, world):
    """/battery and /charge are 501 COMPATIBILITY there."""
    vehicle = next(v for v in world.vehicles if v.token_alive and v.tied and v.car.powertrain == "ICE")
    assert NOT_CAPABLE == vehicle.car.v2["charge-state"].status
    for name in ("battery", "charge"):
        answer = client.get(f"/v2.0/vehicles/{vehicle.car.id}/{name}", headers=bearer(vehicle))
        assert (501, "COMPATIBILITY") == (answer.status_code, answer.json()["type"])


def test_info_and_strangers_cars(client, world):
    """The guide's /info does not exist; a car the token does not list is 403."""
    vehicle = calm(world)
    info = client.get(f"/v2.0/vehicles/{vehicle.car.id}/info", headers=bearer(vehicle))
    assert (404, "RESOURCE_NOT_FOUND") == (info.status_code, info.json()["type"])
    other = vehicle_of(world, "lapsed").car.id
    assert 403 == client.get(f"/v2.0/vehicles/{other}", headers=bearer(vehicle)).status_code


def test_batch(client, world):
    """HTTP 200 with a code, a body and lower-case headers an item; a failed item has no headers."""
    vehicle = calm(world)
    paths = ["/", "/battery", "/engine/oil", "/nonsense"]
    answer = client.post(
        f"/v2.0/vehicles/{vehicle.car.id}/batch",
        headers=bearer(vehicle),
        json={"requests": [{"path": path} for path in paths]},
    )
    items = answer.json()["responses"]
    assert paths == [item["path"] for item in items]
    assert [200, 200, 501, 404] == [item["code"] for item in items]
    assert {"sc-data-age", "sc-fetched-at", "sc-unit-system"} == set(items[1]["headers"])
    assert "headers" not in items[2]
    assert vehicle.car.id == items[0]["body"]["id"]


def test_batch_that_is_none(client, world):
    """A body without requests is 400 VALIDATION."""
    vehicle = calm(world)
    for body in (b"", b"{}", b'{"requests": []}', b'{"requests": [1]}'):
        answer = client.post(f"/v2.0/vehicles/{vehicle.car.id}/batch", headers=bearer(vehicle), content=body)
        assert (400, "VALIDATION") == (answer.status_code, answer.json()["type"])


def test_a_moving_car_moves_with_every_read(client, world):
    """Each read gives a further odometer and a later time."""
    vehicle = next(d.vehicle for d in world.differences if d.kind == "moving")
    path = f"/v2.0/vehicles/{vehicle.car.id}/odometer"
    first, second = (client.get(path, headers=bearer(vehicle)) for _ in range(2))
    assert second.json()["distance"] - first.json()["distance"] > 1
    assert second.headers["sc-data-age"] > first.headers["sc-data-age"]


def test_management_list(client, world):
    """The cursor leads through every connection of every mode; a wrong token is 401."""
    auth = ("default", world.credentials.management_token)
    found, cursor = [], None
    while cursor is not None or not found:
        query = {"limit": 50, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v2.0/management/connections", params=query, auth=auth).json()
        found += page["connections"]
        cursor = page["paging"]["cursor"]
        if cursor is None:
            break
    assert [(c.user_id, c.vehicle_id) for c in world.connections] == [
        (item["userId"], item["vehicleId"]) for item in found
    ]
    assert 401 == client.get("/v2.0/management/connections", auth=("default", "x")).status_code
