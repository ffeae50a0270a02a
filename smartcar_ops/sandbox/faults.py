"""Faults the pretend Smartcar can be given: a name, one sentence, and what it does to a request."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import HTMLResponse, Response

from .errors import V2Error, data_error
from .state import State

Strike = Callable[[str], Awaitable[Response | None]]
"""Given a request's path: the answer that replaces the true one, or None to let the request through."""

SLOWNESS = 0.1
SHORT_LIFE = timedelta(seconds=2)


def is_data(path: str) -> bool:
    """Whether the request is one of the two data APIs'."""
    return path.startswith(("/v3/", "/v2.0/"))


def _every(nth: int, status: int, type_: str, code: str, text: str, **headers: str) -> Strike:
    """Every `nth` data request is answered with an error."""
    count = itertools.count(1)

    async def strike(path: str) -> Response | None:
        if not is_data(path) or next(count) % nth:
            return None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return data_error(path, status, type_, code, text).response(sent)

    return strike


def _slow(state: State) -> Strike:
    async def strike(path: str) -> Response | None:
        if path != "/health":
            await asyncio.sleep(SLOWNESS)
        return None

    return strike


def _server_500(state: State) -> Strike:
    return _every(5, 500, "SERVER", "INTERNAL", "An internal error occurred.")


def _rate_limit(state: State) -> Strike:
    text = "Your application has exceeded its rate limit."
    return _every(7, 429, "RATE_LIMIT", "SMARTCAR_API", text, retry_after="1")


def _billing_430(state: State) -> Strike:
    text = "The vehicle's monthly number of requests is used up."

    async def strike(path: str) -> Response | None:
        if not is_data(path) or "/vehicles/" not in path:
            return None
        return data_error(path, 430, "BILLING", "VEHICLE_REQUEST_LIMIT", text).response()

    return strike


def _v2_off(state: State) -> Strike:
    async def strike(path: str) -> Response | None:
        if not path.startswith("/v2.0"):
            return None
        text = "Version 2.0 of the API is no longer available."
        return V2Error(410, "RESOURCE_NOT_FOUND", "VERSION", text).response()

    return strike


def _token_expires(state: State) -> Strike:
    state.token_life = SHORT_LIFE

    async def strike(path: str) -> Response | None:
        return None

    return strike


def _token_html(state: State) -> Strike:
    async def strike(path: str) -> Response | None:
        if path != "/oauth2/token":
            return None
        return HTMLResponse("<!doctype html><title>Sign in</title><p>Please sign in to the network.</p>")

    return strike


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what it does in one sentence, and how it strikes."""

    sentence: str
    make: Callable[[State], Strike]


FAULTS = {
    "slow": Fault("Every request takes 100 ms.", _slow),
    "server-500": Fault("Every 5th data request is answered with 500.", _server_500),
    "rate-limit": Fault("Every 7th data request is answered with 429 and Retry-After: 1.", _rate_limit),
    "billing-430": Fault("Every request about a vehicle is answered with 430.", _billing_430),
    "v2-off": Fault("V2 is switched off: 410 on every path.", _v2_off),
    "token-expires": Fault("Application tokens say they live an hour and are refused after 2 seconds.", _token_expires),
    "token-html": Fault("The token endpoint answers 200 with an HTML page.", _token_html),
}


def check_faults(names: Iterable[str]) -> tuple[str, ...]:
    """The names, if all are known; else ValueError naming the first unknown one and listing the known."""
    checked = tuple(names)
    for name in checked:
        if name not in FAULTS:
            raise ValueError(f"sandbox: unknown fault {name!r}, known are {', '.join(sorted(FAULTS))}")
    return checked
