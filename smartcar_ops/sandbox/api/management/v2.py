"""The V2 management list of connections: HTTP Basic with the management token, pages by cursor (documented)."""

from __future__ import annotations

import base64
import binascii

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.state import iso, state_of
from smartcar_ops.sandbox.faults.id_slips import tell_user
from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.wire_errors import V2Error, new_request_id

MAX_PAGE = 100


async def list_connections(request: Request) -> Response:
    """Return a page of connections in every mode, newest first. The cursor is null on the last page."""
    _authorise(request)
    found = [c for c in state_of(request).directory.all if _matches(c, request)]
    start, limit = _start(request), _limit(request)
    page = found[start : start + limit]
    more = start + limit < len(found)
    paging = {"cursor": _cursor(start + limit) if more else None, "count": len(page)}
    return JSONResponse(
        {"connections": [_write(connection, state_of(request).behaviour) for connection in page], "paging": paging},
        headers={"sc-request-id": new_request_id()},
    )


async def delete_connections(request: Request) -> Response:
    """Disconnect a user, a vehicle, or the pair (documented). Return what was removed; 400 if neither is given."""
    _authorise(request)
    if not {"user_id", "vehicle_id"} & request.query_params.keys():
        raise V2Error(400, "VALIDATION", "PARAMETER", "user_id or vehicle_id is needed.")
    directory = state_of(request).directory
    gone = directory.remove([c for c in directory.all if _matches(c, request)])
    removed = [{"userId": connection.user_id, "vehicleId": connection.vehicle_id} for connection in gone]
    return JSONResponse({"connections": removed}, headers={"sc-request-id": new_request_id()})


def _authorise(request: Request) -> None:
    credentials = state_of(request).world.credentials
    expected = base64.b64encode(f"default:{credentials.management_token}".encode()).decode()
    if request.headers.get("authorization") != f"Basic {expected}":
        raise V2Error(401, "AUTHENTICATION", None, "The application management token is missing or wrong.")


def _matches(connection: Connection, request: Request) -> bool:
    values = {"user_id": connection.user_id, "vehicle_id": connection.vehicle_id, "mode": connection.mode}
    return all(request.query_params.get(name, value) == value for name, value in values.items())


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "10")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise V2Error(400, "VALIDATION", "PARAMETER", f"limit must be a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def _start(request: Request) -> int:
    try:
        return int(base64.urlsafe_b64decode(request.query_params.get("cursor") or _cursor(0)))
    except (ValueError, binascii.Error) as error:
        raise V2Error(400, "VALIDATION", "PARAMETER", "cursor is not one that this list returned.") from error


def _cursor(start: int) -> str:
    return base64.urlsafe_b64encode(str(start).encode()).decode()


def _write(connection: Connection, behaviour: Behaviour) -> dict[str, str]:
    return {
        "userId": tell_user(connection.user_id, behaviour),
        "vehicleId": connection.vehicle_id,
        "connectedAt": iso(connection.created_at),
        **({"mode": connection.mode} if behaviour.modes_told else {}),
    }


# The official Python SDK adds a slash at the end.
_PATHS = ("/v2.0/management/connections", "/v2.0/management/connections/")
routes = [
    *(Route(path, list_connections) for path in _PATHS),
    *(Route(path, delete_connections, methods=["DELETE"]) for path in _PATHS),
]
