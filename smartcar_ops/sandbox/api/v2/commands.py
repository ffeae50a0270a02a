"""V2's commands, subscriptions and disconnection. They return success objects, as the official SDKs need (SDK)."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.state import bearer, state_of
from smartcar_ops.sandbox.api.v2.routes import authorise, own_car
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE
from smartcar_ops.sandbox.subscribed import webhook_id
from smartcar_ops.sandbox.wire_errors import V2Error, new_request_id

SUCCESS = {"status": "success"}
DONE = {**SUCCESS, "message": "Successfully sent request to vehicle"}


def _send(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"sc-request-id": new_request_id()})


def _invalid(text: str) -> V2Error:
    return V2Error(400, "VALIDATION", None, text)


async def _asked(request: Request, name: str) -> Any:
    """Return a member of the request's body. Raises V2Error 400 if it is missing."""
    try:
        return json.loads(await request.body())[name]
    except (ValueError, KeyError, TypeError):
        raise _invalid(f"{name} is needed.") from None


async def charge(request: Request) -> Response:
    """Start or stop charging; nothing changes. 501 without a battery."""
    _refuse_without_battery(request)
    if await _asked(request, "action") not in ("START", "STOP"):
        raise _invalid("action must be START or STOP.")
    return _send(DONE)


async def charge_limit(request: Request) -> Response:
    """Set the charge limit, 0.5 to 1, as a number or text; nothing changes. 501 without a battery."""
    _refuse_without_battery(request)
    try:
        limit = float(await _asked(request, "limit"))
    except (TypeError, ValueError):
        limit = 0
    if not 0.5 <= limit <= 1:
        raise _invalid("limit must be between 0.5 and 1.")
    return _send(DONE)


async def security(request: Request) -> Response:
    """Lock or unlock; nothing changes."""
    own_car(request)
    if await _asked(request, "action") not in ("LOCK", "UNLOCK"):
        raise _invalid("action must be LOCK or UNLOCK.")
    return _send(DONE)


async def destination(request: Request) -> Response:
    """Send a destination; nothing changes."""
    own_car(request)
    for name in ("latitude", "longitude"):
        await _asked(request, name)
    return _send(DONE)


async def subscribe(request: Request) -> Response:
    """Subscribe the vehicle to the application's webhook; 404 for another webhook."""
    token, car = authorise(request), own_car(request)
    _check_webhook(request)
    state_of(request).subscribed[(token.user_id, car.id)] = True
    return _send({"webhookId": request.path_params["webhook_id"], "vehicleId": car.id})


async def unsubscribe(request: Request) -> Response:
    """End the subscription for every user of the vehicle. The bearer is the management token (documented)."""
    state, vehicle = state_of(request), request.path_params["vehicle_id"]
    if bearer(request) != state.world.credentials.management_token:
        raise V2Error(401, "AUTHENTICATION", None, "The application management token is missing or wrong.")
    _check_webhook(request)
    for connection in state.directory.find(vehicle_id=vehicle):
        state.subscribed[(connection.user_id, vehicle)] = False
    return _send(SUCCESS)


async def disconnect(request: Request) -> Response:
    """Disconnect the token's user from the vehicle."""
    token, car, directory = authorise(request), own_car(request), state_of(request).directory
    directory.remove(directory.find(token.user_id, car.id))
    return _send(SUCCESS)


def _refuse_without_battery(request: Request) -> None:
    if own_car(request).v2["charge-state"].status == NOT_CAPABLE:
        raise V2Error(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE", "The vehicle has no battery to charge.")


def _check_webhook(request: Request) -> None:
    if request.path_params["webhook_id"] != webhook_id(state_of(request).world):
        raise V2Error(404, "RESOURCE_NOT_FOUND", None, "There is no such webhook.")


_CAR = "/v2.0/vehicles/{vehicle_id}"
routes = [
    Route(f"{_CAR}/charge", charge, methods=["POST"]),
    Route(f"{_CAR}/charge/limit", charge_limit, methods=["POST"]),
    Route(f"{_CAR}/security", security, methods=["POST"]),
    Route(f"{_CAR}/navigation/destination", destination, methods=["POST"]),
    Route(f"{_CAR}/webhooks/{{webhook_id}}", subscribe, methods=["POST"]),
    Route(f"{_CAR}/webhooks/{{webhook_id}}", unsubscribe, methods=["DELETE"]),
    Route(f"{_CAR}/application", disconnect, methods=["DELETE"]),
]
