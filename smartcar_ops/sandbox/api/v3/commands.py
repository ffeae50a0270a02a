"""V3's commands and charge schedules. All succeed at once and change nothing."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smartcar_ops.sandbox.api.state import iso, state_of
from smartcar_ops.sandbox.api.v3.routes import users_car
from smartcar_ops.sandbox.wire_errors import V3Error

Json = dict[str, Any]
COMMANDS = (
    "charge/start",
    "charge/stop",
    "charge/set-limit",
    "charge-port/open",
    "charge-port/close",
    "security/lock",
    "security/unlock",
    "navigation/set-destination",
)
LEAST_LIMIT, MOST_LIMIT = 50, 100


async def command(request: Request) -> Response:
    """Report a command as successful. Raises V3Error 400 for a limit that is not a whole number from 50 to 100."""
    users_car(request)
    kind = request.url.path.partition("/commands/")[2]
    return JSONResponse({"data": _execution(request, kind, await _parameters(request, kind))})


async def schedule(request: Request) -> Response:
    """Report a charge schedule as set (only the path is documented)."""
    users_car(request)
    return JSONResponse({"data": _execution(request, "charge-schedule", {})})


async def end_schedule(request: Request) -> Response:
    """Report a charge schedule as deleted: 204."""
    users_car(request)
    return Response(status_code=204)


async def _parameters(request: Request, kind: str) -> Json:
    if kind not in ("charge/set-limit", "navigation/set-destination"):
        return {}
    try:
        asked: Json = dict(json.loads(await request.body())["data"]["attributes"])
    except (ValueError, KeyError, TypeError):
        raise V3Error(400, "VALIDATION", "MISSING_PARAMETER", "missing data.attributes") from None
    limit = asked.get("percent")
    if kind == "charge/set-limit" and not (type(limit) is int and LEAST_LIMIT <= limit <= MOST_LIMIT):
        raise V3Error(400, "VALIDATION", "INVALID_INPUT_FORMAT", "percent must be a whole number from 50 to 100")
    return asked


def _execution(request: Request, kind: str, parameters: Json) -> Json:
    now = iso(state_of(request).clock())
    return {
        "type": "command-execution",
        "attributes": {
            "commandType": kind,
            "status": {"value": "SUCCESS"},
            "executionMode": "SYNCHRONOUS",
            "parameters": parameters,
        },
        "meta": {"executedAt": now, "completedAt": now, "durationInSeconds": 0},
    }


_CAR = "/v3/vehicles/{vehicle_id}"
routes = [
    *(Route(f"{_CAR}/commands/{name}", command, methods=["POST"]) for name in COMMANDS),
    *(Route(f"{_CAR}/charge-schedules/{kind}", schedule, methods=["POST"]) for kind in ("daily", "weekly", "workweek")),
    Route(f"{_CAR}/charge-schedules/{{schedule_id}}", end_schedule, methods=["DELETE"]),
]
