"""What Smartcar sends to a company: Connect redirects and webhook events."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import mapping, text, word
from smartcar_ops.smartcar.ids import external_id, modes_in, read_one, smartcar_id

AMPERSAND = re.compile(r"&(?:amp;)+|&#0*38;|&#x0*26;|\\u0026", re.IGNORECASE)
"""A `&` as HTML or JSON escapes it."""

ENCODED = re.compile(r"https?%3A%2F%2F", re.IGNORECASE)
"""How an address begins that was encoded as a whole."""

INNER = re.compile(r"\buser_?id(?:=|%3D)", re.IGNORECASE)


@dataclass(frozen=True)
class Redirect:
    """A redirect's parameters; ``user_id`` in lower case, None after an error or a re-authentication.

    ``code`` is optional for V3 and never shown.
    """

    user_id: str | None
    state: str | None
    external_id: str | None
    vehicle_id: str | None
    error: str | None
    code: str | None = field(default=None, repr=False)


def read_redirect(url: str) -> Redirect:
    """A redirect from its whole address or query string, as logs, pages and databases keep it.

    Its parameters may stand in the query or the fragment, escaped for HTML or encoded once more. ``user_id`` is read
    before ``userId`` (the migration guide's spelling). NotSmartcarError where the two are there and differ, a parameter
    comes twice with two values or holds a ``user_id`` itself: whose consent it was can't be told; and where a consent's
    ``user_id`` is no id.
    """
    try:
        query = _parameters(url)
    except ValueError:
        raise NotSmartcarError("smartcar: a redirect is no address; expected https://…?user_id=…&state=….") from None

    def one(*names: str) -> str | None:
        values = {value.strip() for name in names for value in query.get(name, ()) if value.strip()}
        if len(values) > 1:
            raise NotSmartcarError(
                f"smartcar: a redirect names {len(values)} different values for {' and '.join(names)}; refused, since "
                "it can't be told whose consent it was."
            )
        return next(iter(values), None)

    told, error = one("user_id", "userId"), one("error")
    if not told and not error and any(INNER.search(value) for values in query.values() for value in values):
        raise NotSmartcarError(
            "smartcar: a redirect has a user_id inside another parameter, as where it was encoded twice; refused, "
            "since it can't be told whose it is."
        )
    user_id = smartcar_id(told)
    if told and not user_id and not error:
        raise NotSmartcarError(
            "smartcar: a redirect's user_id is no UUID, or the nil one; refused, since it names nobody."
        )
    return Redirect(
        user_id=user_id,
        state=one("state"),
        external_id=external_id(one("external_id")),
        vehicle_id=smartcar_id(one("vehicle_id")),
        error=error,
        code=one("code"),
    )


def _parameters(url: str) -> dict[str, list[str]]:
    """Every parameter with its values, of the query and of the fragment; ValueError where there is no address."""
    told = AMPERSAND.sub("&", url)
    parts = urlsplit(unquote(told) if ENCODED.match(told) else told)
    query = parts.query or parts.path.lstrip("?")
    if "&" not in query and not query.startswith("state"):  # a state is the company's own, whatever stands in it
        query = unquote(query) if "&" in unquote(query) else query
    found: dict[str, list[str]] = {}
    for given in (query, parts.fragment.rpartition("?")[2]):
        for name, values in parse_qs(given, max_num_fields=100).items():
            found.setdefault(name, []).extend(values)
    return found


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
        body = mapping(json_values.loads(raw))
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
