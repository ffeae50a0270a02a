"""How a car is kept: its systems, trouble codes, services, and its line to the maker."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from smartcar_ops.sandbox.fleet.car_energy import none_of
from smartcar_ops.sandbox.fleet.catalogue import Model
from smartcar_ops.sandbox.fleet.model import Told


@dataclass(frozen=True, slots=True)
class System:
    """A system of the car: V2's systemId, V3's name of its signal, and whether it needs a tank or a battery."""

    id: str
    name: str
    needs: str = ""

    @property
    def field(self) -> str:
        """The field a car tells it under."""
        return f"system-{self.name.lower()}"

    def is_in(self, model: Model) -> bool:
        """Whether a car of this model has it."""
        return not self.needs or bool(getattr(model, self.needs))


SYSTEMS = (
    System("SYSTEM_ABS", "ABS"),
    System("SYSTEM_ACTIVE_SAFETY", "ActiveSafety"),
    System("SYSTEM_AIRBAG", "Airbag"),
    System("SYSTEM_BRAKE_FLUID", "BrakeFluid"),
    System("SYSTEM_DRIVER_ASSISTANCE", "DriverAssistance"),
    System("SYSTEM_EMISSIONS", "Emissions", "tank"),
    System("SYSTEM_EV_BATTERY_CONDITIONING", "EVBatteryConditioning", "capacity"),
    System("SYSTEM_EV_HV_BATTERY", "EVHVBattery", "capacity"),
    System("SYSTEM_LIGHTING", "Lighting"),
    System("SYSTEM_MIL", "MIL", "tank"),
    System("SYSTEM_OIL_LIFE", "OilLife", "tank"),
    System("SYSTEM_OIL_TEMPERATURE", "OilTemperature", "tank"),
    System("SYSTEM_TELEMATICS", "Telematics"),
    System("SYSTEM_TIRE_PRESSURE_MONITORING", "TirePressureMonitoring"),
    System("SYSTEM_TRANSMISSION", "Transmission"),
    System("SYSTEM_WASHER_FLUID", "WasherFluid"),
)
V2_SYSTEMS = (*SYSTEMS, System("SYSTEM_ENGINE", "Engine"))
"""With the one for which V3 has no signal."""
TROUBLE = ("P0301", "P0420", "P0456", "B1342", "U0100")
TASKS = (("1", "oil change"), ("2", "tire rotation"), ("3", "air filter"), ("4", "brake pads"), ("5", "inspection"))
FINE = {"status": "OK", "description": None}
ALERT = {"status": "ALERT", "description": "Needs attention"}
COLORS = ("BLACK", "BLUE", "GREY", "RED", "WHITE")


@dataclass(frozen=True, slots=True)
class Service:
    """One visit to a garage: when, at how many km, what was done, by whom, for how much."""

    id: str
    at: datetime
    odometer: float
    tasks: tuple[tuple[str, str], ...]
    garage: str
    cost: float
    currency: str = "USD"


def diagnostics(own: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Each system's status (OK or ALERT) with a description, and the active trouble codes."""
    fine, alert = Told(FINE, at), Told(ALERT, at)
    told = {system.field: alert if own.random() < 0.06 else fine for system in SYSTEMS if system.is_in(model)}
    missing = none_of(*(system.field for system in V2_SYSTEMS if system.field not in told))
    count = own.choices((0, 1, 2), (80, 15, 5))[0]
    codes = [{"code": code, "timestamp": _before(own, at, 60)} for code in own.sample(TROUBLE, count)]
    return told | missing | {"trouble-codes": Told(codes, at), "trouble-count": Told(count, at)}


def service(own: random.Random, odometer: float, at: datetime) -> dict[str, Told]:
    """The services of the last year, the newest first, each at a smaller odometer."""
    days = sorted(own.sample(range(10, 350), own.randrange(4)))
    visits = [
        Service(
            id=str(own.randrange(10_000, 100_000)),
            at=at - timedelta(days=day),
            odometer=max(1.0, round(odometer - 30 * day)),
            tasks=tuple(own.sample(TASKS, own.randrange(1, 3))),
            garage=own.choice(("dealership", "independent garage")),
            cost=float(own.randrange(60, 900)),
        )
        for day in days
    ]
    return {"services": Told(visits, at), "in-service": Told(False, at)}


def connectivity(own: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """What only V3 tells: the line to the car, its firmware, its looks, the small battery, the gear."""
    values: dict[str, Any] = {
        "online": True,
        "asleep": own.random() < 0.3,
        "firmware": f"{own.randrange(1, 6)}.{own.randrange(10)}.{own.randrange(100)}",
        "color": own.choice(COLORS),
        "gear": "PARK",
        "starter-battery": own.randrange(60, 101),
    }
    told = {name: Told(value, at) for name, value in values.items()}
    return told | none_of("nickname", "role", "maker-permissions", "digital-key")


def _before(own: random.Random, at: datetime, days: int) -> datetime:
    return at - timedelta(seconds=own.randrange(3600, days * 86_400))
