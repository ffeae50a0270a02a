"""A second, small comparison over HTTP alone: every (car, field) pair gets the verdict the contract asks for."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import httpx

SIGNALS = {
    "vin": "vehicleidentification-vin",
    "odometer": "odometer-traveleddistance",
    "battery-percent": "tractionbattery-stateofcharge",
    "battery-range": "tractionbattery-range",
    "charge-plugged": "charge-ischargingcableconnected",
    "charge-state": "charge-detailedchargingstatus",
}
V2 = {
    "vin": ("/vin", "vin"),
    "vehicle-make": ("/", "make"),
    "vehicle-model": ("/", "model"),
    "vehicle-year": ("/", "year"),
    "odometer": ("/odometer", "distance"),
    "battery-percent": ("/battery", "percentRemaining"),
    "battery-range": ("/battery", "range"),
    "charge-plugged": ("/charge", "isPluggedIn"),
    "charge-state": ("/charge", "state"),
}
VOLATILE = ("odometer", "battery-percent", "battery-range", "charge-plugged", "charge-state")
Side = dict[str, tuple[str, Any, datetime | None]]


def compare(client: httpx.Client, app: dict[str, str], car: str, user: str, token: str) -> dict[str, str]:
    """Field -> verdict for one car: V3, a V2 batch, V3 again."""
    first = read_v3(client, app, car, user)
    v2 = read_v2(client, token, car)
    second = read_v3(client, app, car, user)
    return {name: _verdict(name, v2[name], first[name], second[name]) for name in V2}


def read_v3(client: httpx.Client, app: dict[str, str], car: str, user: str) -> Side:
    """Field -> (class, value, maker's time) on V3."""
    body = client.get(f"/v3/vehicles/{car}/signals", headers={**app, "sc-user-id": user}).json()
    found = {item["id"]: item for item in body["data"]}
    parts = body["included"]["vehicle"]["attributes"]
    side: Side = {f"vehicle-{part}": ("value", parts[part], None) for part in ("make", "model", "year")}
    return side | {name: _signal(found.get(code)) for name, code in SIGNALS.items()}


def _signal(item: dict[str, Any] | None) -> tuple[str, Any, datetime | None]:
    if item is None:
        return "none", None, None
    status, body = item["attributes"]["status"], item["attributes"].get("body") or {}
    at = item["meta"].get("oemUpdatedAt")
    if status["value"] == "ERROR":
        kinds = {"COMPATIBILITY": "not_capable", "PERMISSION": "not_permitted"}
        cached = "cached_error" if body.get("value") is not None else "none"
        return kinds.get(status["error"]["type"], cached), None, None
    return "value", body["value"], datetime.fromisoformat(at) if at else None


def read_v2(client: httpx.Client, token: str, car: str) -> Side:
    """Field -> (class, value, maker's time) on V2."""
    paths = sorted({path for path, _ in V2.values()})
    answer = client.post(
        f"/v2.0/vehicles/{car}/batch",
        headers={"authorization": f"Bearer {token}"},
        json={"requests": [{"path": path} for path in paths]},
    )
    items = {item["path"]: item for item in answer.json()["responses"]}
    return {name: _item(name, items[path], member) for name, (path, member) in V2.items()}


def _item(name: str, item: dict[str, Any], member: str) -> tuple[str, Any, datetime | None]:
    if item["code"] == 501:
        return "not_capable", None, None
    value, at = item["body"][member], item["headers"].get("sc-data-age")
    return "value", value, datetime.fromisoformat(at) if at else None


def _verdict(name: str, v2: tuple, first: tuple, second: tuple) -> str:
    if v2[0] != "value":
        return "not_capable" if "not_capable" in (v2[0], first[0]) else "unavailable"
    if first[0] != "value":
        return {"not_capable": "v2_only", "none": "unavailable"}.get(first[0], first[0])
    if agreed := _agreed(name, v2[1], first[1]):
        return agreed
    if name not in VOLATILE:
        return "mismatch"
    if name == "odometer" and v2[2] and first[2]:
        older, newer = sorted((v2, first), key=lambda side: side[2])
        if newer[1] < older[1] - 1 and newer[2] > older[2]:
            return "mismatch"
    if first[1] != second[1]:
        return "moved"
    return "stale" if abs((v2[2] - first[2]).total_seconds()) > 60 else "mismatch"


def _agreed(name: str, v2: Any, v3: Any) -> str | None:
    if isinstance(v2, str):
        same = re.sub(r"[\W_]", "", v2).lower() == re.sub(r"[\W_]", "", v3).lower()
        return "equal" if same else None
    if v2 == v3:
        return "equal"
    if isinstance(v2, bool):
        return None
    scaled = v2 * 100 if name == "battery-percent" else v2
    if abs(scaled - v3) <= 1e-6 * abs(scaled):
        return "converted"
    tolerance = {"odometer": 1, "battery-percent": 1, "battery-range": max(2, scaled / 100)}.get(name, 0)
    return "within_tolerance" if abs(scaled - v3) <= tolerance else None
