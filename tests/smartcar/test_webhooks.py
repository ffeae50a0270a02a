"""Webhook events as the sandbox delivers them to a real receiver, and as older services wrote them."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.sandbox.server import running
from smartcar_ops.sandbox.world import build_world
from smartcar_ops.smartcar import inbound
from tests.smartcar.scripted import Answer, Asked, Scripted, uid


@pytest.mark.parametrize("faults", [(), ("triggers-under-data",)], ids=str)
def test_events_are_verified_proved_and_read(server: Scripted, faults: tuple[str, ...]) -> None:
    """The challenge is answered, every event is signed over its raw bytes, and names a user, a vehicle, a trigger."""
    world = build_world(40)
    token = SecretStr(world.credentials.management_token)
    events: list[inbound.Event] = []

    def receive(asked: Asked) -> Answer:
        event = inbound.read_event(asked.body)
        if event.challenge:
            return Answer({"challenge": inbound.answer(event.challenge, token)})
        assert inbound.is_signed(asked.body, asked.headers["sc-signature"], token)
        assert not inbound.is_signed(asked.body + b" ", asked.headers["sc-signature"], token)
        events.append(event)
        return Answer({})

    server.play("/hook", receive)
    with running(world, faults) as sandbox:
        order = {"url": f"{server.url}/hook", "events": 8}
        assert httpx.post(f"{sandbox.url}/pretend/webhooks", json=order, timeout=20).is_success
    assert {"VEHICLE_STATE", "VEHICLE_ERROR"} == {event.type for event in events}
    known = {(row.user_id, row.vehicle_id) for row in world.connections}
    assert {(event.user_id, event.vehicle_id) for event in events} <= known
    assert any(event.triggers for event in events if event.type == "VEHICLE_STATE")


def event(**members: object) -> str:
    """A body."""
    return json.dumps(members)


def test_what_an_event_may_lack() -> None:
    """An unknown type without a user, triggers or mode is an event all the same; a VIN is not read."""
    read = inbound.read_event(event(eventType="NEW_KIND", data={"vehicle": {"id": uid("Jo").upper(), "vin": "X"}}))
    assert inbound.Event("NEW_KIND", vehicle_id=uid("Jo")) == read


NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("where", ["user", "vehicle"])
@pytest.mark.parametrize(
    ("id", "beside", "says"),
    [
        ("undefined", None, "is not a UUID"),
        (NIL, None, "is not a UUID"),
        (uid("a"), uid("b"), "has 2 different values"),
        (uid("a"), "null", "is not a UUID"),
        (uid("a"), uid("a").upper(), ""),
        (None, uid("a"), ""),
        (None, None, ""),
    ],
)
def test_whose_car_an_event_is_about(where: str, id: str | None, beside: str | None, says: str) -> None:
    """By the id under ``data`` and the one at the top, where they agree; text that is no id names nobody."""
    read = inbound.read_event(event(eventType="X", data={where: {"id": id}}, **{f"{where}Id": beside}))
    assert says in read.problem
    assert bool(says) == bool(read.problem)
    expected = uid("a") if not says and (id or beside) else None
    assert expected == {"user": read.user_id, "vehicle": read.vehicle_id}[where]


@pytest.mark.parametrize(
    ("members", "modes"),
    [
        ({"meta": {"mode": "LIVE"}}, ("live",)),
        ({"data": {"vehicle": {"mode": "simulated"}}}, ("simulated",)),
        ({"data": {"vehicle": {"attributes": {"Mode": " Simulated"}}}}, ("simulated",)),
        ({"data": {"mode": "TEST"}}, ("test",)),
        ({"data": {"user": {"mode": "test"}}}, ("test",)),
        ({"MODE": "Live"}, ("live",)),
        ({"meta": {"mode": "LIVE"}, "data": {"vehicle": {"mode": "simulated"}}}, ("live", "simulated")),
        ({"data": {"vehicle": {"make": "SIMULATED", "model": "BEV"}}}, ("simulated",)),
        ({"data": {"vehicle": {"make": "BYD"}, "signals": [{"code": "hvac", "mode": "HEAT"}]}}, ()),
        ({"meta": {"mode": None}}, ()),
    ],
)
def test_the_mode_wherever_it_stands(members: dict[str, object], modes: tuple[str, ...]) -> None:
    """Every mode an event tells, in whatever case; a signal's own mode is none, and a simulated make is one."""
    assert modes == inbound.read_event(event(eventType="X", **members)).modes


def test_any_of_several_tokens_proves_a_signature() -> None:
    """The token of before a rotation proves as well; an empty one proves nothing."""
    old, new, empty = SecretStr("old"), SecretStr("new"), SecretStr("")
    signature = inbound.answer("body", old)
    assert inbound.is_signed(b"body", signature, new, old)
    assert not inbound.is_signed(b"body", signature, new)
    assert not inbound.is_signed(b"body", inbound.answer("body", empty), empty)
    assert not inbound.is_signed(b"body", signature)


@pytest.mark.parametrize("where", ["data", "payload"])
def test_the_challenge_in_both_envelopes(where: str) -> None:
    """VERIFY carries its challenge under ``data``, in the older envelope under ``payload``."""
    read = inbound.read_event(event(eventType="VERIFY", **{where: {"challenge": "c-1"}}))
    assert ("VERIFY", "c-1") == (read.type, read.challenge)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": {}}', "<html>"])
def test_what_is_no_event_is_refused(body: str) -> None:
    """A body without an event's type is an error of the tree."""
    with pytest.raises(NotSmartcarError, match="not an event"):
        inbound.read_event(body)
