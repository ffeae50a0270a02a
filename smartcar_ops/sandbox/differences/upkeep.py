"""Differences in the upkeep of a car: systems, trouble codes and services."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from smartcar_ops.sandbox.differences.fields import SERVICES, parts_told, whole_signal
from smartcar_ops.sandbox.differences.kind import Change, Fits, Kind, tell, told
from smartcar_ops.sandbox.fleet.car_upkeep import ALERT, FINE, TASKS, TROUBLE, Service
from smartcar_ops.sandbox.fleet.model import MISSING, Car, LocalVehicle, Told

SYSTEMS, CODES, COUNT = ("system-status",), ("dtc-list",), ("dtc-count",)
TPMS = "system-tirepressuremonitoring"


def other_system(car: Car, field: str, rng: random.Random) -> None:
    """Swap OK and ALERT of one system on V3."""
    part = rng.choice(parts_told(car, field))
    car.retell("v3", part, value=ALERT if car.v2[part].value["status"] == "OK" else FINE)


def code_missing(car: Car, field: str, rng: random.Random) -> None:
    """Remove one code from V3's list."""
    codes = told(car, field)[:]
    codes.pop(rng.randrange(len(codes)))
    tell(car, field, codes)


def count_off(car: Car, field: str, rng: random.Random) -> None:
    """Add one to V3's count."""
    tell(car, field, told(car, field) + 1)


def service_missing(car: Car, field: str, rng: random.Random) -> None:
    """Remove the newest service from V3."""
    tell(car, field, told(car, field)[1:])


def _one(change: Callable[[Service, random.Random], Service]) -> Change:
    """Return a change that applies `change` to one of the services on V3."""

    def changed(car: Car, field: str, rng: random.Random) -> None:
        visits = told(car, field)[:]
        place = rng.randrange(len(visits))
        visits[place] = change(visits[place], rng)
        tell(car, field, visits)

    return changed


def _another_day(visit: Service, rng: random.Random) -> Service:
    return replace(visit, at=visit.at - timedelta(days=rng.randrange(2, 8)))


def _further(visit: Service, rng: random.Random) -> Service:
    return replace(visit, odometer=visit.odometer + rng.randrange(100, 900))


def _dearer(visit: Service, rng: random.Random) -> Service:
    return replace(visit, cost=visit.cost + rng.randrange(10, 90))


def _other_tasks(visit: Service, rng: random.Random) -> Service:
    return replace(visit, tasks=(rng.choice([task for task in TASKS if task not in visit.tasks]),))


def _nearly(visit: Service, rng: random.Random) -> Service:
    return replace(visit, odometer=visit.odometer + 0.6)


OTHERWISE = {
    "service-date": _one(_another_day),
    "service-odometer": _one(_further),
    "service-tasks": _one(_other_tasks),
    "service-cost": _one(_dearer),
}
service_rounded = _one(_nearly)


def _code_more(car: Car, field: str, rng: random.Random) -> None:
    known = {code["code"] for code in told(car, field)}
    new = rng.choice([code for code in TROUBLE if code not in known])
    tell(car, field, [*told(car, field), {"code": new, "timestamp": car.v2["trouble-codes"].at}])


def _codes_shuffled(car: Car, field: str, rng: random.Random) -> None:
    tell(car, field, told(car, field)[::-1])


def _first_detected(car: Car, field: str, rng: random.Random) -> None:
    """Let V3 return when a code was first seen (9 days earlier), V2 when it was last seen."""
    earlier = [{**code, "timestamp": code["timestamp"] - timedelta(days=9)} for code in told(car, field)]
    tell(car, field, earlier)


def _without_ids(car: Car, field: str, rng: random.Random) -> None:
    tell(car, field, [replace(visit, id=None) for visit in told(car, field)])


def _numeric_ids(car: Car, field: str, rng: random.Random) -> None:
    visits = [
        replace(visit, id=int(visit.id), tasks=tuple((int(own), text) for own, text in visit.tasks))
        for visit in told(car, field)
    ]
    car.retell("v2", "services", value=visits)


def _one_untold(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", rng.choice(parts_told(car, field)), status=MISSING)


def _engine(car: Car, field: str, rng: random.Random) -> None:
    car.v2["system-engine"] = Told(rng.choice((FINE, ALERT)), car.v2["trouble-codes"].at)


def _tpms(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", TPMS, value={**car.v2[TPMS].value, "systemId": "SYSTEM_TPMS"})


def _other_words(car: Car, field: str, rng: random.Random) -> None:
    part = rng.choice(parts_told(car, field))
    car.retell("v3", part, value={**car.v2[part].value, "description": "See the manual"})


def at_least(count: int) -> Fits:
    """Return a condition: the car has at least `count` codes, or services."""

    def fits(vehicle: LocalVehicle, field: str) -> bool:
        return len(told(vehicle.car, field)) >= count

    return fits


WITHOUT_IDS = dict.fromkeys(SERVICES, "equal") | {"service-id": "unavailable"}
TRUE_KINDS = (
    Kind("system-contradiction", SYSTEMS, other_system, "mismatch"),
    Kind("code-missing", CODES, code_missing, "mismatch", fits=at_least(2)),
    Kind("code-more", CODES, _code_more, "mismatch", fits=at_least(1)),
    Kind("code-count-off", COUNT, count_off, "mismatch"),
    Kind("service-missing", SERVICES[:1], service_missing, "mismatch", reach=whole_signal, fits=at_least(2)),
    *(Kind(f"{field}-differs", (field,), change, "mismatch") for field, change in OTHERWISE.items()),
)
HARMLESS_KINDS = (
    Kind("systems-more-on-v3", SYSTEMS, _one_untold, "equal"),
    Kind("system-without-signal", SYSTEMS, _engine, "equal"),
    Kind("system-tpms", SYSTEMS, _tpms, "equal"),
    Kind("system-words", SYSTEMS, _other_words, "equal"),
    Kind("codes-shuffled", CODES, _codes_shuffled, "equal", fits=at_least(2)),
    Kind("code-times", CODES, _first_detected, "equal"),
    Kind("services-shuffled", SERVICES[:1], _codes_shuffled, "equal", reach=whole_signal, fits=at_least(2)),
    Kind("services-without-ids", SERVICES[:1], _without_ids, WITHOUT_IDS, reach=whole_signal),
    Kind("services-with-numbers", SERVICES[:1], _numeric_ids, "equal", reach=whole_signal),
)
