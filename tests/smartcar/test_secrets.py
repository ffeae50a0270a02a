"""Planted tokens, secrets, VINs and places never come out where people or logs may see them."""

from __future__ import annotations

import json
import logging
import traceback

import pytest
from pydantic import SecretStr

from smartcar_ops.errors import SmartcarError, SmartcarOpsError
from smartcar_ops.fields.field_map import Field, Place, field_map
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.http.transport import Request
from smartcar_ops.smartcar.inbound import read_event, read_redirect
from smartcar_ops.smartcar.management import ManagementV2, read_managed, read_subscription
from tests.smartcar.scripted import Answer, signal, uid

APP, USER, SECRET, VIN, PLACE = "app-PLANT", "user-PLANT", "s3cr3t-plant", "WVWZZZ1KZ6W000042", 52.123987
PLANTED = (APP, USER, SECRET, VIN, str(PLACE))
TALK = f"token {APP} {USER} secret {SECRET} of car {VIN} at {PLACE}"
"""What a talkative server may repeat in its error's words."""


def found_in(text: str) -> list[str]:
    """The planted words in a text."""
    return [planted for planted in PLANTED if planted in text]


@pytest.fixture
def chatty(server):
    """A server whose token is planted and whose good answers hold a VIN and a place."""
    server.play("/oauth2/token", Answer({"access_token": APP, "expires_in": 3600}))
    rows = [
        signal("vehicleidentification-vin", {"value": VIN}),
        signal("location-preciselocation", {"latitude": PLACE, "longitude": PLACE}),
    ]
    server.play("/v3/vehicles/v1/signals", Answer({"data": rows}))
    items = [
        {"path": "/vin", "code": 200, "body": {"vin": VIN}},
        {"path": "/location", "code": 200, "body": {"latitude": PLACE, "longitude": PLACE}},
    ]
    server.play("/v2.0/vehicles/v1/batch", Answer({"responses": items}))
    return server


LOCATION = Field(
    "place", Place("/location", "latitude"), Place("location-preciselocation", "latitude"), "number", "volatile", "low"
)


def test_nothing_is_in_a_repr(chatty, transport, v2, v3, take_token, credentials):
    """Clients, credentials, requests, answers, readings and the record of calls hide what they hold."""
    vin = field_map().fields[0]
    signals, batch = v3.signals("v1", "u1"), v2.batch(USER, "v1", ["/vin", "/location"])
    readings = [read_v3(vin, signals), read_v2(vin, batch), read_v3(LOCATION, signals), read_v2(LOCATION, batch)]
    assert [VIN, VIN, PLACE, PLACE] == [reading.raw for reading in readings]
    request = Request(
        "v2",
        "POST",
        chatty.url,
        "/x",
        headers={"authorization": USER},
        params={"vin": VIN},
        data={"client_secret": SECRET},
        json={"at": PLACE},
    )
    held = [credentials, take_token(), transport, v2, v3, signals, batch, request, transport.calls, *readings]
    assert [] == found_in(" ".join(f"{one!r} {one}" for one in held))
    assert {"iam": 1, "v2": 2, "v3": 1} == transport.spent


BODIES = {
    "v3": {"errors": [{"type": "SERVER", "code": "INTERNAL", "title": TALK, "detail": TALK, "description": TALK}]},
    "v2": {"type": "SERVER", "code": None, "description": TALK, "docURL": TALK, "suggestedUserMessage": TALK},
    "v1": {"error": "server_error", "message": TALK},
    "oauth": {"error": "invalid_client", "error_description": TALK},
    "a gateway's": {"error": TALK, "message": TALK},
    "html": f"<html>{TALK}</html>",
}


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
@pytest.mark.parametrize("name", BODIES)
def test_no_error_repeats_what_the_server_said(server, transport, v2, v3, caplog, name, status):
    """Neither the error, its cause as printed, the recorded calls nor any log line repeats a planted word."""
    caplog.set_level(logging.DEBUG)
    server.play("/oauth2/token", Answer({"access_token": APP}))
    server.play("*", Answer(BODIES[name], status))
    acts = (lambda: v2.user(USER), lambda: v2.batch(USER, "v1", ["/vin"]), lambda: v3.signals("v1", "u1"))
    for act in acts:
        with pytest.raises(SmartcarError) as caught:
            act()
        error = caught.value
        assert [] == found_in(f"{error} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}")
    assert [] == found_in(repr(transport.calls))
    assert "HTTP Request" in caplog.text
    assert [] == found_in(caplog.text)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500, 503])
