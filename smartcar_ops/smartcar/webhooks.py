"""Webhook events: told apart, and proved to be Smartcar's."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import json_text
from smartcar_ops.smartcar.failures import mapping, text, word
from smartcar_ops.smartcar.ids import external_id, read_one
from smartcar_ops.smartcar.modes import modes_in


@dataclass(frozen=True)
class Event:
    """One event: its type, whose car it is about (ids in lower case), every mode that it tells, what triggered it.

    ``problem`` says why a user or vehicle that is named can't be told. A VERIFY event has a ``challenge`` and neither
    user nor vehicle. Never routed by VIN: current events have none.
    """

    type: str
    user_id: str | None = None
    vehicle_id: str | None = None
    external_id: str | None = None
    modes: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    challenge: str | None = None
    problem: str = ""


def is_signed(raw: bytes, signature: str, *management_tokens: SecretStr) -> bool:
    """Whether ``SC-Signature`` is that of the raw bytes, by one of the tokens; each compared in constant time.

    An empty token proves nothing.
    """
    given = signature.strip().lower().encode("utf-8", "replace")
    return any(
        hmac.compare_digest(_digest(token, raw).encode(), given)
        for token in management_tokens
        if token.get_secret_value()
    )


def answer(challenge: str, management_token: SecretStr) -> str:
    """What a VERIFY event is to be answered with, as ``{"challenge": …}``."""
    return _digest(management_token, challenge.encode())


def read_event(raw: bytes | str) -> Event:
    """An event from its body; NotSmartcarError where it is no event."""
    try:
        body = mapping(json_text.loads(raw))
    except ValueError:
        body = {}
    kind, data = word(body.get("eventType")) or word(body.get("eventName")), mapping(body.get("data"))
    challenge = text(data.get("challenge")) or text(mapping(body.get("payload")).get("challenge"))
    if challenge:
        return Event("VERIFY", challenge=challenge)
    if not kind:
        raise NotSmartcarError("smartcar: a webhook's body is no event; expected JSON with `eventType` and `data`.")
    user, vehicle = mapping(data.get("user")), mapping(data.get("vehicle"))
    user_id, odd_user = read_one([user.get("id"), data.get("userId"), body.get("userId")])
    vehicle_id, odd_vehicle = read_one([vehicle.get("id"), data.get("vehicleId"), body.get("vehicleId")])
    problems = ((odd_user, "user"), (odd_vehicle, "vehicle"))
    return Event(
        kind,
        user_id,
        vehicle_id,
        external_id(user.get("externalId")),
        modes_in(body, mapping(body.get("meta")), data, user, vehicle, mapping(vehicle.get("attributes"))),
        _triggers(body.get("triggers") or data.get("triggers")),
        problem=next((f"its {what}'s id {odd}" for odd, what in problems if odd), ""),
    )


def _triggers(listed: Any) -> tuple[str, ...]:
    """The kinds of trigger; a missing list is normal."""
    return tuple(word(mapping(row).get("type")) or "" for row in listed) if isinstance(listed, list) else ()


def _digest(token: SecretStr, content: bytes) -> str:
    return hmac.new(token.get_secret_value().encode(), content, hashlib.sha256).hexdigest()
