"""The signals the pretend store can hold of a car: code, group, name, the field each tells, and its body on V3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smartcar_ops.sandbox.api.state import iso
from smartcar_ops.sandbox.fleet.car_body import by_position
from smartcar_ops.sandbox.fleet.car_upkeep import SYSTEMS

Json = dict[str, Any]


def plain(value: Any, unit: str | None) -> Json:
    """`value`, and `unit` where there is one."""
    return {"value": value, **({"unit": unit} if unit else {})}


def reach(value: Any, unit: str | None) -> Json:
    """A range, of which there may be several kinds."""
    return {"value": value, "type": "DEFAULT", "additionalValues": [], "unit": unit}


def capacity(value: Any, unit: str | None) -> Json:
    """The nominal capacity, which is not called `value`."""
    if value is None:
        return {"capacity": None}
    available = [{"capacity": value, "description": None}]
    return {"capacity": value, "source": "SMARTCAR", "availableCapacities": available, "unit": unit}


def limits(value: Any, unit: str | None) -> Json:
    """Charge limits: one for everywhere."""
    values = [] if value is None else [{"type": "GLOBAL", "limit": value}]
    return {"values": values, "activeLimit": value, "unit": unit}


def members(value: Any, unit: str | None) -> Json:
    """The members of a single flap, as they are."""
    return {"isOpen": None} if value is None else dict(value)


def system(value: Any, unit: str | None) -> Json:
    """A system's status."""
    return {"status": None, "description": None} if value is None else dict(value)


def places(value: Any, unit: str | None) -> Json:
    """Doors or windows by row and column."""
    return _grid(by_position(value or {}))


def tires(value: Any, unit: str | None) -> Json:
    """Pressures by row and column; the unit is what the maker's label says."""
    if value is None:
        return _grid([])
    pressures = {place: {"tirePressure": told} for place, told in value.pressures.items()}
    return {**_grid(by_position(pressures)), "unit": value.label}


def location(value: Any, unit: str | None) -> Json:
    """Degrees, and how the place is known."""
    return {**(value or {"latitude": None, "longitude": None}), "locationType": "LAST_PARKED"}


def trouble(value: Any, unit: str | None) -> Json:
    """Trouble codes with the time each was first seen."""
    return {"values": [{"code": told["code"], "timestamp": iso(told["timestamp"])} for told in value or []]}


def services(value: Any, unit: str | None) -> Json:
    """Visits to a garage."""
    return {
        "values": [
            {
                "id": visit.id,
                "time": iso(visit.at),
                "odometer": visit.odometer,
                "tasks": [{"id": own, "description": text} for own, text in visit.tasks],
                "details": [{"id": "type", "description": visit.garage}],
                "cost": {"amount": visit.cost, "currency": visit.currency},
            }
            for visit in value or []
        ]
    }


def listed(value: Any, unit: str | None) -> Json:
    """A list of texts."""
    return {"values": list(value or [])}


def _grid(values: list[Json]) -> Json:
    return {"values": values, "rowCount": 2, "columnCount": 2}


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its group and name, the field it tells, its unit where it has one, and how its body is written."""

    group: str
    name: str
    field: str
    unit: str | None = None
    write: Callable[[Any, str | None], dict[str, Any]] = plain

    @property
    def code(self) -> str:
        """The lower-case code: group, hyphen, name."""
        return f"{self.group}-{self.name}".lower()


_SIGNALS = (
    Signal("Charge", "Amperage", "amperage", "ampere"),
    Signal("Charge", "ChargeLimits", "charge-limit", "percent", limits),
    Signal("Charge", "ChargeRate", "charge-rate", "km/h"),
    Signal("Charge", "ChargingConnectorType", "connector"),
    Signal("Charge", "DetailedChargingStatus", "charge-state"),
    Signal("Charge", "EnergyAdded", "energy-added", "kWh"),
    Signal("Charge", "IsCharging", "charging"),
    Signal("Charge", "IsChargingCableConnected", "charge-plugged"),
    Signal("Charge", "IsChargingCableLatched", "cable-latched"),
    Signal("Charge", "IsChargingPortFlapOpen", "port-open"),
    Signal("Charge", "IsFastChargerPresent", "fast-charger"),
    Signal("Charge", "TimeToComplete", "minutes-left"),
    Signal("Charge", "Voltage", "voltage", "volts"),
    Signal("Charge", "Wattage", "wattage", "watts"),
    Signal("Closure", "Doors", "doors", None, places),
    Signal("Closure", "EngineCover", "hood", None, members),
    Signal("Closure", "FrontTrunk", "front-trunk", None, members),
    Signal("Closure", "IsLocked", "locked"),
    Signal("Closure", "RearTrunk", "rear-trunk", None, members),
    Signal("Closure", "Sunroof", "sunroof", None, members),
    Signal("Closure", "Tailgate", "tailgate", None, members),
    Signal("Closure", "Windows", "windows", None, places),
    Signal("ConnectivitySoftware", "CurrentFirmwareVersion", "firmware"),
    Signal("ConnectivityStatus", "IsAsleep", "asleep"),
    Signal("ConnectivityStatus", "IsDigitalKeyPaired", "digital-key"),
    Signal("ConnectivityStatus", "IsOnline", "online"),
    *(Signal("Diagnostics", own.name, own.field, None, system) for own in SYSTEMS),
    Signal("Diagnostics", "DTCCount", "trouble-count", "count"),
    Signal("Diagnostics", "DTCList", "trouble-codes", None, trouble),
    Signal("InternalCombustionEngine", "AmountRemaining", "fuel-amount", "liters"),
    Signal("InternalCombustionEngine", "FuelLevel", "fuel-percent", "percent"),
    Signal("InternalCombustionEngine", "OilLife", "oil-life", "percent"),
    Signal("InternalCombustionEngine", "Range", "fuel-range", "km"),
    Signal("Location", "PreciseLocation", "location", "degrees", location),
    Signal("LowVoltageBattery", "StateOfCharge", "starter-battery", "percent"),
    Signal("Odometer", "TraveledDistance", "odometer", "km"),
    Signal("Service", "IsInService", "in-service"),
    Signal("Service", "Records", "services", None, services),
    Signal("TractionBattery", "NominalCapacity", "capacity", "kWh", capacity),
    Signal("TractionBattery", "Range", "battery-range", "km", reach),
    Signal("TractionBattery", "StateOfCharge", "battery-percent", "percent"),
    Signal("Transmission", "GearState", "gear"),
    Signal("VehicleIdentification", "ExteriorColor", "color"),
    Signal("VehicleIdentification", "Nickname", "nickname"),
    Signal("VehicleIdentification", "VIN", "vin"),
    Signal("VehicleUserAccount", "Permissions", "maker-permissions", None, listed),
    Signal("VehicleUserAccount", "Role", "role"),
    Signal("Wheel", "Tires", "tires", None, tires),
)
SIGNALS = tuple(sorted(_SIGNALS, key=lambda signal: signal.code))
