"""V2's endpoints of the car around the drive: closures, tires, place, systems, services (SDK, documented)."""

from __future__ import annotations

from typing import Any

from .car_upkeep import V2_SYSTEMS, Service
from .records import SUCCESS
from .state import iso
from .units import KM_PER_MILE, KPA_PER_PSI
from .v2_answers import Answer, Question, timed

Json = dict[str, Any]
STATUS = {True: "OPEN", False: "CLOSED", None: "UNKNOWN"}


def odometer(question: Question) -> Answer:
    """km or miles."""
    return timed(question, "odometer", {"distance": question.length("odometer")}, units=True)


def location(question: Question) -> Answer:
    """Degrees."""
    return timed(question, "location", dict(question.value("location")))


def tires(question: Question) -> Answer:
    """kPa or psi."""
    pressures = question.value("tires").pressures
    body = {place: question.measure(value, KPA_PER_PSI) for place, value in pressures.items()}
    return timed(question, "tires", body, units=True)


def security(question: Question) -> Answer:
    """The lock, and OPEN, CLOSED or UNKNOWN by part; a part the car lacks is an empty list."""
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
    """The front trunk of a battery car, the hood of any other."""
    return question.value("front-trunk") or question.value("hood")


def _flap(question: Question) -> Any:
    is_open = question.value("port-open")
    return None if is_open is None else {"isOpen": is_open}


def _parts(told: dict[str, Any]) -> list[Json]:
    return [{"type": name, "status": part.get("status", STATUS[part["isOpen"]])} for name, part in told.items() if part]


def system_status(question: Question) -> Answer:
    """OK or ALERT of every system the car has."""
    told = [(system, question.told[system.field]) for system in V2_SYSTEMS]
    found = [{"systemId": system.id, **t.value} for system, t in told if t.status == SUCCESS]
    return timed(question, "trouble-codes", {"systems": found})


def trouble_codes(question: Question) -> Answer:
    """The active codes, each with the time it last became active."""
    codes = [{"code": told["code"], "timestamp": iso(told["timestamp"])} for told in question.value("trouble-codes")]
    return timed(question, "trouble-codes", {"activeCodes": codes})


def services(question: Question) -> Answer:
    """The visits to a garage of the last year: a bare list."""
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
