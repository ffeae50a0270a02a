"""`GET /v3/connections` and `/v3/connections/{id}`: paging, filters, the JSON:API envelope (section 7)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import V3Error
from .records import LIVE, Connection
from .state import State, iso, state_of
from .v3 import attributes, authorise, origin

Json = dict[str, Any]
DEFAULT_PAGE, MAX_PAGE = 10, 100
MODE = "filter[vehicle.mode]"


async def list_connections(request: Request) -> Response:
    """A page of the connections, newest first; an unknown filter is ignored, a size above 100 clamped."""
    authorise(request)
    number = _number(request, "page[number]", 1)
    size = min(_number(request, "page[size]", DEFAULT_PAGE), MAX_PAGE)
    found = _matching(request)
    page = found[(number - 1) * size : number * size]
    state = state_of(request)
    return JSONResponse(
        {
            "data": [_write(connection, state, origin(request)) for connection in page],
            "meta": {
                "pageNumber": number,
                # An empty list reports zero (seen): a reader must not divide by it.
                "pageSize": size if found else 0,
                "totalCount": len(found),
                "orderBy": "createdAt",
                "orderDirection": "DESC",
            },
            "links": _links(request, number, size, max(1, -(-len(found) // size))),
        }
    )


async def get_connection(request: Request) -> Response:
    """One connection by its own id (not the vehicle's)."""
    authorise(request)
    state = state_of(request)
    wanted = request.path_params["connection_id"]
    for connection in state.world.connections:
        if connection.id == wanted:
            return JSONResponse({"data": _write(connection, state, origin(request))})
    raise V3Error(404, "RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND", f"Connection with ID {wanted} not found")


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise V3Error(400, "VALIDATION", "INVALID_INPUT_FORMAT", f"{name} must be a whole number from 1")
    return int(text)


def _filters(request: Request) -> dict[str, str]:
    """The filters in force; without a mode filter the mode is live."""
    known = ("filter[userId]", "filter[vehicleId]", "filter[user.externalId]")
    asked = {name: request.query_params[name] for name in known if name in request.query_params}
    return {**asked, MODE: request.query_params.get(MODE, LIVE)}


def _matching(request: Request) -> list[Connection]:
    wanted = _filters(request)
    user = request.headers.get("sc-user-id")
    return [
        connection
        for connection in state_of(request).world.connections
        if _values(connection).items() >= wanted.items() and user in (None, connection.user_id)
    ]


def _values(connection: Connection) -> dict[str, str | None]:
    return {
        "filter[userId]": connection.user_id,
        "filter[vehicleId]": connection.vehicle_id,
        "filter[user.externalId]": connection.external_id,
        MODE: connection.mode,
    }


def _links(request: Request, number: int, size: int, last: int) -> Json:
    """Absolute, brackets percent-encoded; `next` and `prev` are null at the ends."""

    def link(page: int) -> str:
        query = {"page[number]": page, "page[size]": size, **_filters(request)}
        return f"{origin(request)}/v3/connections?{urlencode(query)}"

    return {
        "self": link(number),
        "first": link(1),
        "last": link(last),
        "next": link(number + 1) if number < last else None,
        "prev": link(min(number - 1, last)) if number > 1 else None,
    }


def _write(connection: Connection, state: State, url: str) -> Json:
    user: Json = {"id": connection.user_id}
    if connection.external_id is not None:
        user["externalId"] = connection.external_id
    vehicle_url = f"{url}/v3/vehicles/{connection.vehicle_id}"
    return {
        "id": connection.id,
        "type": "connection",
        "attributes": {
            "permissions": list(connection.permissions),
            "vehicle": attributes(state.world.cars[connection.vehicle_id]),
            "user": user,
        },
        "relationships": {
            "vehicle": {
                "data": {"id": connection.vehicle_id, "type": "vehicle"},
                "links": {"related": vehicle_url},
            },
            "user": {"data": {"id": connection.user_id, "type": "user"}},
        },
        "meta": {"createdAt": iso(connection.created_at), "updatedAt": iso(connection.updated_at)},
        "links": {"self": f"{url}/v3/connections/{connection.id}"},
    }


routes = [
    Route("/v3/connections", list_connections),
    Route("/v3/connections/{connection_id}", get_connection),
]
