"""The V3 signals of a car, as `GET /v3/vehicles/{id}/signals` returns them (seen)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from smartcar_ops.sandbox.api.json_api import write_time
from smartcar_ops.sandbox.api.state import State
from smartcar_ops.sandbox.api.v3.signal_catalogue import SIGNALS, Signal
from smartcar_ops.sandbox.fleet.car_energy import NOTHING
from smartcar_ops.sandbox.fleet.model import (
    CACHED,
    MISSING,
    NOT_CAPABLE,
    NOT_CHARGING,
    NOT_PERMITTED,
    NULLS,
    SUCCESS,
    UNAVAILABLE,
    Car,
    Told,
)
from smartcar_ops.sandbox.fleet.seeded import one_in

Json = dict[str, Any]
MAX_STORED = timedelta(seconds=1.4)
LONG_ASLEEP = timedelta(hours=30)
KEPT = ("row", "column", "rowCount", "columnCount", "unit", "type")


UNRESOLVED = "UNKNOWN_RESOLUTION_TYPE"
PERMISSION_TEXT = (
    "Your application has insufficient permissions to access the requested resource. "
    "Please prompt the user to re-authenticate using Smartcar Connect."
)
ASLEEP_TEXT = "The vehicle is in a sleep state and temporarily unable to perform your request."
NOT_CHARGING_TEXT = "The vehicle is unable to perform your request because it is not currently charging."
ERRORS = {
    NOT_CAPABLE: (
        "COMPATIBILITY",
        "VEHICLE_NOT_CAPABLE",
        "The vehicle is incapable of performing your request.",
        UNRESOLVED,
    ),
    NOT_PERMITTED: ("PERMISSION", "UNKNOWN", PERMISSION_TEXT, "REAUTHENTICATE"),
    CACHED: ("VEHICLE_STATE", "ASLEEP", ASLEEP_TEXT, UNRESOLVED),
    NOT_CHARGING: ("VEHICLE_STATE", "NOT_CHARGING", NOT_CHARGING_TEXT, UNRESOLVED),
}


def write_signals(car: Car, state: State, vehicle_url: str) -> list[Json]:
    """Return all signals that the store holds for a car, ordered by code."""
    told = state.read(car, "v3")
    read = [(signal, _as_stored(signal, told.get(signal.field, NOTHING), car, state)) for signal in SIGNALS]
    return [_signal(signal, t, car, state, vehicle_url) for signal, t in read if t.status != MISSING]


def is_cached(vehicle_id: str, code: str) -> bool:
    """Return whether `cached-error-bodies` applies to this signal of this vehicle."""
    return one_in(3, "cached", vehicle_id, code)


def is_nulled(vehicle_id: str, code: str) -> bool:
    """Return whether `success-with-nulls` applies to this signal of this vehicle."""
    return one_in(3, "nulls", vehicle_id, code)


def _as_stored(signal: Signal, told: Told, car: Car, state: State) -> Told:
    """Return the reading. Under `cached-error-bodies`, one in three becomes ASLEEP with a time 30 hours earlier."""
    struck = state.behaviour.cached_errors and is_cached(car.id, signal.code)
    if not struck or told.status != SUCCESS or told.value is None:
        return told
    return replace(told, status=CACHED, at=told.at and told.at - LONG_ASLEEP)


def _signal(signal: Signal, told: Told, car: Car, state: State, vehicle_url: str) -> Json:
    attributes: Json = {
        "code": signal.code,
        "name": signal.name,
        "group": signal.group,
        "status": _status(told),
    }
    body = _body(signal, told)
    if body is not None:
        nulled = state.behaviour.nulls and told.status == SUCCESS and is_nulled(car.id, signal.code)
        attributes["body"] = without_values(body) if nulled else body
    return {
        "id": signal.code,
        "type": "signal",
        "attributes": attributes,
        "meta": {name: write_time(at, state, car.id) for name, at in _times(told, state.world.now).items()},
        "links": {"self": f"{vehicle_url}/signals/{signal.code}"},
    }


def without_values(body: Any) -> Any:
    """Return the same body with null for every value. Positions, units and counts stay."""
    if isinstance(body, dict):
        return {name: value if name in KEPT else without_values(value) for name, value in body.items()}
    if isinstance(body, list):
        return [without_values(value) for value in body if isinstance(value, dict)]
    return None


def _status(told: Told) -> Json:
    if told.status in (SUCCESS, NULLS):
        return {"value": SUCCESS}
    if told.status == UNAVAILABLE:
        return {"value": UNAVAILABLE}
    type_, code, detail, resolution = ERRORS[told.status]
    return {
        "value": "ERROR",
        "error": {
            "type": type_,
            "code": code,
            "title": code.replace("_", " ").title(),
            "detail": detail,
            "description": "Deprecated. Use detail",
            "resolution": {"type": resolution},
        },
    }


def _body(signal: Signal, told: Told) -> Json | None:
    """Return the body, or None if there is no value.

    If the car is not capable of the signal, a code of even length gets a body with a null member.
    """
    if told.value is None and (told.status != NOT_CAPABLE or len(signal.code) % 2):
        return None
    body = told.written(signal.write(told.value, signal.unit))
    return without_values(body) if told.status == NULLS else body


def _times(told: Told, stored: datetime) -> dict[str, datetime]:
    """Return the three times, or only `ingestedAt` if there is no time from the maker."""
    if told.at is None:
        return {"ingestedAt": stored}
    ingested = stored if told.status in (CACHED, NOT_CHARGING) else told.at + MAX_STORED
    return {"ingestedAt": ingested, "retrievedAt": told.at + MAX_STORED / 2, "oemUpdatedAt": told.at}
