"""What Smartcar sends to you: Connect redirects and webhook events."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import mapping, text, word
from smartcar_ops.smartcar.ids import external_id, modes_in, read_one, smartcar_id

AMPERSAND = re.compile(r"&(?:amp;)+|&#0*38;|&#x0*26;|\\u0026", re.IGNORECASE)
"""A `&` escaped for HTML or JSON."""

ENCODED = re.compile(r"https?%3A%2F%2F", re.IGNORECASE)
"""The start of a URL that was encoded as a whole."""

INNER = re.compile(r"\buser_?id(?:=|%3D)", re.IGNORECASE)


@dataclass(frozen=True)
class Redirect:
    """A redirect's parameters; ``user_id`` is in lower case, None after an error or a re-authentication.

    ``code`` is optional for V3 and never shown.
    """

    user_id: str | None
    state: str | None
    external_id: str | None
    vehicle_id: str | None
    error: str | None
    code: str | None = field(default=None, repr=False)


def read_redirect(url: str) -> Redirect:
    """Parse a redirect from its full URL or query string, as found in logs, pages and databases.

    The parameters may be in the query or the fragment, escaped for HTML or encoded twice. ``user_id`` and ``userId``
    (the migration guide's spelling) are both read. NotSmartcarError if the ``user_id`` is invalid, or if the user is
    ambiguous: the two spellings differ, a parameter has two values, or another parameter contains a ``user_id``.
    """
    try:
        query = _parameters(url)
    except ValueError:
        raise NotSmartcarError("smartcar: a redirect is not a URL; expected https://…?user_id=…&state=….") from None

    def one(*names: str) -> str | None:
        values = {value.strip() for name in names for value in query.get(name, ()) if value.strip()}
        if len(values) > 1:
            raise NotSmartcarError(
                f"smartcar: a redirect has {len(values)} different values for {' and '.join(names)}; refused, because "
                "its user is ambiguous."
            )
        return next(iter(values), None)

    given_id, error = one("user_id", "userId"), one("error")
    if not given_id and not error and any(INNER.search(value) for values in query.values() for value in values):
        raise NotSmartcarError(
            "smartcar: a redirect has a user_id inside another parameter, perhaps because it was encoded twice; "
            "refused, because its user is ambiguous."
        )
    user_id = smartcar_id(given_id)
    if given_id and not user_id and not error:
        raise NotSmartcarError("smartcar: a redirect's user_id is not a UUID, or is the nil UUID.")
    return Redirect(
        user_id=user_id,
        state=one("state"),
        external_id=external_id(one("external_id")),
        vehicle_id=smartcar_id(one("vehicle_id")),
        error=error,
        code=one("code"),
    )


def _parameters(url: str) -> dict[str, list[str]]:
    """Return every parameter with its values, from the query and the fragment; ValueError if it is not a URL."""
    unescaped = AMPERSAND.sub("&", url)
    parts = urlsplit(unquote(unescaped) if ENCODED.match(unescaped) else unescaped)
    query = parts.query or parts.path.lstrip("?")
    if "&" not in query and not query.startswith("state"):  # a state is the company's own, whatever it contains
        query = unquote(query) if "&" in unquote(query) else query
    found: dict[str, list[str]] = {}
    for given in (query, parts.fragment.rpartition("?")[2]):
        for name, values in parse_qs(given, max_num_fields=100).items():
            found.setdefault(name, []).extend(values)
    return found


@dataclass(frozen=True)
class Event:
    """One event: its type, user and vehicle (ids in lower case), all modes in it, and its triggers.

    ``problem`` is why a user or vehicle id can't be used. A VERIFY event has a ``challenge`` and neither user nor
    vehicle. Current events have no VIN.
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
    """Return whether ``SC-Signature`` is the signature of the raw bytes by one of the tokens.

    Each comparison takes constant time. Empty tokens are ignored.
    """
    given = signature.strip().lower().encode("utf-8", "replace")
    return any(
        hmac.compare_digest(_digest(token, raw).encode(), given)
        for token in management_tokens
        if token.get_secret_value()
    )


def answer(challenge: str, management_token: SecretStr) -> str:
    """Return the answer to a VERIFY event, to be sent as ``{"challenge": …}``."""
    return _digest(management_token, challenge.encode())


def read_event(raw: bytes | str) -> Event:
    """Parse an event; NotSmartcarError if the body is not an event."""
    try:
        body = mapping(json_values.loads(raw))
    except ValueError:
        body = {}
    kind, data = word(body.get("eventType")) or word(body.get("eventName")), mapping(body.get("data"))
    challenge = text(data.get("challenge")) or text(mapping(body.get("payload")).get("challenge"))
    if challenge:
        return Event("VERIFY", challenge=challenge)
    if not kind:
        raise NotSmartcarError("smartcar: a webhook's body is not an event; expected JSON with `eventType` and `data`.")
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


def _triggers(listed: object) -> tuple[str, ...]:
    """Return the types of the triggers; a missing list is normal."""
    return tuple(word(mapping(row).get("type")) or "" for row in listed) if isinstance(listed, list) else ()


def _digest(token: SecretStr, content: bytes) -> str:
    return hmac.new(token.get_secret_value().encode(), content, hashlib.sha256).hexdigest()
