"""Webhook deliveries to a real receiver on this machine."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from smartcar_ops.sandbox.api.management.webhooks import is_loopback


class Receiver:
    """A company's webhook endpoint: keeps what came, answers the challenge."""

    def __init__(self, key):
        self.key, self.events, self.status = key, [], 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                event = json.loads(raw)
                receiver.events.append((event, raw, self.headers["sc-signature"], self.headers["user-agent"]))
                body = json.dumps(receiver.answer(event)).encode()
                self.send_response(200 if event["eventType"] == "VERIFY" else receiver.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, event):
        """What the receiver says."""
        if event["eventType"] != "VERIFY":
            return {}
        return {"challenge": self.sign(event["data"]["challenge"].encode())}

    def sign(self, raw):
        """The signature of the raw body."""
        return hmac.new(self.key.encode(), raw, hashlib.sha256).hexdigest()


@pytest.fixture
def receiver(world):
    """A receiver that holds the management token."""
    made = Receiver(world.credentials.management_token)
    yield made
    made.server.shutdown()
    made.server.server_close()


def order(caller, url, events=8):
    """Ask for deliveries."""
    return caller.http.post("/pretend/webhooks", json={"url": url, "events": events}, timeout=20)


def test_verify_then_events(play, receiver):
    """VERIFY comes first and unsigned; then states and errors, each signed over its raw body."""
    told = order(play(), receiver.url).json()
    kinds = ["VERIFY", *["VEHICLE_STATE"] * 3, "VEHICLE_ERROR", *["VEHICLE_STATE"] * 3, "VEHICLE_ERROR"]
    assert (
        kinds == [d["eventType"] for d in told["deliveries"]] == [event["eventType"] for event, *_ in receiver.events]
    )
    assert told["verified"]
    assert {200} == {d["status"] for d in told["deliveries"]}
    assert receiver.events[0][2] is None
    for _, raw, signature, agent in receiver.events[1:]:
        assert receiver.sign(raw) == signature
        assert agent.startswith("Smartcar/")


def test_the_envelope(play, receiver, world):
    """Version 4.0: flat signals, epoch milliseconds, triggers at the top, no VIN, the mode in capitals."""
    order(play(), receiver.url, 1)
    verify, state = (event for event, *_ in receiver.events)
    assert {"challenge"} == set(verify["data"])
    assert isinstance(verify["meta"]["deliveredAt"], str)
    assert {"eventId", "eventType", "data", "triggers", "meta"} == set(state)
    assert {"id", "make", "model", "year"} == set(state["data"]["vehicle"])
    owners = {c.vehicle_id: c.user_id for c in reversed(world.connections)}
    assert state["data"]["user"]["id"] in owners.values()
    signals = {signal["code"]: signal for signal in state["data"]["signals"]}
    assert ("4.0", "LIVE", len(signals)) == tuple(state["meta"][name] for name in ("version", "mode", "signalCount"))
    odometer = signals["odometer-traveleddistance"]
    assert {"code", "name", "group", "status", "body", "meta"} >= set(odometer)
    assert odometer["meta"]["oemUpdatedAt"] > 10**12
    assert {0} == set(signals["vehicleidentification-vin"]["meta"].values())
    assert {"type", "signal"} == set(state["triggers"][0])


def test_error_events(play, receiver):
    """An error names its type, its state and its signals, and has no triggers."""
    order(play(), receiver.url, 4)
    error = receiver.events[-1][0]
    assert "VEHICLE_ERROR" == error["eventType"]
    assert "triggers" not in error
    first = error["data"]["errors"][0]
    assert {"type", "code", "description", "docURL", "resolution", "state", "signals"} == set(first)
    assert ("ERROR", {"code", "name", "group"}) == (first["state"], set(first["signals"][0]))


def test_triggers_under_data(play, receiver):
    """Under the fault the triggers stand in data and nowhere else."""
    order(play("triggers-under-data"), receiver.url, 1)
    event = receiver.events[-1][0]
    assert "triggers" not in event
    assert event["data"]["triggers"]


def test_epoch_times_stay_milliseconds(play, receiver):
    """Webhook times are milliseconds under epoch-times too."""
    order(play("epoch-times"), receiver.url, 3)
    for event, *_ in receiver.events[1:]:
        times = [signal["meta"]["oemUpdatedAt"] for signal in event["data"]["signals"]]
        assert all(at == 0 or at > 10**12 for at in times)


def test_a_receiver_without_the_token(play, receiver):
    """A wrong answer to the challenge is told, and nothing more is sent."""
    receiver.key = "wrong"
    told = order(play(), receiver.url).json()
    assert (False, 1) == (told["verified"], len(told["deliveries"]))
    assert 1 == len(receiver.events)


def test_a_receiver_that_refuses_or_is_not_there(play, receiver):
    """The status it met is told; where nobody answers it is null."""
    receiver.status = 500
    told = order(play(), receiver.url, 2).json()
    assert [200, 500, 500] == [d["status"] for d in told["deliveries"]]
    assert [True, False, False] == [d["accepted"] for d in told["deliveries"]]
    told = order(play(), "http://127.0.0.1:9/hook").json()
    assert [{"eventType": "VERIFY", "status": None, "accepted": False}] == told["deliveries"]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("http://192.0.2.1/x", False),
        ("http://example.com", False),
        ("http://localhost.example.com", False),
        ("ftp://127.0.0.1/", False),
        ("x", False),
    ],
)
def test_only_this_machine(client, url, allowed):
    """Nothing is ever sent to another machine."""
    assert allowed == is_loopback(url)
    if not allowed:
        assert 400 == client.post("/pretend/webhooks", json={"url": url}).status_code


def test_a_wrong_order(client):
    """A body that is no order is 400."""
    for body in (
        b"",
        b"[]",
        b'{"url": "http://127.0.0.1:9", "events": "x"}',
        b'{"url": "http://127.0.0.1:9", "events": -1}',
    ):
        assert 400 == client.post("/pretend/webhooks", content=body).status_code
