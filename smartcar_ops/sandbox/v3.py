"""The V3 vehicle API: an application token, `sc-user-id`, and reads out of a store (section 9)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import V3Error
from .records import Car
from .signals import write_signals
from .state import bearer, state_of

Json = dict[str, Any]


def authorise(request: Request) -> None:
    """Raise 401 unless the request carries a valid application token (a V2 user token is none)."""
    if not state_of(request).token_is_valid(bearer(request)):
        text = "The authorization header is missing, malformed, or the access token is expired."
        raise V3Error(401, "AUTHENTICATION", "UNAUTHORIZED", text)


def origin(request: Request) -> str:
    """Scheme, host and port as the caller wrote them."""
    return str(request.base_url).rstrip("/")


def attributes(car: Car) -> Json:
    """A vehicle's attributes as V3 tells them."""
    parts = {part: car.v3[f"vehicle-{part}"].value for part in ("make", "model", "year")}
    return {**parts, "mode": car.mode, "powertrainType": car.powertrain}


def _resource(car: Car, request: Request) -> Json:
    return {
        "id": car.id,
        "type": "vehicle",
        "attributes": attributes(car),
        "links": {"self": _vehicle_url(car, request)},
    }


def _vehicle_url(car: Car, request: Request) -> str:
    return f"{origin(request)}/v3/vehicles/{car.id}"


def _not_found(vehicle_id: str) -> V3Error:
    text = f"Vehicle with ID {vehicle_id} not found"
    return V3Error(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND", text)


def _connected_car(request: Request) -> Car:
    """The car of the path; raises 404 where nobody is connected to it."""
    authorise(request)
    vehicle_id: str = request.path_params["vehicle_id"]
    state = state_of(request)
    if vehicle_id not in state.by_vehicle:
        raise _not_found(vehicle_id)
    return state.world.cars[vehicle_id]


def _users_car(request: Request) -> Car:
    """The same, for the user the header names; raises 400 without the header, 404 for another user."""
    authorise(request)
    user = request.headers.get("sc-user-id")
    if not user:
        raise V3Error(400, "VALIDATION", "MISSING_PARAMETER", "missing userId")
    car = _connected_car(request)
    if user not in {connection.user_id for connection in state_of(request).by_vehicle[car.id]}:
        raise _not_found(car.id)
    return car


def _signals(request: Request, car: Car) -> list[Json]:
    state = state_of(request)
    return write_signals(state.read(car, "v3"), _vehicle_url(car, request), state.world.now)


async def vehicle(request: Request) -> Response:
    """One vehicle; `sc-user-id` is not asked for here (documented)."""
    return JSONResponse({"data": _resource(_connected_car(request), request)})


async def signals(request: Request) -> Response:
    """All signals of a vehicle on one page, and the vehicle itself under `included`."""
    car = _users_car(request)
    found = _signals(request, car)
    return JSONResponse(
        {
            "data": found,
            "meta": {"totalCount": len(found), "pageSize": len(found), "pageNumber": 1},
            "links": {"self": f"{_vehicle_url(car, request)}/signals"},
            "included": {"vehicle": _resource(car, request)},
        }
    )


async def signal(request: Request) -> Response:
    """One signal; 404 where the store has none of that code, mistyped or not."""
    car = _users_car(request)
    code = request.path_params["code"]
    for found in _signals(request, car):
        if found["id"] == code:
            return JSONResponse({"data": found, "included": {"vehicle": _resource(car, request)}})
    text = f"Signal with code {code} not found"
    raise V3Error(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND", text)


routes = [
    Route("/v3/vehicles/{vehicle_id}", vehicle),
    Route("/v3/vehicles/{vehicle_id}/signals", signals),
    Route("/v3/vehicles/{vehicle_id}/signals/{code}", signal),
]
