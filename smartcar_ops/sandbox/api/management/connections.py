"""`/v3/connections` and `/v3/users/{id}`: paging, filters, the JSON:API rows, deletion."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.json_api import answer_one, answer_page, origin, read_page, write_time
from smartcar_ops.sandbox.api.state import State, state_of
from smartcar_ops.sandbox.api.v3.routes import attributes, authorise
from smartcar_ops.sandbox.faults.id_slips import tell_user, tell_user_beside, with_doubles
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.wire_errors import V3Error

Json = dict[str, Any]
DEFAULT_PAGE = 10
USER, VEHICLE, EXTERNAL, MODE = "filter[userId]", "filter[vehicleId]", "filter[user.externalId]", "filter[vehicle.mode]"
ORDER = {"orderBy": "createdAt", "orderDirection": "DESC"}


async def list_connections(request: Request) -> Response:
    """Return a page of connections, newest first. Unknown filters are ignored; the page size is limited to 100."""
    authorise(request)
    state = state_of(request)
    wanted = _filters(request)
    page = read_page(request, wanted, DEFAULT_PAGE)
    if state.behaviour.pages_shift:
        state.shifter.shift(state.clock())
    url = origin(request)
    found = with_doubles(_matching(request, wanted), state.world, state.behaviour)
    return answer_page(request, page, found, lambda c: _write(c, state, url), ORDER)


async def get_connection(request: Request) -> Response:
    """Return one connection by its own id (not the vehicle's); 404 if there is none."""
    authorise(request)
    return answer_one(request, _write(_wanted(request), state_of(request), origin(request)))


async def delete_connection(request: Request) -> Response:
    """Disconnect: 204, or 404 if there is no such connection, as at a second call (inferred)."""
    authorise(request)
    state_of(request).directory.remove([_wanted(request)])
    return Response(status_code=204)


async def delete_user(request: Request) -> Response:
    """Remove a user with all connections: 204 (documented), or 404 if there is no such user."""
    authorise(request)
    user = request.path_params["user_id"]
    if not state_of(request).directory.remove(state_of(request).directory.find(user)):
        raise V3Error(404, "RESOURCE_NOT_FOUND", "USER_NOT_FOUND", f"User with ID {user} not found")
    return Response(status_code=204)


def _wanted(request: Request) -> Connection:
    wanted: str = request.path_params["connection_id"]
    found = state_of(request).directory.by_id.get(wanted)
    if found is None:
        raise V3Error(404, "RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND", f"Connection with ID {wanted} not found")
    return found


def _filters(request: Request) -> dict[str, str]:
    """Return the filters in force. Unknown ones (`filter[user_id]` is one) are ignored, or 400 under that fault."""
    behaviour = state_of(request).behaviour
    given = {name: value for name, value in request.query_params.items() if name.startswith("filter[")}
    known = {name: value for name, value in given.items() if name in (USER, VEHICLE, EXTERNAL, MODE)}
    if behaviour.unknown_filter_refused and given != known:
        strange = min(given.keys() - known.keys())
        raise V3Error(400, "VALIDATION", "INVALID_INPUT_FORMAT", f"{strange} is not a known filter")
    default = {MODE: behaviour.default_mode} if behaviour.default_mode else {}
    return {**default, **known}


def _matching(request: Request, wanted: dict[str, str]) -> list[Connection]:
    """Return the connections that match the filters. `sc-user-id` filters the list too (documented)."""
    user, named = request.headers.get("sc-user-id"), wanted.get(USER)
    if None not in (user, named) and user != named:
        return []
    directory = state_of(request).directory
    return directory.find(user or named, wanted.get(VEHICLE), wanted.get(EXTERNAL), wanted.get(MODE))


def _write(connection: Connection, state: State, url: str) -> Json:
    vehicle_url = f"{url}/v3/vehicles/{connection.vehicle_id}"
    car, user = state.cars[connection.vehicle_id], {"id": tell_user_beside(connection, state.behaviour)}
    vehicle = attributes(car)
    if not state.behaviour.modes_told:
        del vehicle["mode"]
    if connection.external_id is not None:
        user["externalId"] = connection.external_id
    return {
        "id": connection.id,
        "type": "connection",
        "attributes": {
            "permissions": list(car.v3["permissions"].value or connection.permissions),
            "vehicle": vehicle,
            **({"user": user} if state.behaviour.user_attribute else {}),
        },
        "relationships": {
            "vehicle": {
                "data": {"id": connection.vehicle_id, "type": "vehicle"},
                "links": {"related": vehicle_url},
            },
            "user": {"data": {"id": tell_user(connection.user_id, state.behaviour), "type": "user"}},
        },
        "meta": {
            "createdAt": write_time(connection.created_at, state, connection.vehicle_id),
            "updatedAt": write_time(connection.updated_at, state, connection.vehicle_id),
        },
        "links": {"self": f"{url}/v3/connections/{connection.id}"},
    }


routes = [
    Route("/v3/connections", list_connections),
    Route("/v3/connections/{connection_id}", get_connection),
    Route("/v3/connections/{connection_id}", delete_connection, methods=["DELETE"]),
    Route("/v3/users/{user_id}", delete_user, methods=["DELETE"]),
]
