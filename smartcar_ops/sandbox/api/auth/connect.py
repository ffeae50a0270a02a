"""Connect without its pages: query parameters say what the person decides."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.auth.grants import Code
from smartcar_ops.sandbox.api.state import State, state_of
from smartcar_ops.sandbox.fleet.model import LIVE, Connection
from smartcar_ops.sandbox.fleet.seeded import id_of

REGISTERED = "https://app.example.com/smartcar/callback"
"""The redirect URI if the request has none."""
VIRTUAL_KEY = "https://key.example.com/pretend"
ERRORS: dict[str, tuple[str, dict[str, str]]] = {
    "access_denied": ("User denied access to the requested scope of permissions.", {}),
    "configuration_error": (
        "There has been an error in the configuration of your application.",
        {"status_code": "400", "error_message": "Pretend message"},
    ),
    "invalid_subscription": ("User is not subscribed to connected services.", {}),
    "no_vehicles": ("No vehicles found on the connected services account.", {}),
    "server_error": ("Unexpected server error. Please try again.", {}),
    "vehicle_incompatible": (
        "The user's vehicle is not compatible.",
        {"vin": "1SMPRETEND0000001", "make": "PRETEND", "year": "2014"},
    ),
}
"""Error -> its description and the other parameters of the redirect (documented)."""


class _Invalid(Exception):
    """A parameter for which Connect shows an error page."""

    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"400: Invalid parameter {name}: {value}")


async def authorize(request: Request) -> Response:
    """Redirect (302) with the user and a code, or with an error. For an invalid parameter, return a page with 400.

    The caller chooses the outcome: `pretend_user` (a Smartcar user id; default: the user of the newest connection in
    the requested mode) and `pretend_error` (one of Connect's errors).
    """
    return _answer(request, _outcome)


async def reauthenticate(request: Request) -> Response:
    """Redirect (302) with the vehicle id and no user id (documented), or with an error."""
    return _answer(request, _vehicle)


def _answer(request: Request, consent: Callable[[Request], dict[str, str]]) -> Response:
    query = request.query_params
    try:
        _check_client(request)
        uri = _redirect_uri(request)
        outcome = _error(request) if "pretend_error" in query else consent(request)
    except _Invalid as error:
        return HTMLResponse(f"<!doctype html><title>Connect</title><h1>{escape(str(error))}</h1>", 400)
    echoed = {name: query[name] for name in ("state", "external_id") if name in query}
    mark = "&" if urlsplit(uri).query else "?"
    return RedirectResponse(f"{uri}{mark}{urlencode({**outcome, **echoed})}", 302)


def _check_client(request: Request) -> None:
    given = request.query_params.get("client_id", request.query_params.get("application_id", ""))
    if given != state_of(request).world.credentials.application_id:
        raise _Invalid("client_id", given)


def _redirect_uri(request: Request) -> str:
    uri = request.query_params.get("redirect_uri", REGISTERED)
    if urlsplit(uri).scheme not in ("http", "https") or not urlsplit(uri).netloc:
        raise _Invalid("redirect_uri", uri)
    return uri


def _error(request: Request) -> dict[str, str]:
    name = request.query_params["pretend_error"]
    if name not in ERRORS:
        raise _Invalid("pretend_error", name)
    description, more = ERRORS[name]
    return {"error": name, "error_description": description, **more}


def _outcome(request: Request) -> dict[str, str]:
    """Return the redirect's parameters for a person who consents. Also store the `external_id` of the query."""
    state = state_of(request)
    granted = _granted(request)
    user = granted[0].user_id
    if "external_id" in request.query_params:
        given = request.query_params["external_id"]
        state.directory.name(user, None if given == "null" else given)
    cars = tuple(connection.vehicle_id for connection in granted)
    names = state.behaviour.redirect_user
    found = dict(zip(names, (user, id_of("another user", user)), strict=False))
    if request.query_params.get("response_type") == "code" and state.behaviour.redirect_code:
        code = Code(user, cars, _redirect_uri(request), state.clock())
        found["code"] = state.grants.issue_code(code)
    if any(state.cars[car].v2["vehicle-make"].value == "TESLA" for car in cars):
        found["virtual_key_url"] = VIRTUAL_KEY
    return found


def _granted(request: Request) -> list[Connection]:
    """Return the connections of the person who consents, in the requested mode."""
    state, query = state_of(request), request.query_params
    mode = query.get("mode", LIVE)
    user = query.get("pretend_user") or _newest(state, mode)
    found = state.directory.find(user, mode=mode)
    if not found:
        raise _Invalid("pretend_user", user)
    return found


def _newest(state: State, mode: str) -> str:
    found = state.directory.find(mode=mode)
    return found[0].user_id if found else ""


def _vehicle(request: Request) -> dict[str, str]:
    vehicle = request.query_params.get("vehicle_id", "")
    if not state_of(request).directory.find(vehicle_id=vehicle):
        raise _Invalid("vehicle_id", vehicle)
    return {"vehicle_id": vehicle}


routes = [Route("/oauth/authorize", authorize), Route("/oauth/reauthenticate", reauthenticate)]
