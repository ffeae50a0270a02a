"""Webhook events as the sandbox delivers them to a real receiver, and as older services wrote them."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.sandbox.server import running
from smartcar_ops.sandbox.world import build_world
from smartcar_ops.smartcar import webhooks
from tests.smartcar.scripted import Answer, Asked, Scripted


@pytest.mark.parametrize("faults", [(), ("triggers-under-data",)], ids=str)
def test_events_are_verified_proved_and_read(server: Scripted, faults: tuple[str, ...]) -> None:
    """The challenge is answered, every event is signed over its raw bytes, and names a user, a vehicle, a trigger."""
    world = build_world(40)
    token = SecretStr(world.credentials.management_token)
    events: list[webhooks.Event] = []

    def receive(asked: Asked) -> Answer:
        event = webhooks.read_event(asked.body)
        if event.challenge:
            return Answer({"challenge": webhooks.answer(event.challenge, token)})
        assert webhooks.is_signed(asked.body, asked.headers["sc-signature"], token)
        assert not webhooks.is_signed(asked.body + b" ", asked.headers["sc-signature"], token)
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
    read = webhooks.read_event(event(eventType="NEW_KIND", data={"vehicle": {"id": "V1", "vin": "X"}}))
    assert webhooks.Event("NEW_KIND", vehicle_id="v1") == read


@pytest.mark.parametrize("where", ["data", "payload"])
def test_the_challenge_in_both_envelopes(where: str) -> None:
    """VERIFY carries its challenge under ``data``, in the older envelope under ``payload``."""
    read = webhooks.read_event(event(eventType="VERIFY", **{where: {"challenge": "c-1"}}))
    assert ("VERIFY", "c-1") == (read.type, read.challenge)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": {}}', "<html>"])
def test_what_is_no_event_is_refused(body: str) -> None:
    """A body without an event's type is an error of the tree."""
    with pytest.raises(NotSmartcarError, match="no event"):
        webhooks.read_event(body)
