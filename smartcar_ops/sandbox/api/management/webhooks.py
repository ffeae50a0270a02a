"""Webhook deliveries to a receiver on this machine: VERIFY, then events in the 4.0 envelope."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.json_api import origin
from smartcar_ops.sandbox.api.management.webhook_events import VERSION, write_events, write_meta
from smartcar_ops.sandbox.api.state import State, iso, state_of
from smartcar_ops.sandbox.wire_errors import new_request_id

Json = dict[str, Any]
PATIENCE = 15.0
"""Seconds that a receiver may take to answer (documented)."""
MOST_EVENTS = 1000
AGENT = f"Smartcar/{VERSION}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A sent event: its type, the receiver's status (None if there was no answer), and whether that was accepted."""

    event_type: str
    status: int | None
    accepted: bool


def sign(management_token: str, text: bytes) -> str:
    """Return HMAC-SHA256 in hex, keyed with the management token: an event's signature or a challenge's answer."""
    return hmac.new(management_token.encode(), text, hashlib.sha256).hexdigest()


async def deliver(state: State, url: str, events: int, own_url: str = "") -> list[Delivery]:
    """Verify the receiver, then send it `events` signed events; every fourth is an error. Return the deliveries.

    Nothing more is sent to a receiver that does not pass the challenge. Each event is sent once, without retries.
    """
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        done = [await _verify(client, state, url)]
        if not done[0].accepted:
            return done
        for event in write_events(state, events, own_url):
            done.append(await _send(client, state, url, event))
    return done


async def _verify(client: httpx.AsyncClient, state: State, url: str) -> Delivery:
    """Send an unsigned challenge. The receiver's answer proves that it holds the management token."""
    challenge = secrets.token_hex(16)
    event = {
        "eventId": str(uuid.uuid4()),
        "eventType": "VERIFY",
        "data": {"challenge": challenge},
        "meta": write_meta(state, iso(state.clock())),
    }
    answer = await _post(client, url, json.dumps(event).encode(), {})
    expected = sign(state.world.credentials.management_token, challenge.encode())
    proved = answer is not None and answer.status_code == 200 and _challenge_of(answer) == expected
    return Delivery("VERIFY", _status_of(answer), proved)


def _challenge_of(answer: httpx.Response) -> Any:
    try:
        return answer.json()["challenge"]
    except (ValueError, KeyError, TypeError):
        return None


async def _send(client: httpx.AsyncClient, state: State, url: str, event: Json) -> Delivery:
    raw = json.dumps(event).encode()
    signature = sign(state.world.credentials.management_token, raw)
    answer = await _post(client, url, raw, {"sc-signature": signature})
    return Delivery(event["eventType"], _status_of(answer), answer is not None and answer.is_success)


async def _post(client: httpx.AsyncClient, url: str, raw: bytes, headers: dict[str, str]) -> httpx.Response | None:
    sent = {"content-type": "application/json", "user-agent": AGENT, **headers}
    try:
        return await client.post(url, content=raw, headers=sent)
    except httpx.HTTPError:
        return None


def _status_of(answer: httpx.Response | None) -> int | None:
    return None if answer is None else answer.status_code


def is_loopback(url: str) -> bool:
    """Return whether the URL is http and its host is localhost or a loopback address."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and (
            parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        )
    except ValueError:
        return False


async def order(request: Request) -> Response:
    """Deliver now, for `POST /pretend/webhooks` with `{"url", "events"}`. Return each delivery; 400 for a bad body."""
    try:
        asked = json.loads(await request.body())
        url, events = str(asked["url"]), int(asked.get("events", 10))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _answer(400, {"error": 'the body must be {"url": "http://127.0.0.1:...", "events": 10}'})
    if not is_loopback(url) or not 0 <= events <= MOST_EVENTS:
        return _answer(400, {"error": f"url must be http on this machine, events at most {MOST_EVENTS}"})
    done = await deliver(state_of(request), url, events, origin(request))
    told = [{"eventType": d.event_type, "status": d.status, "accepted": d.accepted} for d in done]
    return _answer(200, {"verified": done[0].accepted, "deliveries": told})


def _answer(status: int, body: Json) -> Response:
    return JSONResponse(body, status, {"sc-request-id": new_request_id()})


routes = [Route("/pretend/webhooks", order, methods=["POST"])]
