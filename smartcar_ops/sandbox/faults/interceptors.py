"""What replaces an answer altogether: errors in turn, switched-off versions, connections closed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from smartcar_ops.sandbox.wire_errors import V2Error, data_error

Strike = Callable[[str], ASGIApp | None]
"""Given a request's path: what answers in place of the routes, or None to let the request through."""
Chosen = Callable[[str], bool]


def is_data(path: str) -> bool:
    """Whether the request is one of the two data APIs'."""
    return path.startswith(("/v3/", "/v2.0/"))


def is_about_a_vehicle(path: str) -> bool:
    """Whether the request names a vehicle in its path."""
    return is_data(path) and "/vehicles/" in path


def in_turn(nth: int, chosen: Chosen, answer: Callable[[str], ASGIApp]) -> Strike:
    """Every `nth` of the chosen requests is answered so; counted apart for each strike."""
    count = itertools.count(1)

    def strike(path: str) -> ASGIApp | None:
        return answer(path) if chosen(path) and next(count) % nth == 0 else None

    return strike


def refusing(
    status: int, type_: str, code: str, text: str, flat: bool, headers: dict[str, str] | None = None
) -> Callable[[str], ASGIApp]:
    """An error in the shape of the API the path belongs to."""
    return lambda path: data_error(path, status, type_, code, text).response(headers, flat=flat)


def switched_off(path: str) -> ASGIApp | None:
    """410 on every path of V2."""
    if not path.startswith("/v2.0"):
        return None
    text = "Version 2.0 of the API is no longer available."
    return V2Error(410, "RESOURCE_NOT_FOUND", "VERSION", text).response()


def sign_in_page(path: str) -> ASGIApp | None:
    """A captive portal where the token endpoint was."""
    if path != "/oauth2/token":
        return None
    return HTMLResponse("<!doctype html><title>Sign in</title><p>Please sign in to the network.</p>")


class HangUp:
    """Closes the TCP connection without a byte of an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close, and wait until the server has noticed: it would answer 500 for a route that returns early."""
        # ASGI has no way to hang up; uvicorn's own receive belongs to the request's cycle, which has the socket.
        transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
        transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass
