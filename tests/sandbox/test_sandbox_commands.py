"""Commands of both versions, subscriptions through V2, and every way to disconnect."""

from __future__ import annotations

import pytest

from smartcar_ops.sandbox.api.directory import key_of
from smartcar_ops.sandbox.fleet.model import LIVE
from smartcar_ops.sandbox.subscribed import webhook_id


def linked(world, powertrain="BEV"):
    """A linked car with a living token."""
    return next(v for v in world.vehicles if v.token_alive and v.tied and v.car.powertrain == powertrain)


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("charge", {"action": "START"}, {"action": "FLY"}),
        ("charge/limit", {"limit": "0.8"}, {"limit": 0.2}),
        ("security", {"action": "LOCK"}, {}),
        ("navigation/destination", {"latitude": 1, "longitude": 2}, {"latitude": 1}),
    ],
)
def test_v2_commands(client, world, path, good, bad):
    """A command is a success object, a wrong one 400 VALIDATION."""
    vehicle = linked(world)
    headers = {"authorization": f"Bearer {vehicle.token}"}
    url = f"/v2.0/vehicles/{vehicle.car.id}/{path}"
    assert {"status", "message"} == set(client.post(url, json=good, headers=headers).json())
    refused = client.post(url, json=bad, headers=headers)
    assert (400, "VALIDATION") == (refused.status_code, refused.json()["type"])
    assert 401 == client.post(url, json=good).status_code


def test_combustion_cars_do_not_charge(client, world):
    """Charge commands are 501 there."""
    vehicle = linked(world, "ICE")
    headers = {"authorization": f"Bearer {vehicle.token}"}
    answer = client.post(f"/v2.0/vehicles/{vehicle.car.id}/charge", json={"action": "START"}, headers=headers)
    assert (501, "COMPATIBILITY") == (answer.status_code, answer.json()["type"])


def test_v3_commands(client, app, newest):
    """A command execution that succeeded; the user is needed; a limit outside 50 to 100 is 400."""
    url = f"/v3/vehicles/{newest.vehicle_id}/commands"
    headers = {**app, "sc-user-id": newest.user_id}
    done = client.post(f"{url}/security/lock", headers=headers).json()["data"]
    assert ("command-execution", "SUCCESS") == (done["type"], done["attributes"]["status"]["value"])
    limit = {"data": {"attributes": {"percent": 80}}}
    done = client.post(f"{url}/charge/set-limit", headers=headers, json=limit).json()["data"]
    assert {"percent": 80} == done["attributes"]["parameters"]
    for percent in (49, 101, 80.5, None):
        asked = {"data": {"attributes": {"percent": percent}}}
        assert 400 == client.post(f"{url}/charge/set-limit", headers=headers, json=asked).status_code
    assert 400 == client.post(f"{url}/security/lock", headers=app).status_code
    assert 404 == client.post(f"{url}/climate/start", headers=headers).status_code


def test_v3_schedules(client, app, newest):
    """Charge schedules are taken and ended."""
    url = f"/v3/vehicles/{newest.vehicle_id}/charge-schedules"
    headers = {**app, "sc-user-id": newest.user_id}
    assert 200 == client.post(f"{url}/daily", headers=headers).status_code
    assert 204 == client.delete(f"{url}/17", headers=headers).status_code


def test_disconnecting_through_v3(play, world):
    """DELETE of a connection and of a user are 204 and once; the vehicle is gone."""
    caller = play()
    one = next(c for c in world.connections if c.mode == LIVE)
    url = f"/v3/connections/{one.id}"
    assert [204, 404] == [caller.http.delete(url, headers=caller.app).status_code for _ in range(2)]
    assert [key_of(one)] == caller.sandbox.left
    other = next(c.user_id for c in caller.sandbox.connections)
    url = f"/v3/users/{other}"
    assert [204, 404] == [caller.http.delete(url, headers=caller.app).status_code for _ in range(2)]
    assert other not in {c.user_id for c in caller.sandbox.connections}


def test_disconnecting_through_v2(play, world):
    """DELETE application takes the token's user off; the management DELETE takes by vehicle or user."""
    caller = play()
    vehicle = linked(world)
    headers = {"authorization": f"Bearer {vehicle.token}"}
    answer = caller.http.delete(f"/v2.0/vehicles/{vehicle.car.id}/application", headers=headers)
    assert {"status": "success"} == answer.json()
    user = world.tokens[vehicle.token].user_id
    assert (user, vehicle.car.id) in caller.sandbox.left
    auth = ("default", world.credentials.management_token)
    other = caller.sandbox.connections[0]
    gone = caller.http.delete("/v2.0/management/connections", params={"user_id": other.user_id}, auth=auth).json()
    assert {other.user_id} == {row["userId"] for row in gone["connections"]}
    assert other.user_id not in {c.user_id for c in caller.sandbox.connections}
    assert 400 == caller.http.delete("/v2.0/management/connections", auth=auth).status_code


def test_subscribing_through_v2(play, world):
    """POST and DELETE of the webhook change what V3 lists; the DELETE wants the management token."""
    caller = play()
    vehicle, hook = linked(world), webhook_id(world)
    url = f"/v2.0/vehicles/{vehicle.car.id}/webhooks/{hook}"
    own = {"authorization": f"Bearer {vehicle.token}"}
    manager = {"authorization": f"Bearer {world.credentials.management_token}"}

    def listed():
        return caller.v3("/subscriptions", filter__vehicleId=vehicle.car.id).json()["meta"]["totalCount"]

    assert {"webhookId": hook, "vehicleId": vehicle.car.id} == caller.http.post(url, headers=own).json()
    assert listed() >= 1
    assert 401 == caller.http.delete(url, headers=own).status_code
    assert {"status": "success"} == caller.http.delete(url, headers=manager).json()
    assert 0 == listed()
    assert 404 == caller.http.post(f"/v2.0/vehicles/{vehicle.car.id}/webhooks/x", headers=own).status_code
