"""The V2 vehicle API: user tokens, one endpoint per reading, and batches."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.state import bearer, state_of
from smartcar_ops.sandbox.api.v2.readings import Question, answer
from smartcar_ops.sandbox.faults.id_slips import tell_user
from smartcar_ops.sandbox.fleet.builder import PERMISSIONS
from smartcar_ops.sandbox.fleet.model import Car, UserToken
from smartcar_ops.sandbox.wire_errors import V2Error, new_request_id

MAX_PAGE = 50
MAX_PERMISSIONS = 25


def authorise(request: Request) -> UserToken:
    """Return the user token of the request.

    Raises V2Error 401 if it is unknown, revoked or at least two hours old, and 500 if its `behaviour` is "broken".
    """
    state = state_of(request)
    token = state.user_token(bearer(request))
    if token is None:
        text = "The authorization header is missing, malformed, or the access token is expired or revoked."
        raise V2Error(401, "AUTHENTICATION", None, text)
    if token.behaviour == "broken":
        raise V2Error(500, "SERVER", "INTERNAL", "An internal error occurred.")
    return token


def _send(body: Any, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, headers={"sc-request-id": new_request_id(), **(headers or {})})


def _number(request: Request, name: str, default: int, least: int) -> int:
    """Return a whole number of the query. Raises V2Error 400 if it is not one or is below `least`."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise V2Error(400, "VALIDATION", "PARAMETER", f"{name} must be a whole number of at least {least}.")
    return int(text)


async def user(request: Request) -> Response:
    """Return the Smartcar user that the token belongs to."""
    return _send({"id": tell_user(authorise(request).user_id, state_of(request).behaviour)})


async def vehicles(request: Request) -> Response:
    """Return a page of the token's vehicles (`limit` at most 50)."""
    ids = authorise(request).vehicle_ids
    offset, limit = _number(request, "offset", 0, 0), min(_number(request, "limit", 10, 1), MAX_PAGE)
    page = list(ids[offset : offset + limit])
    return _send({"paging": {"count": len(ids), "offset": offset}, "vehicles": page})


async def vehicle(request: Request) -> Response:
    """Return one endpoint of a vehicle: attributes, VIN, or a reading with its times in the headers."""
    path = "/" + request.path_params.get("path", "")
    found = answer(path, _question(request))
    return _send(found.body, found.headers)


async def batch(request: Request) -> Response:
    """Return several paths at one moment: HTTP 200, each item with its own code, body and lower-case headers."""
    question, paths = _question(request), await _paths(request)
    request.app.state.arrivals.add_batch(len(paths))
    return _send({"responses": [_item(path, question) for path in paths]})


def own_car(request: Request) -> Car:
    """Return the car in the path. Raises V2Error 403 if the token does not list it."""
    vehicle_id = request.path_params["vehicle_id"]
    if vehicle_id not in authorise(request).vehicle_ids:
        text = "Your application has insufficient permissions to access the requested resource."
        raise V2Error(403, "PERMISSION", None, text)
    return state_of(request).cars[vehicle_id]


def _question(request: Request) -> Question:
    token, car, state = authorise(request), own_car(request), state_of(request)
    asked = request.headers.get("sc-unit-system", "metric").lower()
    return Question(
        car=car,
        told=state.read(car, "v2"),
        permissions=next((c.permissions for c in state.directory.find(token.user_id, car.id)), PERMISSIONS),
        imperial=state.behaviour.imperial or car.imperial or asked == "imperial",
        now=state.clock(),
        offset=_number(request, "offset", 0, 0),
        limit=_number(request, "limit", MAX_PERMISSIONS, 1),
    )


async def _paths(request: Request) -> list[str]:
    """Return the paths of a batch. Raises V2Error 400 if the body is not `{"requests": [{"path": ...}]}`."""
    try:
        asked = json.loads(await request.body())
        paths = [item["path"] for item in asked["requests"]]
    except (ValueError, KeyError, TypeError):
        paths = []
    if not paths or not all(isinstance(path, str) for path in paths):
        raise V2Error(400, "VALIDATION", None, "The body must be an object with a list of requests.")
    return paths


def _item(path: str, question: Question) -> dict[str, Any]:
    try:
        found = answer(path, question)
    except V2Error as error:
        return {"path": path, "code": error.status, "body": error.body(new_request_id())}
    return {"path": path, "code": 200, "body": found.body, "headers": found.headers}


routes = [
    Route("/v2.0/user", user),
    Route("/v2.0/vehicles", vehicles),
    Route("/v2.0/vehicles/{vehicle_id}", vehicle),
    Route("/v2.0/vehicles/{vehicle_id}/batch", batch, methods=["POST"]),
    Route("/v2.0/vehicles/{vehicle_id}/{path:path}", vehicle),
]
