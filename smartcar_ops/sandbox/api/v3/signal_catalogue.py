"""The signals that the pretend store can hold for a car: code, group, name, field, and the body on V3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smartcar_ops.sandbox.api.state import iso
from smartcar_ops.sandbox.fleet.car_body import by_position
from smartcar_ops.sandbox.fleet.car_upkeep import SYSTEMS

Json = dict[str, Any]


def plain(value: Any, unit: str | None) -> Json:
    """Return `value`, and `unit` if there is one."""
    return {"value": value, **({"unit": unit} if unit else {})}


def reach(value: Any, unit: str | None) -> Json:
    """Return a range, of which there may be several kinds."""
    return {"value": value, "type": "DEFAULT", "additionalValues": [], "unit": unit}


def capacity(value: Any, unit: str | None) -> Json:
    """Return the nominal capacity; its member is `capacity`, not `value`."""
    if value is None:
        return {"capacity": None}
    available = [{"capacity": value, "description": None}]
    return {"capacity": value, "source": "SMARTCAR", "availableCapacities": available, "unit": unit}


def limits(value: Any, unit: str | None) -> Json:
    """Return the charge limits: one that applies everywhere."""
    values = [] if value is None else [{"type": "GLOBAL", "limit": value}]
    return {"values": values, "activeLimit": value, "unit": unit}


def members(value: Any, unit: str | None) -> Json:
    """Return the members of a single flap unchanged."""
    return {"isOpen": None} if value is None else dict(value)


def system(value: Any, unit: str | None) -> Json:
    """Return the status of a system."""
    return {"status": None, "description": None} if value is None else dict(value)


def places(value: Any, unit: str | None) -> Json:
    """Return doors or windows by row and column."""
    return _grid(by_position(value or {}))


def tires(value: Any, unit: str | None) -> Json:
    """Return pressures by row and column. The unit is the one that the maker labels them with."""
    if value is None:
        return _grid([])
    pressures = {place: {"tirePressure": told} for place, told in value.pressures.items()}
    return {**_grid(by_position(pressures)), "unit": value.label}


def location(value: Any, unit: str | None) -> Json:
    """Return degrees, and the type of the location."""
    return {**(value or {"latitude": None, "longitude": None}), "locationType": "LAST_PARKED"}


def trouble(value: Any, unit: str | None) -> Json:
    """Return the trouble codes, each with the time it was first seen."""
    return {"values": [{"code": told["code"], "timestamp": iso(told["timestamp"])} for told in value or []]}


def services(value: Any, unit: str | None) -> Json:
    """Return the garage visits."""
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
    """Return a list of strings."""
    return {"values": list(value or [])}


def _grid(values: list[Json]) -> Json:
    return {"values": values, "rowCount": 2, "columnCount": 2}


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its group and name, the field it carries, its unit if it has one, and a function for its body."""

    group: str
    name: str
    field: str
    unit: str | None = None
    write: Callable[[Any, str | None], dict[str, Any]] = plain

    @property
    def code(self) -> str:
        """Return the code: group, hyphen, name, in lower case."""
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
