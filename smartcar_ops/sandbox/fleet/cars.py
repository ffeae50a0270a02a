"""A car and its state, the same on both versions until a difference is planted."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from typing import Any

from smartcar_ops.sandbox.fleet import car_body, car_energy, car_upkeep
from smartcar_ops.sandbox.fleet.catalogue import YEAR_CODES, Model, make_vin, pick_model
from smartcar_ops.sandbox.fleet.model import LIVE, SIMULATED, Car, Told
from smartcar_ops.sandbox.fleet.seeded import choices_of

AS_GRANTED = ()
"""Empty permissions: V3 returns the permissions granted to each connection of the car."""
SIMULATED_CAR = Model("Simulated", "BEV", "BEV", "1SM", 60)


def new_id(rng: random.Random) -> str:
    """Return a random lower-case UUID drawn from `rng`."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def build_car(rng: random.Random, now: datetime, mode: str = LIVE) -> Car:
    """Return a car as its maker saw it 3 to 50 minutes before `now`; both versions return the same."""
    model = SIMULATED_CAR if mode == SIMULATED else pick_model(rng)
    at = now.replace(microsecond=0) - timedelta(seconds=rng.randrange(180, 3000))
    v2 = {
        **_identity(rng, model),
        **_driving(rng, at),
        **car_energy.battery(rng, model, at),
        **car_energy.fuel(rng, model, at),
    }
    car_id = new_id(rng)
    v2 |= _equipment(car_id, model, v2, at)
    return Car(car_id, mode, model.powertrain, v2, _seen_by_v3(rng, v2))


def _equipment(car_id: str, model: Model, told: dict[str, Told], at: datetime) -> dict[str, Told]:
    """Return the other fields, drawn from the car's own generator, so that the draws from `rng` stay the same."""
    own = choices_of("equipment", car_id)
    return {
        **car_energy.charging(own, model, told, at),
        **car_energy.oil(own, model, at),
        **car_body.closures(own, model, told["locked"]),
        **car_body.tires(own, model, at),
        **car_body.location(own, at),
        **car_upkeep.diagnostics(own, model, at),
        **car_upkeep.service(own, told["odometer"].value, at),
        **car_upkeep.connectivity(own, model, at),
    }


def _seen_by_v3(rng: random.Random, v2: dict[str, Told]) -> dict[str, Told]:
    """Return the same values. The times are up to 2 seconds later, like two fetches of one reading."""
    apart = timedelta(seconds=rng.choice((0, 0, 1, 2)))
    if not apart:
        return dict(v2)
    return {name: Told(told.value, told.at + apart, told.status) if told.at else told for name, told in v2.items()}


def _identity(rng: random.Random, model: Model) -> dict[str, Told]:
    year = rng.choice(tuple(YEAR_CODES))
    values: dict[str, Any] = {
        "vin": make_vin(rng, model.maker_code, year),
        "vehicle-make": model.make,
        "vehicle-model": model.name,
        "vehicle-year": year,
        "permissions": AS_GRANTED,
    }
    return {name: Told(value) for name, value in values.items()}


def _driving(rng: random.Random, at: datetime) -> dict[str, Told]:
    # The tenths make rounding visible (more than a millionth) and keep the rounded odometer within 1 km.
    odometer = rng.randrange(2_000, 180_000) + rng.choice((0.3, 0.4, 0.6, 0.7))
    return {"odometer": Told(odometer, at), "locked": Told(rng.random() < 0.9, at)}
