"""Differences in where a car is and how far it has driven: odometer and location."""

from __future__ import annotations

import random
from datetime import timedelta

from smartcar_ops.sandbox.differences.kind import Kind, part_of, tell, told
from smartcar_ops.sandbox.fleet.catalogue import KM_PER_MILE
from smartcar_ops.sandbox.fleet.model import Car, LocalVehicle

MOVING = ("odometer", "battery-percent", "battery-range", "location")


def behind(car: Car, field: str, rng: random.Random) -> None:
    """Set V3's odometer 20 to 199 km lower, as after some trips."""
    tell(car, field, round(told(car, field) - rng.randrange(20, 200), 1))


def elsewhere(car: Car, field: str, rng: random.Random) -> None:
    """Move V3's place 220 m to 2.2 km to the north or south."""
    _place(car, field, rng.choice((-1, 1)) * rng.uniform(0.002, 0.02))


def nearby(car: Car, field: str, rng: random.Random) -> None:
    """Move V3's place 11 m to the north or south."""
    _place(car, field, rng.choice((-1, 1)) * 0.0001)


def _place(car: Car, field: str, degrees: float) -> None:
    place = told(car, field)
    tell(car, field, {**place, "latitude": round(place["latitude"] + degrees, 4)})


def _in_miles(car: Car, field: str, rng: random.Random) -> None:
    tell(car, field, round(told(car, field) / KM_PER_MILE, 1))


def _backwards(car: Car, field: str, rng: random.Random) -> None:
    read = car.v2[part_of(car, field)]
    assert read.at is not None
    car.retell("v2", field, at=read.at - timedelta(hours=rng.randrange(3, 9)))
    tell(car, field, round(read.value - rng.randrange(200, 900), 1))


def _moving(car: Car, field: str, rng: random.Random) -> None:
    car.moving = True


def _may_move(vehicle: LocalVehicle, field: str) -> bool:
    return not (vehicle.car.v2["charge-plugged"].value or vehicle.car.v2["charging"].value)


TRUE_KINDS = (
    Kind("odometer-in-miles", ("odometer",), _in_miles, "mismatch"),
    Kind("odometer-backwards", ("odometer",), _backwards, "mismatch"),
    Kind("location-off", ("location",), elsewhere, "mismatch"),
)
HARMLESS_KINDS = (Kind("moving", ("odometer",), _moving, "moved", reach=lambda _: MOVING, fits=_may_move),)
