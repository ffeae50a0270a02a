"""V3 and its token endpoint over real HTTP."""

from __future__ import annotations

import base64

import pytest

from smartcar_ops.sandbox.fleet.model import LIVE, SIMULATED


def form(world, **changes):
    """A token request, right but for the changes."""
    known = world.credentials
    given = {
        "grant_type": "client_credentials",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
    }
    return {**given, **changes}


def one_connection(world, mode=LIVE):
    """The newest connection of a mode."""
    return next(c for c in world.connections if c.mode == mode)


def test_token_by_form_json_and_basic(client, world):
    """All three ways of sending the credentials give a bearer token for an hour."""
    known = world.credentials
    basic = base64.b64encode(f"{known.client_id}:{known.client_secret}".encode()).decode()
    answers = (
        client.post("/oauth2/token", data=form(world)),
        client.post("/oauth2/token", json=form(world)),
        client.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            headers={"authorization": f"Basic {basic}"},
        ),
    )
    for answer in answers:
        assert 200 == answer.status_code
        assert ("Bearer", 3600) == (answer.json()["token_type"], answer.json()["expires_in"])
    assert 3 == len({answer.json()["access_token"] for answer in answers})


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "client_01NOBODY"}, 401, "invalid_client"),
    ],
)
def test_token_refused(client, world, changes, status, error):
    """A wrong request is 400, wrong credentials are 401, both with `error`."""
    answer = client.post("/oauth2/token", data=form(world, **changes))
    assert (status, error) == (answer.status_code, answer.json()["error"])


def test_token_request_that_is_no_request(client):
    """A body that cannot be read is an invalid request."""
    for body in (b"", b"[1]", b"{"):
        answer = client.post("/oauth2/token", content=body, headers={"content-type": "application/json"})
        assert (400, "invalid_request") == (answer.status_code, answer.json()["error"])


def test_without_a_valid_token(client, world):
    """No token, a made-up one and a V2 user token are all 401 AUTHENTICATION / UNAUTHORIZED."""
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {next(iter(world.tokens))}"}):
        answer = client.get("/v3/connections", headers=headers)
        error = answer.json()["errors"][0]
        assert (401, "401") == (answer.status_code, error["status"])
        assert ("AUTHENTICATION", "UNAUTHORIZED") == (error["type"], error["code"])
        assert error["meta"]["debug"]["requestId"]


def test_pages_add_up_to_the_world(client, app, world):
    """Following `next` to its null gives every connection of the mode once, newest first."""
    url, found = "/v3/connections?filter%5Bvehicle.mode%5D=live", []
    while url:
        page = client.get(url, headers=app).json()
        found += page["data"]
        url = page["links"]["next"]
        assert len(page["data"]) <= 10
    live = [c for c in world.connections if c.mode == LIVE]
    assert [c.id for c in live] == [item["id"] for item in found]
    assert len(live) == page["meta"]["totalCount"]
    times = [item["meta"]["createdAt"] for item in found]
    assert sorted(times, reverse=True) == times


def test_page_envelope(client, app):
    """Links are absolute with encoded brackets and null at the ends; a size above 100 is clamped."""
    first = client.get("/v3/connections", params={"filter[vehicle.mode]": "live"}, headers=app).json()
    assert first["links"]["prev"] is None
    assert first["links"]["self"] == first["links"]["first"]
    assert "page%5Bnumber%5D=1&page%5Bsize%5D=10&filter%5Bvehicle.mode%5D=live" in first["links"]["first"]
    assert ("createdAt", "DESC") == (first["meta"]["orderBy"], first["meta"]["orderDirection"])
    last = client.get(first["links"]["last"], headers=app).json()
    assert last["links"]["next"] is None
    large = client.get("/v3/connections", params={"page[size]": 500}, headers=app).json()
    assert 100 == large["meta"]["pageSize"]
    beyond = client.get("/v3/connections", params={"page[number]": 999}, headers=app).json()
    assert [] == beyond["data"]


def test_bad_page_number(client, app):
    """A page that is no number is 400 VALIDATION."""
    answer = client.get("/v3/connections", params={"page[number]": "x"}, headers=app)
    assert (400, "VALIDATION") == (answer.status_code, answer.json()["errors"][0]["type"])


def test_filters(client, app, world):
    """User, vehicle, mode and external id narrow the list; without a mode it is of every mode.

    The guide's `filter[user_id]` is no filter.
    """

    def listed(headers=None, **filters):
        query = {f"filter[{name.replace('__', '.')}]": value for name, value in filters.items()}
        answer = client.get("/v3/connections", params=query, headers={**app, **(headers or {})})
        return answer.json()["meta"]["totalCount"]

    one = one_connection(world)
    live = [c for c in world.connections if c.mode == LIVE]
    of_user = len([c for c in world.connections if c.user_id == one.user_id])
    outside = next(c for c in live if c.external_id)
    assert of_user == listed(userId=one.user_id) == listed({"sc-user-id": one.user_id})
    assert len([c for c in live if c.vehicle_id == one.vehicle_id]) == listed(vehicleId=one.vehicle_id)
    assert len(world.connections) - len(live) == listed(vehicle__mode=SIMULATED)
    assert 1 == listed(user__externalId=outside.external_id)
    assert len(live) == listed(vehicle__mode=LIVE)
    assert len(world.connections) == listed() == listed(user_id=one.user_id)
    assert 0 == listed(vehicleId=one_connection(world, SIMULATED).vehicle_id, vehicle__mode=LIVE)
    assert 0 == listed({"sc-user-id": one.user_id}, userId=outside.user_id)


