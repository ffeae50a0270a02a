"""The V3 vehicle API: an application token, `sc-user-id`, and reads from a store."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.json_api import answer_one, answer_page, origin, read_page
from smartcar_ops.sandbox.api.state import bearer, state_of
from smartcar_ops.sandbox.api.v3.signals import write_signals
from smartcar_ops.sandbox.fleet.model import Car
from smartcar_ops.sandbox.fleet.seeded import one_in
from smartcar_ops.sandbox.wire_errors import V3Error

Json = dict[str, Any]


def authorise(request: Request) -> None:
    """Raise V3Error 401 unless the request has a valid application token. A V2 user token does not count."""
    state, token = state_of(request), bearer(request)
    if state.token_is_valid(token) or (state.behaviour.user_token_on_v3 and state.user_token(token)):
        return
    text = "The authorization header is missing, malformed, or the access token is expired."
    raise V3Error(401, "AUTHENTICATION", "UNAUTHORIZED", text)


def is_listed_only(vehicle_id: str) -> bool:
    """Return whether `listed-but-404` applies to this vehicle: it is connected and listed, but 404 (reported)."""
    return one_in(8, "listed only", vehicle_id)


def attributes(car: Car) -> Json:
    """Return a vehicle's attributes as V3 writes them."""
    parts = {part: car.v3[f"vehicle-{part}"].value for part in ("make", "model", "year")}
    return {**parts, "mode": car.mode, "powertrainType": car.powertrain}


def write_vehicle(car: Car, request: Request) -> Json:
    """Return the vehicle resource, which is also used under `included`."""
    return {
        "id": car.id,
        "type": "vehicle",
        "attributes": attributes(car),
        "links": {"self": _vehicle_url(car, request)},
    }


def users_car(request: Request) -> Car:
    """Return the car in the path, for the user in the `sc-user-id` header.

    Raises V3Error 400 without the header, and 404 (403 under `wrong-user-403`) for a user not connected to the car.
    """
    authorise(request)
    state, user = state_of(request), request.headers.get("sc-user-id")
    if not user and not state.behaviour.missing_user_accepted:
        raise V3Error(400, "VALIDATION", "MISSING_PARAMETER", "missing userId")
    car = _connected_car(request)
    if user and not state.directory.find(user, car.id):
        raise _stranger(car.id, state.behaviour.wrong_user_status)
    return car


def _connected_car(request: Request) -> Car:
    """Return the car in the path. Raises V3Error 404 if no user is connected to it."""
    authorise(request)
    vehicle_id: str = request.path_params["vehicle_id"]
    state = state_of(request)
    lost = state.behaviour.listed_but_404 and is_listed_only(vehicle_id)
    if lost or vehicle_id not in state.directory.by_vehicle:
        raise _not_found(vehicle_id)
    return state.cars[vehicle_id]


def _not_found(vehicle_id: str) -> V3Error:
    text = f"Vehicle with ID {vehicle_id} not found"
    return V3Error(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND", text)


def _stranger(vehicle_id: str, status: int) -> V3Error:
    """Return the error for a user not connected to the vehicle (unknown: both 404 and 403 have been supposed)."""
    if status == 403:
        return V3Error(403, "AUTHENTICATION", "ACCESS_DENIED", "The user has no access to this vehicle.")
    return _not_found(vehicle_id)


def _vehicle_url(car: Car, request: Request) -> str:
    return f"{origin(request)}/v3/vehicles/{car.id}"


def _signals(request: Request, car: Car) -> list[Json]:
    state = state_of(request)
    return [] if state.behaviour.empty_store else write_signals(car, state, _vehicle_url(car, request))


async def vehicle(request: Request) -> Response:
    """Return one vehicle. `sc-user-id` is not needed (documented)."""
    return answer_one(request, write_vehicle(_connected_car(request), request))


def _refuse_unfed(request: Request, car: Car) -> None:
    """Under `unsubscribed-404`, raise V3Error 404 if no webhook is subscribed to this user's car (reported)."""
    state = state_of(request)
    consents = state.directory.find(request.headers.get("sc-user-id"), car.id)
    if state.behaviour.unsubscribed_404 and not any(map(state.is_subscribed, consents)):
        raise V3Error(404, "RESOURCE_NOT_FOUND", "SIGNALS_NOT_FOUND", "There are no signals for this vehicle.")


async def signals(request: Request) -> Response:
    """Return all signals of a vehicle on one page (in pages under `signals-paged`), with the vehicle in `included`."""
    car = users_car(request)
    _refuse_unfed(request, car)
    found = _signals(request, car)
    if size := state_of(request).behaviour.signals_page:
        included = {"vehicle": write_vehicle(car, request)}
        return answer_page(request, read_page(request, {}, size), found, lambda one: one, included=included)
    number = "page" if state_of(request).behaviour.old_envelope else "pageNumber"
    return JSONResponse(
        {
            "data": found,
            "meta": {"totalCount": len(found), "pageSize": len(found), number: 1},
            "links": {"self": f"{_vehicle_url(car, request)}/signals"},
            "included": {"vehicle": write_vehicle(car, request)},
        }
    )


async def signal(request: Request) -> Response:
    """Return one signal; 404 if the store has none with this code, whether or not the code exists."""
    car = users_car(request)
    code = request.path_params["code"]
    stored = [] if state_of(request).behaviour.signal_404 else _signals(request, car)
    for found in stored:
        if found["id"] == code:
            return answer_one(request, found, {"vehicle": write_vehicle(car, request)})
    text = f"Signal with code {code} not found"
    raise V3Error(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND", text)


routes = [
    Route("/v3/vehicles/{vehicle_id}", vehicle),
    Route("/v3/vehicles/{vehicle_id}/signals", signals),
    Route("/v3/vehicles/{vehicle_id}/signals/{code}", signal),
]
