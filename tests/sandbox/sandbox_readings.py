"""What a car's V2 batch and V3 signals say of each field, read by plain tables of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

KM, LITRES, KPA = 1.609344, 3.785411784, 6.894757
FACTORS = {
    **dict.fromkeys(("km", "kilometers", "percent", "percentage", "%", "kWh", "kWhr", "kilowatt-hours"), 1),
    **dict.fromkeys(("liters", "count", "degrees", None), 1),
    "miles": KM,
    "gallons": LITRES,
}
"""V3's units, in metric ones; any other word is a KeyError."""
IMPERIAL = {
    **dict.fromkeys(("odometer", "battery-range", "fuel-range"), KM),
    "fuel-amount": LITRES,
    **dict.fromkeys(("tire-frontLeft", "tire-frontRight", "tire-backLeft", "tire-backRight"), KPA),
}
PLACES = {"frontLeft": (0, 0), "frontRight": (0, 1), "backLeft": (1, 0), "backRight": (1, 1)}
PERCENTS = {
    "battery-percent": ("/battery", "tractionbattery-stateofcharge"),
    "fuel-percent": ("/fuel", "internalcombustionengine-fuellevel"),
    "oil-life": ("/engine/oil", "internalcombustionengine-oillife"),
}
Body = Any
Pick = Callable[[Body], Any]


@dataclass(frozen=True)
class Read:
    """A field on one side: a value (several where any may agree), or what it says in place of one."""

    state: str
    value: Any = None
    at: datetime | None = None
    converted: bool = False


def member(name: str) -> Pick:
    """A member of the body, None where there is none."""
    return lambda body: body.get(name)


def _share(name: str) -> Pick:
    return lambda body: None if body[name] is None else body[name] * 100


def _nominal(name: str) -> Pick:
    return lambda body: (body["capacity"] or {}).get(name)


def _capacities(body: Body) -> Any:
    found = [item["capacity"] for item in body["availableCapacities"]]
    return None if None in found else sorted(found)


STATUS = {"OPEN": True, "CLOSED": False, "LOCKED": False, "UNKNOWN": None}


def _grid(name: str) -> Pick:
    return lambda body: {PLACES[part["type"]]: STATUS[part["status"]] for part in body[name]} or None


def _flap(name: str, type_: str) -> Pick:
    return lambda body: next((STATUS[part["status"]] for part in body[name] if part["type"] == type_), None)


def _positions(name: str) -> Pick:
    def pick(body: Body) -> Any:
        found = {(item["row"], item["column"]): item["isOpen"] for item in body.get(name, body.get("values"))}
        return None if set(found.values()) <= {None} else found

    return pick


def _limit(body: Body) -> Any:
    everywhere = [entry["limit"] for entry in body["values"] if entry["type"] == "GLOBAL"]
    return [limit for limit in (*everywhere, body["activeLimit"]) if limit is not None] or None


def _ranges(body: Body) -> Any:
    return body["value"] and [body["value"], *(other["value"] for other in body["additionalValues"])]


def _codes(name: str) -> Pick:
    def pick(body: Body) -> Any:
        codes = {item["code"] for item in body[name]}
        return None if None in codes else codes

    return pick


def _systems(body: Body) -> Any:
    names = {"TPMS": "tirepressuremonitoring"}
    short = {item["systemId"].removeprefix("SYSTEM_"): item["status"] for item in body["systems"]}
    return {f"diagnostics-{names.get(own, own.replace('_', '').lower())}": status for own, status in short.items()}


def _records(body: Body) -> Any:
    """V2's and V3's services in one shape; without values where the members are null."""
    old = isinstance(body, list)
    found = [_old_record(item) if old else _new_record(item) for item in (body if old else body["values"])]
    return None if found and all(record["date"] is None for record in found) else found


def _old_record(item: Body) -> Any:
    return {
        "id": item["serviceId"] and str(item["serviceId"]),
        "date": item["serviceDate"],
        "odometer": item["odometerDistance"],
        "tasks": sorted((str(task["taskId"]), task["taskDescription"]) for task in item["serviceTasks"]),
        "cost": (item["serviceCost"]["totalCost"], item["serviceCost"]["currency"]),
    }