def test_an_empty_list_reports_the_size_asked_for(client, app):
    """An empty page has the requested size, a count of zero and no rows."""
    query = {"filter[userId]": "nobody", "page[size]": 20}
    page = client.get("/v3/connections", params=query, headers=app).json()
    assert (20, 0, []) == (page["meta"]["pageSize"], page["meta"]["totalCount"], page["data"])


def test_single_connection(client, app, world):
    """A connection by its own id; the vehicle's id is 404."""
    one = one_connection(world)
    found = client.get(f"/v3/connections/{one.id}", headers=app).json()["data"]
    assert one.user_id == found["relationships"]["user"]["data"]["id"] == found["attributes"]["user"]["id"]
    assert one.vehicle_id == found["relationships"]["vehicle"]["data"]["id"]
    assert 404 == client.get(f"/v3/connections/{one.vehicle_id}", headers=app).status_code


def test_vehicle_needs_no_user(client, app, world):
    """The vehicle resource answers without `sc-user-id`; a car nobody is connected to is 404."""
    one = one_connection(world)
    data = client.get(f"/v3/vehicles/{one.vehicle_id}", headers=app).json()["data"]
    assert {"make", "model", "year", "mode", "powertrainType"} == set(data["attributes"])
    gone = next(u for u in world.users if u.persona == "gone").vehicles[0].car.id
    error = client.get(f"/v3/vehicles/{gone}", headers=app).json()["errors"][0]
    assert ("404", "VEHICLE_NOT_FOUND") == (error["status"], error["code"])


def test_signals_need_their_user(client, app, world):
    """Without the header 400 MISSING_PARAMETER, with another user's id 404."""
    path = f"/v3/vehicles/{one_connection(world).vehicle_id}/signals"
    error = client.get(path, headers=app).json()["errors"][0]
    assert ("400", "VALIDATION", "MISSING_PARAMETER", "missing userId") == (
        error["status"],
        error["type"],
        error["code"],
        error["detail"],
    )
    stranger = client.get(path, headers={**app, "sc-user-id": "0" * 8}).json()["errors"][0]
    assert ("404", "VEHICLE_NOT_FOUND") == (stranger["status"], stranger["code"])


def signals_of(client, app, connection):
    """The signals of a connected car."""
    path = f"/v3/vehicles/{connection.vehicle_id}/signals"
    return client.get(path, headers={**app, "sc-user-id": connection.user_id}).json()


def test_signal_shapes(client, app, world):
    """Items nest everything but `meta` in attributes; VIN has no maker's time; the vehicle is an object."""
    struck = {d.vehicle.car.id for d in world.differences}
    plain = next(
        c
        for c in world.connections
        if c.vehicle_id not in struck and c.mode == LIVE and world.cars[c.vehicle_id].powertrain == "BEV"
    )
    body = signals_of(client, app, plain)
    found = {item["id"]: item for item in body["data"]}
    assert len(found) == body["meta"]["totalCount"] == body["meta"]["pageSize"]
    assert plain.vehicle_id == body["included"]["vehicle"]["id"]
    assert {"ingestedAt"} == set(found["vehicleidentification-vin"]["meta"])
    battery = found["tractionbattery-stateofcharge"]
    assert {"ingestedAt", "retrievedAt", "oemUpdatedAt"} == set(battery["meta"])
    assert {"code", "name", "group", "status", "body"} == set(battery["attributes"])
    assert "percent" == battery["attributes"]["body"]["unit"]
    assert 1 < battery["attributes"]["body"]["value"] <= 100
    reach = found["tractionbattery-range"]["attributes"]["body"]
    assert ("km", "DEFAULT", []) == (reach["unit"], reach["type"], reach["additionalValues"])
    assert "capacity" in found["tractionbattery-nominalcapacity"]["attributes"]["body"]
    fuel = found["internalcombustionengine-fuellevel"]["attributes"]["status"]
    assert ("ERROR", "COMPATIBILITY") == (fuel["value"], fuel["error"]["type"])


def test_single_signal(client, app, world):
    """One signal with the vehicle beside it; a code the store lacks is 404."""
    one = one_connection(world)
    headers = {**app, "sc-user-id": one.user_id}
    path = f"/v3/vehicles/{one.vehicle_id}/signals"
    body = client.get(f"{path}/vehicleidentification-vin", headers=headers).json()
    assert world.cars[one.vehicle_id].vin == body["data"]["attributes"]["body"]["value"]
    assert one.vehicle_id == body["included"]["vehicle"]["id"]
    assert 404 == client.get(f"{path}/surveillance-brand", headers=headers).status_code


@pytest.mark.parametrize("path", ["/v3/vehicles", "/v3/vehicles/x/battery", "/v3/nothing", "/v3"])
def test_unknown_paths(client, app, path):
    """V2's paths and the vehicle list do not exist on V3: 404 INVALID_PATH."""
    answer = client.get(path, headers=app)
    assert (404, "INVALID_PATH") == (answer.status_code, answer.json()["errors"][0]["code"])
