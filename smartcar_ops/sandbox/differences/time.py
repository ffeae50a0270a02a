"""Differences that are explained by readings at different times, and slow fields whose differences are not."""

from __future__ import annotations

import random

from smartcar_ops.sandbox.differences import body as body
from smartcar_ops.sandbox.differences import driving as driving
from smartcar_ops.sandbox.differences import energy as energy
from smartcar_ops.sandbox.differences import upkeep as upkeep
from smartcar_ops.sandbox.differences.fields import (
    PERCENTS,
    RANGES,
    SERVICES,
    SLOW,
    TIRES,
    VOLATILE,
    parts_told,
    whole_signal,
)
from smartcar_ops.sandbox.differences.kind import Change, Kind, age
from smartcar_ops.sandbox.fleet.model import Car, LocalVehicle

OFF: dict[str, Change] = {
    "odometer": driving.behind,
    "location": driving.elsewhere,
    **dict.fromkeys(PERCENTS, energy.percent_off),
    **dict.fromkeys(RANGES, energy.range_off),
    "fuel-amount": energy.amount_off,
    **dict.fromkeys(("charge-plugged", "charge-state", "charge-state-derived"), energy.other_charge),
    **dict.fromkeys(("locked", *body.GRIDS, *body.FLAPS, "charging-port"), body.other_state),
    **dict.fromkeys(TIRES, body.tire_off),
    "system-status": upkeep.other_system,
    "dtc-list": upkeep.code_missing,
    "dtc-count": upkeep.count_off,
    "service-id": upkeep.service_missing,
}
"""The change that makes a field differ beyond any tolerance."""
SLOW_FIELDS = tuple(field for field in SLOW if field in OFF)
VOLATILE_FIELDS = tuple(field for field in VOLATILE if field in OFF)


def _stale(car: Car, field: str, rng: random.Random) -> None:
    OFF[field](car, field, rng)
    age(car, field, rng.randrange(26, 80) if field in SLOW else 5)


def _hours_apart(car: Car, field: str, rng: random.Random) -> None:
    OFF[field](car, field, rng)
    age(car, field, rng.randrange(2, 23))


def _without_time(car: Car, field: str, rng: random.Random) -> None:
    OFF[field](car, field, rng)
    for part in parts_told(car, field):
        car.retell("v3", part, at=None)


def _struck(field: str) -> tuple[str, ...]:
    """Return the fields that change. A missing service is missing in all fields of the services."""
    return whole_signal(field) if field in SERVICES else (field,)


def _can_differ(vehicle: LocalVehicle, field: str) -> bool:
    if field in ("service-id", "dtc-list"):
        return upkeep.at_least(2)(vehicle, field)
    return energy.seen_apart(vehicle, field)


TRUE_KINDS = (Kind("hours-apart", SLOW_FIELDS, _hours_apart, "mismatch", reach=_struck, fits=_can_differ),)
HARMLESS_KINDS = (
    Kind("stale", (*VOLATILE_FIELDS, *SLOW_FIELDS), _stale, "stale", reach=_struck, fits=_can_differ),
    Kind("no-makers-time", (*VOLATILE_FIELDS, *SLOW_FIELDS), _without_time, "stale", reach=_struck, fits=_can_differ),
)
