# ruff: noqa: E501 (a case is a row)
"""Every row of the field map on bodies with the traits of real ones: the same, different, or no value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.compare.judging.verdicts import Judgement, judge
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.smartcar.signals import Signals, read_signal
from smartcar_ops.smartcar.v2 import read_batch

FIELDS = {row.id: row for row in field_map().fields}
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = 3600.0
COMPATIBILITY = {"type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE"}
PERMISSION = {"type": "PERMISSION", "code": "UNKNOWN"}
STATE = {"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}


def error(told: dict[str, Any], body: Any = None) -> dict[str, Any]:
    """A signal that says ERROR, perhaps with an old body."""
    return {"status": {"value": "ERROR", "error": told}, "body": body}


def judged(
    name: str, v2: Any, v3: Any, after: float | None = 0, *, code: int = 200, units: str = "metric"
) -> Judgement:
    """The judgement on a field of one V2 body beside V3's signals (by code; a body, or an ``error``).

    V3's maker has its value ``after`` so many seconds; None: without the maker's time.
    """
    row = FIELDS[name]
    assert row.v2 and row.v3
    headers = {"sc-data-age": AT.isoformat(), "sc-unit-system": units}
    item = {"path": row.v2.source, "code": code, "body": v2, "headers": headers}
    signals = v3 if isinstance(v3, dict) and any("-" in key for key in v3) else {row.v3.source: v3}
    meta = {} if after is None else {"oemUpdatedAt": (AT + timedelta(seconds=after)).isoformat()}
    rows = []
    for signal, told in signals.items():
        whole = isinstance(told, dict) and isinstance(told.get("status"), dict)
        inner = told if whole else {"status": {"value": "SUCCESS"}, "body": told}
        rows.append({"id": signal, "attributes": {"code": signal, **inner}, "meta": meta})
    found = Signals({signal.code: signal for signal in map(read_signal, rows)})
    return judge(row, read_v2(row, read_batch({"responses": [item]})), read_v3(row, found))


def place(row: int, column: int, **told: Any) -> dict[str, Any]:
    """A door, a window or a wheel of V3's."""
    return {"row": row, "column": column, **told}


def doors(*states: str | None) -> dict[str, Any]:
    """V2's doors in their usual order; None leaves one out."""
    names = ("frontLeft", "frontRight", "backLeft", "backRight")
    told = [{"type": name, "status": state} for name, state in zip(names, states, strict=False) if state]
    return {"isLocked": True, "doors": told, "windows": told}


def shut(**changed: Any) -> list[dict[str, Any]]:
    """V3's four doors, shut and locked; ``changed`` are members of the first."""
    found = [place(row, column, isOpen=False, isLocked=True) for row in (1, 0) for column in (1, 0)]
    return [*found[:-1], {**found[-1], **changed}]


CLOSED = ("CLOSED",) * 4
TIRES = {"frontLeft": 250, "frontRight": 251, "backLeft": 262, "backRight": 263}


def wheels(unit: str, *pressures: float | None) -> dict[str, Any]:
    """V3's four wheels, the last one first."""
    places = ((0, 0), (0, 1), (1, 0), (1, 1))
    told = [place(*at, tirePressure=kpa) for at, kpa in zip(places, pressures, strict=True)]
    return {"values": told[::-1], "rowCount": 2, "columnCount": 2, "unit": unit}


def visit(id: Any, date: str, km: float, *, task: str = "oil change", cost: float = 100) -> dict[str, Any]:
    """A garage visit as V2 tells it."""
    return {
        "serviceId": id,
        "serviceDate": date,
        "odometerDistance": km,
        "serviceTasks": [{"taskId": 1, "taskDescription": task}],
        "serviceDetails": {"type": "dealership"},
        "serviceCost": {"totalCost": cost, "currency": "USD"},
    }


def record(id: Any, date: str, km: float, *, task: str = "oil change", cost: float = 100) -> dict[str, Any]:
    """The same visit as V3 tells it."""
    return {
        "id": id,
        "time": date,
        "odometer": km,
        "tasks": [{"id": "1", "description": task}],
        "cost": {"amount": cost, "currency": "USD"},
    }


JULY, MARCH = "2025-07-10T16:20:00.000Z", "2025-03-01T08:00:00Z"

