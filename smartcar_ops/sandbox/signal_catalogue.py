"""The signals the pretend store can hold of a car: code, group, name, the field each tells, its body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import signal_bodies as bodies
from .car_upkeep import SYSTEMS


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its group and name, the field it tells, its unit where it has one, and how its body is written."""

    group: str
    name: str
    field: str
    unit: str | None = None
    write: Callable[[Any, str | None], dict[str, Any]] = bodies.plain

    @property
    def code(self) -> str:
        """The lower-case code: group, hyphen, name."""
        return f"{self.group}-{self.name}".lower()


_SIGNALS = (
    Signal("Charge", "Amperage", "amperage", "ampere"),
    Signal("Charge", "ChargeLimits", "charge-limit", "percent", bodies.limits),
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
    Signal("Closure", "Doors", "doors", None, bodies.places),
    Signal("Closure", "EngineCover", "hood", None, bodies.members),
    Signal("Closure", "FrontTrunk", "front-trunk", None, bodies.members),
    Signal("Closure", "IsLocked", "locked"),
    Signal("Closure", "RearTrunk", "rear-trunk", None, bodies.members),
    Signal("Closure", "Sunroof", "sunroof", None, bodies.members),
    Signal("Closure", "Tailgate", "tailgate", None, bodies.members),
    Signal("Closure", "Windows", "windows", None, bodies.places),
    Signal("ConnectivitySoftware", "CurrentFirmwareVersion", "firmware"),
    Signal("ConnectivityStatus", "IsAsleep", "asleep"),
    Signal("ConnectivityStatus", "IsDigitalKeyPaired", "digital-key"),
    Signal("ConnectivityStatus", "IsOnline", "online"),
    *(Signal("Diagnostics", system.name, system.field, None, bodies.system) for system in SYSTEMS),
    Signal("Diagnostics", "DTCCount", "trouble-count", "count"),
    Signal("Diagnostics", "DTCList", "trouble-codes", None, bodies.trouble),
    Signal("InternalCombustionEngine", "AmountRemaining", "fuel-amount", "liters"),
    Signal("InternalCombustionEngine", "FuelLevel", "fuel-percent", "percent"),
    Signal("InternalCombustionEngine", "OilLife", "oil-life", "percent"),
    Signal("InternalCombustionEngine", "Range", "fuel-range", "km"),
    Signal("Location", "PreciseLocation", "location", "degrees", bodies.location),
    Signal("LowVoltageBattery", "StateOfCharge", "starter-battery", "percent"),
    Signal("Odometer", "TraveledDistance", "odometer", "km"),
    Signal("Service", "IsInService", "in-service"),
    Signal("Service", "Records", "services", None, bodies.services),
    Signal("TractionBattery", "NominalCapacity", "capacity", "kWh", bodies.capacity),
    Signal("TractionBattery", "Range", "battery-range", "km", bodies.reach),
    Signal("TractionBattery", "StateOfCharge", "battery-percent", "percent"),
    Signal("Transmission", "GearState", "gear"),
    Signal("VehicleIdentification", "ExteriorColor", "color"),
    Signal("VehicleIdentification", "Nickname", "nickname"),
    Signal("VehicleIdentification", "VIN", "vin"),
    Signal("VehicleUserAccount", "Permissions", "maker-permissions", None, bodies.listed),
    Signal("VehicleUserAccount", "Role", "role"),
    Signal("Wheel", "Tires", "tires", None, bodies.tires),
)
SIGNALS = tuple(sorted(_SIGNALS, key=lambda signal: signal.code))