def _new_record(item: Body) -> Any:
    return {
        "id": item["id"],
        "date": item["time"],
        "odometer": item["odometer"],
        "tasks": sorted((task["id"] or "", task["description"]) for task in item["tasks"]),
        "cost": (item["cost"]["amount"], item["cost"]["currency"]),
    }


SERVICES = ("id", "date", "odometer", "tasks", "cost")
BATTERY, CAPACITY, CHARGE = "/battery", "/battery/nominal_capacity", "/charge"
V2: dict[str, tuple[str, Pick]] = {
    "vin": ("/vin", member("vin")),
    "vehicle-id": ("/", member("id")),
    **{f"vehicle-{part}": ("/", member(part)) for part in ("make", "model", "year")},
    "odometer": ("/odometer", member("distance")),
    "battery-range": (BATTERY, member("range")),
    "battery-capacity-old": ("/battery/capacity", member("capacity")),
    "nominal-capacity": (CAPACITY, _nominal("nominal")),
    "nominal-capacity-source": (CAPACITY, _nominal("source")),
    "nominal-capacity-available": (CAPACITY, _capacities),
    "charge-plugged": (CHARGE, member("isPluggedIn")),
    "charge-state": (CHARGE, member("state")),
    "charge-state-derived": (CHARGE, lambda body: body["state"] == "CHARGING"),
    "charge-limit": ("/charge/limit", _share("limit")),
    "battery-percent": (BATTERY, _share("percentRemaining")),
    "fuel-percent": ("/fuel", _share("percentRemaining")),
    "oil-life": ("/engine/oil", _share("lifeRemaining")),
    "fuel-amount": ("/fuel", member("amountRemaining")),
    "fuel-range": ("/fuel", member("range")),
    **{f"tire-{place}": ("/tires/pressure", member(place)) for place in PLACES},
    "location": ("/location", lambda body: (body["latitude"], body["longitude"])),
    "locked": ("/security", member("isLocked")),
    "doors": ("/security", _grid("doors")),
    "windows": ("/security", _grid("windows")),
    "sunroof": ("/security", _flap("sunroof", "sunroof")),
    "storage-rear": ("/security", _flap("storage", "rear")),
    "storage-front": ("/security", _flap("storage", "front")),
    "charging-port": ("/security", _flap("chargingPort", "chargingPort")),
    "system-status": ("/diagnostics/system_status", _systems),
    "dtc-list": ("/diagnostics/dtcs", _codes("activeCodes")),
    "dtc-count": ("/diagnostics/dtcs", lambda body: len(body["activeCodes"])),
    **{f"service-{what}": ("/service/history", _records) for what in SERVICES},
    "permissions": ("/permissions", lambda body: set(body["permissions"])),
}
VALUE, OPEN, NOMINAL = member("value"), member("isOpen"), "tractionbattery-nominalcapacity"
V3: dict[str, tuple[str, Pick]] = {
    "vin": ("vehicleidentification-vin", VALUE),
    "odometer": ("odometer-traveleddistance", VALUE),
    "battery-range": ("tractionbattery-range", _ranges),
    "battery-capacity-old": (NOMINAL, member("capacity")),
    "nominal-capacity": (NOMINAL, member("capacity")),
    "nominal-capacity-source": (NOMINAL, member("source")),
    "nominal-capacity-available": (NOMINAL, _capacities),
    "charge-plugged": ("charge-ischargingcableconnected", VALUE),
    "charge-state": ("charge-detailedchargingstatus", VALUE),
    "charge-state-derived": ("charge-ischarging", VALUE),
    "charge-limit": ("charge-chargelimits", _limit),
    **{name: (code, VALUE) for name, (_, code) in PERCENTS.items()},
    "fuel-amount": ("internalcombustionengine-amountremaining", VALUE),
    "fuel-range": ("internalcombustionengine-range", VALUE),
    "location": ("location-preciselocation", lambda body: body["latitude"] and (body["latitude"], body["longitude"])),
    "locked": ("closure-islocked", VALUE),
    "doors": ("closure-doors", _positions("doors")),
    "windows": ("closure-windows", _positions("windows")),
    "sunroof": ("closure-sunroof", OPEN),
    "charging-port": ("charge-ischargingportflapopen", VALUE),
    "dtc-list": ("diagnostics-dtclist", _codes("values")),
    "dtc-count": ("diagnostics-dtccount", VALUE),
    **{f"service-{what}": ("service-records", _records) for what in SERVICES},
}
"""Fields that are one signal and its body; tires, flaps with two signals and systems are read apart."""


def read_v2(name: str, items: dict[str, Any]) -> Read:
    """A field of a V2 batch, in metric units."""
    path, pick = V2[name]
    item = items[path]
    if item["code"] != 200:
        return Read({501: "not_capable", 403: "not_permitted", 409: "none"}[item["code"]])
    value, at = pick(item["body"]), item["headers"].get("sc-data-age")
    imperial = item["headers"].get("sc-unit-system") == "imperial"
    if name == "service-odometer" and imperial:
        value = [{**record, "odometer": record["odometer"] * KM} for record in value]
    elif imperial and value is not None and name in IMPERIAL:
        value *= IMPERIAL[name]
    if name.startswith("tire-"):
        value = value if 100 <= value <= 900 else None
    changed = name in (*PERCENTS, "charge-limit") or (imperial and name in (*IMPERIAL, "service-odometer"))
    return Read("none" if value is None else "value", value, at and datetime.fromisoformat(at), changed)


def read_v3(name: str, signals: dict[str, Any], powertrain: str, systems: list[str]) -> Read:
    """A field of the V3 signals, in metric units; `systems`: the codes of those V2 tells."""
    if name.startswith("tire-"):
        return _tire(PLACES[name.removeprefix("tire-")], signals)
    if name == "storage-rear":
        return _either(("closure-reartrunk", "closure-tailgate"), signals)
    if name == "storage-front":
        codes = ("closure-enginecover", "closure-fronttrunk")
        return _either(codes[::-1] if powertrain == "BEV" else codes, signals)
    if name == "system-status":
        found = {code: _read(signals.get(code), member("status")) for code in systems}
        told = {code: read.value for code, read in found.items() if read.state == "value"}
        first = next(iter(found.values()), Read("none"))
        return Read("value", told, first.at) if told else first
    code, pick = V3[name]
    read = _read(signals.get(code), pick)
    if read.state == "value" and name == "service-id" and {r["id"] for r in read.value} == {None}:
        return Read("none")
    return read


def _either(codes: tuple[str, str], signals: dict[str, Any]) -> Read:
    usual, other = (_read(signals.get(code), OPEN) for code in codes)
    return other if usual.state != "value" == other.state else usual


def _tire(place: tuple[int, int], signals: dict[str, Any]) -> Read:
    """The unit goes by the number, whatever the label says."""
    read = _read(
        signals.get("wheel-tires"),
        lambda body: {(item["row"], item["column"]): item["tirePressure"] for item in body["values"]}[place],
        labelled=False,
    )
    if read.state != "value":
        return read
    factor = next((by for low, high, by in ((1, 6, 100), (15, 75, KPA), (100, 900, 1)) if low <= read.value <= high), 0)
    return Read("value", read.value * factor, read.at, factor != 1) if factor else Read("none")


def _read(item: dict[str, Any] | None, pick: Pick, *, labelled: bool = True) -> Read:
    if item is None or item["attributes"]["status"]["value"] == "UNAVAILABLE":
        return Read("none")
    status, body = item["attributes"]["status"], item["attributes"].get("body") or {}
    if status["value"] == "ERROR":
        kinds = {"COMPATIBILITY": "not_capable", "PERMISSION": "not_permitted"}
        return Read(kinds.get(status["error"]["type"], "cached_error" if body and pick(body) is not None else "none"))
    at, value = item["meta"].get("oemUpdatedAt"), pick(body)
    factor = FACTORS[body.get("unit")] if labelled else 1
    if value is None or (item["id"] in dict(PERCENTS.values()).values() and "unit" not in body and value <= 1):
        return Read("none")
    if factor != 1:
        value = [each * factor for each in value] if isinstance(value, list) else value * factor
    return Read("value", value, at and datetime.fromisoformat(at), factor != 1)
