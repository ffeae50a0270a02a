"""The V2 vehicle endpoints by path: alike in single calls and in a batch."""

from __future__ import annotations

from collections.abc import Callable

from . import v2_condition, v2_energy
from .errors import unknown_path
from .v2_answers import Answer, Question


def answer(path: str, question: Question) -> Answer:
    """The answer of one endpoint of a vehicle; raises V2Error: 404 for no such path, 501 for not capable."""
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
    "/battery": v2_energy.battery,
    "/battery/capacity": v2_energy.capacity,
    "/battery/nominal_capacity": v2_energy.nominal_capacity,
    "/charge": v2_energy.charge,
    "/charge/limit": v2_energy.charge_limit,
    "/fuel": v2_energy.fuel,
    "/engine/oil": v2_energy.oil,
    "/odometer": v2_condition.odometer,
    "/location": v2_condition.location,
    "/tires/pressure": v2_condition.tires,
    "/security": v2_condition.security,
    "/diagnostics/system_status": v2_condition.system_status,
    "/diagnostics/dtcs": v2_condition.trouble_codes,
    "/service/history": v2_condition.services,
}
