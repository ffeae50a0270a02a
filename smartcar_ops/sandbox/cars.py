"""A car and its state, told alike by both versions until a difference is planted."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from typing import Any

from .catalogue import YEAR_CODES, Model, make_vin, pick_model
from .records import LIVE, NOT_CAPABLE, SIMULATED, Car, Told

BATTERY_FIELDS = ("battery-percent", "battery-range", "capacity")
CHARGE_FIELDS = ("charge-plugged", "charge-state", "charging")
FUEL_FIELDS = ("fuel-percent", "fuel-amount", "fuel-range")
CHARGE_STATES = (
    ("NOT_CHARGING", False),
    ("NOT_CHARGING", False),
    ("NOT_CHARGING", True),
    ("CHARGING", True),
    ("FULLY_CHARGED", True),
)
SIMULATED_CAR = Model("Simulated", "BEV", "BEV", "1SM", 60)


def new_id(rng: random.Random) -> str:
    """A lower-case random UUID out of `rng`."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def build_car(rng: random.Random, now: datetime, mode: str = LIVE) -> Car:
    """A car as its maker saw it some minutes before `now`; both versions tell the same."""
    model = SIMULATED_CAR if mode == SIMULATED else pick_model(rng)
    at = now.replace(microsecond=0) - timedelta(seconds=rng.randrange(180, 3000))
    v2 = {**_identity(rng, model), **_driving(rng, at), **_battery(rng, model, at), **_fuel(rng, model, at)}
    return Car(new_id(rng), mode, model.powertrain, v2, _seen_by_v3(rng, v2))


def _seen_by_v3(rng: random.Random, v2: dict[str, Told]) -> dict[str, Told]:
    """The same values; the maker's times up to two seconds apart, as two fetches of one reading are."""
    apart = timedelta(seconds=rng.choice((0, 0, 1, 2)))
    return {name: Told(told.value, told.at + apart if told.at else None, told.status) for name, told in v2.items()}


def _identity(rng: random.Random, model: Model) -> dict[str, Told]:
    year = rng.choice(tuple(YEAR_CODES))
    values: dict[str, Any] = {
        "vin": make_vin(rng, model.maker_code, year),
        "vehicle-make": model.make,
        "vehicle-model": model.name,
        "vehicle-year": year,
    }
    return {name: Told(value) for name, value in values.items()}


def _driving(rng: random.Random, at: datetime) -> dict[str, Told]:
    # The tenths keep a rounded odometer visibly different (beyond a millionth) and within a kilometre.
    odometer = rng.randrange(2_000, 180_000) + rng.choice((0.3, 0.4, 0.6, 0.7))
    return {"odometer": Told(odometer, at), "locked": Told(rng.random() < 0.9, at)}


def _battery(rng: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    if not model.capacity:
        return {name: Told(None, None, NOT_CAPABLE) for name in BATTERY_FIELDS + CHARGE_FIELDS}
    read = at + timedelta(seconds=7)
    state, plugged = rng.choice(CHARGE_STATES)
    percent = 100 if state == "FULLY_CHARGED" else rng.randrange(30, 86)
    reach = round(model.capacity * 5.5 * percent / 100)
    return {
        "battery-percent": Told(percent, read),
        "battery-range": Told(reach, read),
        "capacity": Told(model.capacity, read),
        "charge-plugged": Told(plugged, read),
        "charge-state": Told(state, read),
        "charging": Told(state == "CHARGING", read),
    }


def _fuel(rng: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    if not model.tank:
        return {name: Told(None, None, NOT_CAPABLE) for name in FUEL_FIELDS}
    percent = rng.randrange(10, 100)
    litres = round(model.tank * percent / 100, 2)
    return {
        "fuel-percent": Told(percent, at),
        "fuel-amount": Told(litres, at),
        "fuel-range": Told(round(litres * 14), at),
    }
