"""A kind of difference, and the small changes that most kinds use."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from smartcar_ops.sandbox.differences.fields import alone, parts_told
from smartcar_ops.sandbox.fleet.model import Car, LocalVehicle

Change = Callable[[Car, str, random.Random], None]
"""Makes the versions differ in one field of a car."""
Fits = Callable[[LocalVehicle, str], bool]


def _anywhere(vehicle: LocalVehicle, field: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of difference: the fields it may target, the change, and the verdict (or the verdicts by field).

    `reach`: returns all fields that change with the targeted field; those without a value on the car are left out.
    `fits`: returns whether this kind of difference is visible on a car.
    """

    name: str
    fields: tuple[str, ...]
    change: Change
    expected: str | Mapping[str, str]
    reach: Callable[[str], tuple[str, ...]] = alone
    fits: Fits = _anywhere

    def verdict(self, field: str) -> str:
        """Return the verdict that a comparison must find for a changed field."""
        return self.expected if isinstance(self.expected, str) else self.expected[field]


def part_of(car: Car, field: str) -> str:
    """Return the name of the value that the car has for the field, the first if there are several."""
    return parts_told(car, field)[0]


def told(car: Car, field: str) -> Any:
    """Return V2's value."""
    return car.v2[part_of(car, field)].value


def tell(car: Car, field: str, value: Any, **members: Any) -> None:
    """Let V3 return another value, with `members` in place of the usual ones in its body."""
    car.retell("v3", part_of(car, field), value=value, members=members)


def write(car: Car, field: str, **members: Any) -> None:
    """Let V3 return the same value with these members in its body; `...` leaves a member out."""
    car.retell("v3", part_of(car, field), members=members)


def age(car: Car, field: str, hours: float) -> None:
    """Make V3's reading this many hours older."""
    for part in parts_told(car, field):
        at = car.v3[part].at
        car.retell("v3", part, at=at and at - timedelta(hours=hours))


def apart(value: float, off: float, middle: float = 50) -> float:
    """Return `value` moved by `off` towards `middle`."""
    return value - off if value > middle else value + off
