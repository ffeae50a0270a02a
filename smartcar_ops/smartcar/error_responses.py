"""Turns Smartcar's error responses, in all their formats, into the exceptions of `smartcar_ops.errors`.

Formats: V3 ``{"errors":[…]}``, V2 flat, OAuth ``{"error","error_description"}``, V1 ``{"error","message"}``, and
bodies that are not from Smartcar.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from datetime import UTC

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
"""The documented error types, and OAuth's error codes."""

BY_STATUS: dict[int, tuple[type[errors.SmartcarError], str]] = {
    401: (errors.AuthenticationError, "check that the credentials are current and not swapped"),
    403: (errors.NotPermittedError, "the application or the user has not granted this"),
    404: (errors.NotFoundError, "check the id, and that the connection still exists"),
    429: (errors.RateLimitError, "too many requests; lower SMARTCAR_ALLOWANCE_PER_MINUTE or run later"),
    430: (errors.BillingError, "the plan does not allow this request; see the dashboard's billing page"),
}


def mapping(value: object) -> dict[str, object]:
    """Return the value if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """Return the value as text if it is a non-empty scalar, otherwise None."""
    return str(value) if isinstance(value, str | int | float) and str(value) else None


def word(value: object) -> str | None:
    """Return the value if it is a keyword such as ``VEHICLE_STATE``; a sentence may contain personal data."""
    keyword = text(value)
    return keyword if keyword and re.fullmatch(r"[\w.:-]{1,64}", keyword) else None


def body_of(response: httpx.Response) -> object:
    """Return the JSON of a response; NotSmartcarError if it is not JSON (a proxy's page, a truncated body)."""
    try:
        return json_values.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "no content type").split(";")[0]
        raise errors.NotSmartcarError(
            f"smartcar: {response.request.url.host} answered {response.status_code} with {kind} instead of JSON; "
            "a proxy may be in between. Check the origin.",
            status=response.status_code,
        ) from None


def failure(response: httpx.Response, what: str, oddities: Oddities | None = None) -> errors.SmartcarError:
    """Return the exception for an unsuccessful response; ``what`` describes the call for people.

    An undocumented error type, and a body without a type, are counted as oddities.
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


def request_id(response: httpx.Response, error: dict[str, object]) -> str | None:
    """Return Smartcar's id of the request, from wherever this API version puts it."""
    debug = mapping(mapping(error.get("meta")).get("debug"))
    return text(response.headers.get("sc-request-id") or error.get("requestId") or debug.get("requestId"))


def resolution(value: object) -> str | None:
    """Return Smartcar's resolution of an error; older bodies have text, newer ones an object."""
    return text(mapping(value).get("type")) if isinstance(value, dict) else text(value)


def retry_after(value: str | None) -> float | None:
    """Return the seconds to wait, from seconds or an HTTP date; None if the header is missing or unreadable.

    At most an hour, or a day if the header is exactly 86400 or a date: a mistake such as milliseconds, the year 9999
    or ``inf`` must not block every run.
    """
    if not value:
        return None
    seconds, is_date = _seconds(value)
    if seconds is None or math.isnan(seconds):
        return None
    plausible = seconds <= DAY if is_date else seconds == DAY
    return max(0.0, seconds if plausible else min(seconds, HOUR))


def _seconds(value: str) -> tuple[float | None, bool]:
    """Return the seconds from now, and whether the header was a date."""
    try:
        return float(value), False
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time(), True
    except (ValueError, TypeError, OverflowError):
        return None, True
