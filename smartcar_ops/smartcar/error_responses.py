"""Smartcar's error bodies, in all the shapes they come in, turned into the one tree.

Shapes read: V3 ``{"errors":[…]}``, V2 flat, OAuth ``{"error","error_description"}``, V1
``{"error","message"}``, and bodies that are not Smartcar's at all.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from datetime import UTC
from typing import Any

import httpx

from smartcar_ops import errors
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.http.oddities import Oddities

HOUR, DAY = 3600.0, 86_400.0

KNOWN = frozenset(
    {
        *("VALIDATION", "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION", "PERMISSION", "RESOURCE_NOT_FOUND"),
        *("VEHICLE_STATE", "RATE_LIMIT", "BILLING", "SERVER", "COMPATIBILITY", "UPSTREAM"),
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
    }
)
"""The documented types, and OAuth's words."""

BY_STATUS: dict[int, tuple[type[errors.SmartcarError], str]] = {
    401: (errors.AuthenticationError, "check that the credentials are current and not swapped"),
    403: (errors.NotPermittedError, "the application or the user has not granted this"),
    404: (errors.NotFoundError, "check the id, and that the connection still exists"),
    429: (errors.RateLimitError, "too many requests; lower SMARTCAR_ALLOWANCE_PER_MINUTE or run later"),
    430: (errors.BillingError, "the plan does not allow this request; see the dashboard's billing page"),
}


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """The value as text if it is a non-empty scalar, else None."""
    return str(value) if isinstance(value, str | int | float) and str(value) else None


def word(value: Any) -> str | None:
    """The value if it is one of Smartcar's words, such as ``VEHICLE_STATE``; a sentence may name a car or a person."""
    found = text(value)
    return found if found and re.fullmatch(r"[\w.:-]{1,64}", found) else None


def body_of(response: httpx.Response) -> Any:
    """The JSON of an answer; NotSmartcarError where it is none (a proxy's page, a cut-off body)."""
    try:
        return json_values.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "no content type").split(";")[0]
        raise errors.NotSmartcarError(
            f"smartcar: {response.request.url.host} answered {response.status_code} with {kind} instead of JSON; "
            "a proxy may stand in between. Check the origin.",
            status=response.status_code,
        ) from None


def failure(response: httpx.Response, what: str, oddities: Oddities | None = None) -> errors.SmartcarError:
    """The error of the tree that an unsuccessful answer means; ``what`` names the call for people.

    A type that Smartcar does not document, and a body without one, are counted as oddities.
    """
    try:
        body = mapping(body_of(response))
    except errors.NotSmartcarError:
        body = {}
    listed, inner = body.get("errors"), body.get("error")
    first = mapping(listed[0]) if isinstance(listed, list) and listed else mapping(inner) or body
    kind = word(first.get("type")) or word(inner)
    code = word(first.get("code"))
    if oddities is not None and kind not in KNOWN:
        oddities.note("error: unknown type" if kind else f"error: {response.status_code} without a type", kind or "")
    words = " ".join(filter(None, (kind, code))) or "no Smartcar error in the body"
    cls, advice = BY_STATUS.get(response.status_code, (errors.SmartcarError, "run again later"))
    if not body and response.status_code not in BY_STATUS:
        cls = errors.NotSmartcarError
    return cls(
        f"smartcar: {what} answered {response.status_code} ({words}); {advice}.",
        status=response.status_code,
        type=kind,
        code=code,
        request_id=request_id(response, first),
        resolution=resolution(first.get("resolution")),
        retry_after=retry_after(response.headers.get("retry-after")),
    )


def request_id(response: httpx.Response, error: dict[str, Any]) -> str | None:
    """Smartcar's id of the request, wherever this version puts it."""
    debug = mapping(mapping(error.get("meta")).get("debug"))
    return text(response.headers.get("sc-request-id") or error.get("requestId") or debug.get("requestId"))


def resolution(value: Any) -> str | None:
    """What Smartcar says would help; older bodies give text, newer ones an object."""
    return text(mapping(value).get("type")) if isinstance(value, dict) else text(value)


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from seconds or an HTTP date; None where the header is missing or unreadable.

    At most an hour, unless a day is plainly said, as 86400 or by a date: a slip, such as milliseconds, the year 9999
    or ``inf``, would else hold every run for as long.
    """
    if not value:
        return None
    seconds, is_date = _seconds(value)
    if seconds is None or math.isnan(seconds):
        return None
    plain = seconds <= DAY if is_date else seconds == DAY
    return max(0.0, seconds if plain else min(seconds, HOUR))


def _seconds(value: str) -> tuple[float | None, bool]:
    """Seconds from now, and whether they were told as a date."""
    try:
        return float(value), False
    except ValueError:
        pass
    try:
        told = email.utils.parsedate_to_datetime(value)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - time.time(), True
    except (ValueError, TypeError, OverflowError):
        return None, True
