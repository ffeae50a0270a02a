"""The V2 vehicle endpoints by path, the same for single calls and batches: their bodies, times and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smartcar_ops.sandbox.api.state import iso
from smartcar_ops.sandbox.fleet.car_upkeep import V2_SYSTEMS, Service
from smartcar_ops.sandbox.fleet.catalogue import KM_PER_MILE, KPA_PER_PSI, LITRES_PER_GALLON
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE, NOT_PERMITTED, SUCCESS, UNPLUGGED, Car, Told
from smartcar_ops.sandbox.wire_errors import V2Error, unknown_path


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a V2 endpoint needs to answer."""

    car: Car
    told: dict[str, Told]
    permissions: tuple[str, ...]
    imperial: bool
    now: datetime
    offset: int = 0
    limit: int = 25

    def value(self, name: str) -> Any:
        """Return the value that V2 has for a field."""
        return self.told[name].value

    def share(self, name: str) -> Any:
        """Return a percentage as V2 writes it, from 0 to 1."""
        value = self.value(name)
        return value if value is None else value * 0.01

    def measure(self, value: float | None, per_imperial: float) -> float | None:
        """Return a metric number in the requested units; `per_imperial`: metric units in one imperial unit."""
        return value / per_imperial if value is not None and self.imperial else value

    def length(self, name: str) -> float | None:
        """Return a field in km, or in miles."""
        return self.measure(self.value(name), KM_PER_MILE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and its headers (lower-case, as in a batch)."""

    body: Any
    headers: dict[str, str] = field(default_factory=dict)


REFUSALS = {
    NOT_CAPABLE: (
        501,
        "COMPATIBILITY",
        "VEHICLE_NOT_CAPABLE",
        "The vehicle is incapable of performing your request.",
    ),
    NOT_PERMITTED: (
        403,
        "PERMISSION",
        None,
        "Your application has insufficient permissions to access the requested resource.",
    ),
    UNPLUGGED: (409, "VEHICLE_STATE", UNPLUGGED, "The vehicle's charging plug is not connected."),
}
"""Status, type, code and description of the error for each status of an endpoint's field."""


def timed(question: Question, source: str, body: Any, *, units: bool = False, derived: bool = False) -> Answer:
    """Return an answer with the times of the field `source`; `derived`: both times are Smartcar's, not the car's.

    Raises V2Error 501 if the car is not capable of the field, 403 without the permission, 409 in the wrong state.
    """
    told = question.told[source]
    if told.status in REFUSALS:
        raise V2Error(*REFUSALS[told.status])
    at = question.now if derived or told.at is None else told.at
    headers = {"sc-data-age": iso(at), "sc-fetched-at": iso(question.now)}
    if units:
        headers["sc-unit-system"] = "imperial" if question.imperial else "metric"
    return Answer(told.written(body) if isinstance(body, dict) else body, headers)


Json = dict[str, Any]
STATUS = {True: "OPEN", False: "CLOSED", None: "UNKNOWN"}


def odometer(question: Question) -> Answer:
    """Return the distance in km or miles."""
    return timed(question, "odometer", {"distance": question.length("odometer")}, units=True)


def location(question: Question) -> Answer:
    """Return latitude and longitude in degrees."""
    return timed(question, "location", dict(question.value("location")))


def tires(question: Question) -> Answer:
    """Return the pressures in kPa or psi."""
    pressures = question.value("tires").pressures
    body = {place: question.measure(value, KPA_PER_PSI) for place, value in pressures.items()}
    return timed(question, "tires", body, units=True)


def security(question: Question) -> Answer:
    """Return the lock, and OPEN, CLOSED or UNKNOWN by part. A part that the car lacks is an empty list."""
    body = {
        "isLocked": question.value("locked"),
        "doors": _parts(question.value("doors")),
        "windows": _parts(question.value("windows")),
        "sunroof": _parts({"sunroof": question.value("sunroof")}),
        "storage": _parts({"rear": question.value("rear-trunk"), "front": _front(question)}),
        "chargingPort": _parts({"chargingPort": _flap(question)}),
    }
    return timed(question, "locked", body)


def _front(question: Question) -> Any:
    """Return the front trunk of a battery car, the hood of any other."""
    return question.value("front-trunk") or question.value("hood")


def _flap(question: Question) -> Any:
    is_open = question.value("port-open")
    return None if is_open is None else {"isOpen": is_open}


def _parts(told: dict[str, Any]) -> list[Json]:
    return [{"type": name, "status": part.get("status", STATUS[part["isOpen"]])} for name, part in told.items() if part]


def system_status(question: Question) -> Answer:
    """Return OK or ALERT for every system that the car has."""
    told = [(system, question.told[system.field]) for system in V2_SYSTEMS]
    found = [{"systemId": system.id, **t.value} for system, t in told if t.status == SUCCESS]
    return timed(question, "trouble-codes", {"systems": found})


def trouble_codes(question: Question) -> Answer:
    """Return the active trouble codes, each with the time it last became active."""
    codes = [{"code": told["code"], "timestamp": iso(told["timestamp"])} for told in question.value("trouble-codes")]
    return timed(question, "trouble-codes", {"activeCodes": codes})


def services(question: Question) -> Answer:
    """Return the garage visits of the last year, as a bare list."""
    return timed(question, "services", [_service(visit, question) for visit in question.value("services")], units=True)


def _service(visit: Service, question: Question) -> Json:
    return {
        "serviceId": visit.id,
        "serviceDate": iso(visit.at),
        "odometerDistance": question.measure(visit.odometer, KM_PER_MILE),
        "serviceTasks": [{"taskId": own, "taskDescription": text} for own, text in visit.tasks],
        "serviceDetails": [{"type": "type", "value": visit.garage}],
        "serviceCost": {"totalCost": visit.cost, "currency": visit.currency},
    }


def battery(question: Question) -> Answer:
    """Return the charge from 0 to 1 and the range in km or miles."""
    body = {"percentRemaining": question.share("battery-percent"), "range": question.length("battery-range")}
    return timed(question, "battery-percent", body, units=True)


def capacity(question: Question) -> Answer:
    """Return the capacity in kWh, from the older endpoint."""
    return timed(question, "old-capacity", {"capacity": question.value("old-capacity")}, derived=True)


def nominal_capacity(question: Question) -> Answer:
    """Return the nominal capacity in kWh and its source. Both times are Smartcar's."""
    nominal = question.value("capacity")
    body = {
        "availableCapacities": [{"capacity": nominal, "description": None}],
        "capacity": {"nominal": nominal, "source": "SMARTCAR"},
        "url": None,
    }
    return timed(question, "capacity", body, derived=True)


def charge(question: Question) -> Answer:
    """Return whether the car is plugged in, and its charging state."""
    body = {"isPluggedIn": question.value("charge-plugged"), "state": question.value("charge-state")}
    return timed(question, "charge-state", body)


def charge_limit(question: Question) -> Answer:
    """Return the charge limit from 0 to 1."""
    return timed(question, "charge-limit", {"limit": question.share("charge-limit")})


def fuel(question: Question) -> Answer:
    """Return the fuel in liters (gallons) and from 0 to 1, and the range in km or miles."""
    body = {
        "amountRemaining": question.measure(question.value("fuel-amount"), LITRES_PER_GALLON),
        "percentRemaining": question.share("fuel-percent"),
        "range": question.length("fuel-range"),
    }
    return timed(question, "fuel-percent", body, units=True)


def oil(question: Question) -> Answer:
    """Return the oil life from 0 to 1."""
    return timed(question, "oil-life", {"lifeRemaining": question.share("oil-life")})


def answer(path: str, question: Question) -> Answer:
    """Return the answer of a vehicle's endpoint. Raises V2Error: 404 if the path is unknown, or like `timed`."""
    if path not in ENDPOINTS:
        raise unknown_path(path)
    return ENDPOINTS[path](question)


def _attributes(question: Question) -> Answer:
    parts = {part: question.value(f"vehicle-{part}") for part in ("make", "model", "year")}
    return Answer({"id": question.car.id, **parts})


def _vin(question: Question) -> Answer:
    return Answer({"vin": question.value("vin")})


def _permissions(question: Question) -> Answer:
    page = question.permissions[question.offset : question.offset + question.limit]
    paging = {"count": len(question.permissions), "offset": question.offset}
    return Answer({"paging": paging, "permissions": list(page)})


ENDPOINTS: dict[str, Callable[[Question], Answer]] = {
    "/": _attributes,
    "/vin": _vin,
    "/permissions": _permissions,
    "/battery": battery,
    "/battery/capacity": capacity,
    "/battery/nominal_capacity": nominal_capacity,
    "/charge": charge,
    "/charge/limit": charge_limit,
    "/fuel": fuel,
    "/engine/oil": oil,
    "/odometer": odometer,
    "/location": location,
    "/tires/pressure": tires,
    "/security": security,
    "/diagnostics/system_status": system_status,
    "/diagnostics/dtcs": trouble_codes,
    "/service/history": services,
}
