"""The fields of a car that can be compared, by id: V2's endpoint, and the car's values that each one uses."""

from __future__ import annotations

from dataclasses import dataclass

from smartcar_ops.sandbox.fleet.car_body import PLACES
from smartcar_ops.sandbox.fleet.car_upkeep import V2_SYSTEMS
from smartcar_ops.sandbox.fleet.model import Car


@dataclass(frozen=True, slots=True)
class Compared:
    """A field: V2's endpoint, the car's values that it uses, and whether it changes only over days.

    `parts`: names in `Car.v2` and `Car.v3`. The first is the signal's; fields of the same signal share it.
    """

    id: str
    path: str
    parts: tuple[str, ...]
    slow: bool = False


def _row(id_: str, path: str, *parts: str, slow: bool = False) -> Compared:
    return Compared(id_, path, parts or (id_,), slow)


CAPACITY = "/battery/nominal_capacity"
DIAGNOSTICS = "/diagnostics"
"""Two endpoints that one permission opens."""
HISTORY = "/service/history"
_ROWS = (
    _row("vin", "/vin"),
    _row("vehicle-make", "/"),
    _row("vehicle-model", "/"),
    _row("vehicle-year", "/"),
    _row("odometer", "/odometer"),
    _row("battery-percent", "/battery"),
    _row("battery-range", "/battery"),
    _row("battery-capacity-old", "/battery/capacity", "capacity", "old-capacity"),
    _row("nominal-capacity", CAPACITY, "capacity"),
    _row("nominal-capacity-source", CAPACITY, "capacity"),
    _row("nominal-capacity-available", CAPACITY, "capacity"),
    _row("charge-plugged", "/charge"),
    _row("charge-state", "/charge"),
    _row("charge-state-derived", "/charge", "charging"),
    _row("charge-limit", "/charge/limit", slow=True),
    _row("fuel-percent", "/fuel"),
    _row("fuel-amount", "/fuel"),
    _row("fuel-range", "/fuel"),
    _row("oil-life", "/engine/oil", slow=True),
    *(_row(f"tire-{place}", "/tires/pressure", "tires", slow=True) for place in PLACES),
    _row("location", "/location"),
    _row("locked", "/security"),
    _row("doors", "/security"),
    _row("windows", "/security"),
    _row("sunroof", "/security"),
    _row("storage-rear", "/security", "rear-trunk", "tailgate"),
    _row("storage-front", "/security", "front-trunk", "hood"),
    _row("charging-port", "/security", "port-open"),
    _row("system-status", DIAGNOSTICS, *(system.field for system in V2_SYSTEMS), slow=True),
    _row("dtc-list", DIAGNOSTICS, "trouble-codes", slow=True),
    _row("dtc-count", DIAGNOSTICS, "trouble-count", slow=True),
    *(_row(f"service-{what}", HISTORY, "services", slow=True) for what in ("id", "date", "odometer", "tasks", "cost")),
    _row("permissions", "/permissions"),
)
COMPARED = {row.id: row for row in _ROWS}
SIGNALS = tuple(id_ for id_, row in COMPARED.items() if row.path not in ("/", "/vin", "/permissions"))
"""The fields that are signals on V3 and may be missing. Not the VIN: without it, the car is not found."""
SLOW = tuple(id_ for id_, row in COMPARED.items() if row.slow)
VOLATILE = tuple(id_ for id_ in SIGNALS if id_ not in SLOW and "capacity" not in id_)
TIRES = tuple(id_ for id_ in COMPARED if id_.startswith("tire-"))
SERVICES = tuple(id_ for id_ in COMPARED if id_.startswith("service-"))
PERCENTS = ("battery-percent", "fuel-percent", "oil-life", "charge-limit")
RANGES = ("battery-range", "fuel-range")
WORDED = ("charge-state-derived", "doors", "windows", "sunroof", "storage-rear", "storage-front", "charging-port")
AGREED = {id_: "converted" if id_ in (*PERCENTS, *WORDED) else "equal" for id_ in COMPARED}
"""The verdict if both return the same. V2 writes percentages as fractions, and words where V3 has true or false."""


def parts_told(car: Car, field: str) -> tuple[str, ...]:
    """Return the names of the values that V2 has for a field; none if the car has nothing of the kind."""
    return tuple(part for part in COMPARED[field].parts if car.v2[part].value is not None)


def fields_told(car: Car) -> list[str]:
    """Return the fields that V2 returns for a car, without empty lists: it is unclear whether those are values."""
    return [id_ for id_ in COMPARED if any(car.v2[part].value != [] for part in parts_told(car, id_))]


def alone(field: str) -> tuple[str, ...]:
    """Return a tuple of only this field."""
    return (field,)


def whole_signal(field: str) -> tuple[str, ...]:
    """Return all fields that V3 returns in the same signal."""
    return tuple(id_ for id_, row in COMPARED.items() if row.parts[0] == COMPARED[field].parts[0])


def whole_endpoint(field: str) -> tuple[str, ...]:
    """Return all fields that V2 returns at the same endpoint."""
    return tuple(id_ for id_, row in COMPARED.items() if row.path == COMPARED[field].path)
