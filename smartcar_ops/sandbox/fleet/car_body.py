"""What surrounds a car: doors, windows and flaps, tires, and where it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smartcar_ops.sandbox.fleet.car_energy import none_of
from smartcar_ops.sandbox.fleet.catalogue import Model
from smartcar_ops.sandbox.fleet.model import MISSING, Told

PLACES = {"frontLeft": (0, 0), "frontRight": (0, 1), "backLeft": (1, 0), "backRight": (1, 1)}
"""V2's names of the places, with V3's row and column."""
MISLABELLED = ("HYUNDAI",)
"""Makes whose V3 tires say `bar` beside numbers in kPa (seen of a real make)."""


def by_position(told: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is told by place, as V3 lists it: with row and column."""
    return [{"row": PLACES[place][0], "column": PLACES[place][1], **members} for place, members in told.items()]


@dataclass(frozen=True, slots=True)
class Tires:
    """Pressures in kPa by place, and the unit V3 labels them with."""

    pressures: dict[str, int]
    label: str


def closures(own: random.Random, model: Model, locked: Told) -> dict[str, Told]:
    """Doors, windows and flaps: by place, or alone, whether it is open and, where there is a lock, locked.

    All are read with the lock, at its time. A locked car is shut.
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
    """Four pressures."""
    pressures = {place: own.randrange(225, 291) for place in PLACES}
    return {"tires": Told(Tires(pressures, "bar" if model.make in MISLABELLED else "kPa"), at)}


def location(own: random.Random, at: datetime) -> dict[str, Told]:
    """Latitude and longitude in degrees, made up."""
    place = {"latitude": round(own.uniform(36, 48), 4), "longitude": round(own.uniform(-118, -80), 4)}
    return {"location": Told(place, at)}