TABLE: list[tuple[str, str, Any, Any, dict[str, Any]]] = [
    # numbers: scale, unit words, units
    ("converted", "battery-percent", {"percentRemaining": 0.68}, {"value": 68, "unit": "percentage"}, {}),
    ("mismatch", "battery-percent", {"percentRemaining": 0.68}, {"value": 0.68, "unit": "percent"}, {}),
    ("unavailable", "battery-percent", {"percentRemaining": 0.68}, {"value": 0.68}, {}),
    ("equal", "odometer", {"distance": 1000}, {"value": 1000, "unit": "kilometers"}, {}),
    ("converted", "odometer", {"distance": 1000}, {"value": 1609.344, "unit": "km"}, {"units": "imperial"}),
    ("converted", "odometer", {"distance": 1609.344}, {"value": 1000, "unit": "miles"}, {}),
    ("mismatch", "odometer", {"distance": 1609.344}, {"value": 1000, "unit": "km"}, {}),
    ("converted", "fuel-amount", {"amountRemaining": 10}, {"value": 37.85411784, "unit": "liters"}, {"units": "imperial"}),
    ("within_tolerance", "fuel-amount", {"amountRemaining": 80}, {"value": 80.7, "unit": "liters"}, {}),
    ("not_capable", "fuel-range", {"range": None}, error(COMPATIBILITY), {}),
    ("converted", "oil-life", {"lifeRemaining": 0.35}, {"value": 35, "unit": "percent"}, {}),
    ("mismatch", "oil-life", {"lifeRemaining": 0.35}, {"value": 53, "unit": "percent"}, {"after": 23 * HOUR}),
    ("stale", "oil-life", {"lifeRemaining": 0.35}, {"value": 53, "unit": "percent"}, {"after": 25 * HOUR}),
    # range: one of the further ranges may be V2's
    ("equal", "battery-range", {"range": 300}, {"value": 250, "additionalValues": [{"type": "RATED", "value": 300}], "unit": "km"}, {}),
    ("mismatch", "battery-range", {"range": 300}, {"value": 250, "additionalValues": [], "unit": "km"}, {}),
    # capacity
    ("equal", "nominal-capacity", {"capacity": {"nominal": 82}}, {"capacity": 82.0, "unit": "kWhr"}, {"after": None}),
    ("within_tolerance", "nominal-capacity", {"capacity": {"nominal": 82}}, {"capacity": 82.04, "unit": "kWh"}, {}),
    ("mismatch", "nominal-capacity", {"capacity": {"nominal": 82}}, {"capacity": 77, "unit": "kWh"}, {"after": None}),
    ("unavailable", "nominal-capacity", {"capacity": None}, {"capacity": None}, {}),
    ("mismatch", "nominal-capacity-source", {"capacity": {"source": "SMARTCAR"}}, {"source": "USER_SELECTED"}, {}),
    ("equal", "nominal-capacity-available", {"availableCapacities": [{"capacity": 70.9, "description": None}, {"capacity": 80.9}]},
     {"availableCapacities": [{"capacity": 80.9, "description": "Long"}, {"capacity": 70.9}]}, {}),
    ("mismatch", "nominal-capacity-available", {"availableCapacities": [{"capacity": 70.9}]}, {"availableCapacities": []}, {}),
    ("within_tolerance", "battery-capacity-old", {"capacity": 75}, {"capacity": 80, "unit": "kWh"}, {}),
    # charging
    ("equal", "charge-plugged", {"isPluggedIn": False}, {"value": False}, {}),
    ("equal", "charge-state", {"state": "NOT_CHARGING"}, {"value": "NOT_CHARGING"}, {}),
    ("mismatch", "charge-state", {"state": "CHARGING"}, {"value": "FULLY_CHARGED"}, {}),
    ("unavailable", "charge-state", {"state": "CHARGING"}, {"value": "PRECONDITIONING"}, {}),
    ("converted", "charge-state-derived", {"state": "CHARGING"}, {"value": True}, {}),
    ("converted", "charge-state-derived", {"state": "FULLY_CHARGED"}, {"value": False}, {}),
    ("mismatch", "charge-state-derived", {"state": "CHARGING"}, {"value": False}, {}),
    ("converted", "charge-limit", {"limit": 1}, {"values": [{"type": "GLOBAL", "limit": 100}], "activeLimit": 80, "unit": "percent"}, {}),
    ("converted", "charge-limit", {"limit": 0.8}, {"values": [{"type": "GLOBAL", "limit": 100}], "activeLimit": 80, "unit": "percent"}, {}),
    ("converted", "charge-limit", {"limit": 0.8}, {"values": [], "activeLimit": 80, "unit": "percent"}, {}),
    ("converted", "charge-limit", {"limit": 0.8}, {"values": [{"type": "LOCATION", "limit": 50}, {"type": "GLOBAL", "limit": 80}], "activeLimit": None, "unit": "percent"}, {}),
    ("mismatch", "charge-limit", {"limit": 0.9}, {"values": [{"type": "GLOBAL", "limit": 100}], "activeLimit": 80, "unit": "percent"}, {}),
    ("v3_only", "charge-limit", {"type": "VEHICLE_STATE", "code": "CHARGING_PLUG_NOT_CONNECTED"}, {"values": [], "activeLimit": 80, "unit": "percent"}, {"code": 409}),
    # tires: by position and size, whatever the label says
    ("equal", "tire-frontLeft", TIRES, wheels("bar", 250, 251, 262, 263), {}),
    ("equal", "tire-backRight", TIRES, wheels("bar", 250, 251, 262, 263), {}),
    ("converted", "tire-frontLeft", TIRES, wheels("bar", 2.5, 2.51, 2.62, 2.63), {}),
    ("within_tolerance", "tire-frontLeft", TIRES, wheels("psi", 36, 36, 38, 38), {}),
    ("converted", "tire-frontLeft", {name: kpa / 6.894757 for name, kpa in TIRES.items()}, wheels("kPa", 250, 251, 262, 263), {"units": "imperial"}),
    ("within_tolerance", "tire-frontLeft", TIRES, wheels("bar", 270, 251, 262, 263), {"after": 5 * HOUR}),
    ("mismatch", "tire-frontLeft", TIRES, wheels("bar", 270, 251, 262, 263), {}),
    ("mismatch", "tire-frontLeft", TIRES, wheels("bar", 290, 251, 262, 263), {"after": 5 * HOUR}),
    ("unavailable", "tire-frontLeft", TIRES, wheels("bar", 6553.5, 251, 262, 263), {}),
    ("unavailable", "tire-frontLeft", TIRES, wheels("bar", 655, 251, 262, 263), {}),
    ("unavailable", "tire-frontLeft", TIRES, wheels("bar", None, 251, 262, 263), {}),
    # places
    ("equal", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": 37.4, "longitude": 122.1, "locationType": "LAST_PARKED"}, {}),
    ("within_tolerance", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": 37.4002, "longitude": 122.1}, {"after": HOUR}),
    ("mismatch", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": 37.41, "longitude": 122.1}, {}),
    ("stale", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": 37.41, "longitude": 122.1}, {"after": 61}),
    ("unavailable", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": None, "longitude": None}, {}),
    # doors and windows, by place and not by order
    ("converted", "doors", doors(*CLOSED), {"values": shut()}, {}),
    ("converted", "doors", doors(*CLOSED), {"doors": shut()}, {}),
    ("converted", "doors", doors(*["LOCKED"] * 4), {"values": shut()}, {}),
    ("mismatch", "doors", doors("LOCKED"), {"values": shut(isLocked=False)}, {}),
    ("mismatch", "doors", doors(*CLOSED), {"values": shut(isOpen=True)}, {}),
    ("stale", "doors", doors(*CLOSED), {"values": shut(isOpen=True)}, {"after": HOUR}),
    ("converted", "doors", doors("UNKNOWN", "CLOSED"), {"values": shut(isOpen=True)}, {}),
    ("converted", "doors", doors(*CLOSED), {"values": shut(isOpen=None)}, {}),
    ("v3_only", "doors", doors("UNKNOWN"), {"values": shut()}, {}),
    ("not_capable", "doors", {"doors": []}, error(COMPATIBILITY), {}),
    ("mismatch", "windows", doors(*CLOSED), {"windows": shut(isOpen=True)}, {}),
    ("not_permitted", "windows", doors(*CLOSED), error(PERMISSION), {}),
    # single flaps
    ("converted", "sunroof", {"sunroof": [{"type": "sunroof", "status": "OPEN"}]}, {"isOpen": True}, {}),
    ("unavailable", "sunroof", {"sunroof": [{"type": "sunroof", "status": "OPEN"}]}, {"isOpen": None}, {}),
    ("not_capable", "sunroof", {"sunroof": []}, error(COMPATIBILITY, {"isOpen": None}), {}),
    ("v2_only", "sunroof", {"sunroof": [{"type": "sunroof", "status": "OPEN"}]}, error(COMPATIBILITY, {"isOpen": None}), {}),
    ("converted", "storage-rear", {"storage": [{"type": "rear", "status": "CLOSED"}]},
     {"closure-reartrunk": error(COMPATIBILITY), "closure-tailgate": {"isOpen": False}}, {}),
    ("v2_only", "storage-rear", {"storage": [{"type": "rear", "status": "CLOSED"}]}, {"closure-reartrunk": error(COMPATIBILITY)}, {}),
    ("converted", "storage-front", {"storage": [{"type": "front", "status": "CLOSED"}]},
     {"closure-fronttrunk": error(PERMISSION), "closure-enginecover": {"isOpen": False}}, {}),
    ("converted", "storage-front", {"storage": [{"type": "front", "status": "OPEN"}]},
     {"closure-fronttrunk": {"isOpen": False}, "closure-enginecover": {"isOpen": True}}, {}),
    ("unavailable", "storage-front", {"storage": [{"type": "front", "status": "OPEN"}]},
     {"closure-fronttrunk": {"isOpen": None}, "closure-enginecover": error(COMPATIBILITY)}, {}),
    ("v2_only", "storage-front", {"storage": [{"type": "front", "status": "OPEN"}]}, {"closure-enginecover": error(COMPATIBILITY)}, {}),
    ("mismatch", "storage-front", {"storage": [{"type": "front", "status": "OPEN"}]}, {"closure-fronttrunk": {"isOpen": False}}, {}),
    ("converted", "charging-port", {"chargingPort": [{"type": "chargingPort", "status": "OPEN"}]}, {"value": True}, {}),
    # systems, one signal each
    ("equal", "system-status", {"systems": [{"systemId": "SYSTEM_ABS", "status": "OK"}, {"systemId": "SYSTEM_ENGINE", "status": "ALERT"}]},
     {"diagnostics-abs": {"status": "OK"}, "diagnostics-mil": {"status": "ALERT"}}, {}),
    ("equal", "system-status", {"systems": [{"systemId": "SYSTEM_TPMS", "status": "OK"}]},
     {"diagnostics-tirepressuremonitoring": {"status": "OK"}}, {}),
    ("mismatch", "system-status", {"systems": [{"systemId": "SYSTEM_ABS", "status": "OK"}]}, {"diagnostics-abs": {"status": "ALERT"}}, {}),
    ("v2_only", "system-status", {"systems": [{"systemId": "SYSTEM_ABS", "status": "OK"}, {"systemId": "SYSTEM_MIL", "status": "OK"}]},
     {"diagnostics-abs": {"status": "OK"}, "diagnostics-mil": error(COMPATIBILITY)}, {}),
    ("not_permitted", "system-status", {"systems": [{"systemId": "SYSTEM_ABS", "status": "OK"}]}, {"diagnostics-abs": error(PERMISSION)}, {}),
    # trouble codes
    ("equal", "dtc-list", {"activeCodes": [{"code": "P0302", "timestamp": None}, {"code": "p0301"}]}, {"values": [{"code": "P0301"}, {"code": "P0302"}]}, {}),
    ("equal", "dtc-list", {"activeCodes": []}, {"values": []}, {}),
    ("mismatch", "dtc-list", {"activeCodes": [{"code": "P0302"}]}, {"values": []}, {}),
    ("equal", "dtc-count", {"activeCodes": [{"code": "P0302"}]}, {"value": 1, "unit": "count"}, {}),
    ("mismatch", "dtc-count", {"activeCodes": [{"code": "P0302"}]}, {"value": 0, "unit": "count"}, {}),
    # garage visits: by id, else by date and odometer
    ("equal", "service-id", [visit(12345, JULY, 50000)], {"values": [record("12345", JULY, 50000)]}, {}),
    ("equal", "service-id", [], {"values": []}, {}),
    ("equal", "service-id", visit("a1", JULY, 50000), {"values": [record("A1", JULY, 50000)]}, {}),
    ("mismatch", "service-id", [visit(1, JULY, 50000)], {"values": []}, {}),
    ("mismatch", "service-id", [visit(1, JULY, 50000)], {"values": [record("2", JULY, 50000)]}, {}),
    ("equal", "service-id", [visit(1, JULY, 50000)], {"values": [record("7", MARCH, 40000), record("1", JULY, 50000)]}, {}),
    ("equal", "service-odometer", [visit(None, JULY, 50000)], {"values": [record("1", JULY, 50000)]}, {}),
    ("within_tolerance", "service-odometer", [visit(1, JULY, 50000)], {"values": [record("1", JULY, 50000.8)]}, {}),
    ("mismatch", "service-odometer", [visit(None, JULY, 50000)], {"values": [record("1", JULY, 40000)]}, {}),
    ("mismatch", "service-date", [visit(1, JULY, 50000)], {"values": [record("1", MARCH, 50000)]}, {}),
    ("equal", "service-date", [visit(1, JULY, 50000)], {"values": [record("1", "2025-07-10T16:20:00Z", 50000)]}, {}),
    ("equal", "service-tasks", [visit(1, JULY, 50000, task="Oil Change")], {"values": [record("1", JULY, 50000)]}, {}),
    ("mismatch", "service-tasks", [visit(1, JULY, 50000)], {"values": [record("1", JULY, 50000, task="brakes")]}, {}),
    ("equal", "service-cost", [visit(1, JULY, 50000, cost=100)], {"values": [record("1", JULY, 50000, cost=100.0)]}, {}),
    ("mismatch", "service-cost", [visit(1, JULY, 50000, cost=100)], {"values": [record("1", JULY, 50000, cost=90)]}, {}),
    ("mismatch", "service-cost", [visit(None, JULY, 50000)], {"values": [record("1", MARCH, 40000)]}, {}),
    ("unavailable", "service-cost", [visit(1, JULY, 50000)], {"values": [record(None, None, None) | {"cost": None}]}, {}),
    ("v3_only", "service-cost", [], {"values": [record("1", MARCH, 40000)]}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "name", "v2", "v3", "how"), TABLE)
def test_the_verdict_on_bodies_like_real_ones(verdict: str, name: str, v2: Any, v3: Any, how: dict[str, Any]) -> None:
    """Each pair of bodies gets the verdict that the map's rule and the contract's order give it, with a reason."""
    found = judged(name, v2, v3, **how)
    assert verdict == found.verdict, found.reason
    assert found.reason


def test_every_compared_row_is_in_the_table() -> None:
    """Every row with a rule of its own that signals feed is tried; the others are read as one of these."""
    tried = {row[1] for row in TABLE}
    alike = {"fuel-percent", "locked", "tire-frontRight", "tire-backLeft"}
    compared = {row.id for row in FIELDS.values() if row.compared and row.v3 and "-" in row.v3.source}
    assert compared - {"vin"} == tried | alike


@pytest.mark.parametrize(
    ("words", "name", "v2", "v3"),
    [
        ("frontLeft: the values differ", "doors", doors(*CLOSED), {"values": shut(isOpen=True)}),
        ("not judged: frontLeft", "doors", doors(*CLOSED), {"values": shut(isOpen=None)}),
        ("V3 lacks p0302", "dtc-list", {"activeCodes": [{"code": "P0302"}]}, {"values": []}),
        ("miles sent as km?", "odometer", {"distance": 1609.344}, {"value": 1000, "unit": "km"}),
        ("a fraction sent as a percentage?", "battery-percent", {"percentRemaining": 0.68}, {"value": 0.68, "unit": "percent"}),
        ("visit on 2025-07-10: V3 does not list it", "service-id", [visit(1, JULY, 9)], {"values": []}),
        ("another of V3's values", "charge-limit", {"limit": 0.8},
         {"values": [{"type": "GLOBAL", "limit": 100}], "activeLimit": 80, "unit": "percent"}),
        ("1,112 m apart", "location", {"latitude": 37.4, "longitude": 122.1}, {"latitude": 37.41, "longitude": 122.1}),
    ],
)  # fmt: skip
def test_a_reason_names_what_it_is_about(words: str, name: str, v2: Any, v3: Any) -> None:
    """A reason names the door, the code, the visit or the suspicion, not only that something differs."""
    assert words in judged(name, v2, v3).reason
