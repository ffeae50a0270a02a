"""The bodies and headers of the V2 vehicle endpoints, by path: alike in single calls and in a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .differences import KM_PER_MILE
from .errors import V2Error, unknown_path
from .records import NOT_CAPABLE, Car, Told
from .state import iso

LITRES_PER_GALLON = 3.785411784
UNSUPPORTED = (
    "/charge/limit",
    "/engine/oil",
    "/tires/pressure",
    "/location",
    "/diagnostics/system_status",
    "/diagnostics/dtcs",
    "/service/history",
)
"""Endpoints Smartcar has and none of these cars can answer (501 on V2, no such signal on V3)."""


@dataclass(frozen=True, slots=True)
class Question:
    """All a V2 endpoint answers from."""

    car: Car
    told: dict[str, Told]
    permissions: tuple[str, ...]
    imperial: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and the headers that belong to it (lower-case, as in a batch)."""

    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def answer(path: str, question: Question) -> Answer:
    """The answer of one endpoint of a vehicle; raises V2Error: 404 for no such path, 501 for not capable."""
    if path in UNSUPPORTED:
        raise _not_capable()
    if path not in ENDPOINTS:
        raise unknown_path(path)
    return ENDPOINTS[path](question)


def _not_capable() -> V2Error:
    text = "The vehicle is incapable of performing your request."
    return V2Error(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE", text)


def _timed(
    question: Question, source: str, body: dict[str, Any], *, units: bool = False, derived: bool = False
) -> Answer:
    """An answer with the times of the field `source`; `derived`: both times are Smartcar's own."""
    told = question.told[source]
    if told.status == NOT_CAPABLE:
        raise _not_capable()
    at = question.now if derived or told.at is None else told.at
    headers = {"sc-data-age": iso(at), "sc-fetched-at": iso(question.now)}
    if units:
        headers["sc-unit-system"] = "imperial" if question.imperial else "metric"
    return Answer(body, headers)


def _value(question: Question, name: str, factor: float = 1) -> Any:
    value = question.told[name].value
    return value if value is None or factor == 1 else value * factor


def _length(question: Question, name: str) -> Any:
    return _value(question, name, 1 / KM_PER_MILE if question.imperial else 1)


def _attributes(question: Question) -> Answer:
    parts = {part: _value(question, f"vehicle-{part}") for part in ("make", "model", "year")}
    return Answer({"id": question.car.id, **parts})


def _vin(question: Question) -> Answer:
    return Answer({"vin": _value(question, "vin")})


def _odometer(question: Question) -> Answer:
    return _timed(question, "odometer", {"distance": _length(question, "odometer")}, units=True)


def _battery(question: Question) -> Answer:
    body = {
        "percentRemaining": _value(question, "battery-percent", 0.01),
        "range": _length(question, "battery-range"),
    }
    return _timed(question, "battery-percent", body, units=True)


def _capacity(question: Question) -> Answer:
    return _timed(question, "capacity", {"capacity": _value(question, "capacity")}, derived=True)


def _nominal_capacity(question: Question) -> Answer:
    capacity = _value(question, "capacity")
    body = {
        "availableCapacities": [{"capacity": capacity, "description": None}],
        "capacity": {"nominal": capacity, "source": "SMARTCAR"},
        "url": None,
    }
    return _timed(question, "capacity", body, derived=True)


def _charge(question: Question) -> Answer:
    body = {"isPluggedIn": _value(question, "charge-plugged"), "state": _value(question, "charge-state")}
    return _timed(question, "charge-state", body)


def _fuel(question: Question) -> Answer:
    body = {
        "amountRemaining": _value(question, "fuel-amount", 1 / LITRES_PER_GALLON if question.imperial else 1),
        "percentRemaining": _value(question, "fuel-percent", 0.01),
        "range": _length(question, "fuel-range"),
    }
    return _timed(question, "fuel-percent", body, units=True)


def _security(question: Question) -> Answer:
    parts: dict[str, Any] = {part: [] for part in ("doors", "windows", "sunroof", "storage", "chargingPort")}
    return _timed(question, "locked", {"isLocked": _value(question, "locked"), **parts})


def _permissions(question: Question) -> Answer:
    permissions = list(question.permissions)
    return Answer({"paging": {"count": len(permissions), "offset": 0}, "permissions": permissions})


ENDPOINTS: dict[str, Callable[[Question], Answer]] = {
    "/": _attributes,
    "/vin": _vin,
    "/odometer": _odometer,
    "/battery": _battery,
    "/battery/capacity": _capacity,
    "/battery/nominal_capacity": _nominal_capacity,
    "/charge": _charge,
    "/fuel": _fuel,
    "/security": _security,
    "/permissions": _permissions,
}
