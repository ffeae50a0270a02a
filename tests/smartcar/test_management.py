"""The two management APIs and single connections, against the sandbox over real HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from smartcar_ops.errors import AuthenticationError, NotFoundError, NotSmartcarError, ParameterError
from smartcar_ops.smartcar.management import ManagementV2, read_managed
from smartcar_ops.smartcar.v2 import READABLE
from tests.house import House
from tests.smartcar.scripted import Answer, Scripted


def test_v2_management_lists_what_v3_lists(make_house: Callable[..., House]) -> None:
    """Both lists have the same live connections; V2's comes in pages of 100 by cursor."""
    house = make_house(users=130)
    known = house.settings.credentials.management_token
    managed = ManagementV2(house.transport, house.settings.origins.management_api, known).connections("live")
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


def test_either_time_and_a_missing_mode() -> None:
    """``createdAt`` stands for ``connectedAt``, and a row without a mode is read."""
    row = read_managed({"userId": "U1", "vehicleId": "V1", "createdAt": "2026-01-02T03:04:05Z"})
    assert ("u1", "v1", "", 2026) == (row.user_id, row.vehicle_id, row.mode, row.connected_at and row.connected_at.year)


@pytest.mark.parametrize("paging", [{"cursor": None}, {}])
def test_the_end_of_the_cursor(server: Scripted, transport, paging: dict[str, None]) -> None:  # type: ignore[no-untyped-def]
    """A null cursor and a missing one both end the list; one that repeats is an error."""
    rows = [{"userId": "u1", "vehicleId": "v1", "mode": "live"}]
    server.play("*", Answer({"connections": rows, "paging": paging}))
    client = ManagementV2(transport, server.url, SecretStr("t"))
    assert 1 == len(client.connections("live"))
    server.play("*", Answer({"connections": rows, "paging": {"cursor": "again"}}))
    with pytest.raises(NotSmartcarError, match="circles"):
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
    with pytest.raises(ParameterError, match="no documented signal code"):
        house.v3.signal("v1", "u1", "odometer-distance")
    assert [] == house.transport.calls
