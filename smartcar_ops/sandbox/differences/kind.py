"""What a kind of difference is, and the small acts that most kinds are made of."""

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
    """A kind of difference: the fields it is aimed at, what it does, the verdict (or the verdicts by field).

    `reach`: from the field aimed at to all those struck; of them, the ones a car does not tell are left out.
    `fits`: whether this kind of difference can be seen on a car.
    """

    name: str
    fields: tuple[str, ...]
    change: Change
    expected: str | Mapping[str, str]
    reach: Callable[[str], tuple[str, ...]] = alone
    fits: Fits = _anywhere

    def verdict(self, field: str) -> str:
        """What a comparison must find on a struck field."""
        return self.expected if isinstance(self.expected, str) else self.expected[field]


def part_of(car: Car, field: str) -> str:
    """The name of what the car tells the field with: the first of several."""
    return parts_told(car, field)[0]


def told(car: Car, field: str) -> Any:
    """The value V2 tells."""
    return car.v2[part_of(car, field)].value


def tell(car: Car, field: str, value: Any, **members: Any) -> None:
    """Let V3 tell another value, and members of its body in place of the usual ones."""
    car.retell("v3", part_of(car, field), value=value, members=members)


def write(car: Car, field: str, **members: Any) -> None:
    """Let V3 write the same value with these members in its body; one that is `...` is left out."""
    car.retell("v3", part_of(car, field), members=members)


def age(car: Car, field: str, hours: float) -> None:
    """Let V3's reading be that much older."""
    for part in parts_told(car, field):
        at = car.v3[part].at
        car.retell("v3", part, at=at and at - timedelta(hours=hours))


def apart(value: float, off: float, middle: float = 50) -> float:
    """`value` moved by `off` towards the middle."""
    return value - off if value > middle else value + off
