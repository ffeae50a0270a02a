"""Answers that replace a route's: errors at intervals, versions switched off, connections closed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from smartcar_ops.sandbox.wire_errors import V2Error, data_error

Strike = Callable[[str], ASGIApp | None]
"""Takes a request's path. Returns the app that answers instead of the routes, or None to let the request pass."""
Chosen = Callable[[str], bool]


def is_data(path: str) -> bool:
    """Return whether the path belongs to the V2 or V3 API, including its management API."""
    return path.startswith(("/v3/", "/v2.0/"))


def is_about_a_vehicle(path: str) -> bool:
    """Return whether the path names a vehicle."""
    return is_data(path) and "/vehicles/" in path


def in_turn(nth: int, chosen: Chosen, answer: Callable[[str], ASGIApp]) -> Strike:
    """Return a strike that gives `answer` to every `nth` chosen request. Each strike has its own count."""
    count = itertools.count(1)

    def strike(path: str) -> ASGIApp | None:
        return answer(path) if chosen(path) and next(count) % nth == 0 else None

    return strike


def refusing(
    status: int, type_: str, code: str, text: str, flat: bool, headers: dict[str, str] | None = None
) -> Callable[[str], ASGIApp]:
    """Return a function that answers with this error, in the shape of the API that the path belongs to."""
    return lambda path: data_error(path, status, type_, code, text).response(headers, flat=flat)


def switched_off(path: str) -> ASGIApp | None:
    """Answer every V2 path with 410."""
    if not path.startswith("/v2.0"):
        return None
    text = "Version 2.0 of the API is no longer available."
    return V2Error(410, "RESOURCE_NOT_FOUND", "VERSION", text).response()


def sign_in_page(path: str) -> ASGIApp | None:
    """Answer the V3 token endpoint with the page of a captive portal."""
    if path != "/oauth2/token":
        return None
    return HTMLResponse("<!doctype html><title>Sign in</title><p>Please sign in to the network.</p>")


class HangUp:
    """An ASGI app that closes the TCP connection without answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection, and wait until the server notices: if a route returns early, the server answers 500."""
        # ASGI can't close the connection. uvicorn's `receive` is a method of the request's cycle, which has the socket.
        transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
        transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass
