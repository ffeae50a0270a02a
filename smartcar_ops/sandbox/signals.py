"""The V3 signals of a car, as `GET /v3/vehicles/{id}/signals` writes them (seen)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .records import CACHED, MISSING, NOT_CAPABLE, NOT_PERMITTED, SUCCESS, Told
from .state import iso

Json = dict[str, Any]
MAX_STORED = timedelta(seconds=1.4)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its code, its group and name, the field it tells, and its unit where it has one."""

    code: str
    group: str
    name: str
    field: str
    unit: str | None = None


SIGNALS = (
    Signal("charge-detailedchargingstatus", "Charge", "DetailedChargingStatus", "charge-state"),
    Signal("charge-ischarging", "Charge", "IsCharging", "charging"),
    Signal("charge-ischargingcableconnected", "Charge", "IsChargingCableConnected", "charge-plugged"),
    Signal("charge-ischargingportflapopen", "Charge", "IsChargingPortFlapOpen", "none"),
    Signal("closure-doors", "Closure", "Doors", "none"),
    Signal("closure-enginecover", "Closure", "EngineCover", "none"),
    Signal("closure-fronttrunk", "Closure", "FrontTrunk", "none"),
    Signal("closure-islocked", "Closure", "IsLocked", "locked"),
    Signal("closure-reartrunk", "Closure", "RearTrunk", "none"),
    Signal("closure-sunroof", "Closure", "Sunroof", "none"),
    Signal("closure-windows", "Closure", "Windows", "none"),
    Signal(
        "internalcombustionengine-amountremaining",
        "InternalCombustionEngine",
        "AmountRemaining",
        "fuel-amount",
        "liters",
    ),
    Signal(
        "internalcombustionengine-fuellevel",
        "InternalCombustionEngine",
        "FuelLevel",
        "fuel-percent",
        "percent",
    ),
    Signal("internalcombustionengine-range", "InternalCombustionEngine", "Range", "fuel-range", "km"),
    Signal("odometer-traveleddistance", "Odometer", "TraveledDistance", "odometer", "km"),
    Signal("tractionbattery-nominalcapacity", "TractionBattery", "NominalCapacity", "capacity", "kWh"),
    Signal("tractionbattery-range", "TractionBattery", "Range", "battery-range", "km"),
    Signal("tractionbattery-stateofcharge", "TractionBattery", "StateOfCharge", "battery-percent", "percent"),
    Signal("vehicleidentification-vin", "VehicleIdentification", "VIN", "vin"),
)
NOTHING = Told(None, None, NOT_CAPABLE)
ERRORS = {
    NOT_CAPABLE: (
        "VEHICLE_NOT_CAPABLE",
        "The vehicle is incapable of performing your request.",
        "UNKNOWN_RESOLUTION_TYPE",
    ),
    NOT_PERMITTED: (
        "UNKNOWN",
        "Your application has insufficient permissions to access the requested resource. "
        "Please prompt the user to re-authenticate using Smartcar Connect.",
        "REAUTHENTICATE",
    ),
    CACHED: (
        "ASLEEP",
        "The vehicle is in a sleep state and temporarily unable to perform your request.",
        "UNKNOWN_RESOLUTION_TYPE",
    ),
}


def write_signals(told: dict[str, Told], vehicle_url: str, stored: datetime) -> list[Json]:
    """All signals the store holds for a car; `stored`: when those without a maker's time came in."""
    read = [(signal, told.get(signal.field, NOTHING)) for signal in SIGNALS]
    return [_signal(signal, t, vehicle_url, stored) for signal, t in read if t.status != MISSING]


def _signal(signal: Signal, told: Told, vehicle_url: str, stored: datetime) -> Json:
    attributes: Json = {
        "code": signal.code,
        "name": signal.name,
        "group": signal.group,
        "status": _status(told),
    }
    body = _body(signal, told)
    if body is not None:
        attributes["body"] = body
    return {
        "id": signal.code,
        "type": "signal",
        "attributes": attributes,
        "meta": _meta(told, stored),
        "links": {"self": f"{vehicle_url}/signals/{signal.code}"},
    }


def _status(told: Told) -> Json:
    if told.status == SUCCESS:
        return {"value": SUCCESS}
    code, detail, resolution = ERRORS[told.status]
    return {
        "value": "ERROR",
        "error": {
            "type": told.status,
            "code": code,
            "title": code.replace("_", " ").title(),
            "detail": detail,
            "description": "Deprecated. Use detail",
            "resolution": {"type": resolution},
        },
    }


def _body(signal: Signal, told: Told) -> Json | None:
    """The body; without a value none at all, or (not capable, every second code) one with a null member."""
    if told.value is None and (told.status != NOT_CAPABLE or len(signal.code) % 2):
        return None
    if signal.field == "capacity":
        return _capacity(told)
    body: Json = {"value": told.value}
    if signal.field == "battery-range":
        body |= {"type": "DEFAULT", "additionalValues": []}
    return body | ({"unit": signal.unit} if signal.unit else {})


def _capacity(told: Told) -> Json:
    if told.value is None:
        return {"capacity": None}
    available = [{"capacity": told.value, "description": None}]
    return {"capacity": told.value, "source": "SMARTCAR", "availableCapacities": available, "unit": "kWh"}


def _meta(told: Told, stored: datetime) -> Json:
    """The three times; only `ingestedAt` where the maker gave none."""
    if told.at is None:
        return {"ingestedAt": iso(stored)}
    ingested = stored if told.status == CACHED else told.at + MAX_STORED
    return {
        "ingestedAt": iso(ingested),
        "retrievedAt": iso(told.at + MAX_STORED / 2),
        "oemUpdatedAt": iso(told.at),
    }