def test_the_token_endpoints_errors(server, take_token, caplog, status):
    """A refusal of the credentials names the client id's beginning, not the secret."""
    caplog.set_level(logging.DEBUG)
    server.play("/oauth2/token", Answer({"error": "invalid_client", "error_description": TALK}, status))
    with pytest.raises(SmartcarError) as caught:
        take_token()()
    assert [] == found_in(f"{caught.value} {''.join(traceback.format_exception(caught.value))} {caplog.text}")


def test_good_answers_leave_no_trace_in_logs(chatty, v2, v3, caplog):
    """Asking and answering at the most talkative log level shows no planted word."""
    caplog.set_level(logging.DEBUG)
    v3.signals("v1", "u1")
    v2.batch(USER, "v1", ["/vin", "/location"])
    assert "HTTP Request" in caplog.text
    assert [] == found_in(caplog.text)


def test_a_token_with_a_line_break_is_not_shown(server, v2, caplog):
    """A token that can't be sent is not repeated by whatever refuses it."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SmartcarError) as caught:
        v2.user(f"{USER}\n")
    assert [] == found_in(f"{''.join(traceback.format_exception(caught.value))} {caplog.text}")


CAR = {"id": uid("v1"), "vin": VIN, "location": {"latitude": PLACE}, "token": USER}
EVENT = {
    "eventType": "VEHICLE_STATE",
    "data": {"user": {"id": uid("u1"), "token": APP}, "vehicle": CAR, "signals": [{"code": "x", "body": CAR}]},
    "triggers": [{"type": "SIGNAL_UPDATED", "signal": CAR}],
    "meta": {"mode": "LIVE", "secret": SECRET},
}


@pytest.mark.parametrize(
    "read",
    [
        lambda: read_event(json.dumps(EVENT)),
        lambda: read_event(json.dumps({**EVENT, "eventType": TALK})),
        lambda: read_event(json.dumps({**EVENT, "userId": USER, "vehicleId": VIN})),
        lambda: read_event(TALK),
        lambda: read_managed({"userId": uid("u1"), "vehicleId": uid("v1"), "mode": "live", "vin": VIN, "place": PLACE}),
        lambda: read_managed({"userId": None, "vin": VIN, "place": PLACE}),
        lambda: read_subscription({"id": "s", "attributes": {"vehicleId": uid("v1"), "vin": VIN, "at": PLACE}}),
        lambda: read_subscription({"attributes": {"vin": VIN, "at": PLACE, "secret": SECRET}}),
        lambda: read_redirect(f"https://app.example/cb?user_id={uid('u1')}&code={SECRET}&vin={VIN}"),
        lambda: read_redirect(f"https://app.example/cb?user_id={USER}&code={SECRET}&vin={VIN}"),
        lambda: read_redirect(f"https://app.example/cb?user_id={uid('u1')}&userId={USER}&code={SECRET}&vin={VIN}"),
    ],
)
def test_what_arrives_is_read_without_a_trace(read):
    """Events, management rows and redirects keep no VIN, place, token or code: neither what is read nor a refusal."""
    try:
        told = repr(read())
    except SmartcarOpsError as error:
        told = "".join(traceback.format_exception(error))
    assert [] == found_in(told)


def test_v2_management_leaves_no_trace(server, transport, caplog):
    """A listing with members nobody expected counts them by name alone; nothing of them is kept or logged."""
    caplog.set_level(logging.DEBUG)
    row = {"userId": uid("u1"), "vehicleId": uid("v1"), "mode": "live", "vin": VIN, VIN: PLACE, "place": PLACE}
    server.play("*", Answer({"connections": [row], "paging": {"cursor": None}}))
    management = ManagementV2(transport, server.url, SecretStr(SECRET))
    found = management.connections("live")
    kept = f"{found!r} {transport.calls!r} {transport.oddities.counts} {management!r} {Oddities()!r} {caplog.text}"
    assert [uid("v1")] == [row.vehicle_id for row in found.connections]
    assert [] == found_in(kept)
