"""V3 management: webhook subscriptions, webhooks and the application itself."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.directory import Key, key_of
from smartcar_ops.sandbox.api.json_api import answer_one, answer_page, origin, read_page
from smartcar_ops.sandbox.api.state import State, state_of
from smartcar_ops.sandbox.api.v3.routes import authorise
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.fleet.seeded import id_of
from smartcar_ops.sandbox.subscribed import CALLBACK, WEBHOOK_NAME, webhook_id
from smartcar_ops.sandbox.wire_errors import V3Error

Json = dict[str, Any]
DEFAULT_PAGE = 25
USER, WEBHOOK, VEHICLE, MODE = "filter[userId]", "filter[webhookId]", "filter[vehicleId]", "filter[vehicle.mode]"


async def list_subscriptions(request: Request) -> Response:
    """Return a page of subscriptions, those of the newest connections first: 25 by default, at most 100."""
    authorise(request)
    state, query = state_of(request), request.query_params
    wanted = {name: query[name] for name in (USER, WEBHOOK, VEHICLE, MODE) if name in query}
    page = read_page(request, wanted, DEFAULT_PAGE)
    return answer_page(request, page, _matching(state, wanted), lambda c: _write(c, state, origin(request)))


async def get_subscription(request: Request) -> Response:
    """Return one subscription by its id; 404 if there is none."""
    authorise(request)
    return answer_one(request, _write(_wanted(request), state_of(request), origin(request)))


async def subscribe(request: Request) -> Response:
    """Subscribe a connection: 202, visible at once; 409 if it is already subscribed, 404 if it does not exist."""
    authorise(request)
    state = state_of(request)
    user, vehicle = await _asked(request)
    found = state.directory.find(user, vehicle)
    if not found:
        raise V3Error(404, "RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND", "This user has not connected this vehicle.")
    if state.is_subscribed(found[0]):
        raise V3Error(409, "VALIDATION", "SUBSCRIPTION_EXISTS", "This vehicle is already subscribed.")
    state.subscribed[(user, vehicle)] = True
    return JSONResponse({"data": _write(found[0], state, origin(request))}, 202)


async def unsubscribe(request: Request) -> Response:
    """End a subscription: 204, or 404 if there is none."""
    authorise(request)
    state_of(request).subscribed[key_of(_wanted(request))] = False
    return Response(status_code=204)


async def list_webhooks(request: Request) -> Response:
    """Return the application's webhooks: a list of one."""
    authorise(request)
    page = read_page(request, {}, DEFAULT_PAGE)
    return answer_page(request, page, [_webhook(request)], lambda webhook: webhook)


async def get_webhook(request: Request) -> Response:
    """Return one webhook by its id; 404 for any other id."""
    authorise(request)
    webhook = _webhook(request)
    if request.path_params["webhook_id"] != webhook["id"]:
        raise V3Error(404, "RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND", "There is no such webhook.")
    return answer_one(request, webhook)


async def list_applications(request: Request) -> Response:
    """Return the application that the token belongs to (only the path is documented; the shape is supposed)."""
    authorise(request)
    return answer_page(request, read_page(request, {}, DEFAULT_PAGE), [_application(request)], lambda found: found)


async def get_application(request: Request) -> Response:
    """Return the same application by its Application ID; 404 for any other id."""
    authorise(request)
    application = _application(request)
    if request.path_params["application_id"] != application["id"]:
        raise V3Error(404, "RESOURCE_NOT_FOUND", "APPLICATION_NOT_FOUND", "There is no such application.")
    return answer_one(request, application)


def _matching(state: State, wanted: dict[str, str]) -> list[Connection]:
    if wanted.get(WEBHOOK, webhook_id(state.world)) != webhook_id(state.world):
        return []
    found = state.directory.find(wanted.get(USER), wanted.get(VEHICLE), None, wanted.get(MODE))
    return [connection for connection in found if state.is_subscribed(connection)]


def _wanted(request: Request) -> Connection:
    state, wanted = state_of(request), request.path_params["subscription_id"]
    for connection in _matching(state, {}):
        if _subscription_id(connection) == wanted:
            return connection
    raise V3Error(404, "RESOURCE_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND", f"Subscription with ID {wanted} not found")


async def _asked(request: Request) -> Key:
    try:
        asked = json.loads(await request.body())["data"]["attributes"]
        webhook, user, vehicle = (str(asked[name]) for name in ("webhookId", "userId", "vehicleId"))
    except (ValueError, KeyError, TypeError):
        raise V3Error(400, "VALIDATION", "MISSING_PARAMETER", "webhookId, userId and vehicleId are needed") from None
    if webhook != webhook_id(state_of(request).world):
        raise V3Error(404, "RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND", "There is no such webhook.")
    return user, vehicle


def _subscription_id(connection: Connection) -> str:
    return id_of("subscription", *key_of(connection))


def _write(connection: Connection, state: State, url: str) -> Json:
    related = {"webhook": webhook_id(state.world), "user": connection.user_id, "vehicle": connection.vehicle_id}
    own = _subscription_id(connection)
    return {
        "id": own,
        "type": "subscription",
        "attributes": {f"{name}Id": value for name, value in related.items()},
        "relationships": {name: {"data": {"id": value, "type": name}} for name, value in related.items()},
        "links": {"self": f"{url}/v3/subscriptions/{own}"},
    }


def _webhook(request: Request) -> Json:
    own = webhook_id(state_of(request).world)
    return {
        "id": own,
        "type": "webhook",
        "attributes": {
            "name": WEBHOOK_NAME,
            "callbackUri": CALLBACK,
            "errorCallbackUri": CALLBACK,
            "isEnabled": True,
            "autoSubscribe": True,
            "triggers": [{"type": "SIGNAL_UPDATED", "signal": {"code": "odometer-traveleddistance"}}],
            "data": {"signals": [{"code": "odometer-traveleddistance"}, {"code": "tractionbattery-stateofcharge"}]},
        },
        "links": {"self": f"{origin(request)}/v3/webhooks/{own}"},
    }


def _application(request: Request) -> Json:
    own = state_of(request).world.credentials.application_id
    return {
        "id": own,
        "type": "application",
        "attributes": {"name": "Pretend application"},
        "links": {"self": f"{origin(request)}/v3/applications/{own}"},
    }


routes = [
    Route("/v3/subscriptions", list_subscriptions),
    Route("/v3/subscriptions", subscribe, methods=["POST"]),
    Route("/v3/subscriptions/{subscription_id}", get_subscription),
    Route("/v3/subscriptions/{subscription_id}", unsubscribe, methods=["DELETE"]),
    Route("/v3/webhooks", list_webhooks),
    Route("/v3/webhooks/{webhook_id}", get_webhook),
    Route("/v3/applications", list_applications),
    Route("/v3/applications/{application_id}", get_application),
]
