"""The two management APIs and single connections, against the sandbox over real HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from smartcar_ops.errors import AuthenticationError, NotFoundError, NotSmartcarError, ParameterError
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.management import ManagementV2, ManagementV3, read_managed
from smartcar_ops.smartcar.v2 import READABLE
from smartcar_ops.smartcar.v3 import V3
from tests.smartcar.scripted import Answer, Scripted, uid
from tests.support.house import House


def test_v2_management_lists_what_v3_lists(make_house: Callable[..., House]) -> None:
    """Both lists have the same live connections; V2's comes in pages of 100 by cursor."""
    house = make_house(users=130)
    known = house.settings.credentials.management_token
    managed = (
        ManagementV2(house.transport, house.settings.origins.management_api, known).connections("live").connections
    )
    listed = house.v3.connections("live").connections
    assert {(row.user_id, row.vehicle_id) for row in listed} == {(row.user_id, row.vehicle_id) for row in managed}
    assert len(managed) == len(listed)
    assert {"live"} == {row.mode for row in managed}
    assert -(-len(managed) // 100) == house.transport.spent["management"]


@pytest.mark.parametrize("token", ["", "wrong-plant"])
def test_a_management_token_that_is_missing_or_wrong(house: House, token: str) -> None:
    """A missing token is named before anything is sent, a wrong one is refused; neither is shown."""
    client = ManagementV2(house.transport, house.settings.origins.management_api, SecretStr(token))
    with pytest.raises(AuthenticationError) as caught:
        client.connections("live")
    assert ("SMARTCAR_MANAGEMENT_TOKEN" in str(caught.value)) == (token == "")
    assert "wrong-plant" not in f"{caught.value!r} {house.transport.calls!r}"


def test_either_time() -> None:
    """``createdAt`` stands for ``connectedAt``."""
    row = read_managed({**ROW, "userId": uid("u1").upper(), "createdAt": "2026-01-02T03:04:05Z"})
    assert row
    assert (uid("u1"), uid("v1"), "live") == (row.user_id, row.vehicle_id, row.mode)
    assert row.connected_at
    assert 2026 == row.connected_at.year


ROW = {"userId": uid("u1"), "vehicleId": uid("v1"), "mode": "live"}
NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("changed", [{"userId": "undefined"}, {"vehicleId": NIL}, {"mode": None}, {"userId": None}])
def test_a_managed_row_that_cannot_be_taken_in_is_counted(
    server: Scripted, transport: Transport, changed: dict[str, str | None]
) -> None:
    """Without a readable user or vehicle, or without a mode: no evidence, and no silence. Another mode is neither."""
    simulated = {**ROW, "mode": "Simulated"}
    rows = [ROW, {**simulated, "vehicleId": uid("v2")}, {**simulated, "vehicleId": "null"}, {**ROW, **changed}]
    server.play("*", Answer({"connections": rows, "paging": {}}))
    listing = ManagementV2(transport, server.url, SecretStr("t")).connections("live")
    assert ([uid("v1")], 1) == ([row.vehicle_id for row in listing.connections], listing.dropped)
    assert 1 == transport.oddities.counts["managed connection: names no user, no vehicle or no mode"]


def test_a_subscription_of_no_vehicle_is_counted(server: Scripted, transport: Transport, v3: V3) -> None:
    """A row whose vehicle is no id is left out, and the others are known."""
    row = {"id": "s", "attributes": {"webhookId": "w", "userId": uid("u1"), "vehicleId": uid("v1")}}
    odd = {"id": "s2", "attributes": {**row["attributes"], "vehicleId": "undefined"}}  # type: ignore[dict-item]
    server.play("/v3/subscriptions", Answer({"data": [row, odd], "meta": {"totalCount": 2}}))
    fed = ManagementV3(transport, server.url, v3._token).subscriptions("live")
    assert [uid("v1")] == [one.vehicle_id for one in fed]
    assert {"subscription vehicle: no id of Smartcar", "subscription: names no vehicle"} == set(
        transport.oddities.counts
    )


def subscription(vehicle: str, webhook: str | None) -> dict[str, object]:
    """A subscription as V3 lists it."""
    attributes = {"webhookId": webhook, "userId": uid("u1"), "vehicleId": uid(vehicle)}
    return {"id": f"{vehicle} {webhook}", "attributes": attributes}


@pytest.mark.parametrize(
    ("attributes", "fed"),
    [
        ({"isEnabled": True, "data": {"signals": [{"code": "c"}]}}, {"v1", "v2", "v3"}),
        ({"isEnabled": True, "data": [{"code": "c"}]}, {"v1", "v2", "v3"}),
        ({}, {"v1", "v2", "v3"}),
        ({"isEnabled": False, "data": {"signals": [{"code": "c"}]}}, {"v2", "v3"}),
        ({"isEnabled": True, "data": {"signals": []}}, {"v2", "v3"}),
        ({"isEnabled": True, "data": None}, {"v2", "v3"}),
    ],
    ids=["on", "a list", "not told", "off", "nothing to send", "no data"],
)
def test_what_fed_means(
    server: Scripted, transport: Transport, v3: V3, attributes: dict[str, object], fed: set[str]
) -> None:
    """A subscription feeds a car if its webhook is enabled and told to send something; one more unit tells that."""
    told = {"isEnabled": True, "data": ["c"]}
    webhooks = [{"id": "w", "attributes": {"name": "main", **attributes}}, {"id": "x", "attributes": told}]
    server.play("/v3/webhooks", Answer({"data": webhooks, "meta": {"totalCount": 2}}))
    rows = [subscription("v1", "w"), subscription("v2", "x"), subscription("v3", None)]
    server.play("/v3/subscriptions", Answer({"data": rows, "meta": {"totalCount": 3}}))
    found = ManagementV3(transport, server.url, v3._token).feeding("live")
    assert {uid(vehicle) for vehicle in fed} == found.vehicles
    assert (3, 2) == (found.subscribed, transport.spent["management_v3"])
    assert ("'main'" in found.in_words()) == ("v1" not in fed)


def test_subscriptions_that_are_not_all_feed_nobody_by_mistake(server: Scripted, transport: Transport, v3: V3) -> None:
    """A list with fewer rows than its count is no answer: the others would pass for unfed."""
    server.play("*", Answer({"data": [subscription("v1", "w")], "meta": {"totalCount": 9}}))
    with pytest.raises(NotSmartcarError, match="fewer rows"):
        ManagementV3(transport, server.url, v3._token).feeding("live")


@pytest.mark.parametrize("paging", [{"cursor": None}, {}])
def test_the_end_of_the_cursor(server: Scripted, transport: Transport, paging: dict[str, None]) -> None:
    """A null cursor and a missing one both end the list; one that repeats is an error."""
    server.play("*", Answer({"connections": [ROW], "paging": paging}))
    client = ManagementV2(transport, server.url, SecretStr("t"))
    assert 1 == len(client.connections("live").connections)
    server.play("*", Answer({"connections": [ROW], "paging": {"cursor": "again"}}))
    with pytest.raises(NotSmartcarError, match="form a loop"):
        client.connections("live")


def test_which_vehicles_are_fed(house: House) -> None:
    """The subscriptions are those of the truth, and after an audit the users' column counts the others."""
    fed = {row.vehicle_id for row in house.management.subscriptions("live")}
    told = {row["smartcar_vehicle_id"]: row["subscribed"] for row in house.truth["vehicles"]}
    assert {car: car in fed for car, subscribed in told.items() if subscribed is not None} == {
        car: subscribed for car, subscribed in told.items() if subscribed is not None
    }
    assert house.audit().users["vehicles_unsubscribed"].isna().all()
    house.ask()
    counted = house.audit().users.set_index("user_id")["vehicles_unsubscribed"]
    unfed = {row["user_id"] for row in house.truth["vehicles"] if row["subscribed"] is False}
    assert unfed
    assert set(counted[counted > 0].index) <= unfed


def test_one_connection_by_its_own_id(house: House) -> None:
    """A connection is found by its id, and not by its vehicle's."""
    first = house.v3.connections("live").connections[0]
    assert first == house.v3.connection(first.id)
    with pytest.raises(NotFoundError):
        house.v3.connection(first.vehicle_id)


def test_every_read_endpoint_of_v2(house: House) -> None:
    """Each path of a vehicle is read in metric units, or refused as the car's own incapability."""
    vehicle = next(row for row in house.world.vehicles if row.token_alive and not row.shares_token and row.tied)
    paths = []
    for path in READABLE:
        try:
            paths.append(house.v2.read(vehicle.token, vehicle.car.id, path).path)
        except Exception as error:
            assert getattr(error, "status", None) == 501, path
    assert {"/", "/vin", "/odometer", "/permissions", "/tires/pressure", "/service/history"} <= set(paths)
    assert "read_vin" in house.v2.permissions(vehicle.token, vehicle.car.id)
    with pytest.raises(ParameterError, match="no endpoint '/info'"):
        house.v2.read(vehicle.token, vehicle.car.id, "/info")


def test_a_signal_code_that_is_no_code_is_not_asked(house: House) -> None:
    """A mistyped code is refused before a call, since the service can't tell it from a missing signal."""
    with pytest.raises(ParameterError, match="not a documented signal code"):
        house.v3.signal("v1", "u1", "odometer-distance")
    assert [] == house.transport.calls
