"""A car's doors, windows, flaps and tires, and its location."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smartcar_ops.sandbox.fleet.car_energy import none_of
from smartcar_ops.sandbox.fleet.catalogue import Model
from smartcar_ops.sandbox.fleet.model import MISSING, Told

PLACES = {"frontLeft": (0, 0), "frontRight": (0, 1), "backLeft": (1, 0), "backRight": (1, 1)}
"""V2's names of the positions, with V3's row and column."""
MISLABELLED = ("HYUNDAI",)
"""Makes whose V3 tires are labeled `bar` although the numbers are kPa (seen with a real make)."""


def by_position(told: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the values of each position as V3 lists them: with row and column."""
    return [{"row": PLACES[place][0], "column": PLACES[place][1], **members} for place, members in told.items()]


@dataclass(frozen=True, slots=True)
class Tires:
    """Pressures in kPa by position, and the unit in V3's label."""

    pressures: dict[str, int]
    label: str


def closures(own: random.Random, model: Model, locked: Told) -> dict[str, Told]:
    """Return doors and windows by position, and the flaps: whether each is open and, if it has a lock, locked.

    All have the time of the lock's reading. A locked car is shut.
    """
    shut = bool(locked.value)

    def ajar(share: float = 0.15) -> bool:
        return not shut and own.random() < share

    front = "front-trunk" if model.powertrain == "BEV" else "hood"
    values = {
        "doors": {place: {"isOpen": ajar(), "isLocked": shut} for place in PLACES},
        "windows": {place: {"isOpen": ajar()} for place in PLACES},
        "rear-trunk": {"isOpen": ajar(), "isLocked": shut},
        front: {"isOpen": ajar(), "isLocked": shut} if front == "front-trunk" else {"isOpen": ajar()},
    }
    told = {name: Told(value, locked.at) for name, value in values.items()}
    sunroof = {"sunroof": Told({"isOpen": ajar()}, locked.at)} if own.random() < 0.5 else none_of("sunroof")
    flap = {"port-open": Told(ajar(0.5), locked.at)} if model.capacity else none_of("port-open")
    return none_of("front-trunk", "hood") | told | sunroof | flap | {"tailgate": Told(None, None, MISSING)}


def tires(own: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Return four pressures."""
    pressures = {place: own.randrange(225, 291) for place in PLACES}
    return {"tires": Told(Tires(pressures, "bar" if model.make in MISLABELLED else "kPa"), at)}


def location(own: random.Random, at: datetime) -> dict[str, Told]:
    """Return an invented latitude and longitude in degrees."""
    place = {"latitude": round(own.uniform(36, 48), 4), "longitude": round(own.uniform(-118, -80), 4)}
    return {"location": Told(place, at)}
