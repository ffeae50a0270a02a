"""A car's upkeep: its systems, trouble codes, services, and its connection to the maker."""

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
    """A system of the car: V2's systemId, the name of V3's signal, and whether it needs a tank or a battery."""

    id: str
    name: str
    needs: str = ""

    @property
    def field(self) -> str:
        """Return the name of the car's field for this system."""
        return f"system-{self.name.lower()}"

    def is_in(self, model: Model) -> bool:
        """Return whether a car of this model has the system."""
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
"""All systems, including the one without a V3 signal."""
TROUBLE = ("P0301", "P0420", "P0456", "B1342", "U0100")
TASKS = (("1", "oil change"), ("2", "tire rotation"), ("3", "air filter"), ("4", "brake pads"), ("5", "inspection"))
FINE = {"status": "OK", "description": None}
ALERT = {"status": "ALERT", "description": "Needs attention"}
COLORS = ("BLACK", "BLUE", "GREY", "RED", "WHITE")


@dataclass(frozen=True, slots=True)
class Service:
    """One visit to a garage: when, at how many km, what was done, by whom, and the price."""

    id: str
    at: datetime
    odometer: float
    tasks: tuple[tuple[str, str], ...]
    garage: str
    cost: float
    currency: str = "USD"


def diagnostics(own: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Return each system's status (OK or ALERT) with a description, and the active trouble codes."""
    fine, alert = Told(FINE, at), Told(ALERT, at)
    told = {system.field: alert if own.random() < 0.06 else fine for system in SYSTEMS if system.is_in(model)}
    missing = none_of(*(system.field for system in V2_SYSTEMS if system.field not in told))
    count = own.choices((0, 1, 2), (80, 15, 5))[0]
    codes = [{"code": code, "timestamp": _before(own, at, 60)} for code in own.sample(TROUBLE, count)]
    return told | missing | {"trouble-codes": Told(codes, at), "trouble-count": Told(count, at)}


def service(own: random.Random, odometer: float, at: datetime) -> dict[str, Told]:
    """Return the services of the last year, newest first; the odometer decreases with age."""
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
    """Return what only V3 has: whether the car is online, its firmware, color, gear and starter battery."""
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
