"""The V2 vehicle API: user tokens, one endpoint per reading, batches (sections 5.4 and 10 of Smartcar's V2)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .draft import PERMISSIONS
from .errors import V2Error, new_request_id
from .records import UserToken
from .state import USER_TOKEN_LIFE, State, bearer, state_of
from .v2_bodies import Question, answer

MAX_PAGE = 50


def _authorise(request: Request) -> UserToken:
    """The user token of the request; raises 401 where it is unknown, revoked or older than two hours."""
    state = state_of(request)
    token = state.world.tokens.get(bearer(request))
    if token is None or token.behaviour == "revoked" or _age(state, token) >= USER_TOKEN_LIFE:
        text = "The authorization header is missing, malformed, or the access token is expired or revoked."
        raise V2Error(401, "AUTHENTICATION", None, text)
    if token.behaviour == "broken":
        raise V2Error(500, "SERVER", "INTERNAL", "An internal error occurred.")
    return token


def _age(state: State, token: UserToken) -> timedelta:
    return state.clock() - token.created_at


def _send(body: Any, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, headers={"sc-request-id": new_request_id(), **(headers or {})})


def _number(request: Request, name: str, default: int, least: int) -> int:
    """A whole number of the query string; raises 400 where it is none or below `least`."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise V2Error(400, "VALIDATION", "PARAMETER", f"{name} must be a whole number of at least {least}.")
    return int(text)


async def user(request: Request) -> Response:
    """The Smartcar user behind the token."""
    return _send({"id": _authorise(request).user_id})


async def vehicles(request: Request) -> Response:
    """The vehicles of the token, a page of them (`limit` at most 50)."""
    ids = _authorise(request).vehicle_ids
    offset, limit = _number(request, "offset", 0, 0), min(_number(request, "limit", 10, 1), MAX_PAGE)
    page = list(ids[offset : offset + limit])
    return _send({"paging": {"count": len(ids), "offset": offset}, "vehicles": page})


async def vehicle(request: Request) -> Response:
    """One endpoint of a vehicle: attributes, VIN, or a reading with its times in the headers."""
    path = "/" + request.path_params.get("path", "")
    found = answer(path, _question(request))
    return _send(found.body, found.headers)


async def batch(request: Request) -> Response:
    """Several paths at one moment: HTTP 200, each item with its own code, body and lower-case headers."""
    question = _question(request)
    return _send({"responses": [_item(path, question) for path in await _paths(request)]})


def _question(request: Request) -> Question:
    token = _authorise(request)
    vehicle_id = request.path_params["vehicle_id"]
    if vehicle_id not in token.vehicle_ids:
        text = "Your application has insufficient permissions to access the requested resource."
        raise V2Error(403, "PERMISSION", None, text)
    state = state_of(request)
    car = state.world.cars[vehicle_id]
    permissions = next((c.permissions for c in state.by_vehicle[vehicle_id] if c.user_id == token.user_id), PERMISSIONS)
    imperial = request.headers.get("sc-unit-system", "metric").lower() == "imperial"
    return Question(car, state.read(car, "v2"), permissions, imperial, state.clock())


async def _paths(request: Request) -> list[str]:
    """The paths a batch asks for; raises 400 where the body is not `{"requests": [{"path": ...}]}`."""
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
