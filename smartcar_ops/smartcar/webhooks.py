"""Webhook events: told apart, and proved to be Smartcar's."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.failures import mapping, text, word


@dataclass(frozen=True)
class Event:
    """One event: its type, whose car it is about (ids in lower case), its mode, what triggered it.

    A VERIFY event has a ``challenge`` and neither user nor vehicle. Never routed by VIN: current events have none.
    """

    type: str
    user_id: str | None = None
    vehicle_id: str | None = None
    external_id: str | None = None
    mode: str = ""
    triggers: tuple[str, ...] = ()
    challenge: str | None = None


def is_signed(raw: bytes, signature: str, management_token: SecretStr) -> bool:
    """Whether ``SC-Signature`` is that of the raw bytes; compared in constant time."""
    given = signature.strip().lower().encode("utf-8", "replace")
    return hmac.compare_digest(_digest(management_token, raw).encode(), given)


def answer(challenge: str, management_token: SecretStr) -> str:
    """What a VERIFY event is to be answered with, as ``{"challenge": …}``."""
    return _digest(management_token, challenge.encode())


def read_event(raw: bytes | str) -> Event:
    """An event from its body; NotSmartcarError where it is no event."""
    try:
        body = mapping(json.loads(raw))
    except (ValueError, RecursionError):
        body = {}
    kind, data = word(body.get("eventType")) or word(body.get("eventName")), mapping(body.get("data"))
    challenge = text(data.get("challenge")) or text(mapping(body.get("payload")).get("challenge"))
    if challenge:
        return Event("VERIFY", challenge=challenge)
    if not kind:
        raise NotSmartcarError("smartcar: a webhook's body is no event; expected JSON with `eventType` and `data`.")
    user, vehicle = mapping(data.get("user")), mapping(data.get("vehicle"))
    return Event(
        kind,
        _id(user.get("id")),
        _id(vehicle.get("id")),
        text(user.get("externalId")),
        (text(mapping(body.get("meta")).get("mode")) or "").lower(),
        _triggers(body.get("triggers") or data.get("triggers")),
    )


def _triggers(listed: Any) -> tuple[str, ...]:
    """The kinds of trigger; a missing list is normal."""
    return tuple(word(mapping(row).get("type")) or "" for row in listed) if isinstance(listed, list) else ()


def _id(value: Any) -> str | None:
    found = text(value)
    return found.strip().lower() if found else None


def _digest(token: SecretStr, content: bytes) -> str:
    return hmac.new(token.get_secret_value().encode(), content, hashlib.sha256).hexdigest()
