"""V3 management: who is subscribed to the webhook, and the truth about it."""

from __future__ import annotations

from smartcar_ops.sandbox.fleet.model import SIMULATED
from smartcar_ops.sandbox.subscribed import webhook_id
from smartcar_ops.sandbox.truth import tell_truth


def all_subscriptions(caller):
    """Every subscription, by following next."""
    page = caller.v3("/subscriptions", page__size=100).json()
    found = page["data"]
    while page["links"]["next"]:
        page = caller.http.get(page["links"]["next"], headers=caller.app).json()
        found += page["data"]
    return found


def test_subscriptions_are_the_truths(play, world):
    """Live connected vehicles but the stale ones and about one in twelve; never a simulated one."""
    rows = all_subscriptions(play())
    subscribed = {row["attributes"]["vehicleId"] for row in rows}
    told = tell_truth(world)["vehicles"]
    connected = [v for v in told if v["connected"]]
    assert {v["smartcar_vehicle_id"]: v["subscribed"] for v in connected} == {
        v["smartcar_vehicle_id"]: v["smartcar_vehicle_id"] in subscribed for v in connected
    }
    assert {None} == {v["subscribed"] for v in told if not v["connected"]}
    stale = {d.vehicle.car.id for d in world.differences if d.kind == "stale"}
    assert stale
    assert not stale & subscribed
    assert not {c.vehicle_id for c in world.connections if c.mode == SIMULATED} & subscribed
    assert 0.8 < len(subscribed) / len({c.vehicle_id for c in world.connections if c.vehicle_id not in stale}) < 1


def test_a_row(play, world):
    """A subscription names webhook, user and vehicle in its attributes and its relationships, and has its own page."""
    caller = play()
    row = all_subscriptions(caller)[0]
    assert "subscription" == row["type"]
    assert {"webhookId", "userId", "vehicleId"} == set(row["attributes"])
    related = {f"{name}Id": told["data"]["id"] for name, told in row["relationships"].items()}
    assert row["attributes"] == related
    assert row == caller.v3(f"/subscriptions/{row['id']}").json()["data"]
    assert 404 == caller.v3("/subscriptions/x").status_code


def test_pages_and_filters(play, world):
    """25 a page, at most 100; user, vehicle, webhook and mode narrow the list."""
    caller = play()
    first = caller.v3("/subscriptions").json()
    assert (25, 25) == (first["meta"]["pageSize"], len(first["data"]))
    assert 100 == caller.v3("/subscriptions", page__size=500).json()["meta"]["pageSize"]

    def count(**query):
        return caller.v3("/subscriptions", **query).json()["meta"]["totalCount"]

    one = first["data"][0]["attributes"]
    assert 1 <= count(filter__userId=one["userId"]) < count()
    assert 1 <= count(filter__vehicleId=one["vehicleId"]) < count()
    assert count() == count(filter__webhookId=webhook_id(world)) == count(filter__vehicle__mode="live")
    assert 0 == count(filter__webhookId="x") == count(filter__vehicle__mode="simulated")


def test_subscribing_and_unsubscribing(play, world):
    """POST is 202 and 409 the second time, DELETE 204; without a connection it is 404, malformed 400."""
    caller = play()
    row = all_subscriptions(caller)[0]
    url = f"/v3/subscriptions/{row['id']}"
    assert [204, 404] == [caller.http.delete(url, headers=caller.app).status_code for _ in range(2)]
    asked = {"data": {"attributes": row["attributes"]}}

    def post(body):
        return caller.http.post("/v3/subscriptions", json=body, headers=caller.app).status_code

    assert [202, 409] == [post(asked) for _ in range(2)]
    assert row == caller.v3(f"/subscriptions/{row['id']}").json()["data"]
    assert 404 == post({"data": {"attributes": {**row["attributes"], "userId": "x"}}})
    assert 400 == post({"data": {}})


def test_webhooks_and_applications(play, world):
    """One webhook with its documented attributes, one application with the Application ID."""
    caller = play()
    (hook,) = caller.v3("/webhooks").json()["data"]
    names = {"name", "callbackUri", "errorCallbackUri", "isEnabled", "autoSubscribe", "triggers", "data"}
    assert (webhook_id(world), names) == (hook["id"], set(hook["attributes"]))
    assert hook == caller.v3(f"/webhooks/{hook['id']}").json()["data"]
    assert 404 == caller.v3("/webhooks/x").status_code
    (application,) = caller.v3("/applications").json()["data"]
    assert world.credentials.application_id == application["id"]
    assert 401 == caller.http.get("/v3/subscriptions").status_code
