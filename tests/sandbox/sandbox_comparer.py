"""A second, small comparison over HTTP alone: every (car, field) pair gets the verdict the contract asks for."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import httpx

from tests.sandbox.sandbox_readings import V2, Read, read_v2, read_v3

STABLE = ("vin", "vehicle-id", "vehicle-make", "vehicle-model", "vehicle-year", "permissions", "vehicles", "user")
SLOW = ("charge-limit", "oil-life", "tire-", "system-status", "dtc-", "service-")
RELATIVE = {"battery-range": (2, 0.01), "fuel-range": (2, 0.01), "fuel-amount": (0.5, 0.01)}
TOLERANCES = {
    **RELATIVE,
    "odometer": (1, 0),
    **dict.fromkeys(("battery-percent", "fuel-percent", "oil-life"), (1, 0)),
    "charge-limit": (0.5, 0),
    "nominal-capacity": (0.05, 0),
    "battery-capacity-old": (0, 0.1),
    "service-odometer": (1, 0),
}
"""Absolute in the metric unit, and relative; the larger of the two counts."""
WORDED = dict.fromkeys(
    (
        *("charge-state-derived", "doors", "windows", "sunroof", "storage-rear", "storage-front"),
        "charging-port",
    ),
    "converted",
)
"""Words on V2, true or false on V3."""
ALIASES = {"VW": "VOLKSWAGEN"}


def compare(client: httpx.Client, app: dict[str, str], car: str, user: str, token: str) -> dict[str, str]:
    """Field -> verdict for one car: V3, V2, V3 again."""
    first = _signals(client, app, car, user)
    items = _batch(client, token, car)
    second = _signals(client, app, car, user)
    v2 = {name: read_v2(name, items) for name in V2} | _account(client, token)
    listed = _connections(client, app, user)
    systems = list(v2["system-status"].value or _every_system(first))
    sides = [_v3_side(read, systems, listed, car, user) for read in (first, second)]
    return {name: _verdict(name, v2[name], *(side[name] for side in sides)) for name in v2}


def _signals(client: httpx.Client, app: dict[str, str], car: str, user: str) -> dict[str, Any]:
    answer = client.get(f"/v3/vehicles/{car}/signals", headers={**app, "sc-user-id": user}).json()
    return {"vehicle": answer["included"]["vehicle"], **{item["id"]: item for item in answer["data"]}}


def _every_system(signals: dict[str, Any]) -> list[str]:
    return [code for code in signals if code.startswith("diagnostics-") and "dtc" not in code]


def _batch(client: httpx.Client, token: str, car: str) -> dict[str, Any]:
    paths = sorted({path for path, _ in V2.values()})
    body = {"requests": [{"path": path} for path in paths]}
    answer = client.post(f"/v2.0/vehicles/{car}/batch", headers={"authorization": f"Bearer {token}"}, json=body)
    return {item["path"]: item for item in answer.json()["responses"]}


def _account(client: httpx.Client, token: str) -> dict[str, Read]:
    bearer = {"authorization": f"Bearer {token}"}
    return {
        "user": Read("value", client.get("/v2.0/user", headers=bearer).json()["id"]),
        "vehicles": Read("value", set(client.get("/v2.0/vehicles", headers=bearer).json()["vehicles"])),
    }


def _connections(client: httpx.Client, app: dict[str, str], user: str) -> dict[str, Any]:
    query = {"filter[userId]": user, "page[size]": 100}
    rows = client.get("/v3/connections", params=query, headers=app).json()["data"]
    return {row["relationships"]["vehicle"]["data"]["id"]: row for row in rows}


def _v3_side(
    signals: dict[str, Any], systems: list[str], listed: dict[str, Any], car: str, user: str
) -> dict[str, Read]:
    vehicle = signals["vehicle"]
    parts = vehicle["attributes"]
    side = {
        "vehicle-id": Read("value", vehicle["id"]),
        **{f"vehicle-{part}": Read("value", parts[part]) for part in ("make", "model", "year")},
        "permissions": Read("value", set(listed[car]["attributes"]["permissions"])),
        "vehicles": Read("value", set(listed)),
        "user": Read("value", listed[car]["relationships"]["user"]["data"]["id"]),
    }
    rest = V2.keys() - side.keys()
    return side | {name: read_v3(name, signals, parts["powertrainType"], systems) for name in rest}


def _verdict(name: str, v2: Read, first: Read, second: Read) -> str:
    if "value" not in (v2.state, first.state):
        found = (state for state in ("not_capable", "not_permitted") if state in (v2.state, first.state))
        return next(found, "unavailable")
    if v2.state != "value":
        return "v3_only"
    if first.state != "value":
        return {"not_capable": "v2_only", "none": "unavailable"}.get(first.state, first.state)
    if agreed := _agreed(name, v2, first):
        return agreed
    if name in STABLE or "capacity" in name:
        return "mismatch"
    if name == "odometer" and v2.at and first.at:
        older, newer = sorted((v2, first), key=lambda side: side.at)
        if newer.value < older.value - 1 and newer.at > older.at:
            return "mismatch"
    if first.value != second.value:
        return "moved"
    return "stale" if _span(v2, first) > timedelta(hours=24 if name.startswith(SLOW) else 1 / 60) else "mismatch"


def _span(v2: Read, v3: Read) -> timedelta:
    return abs(v2.at - v3.at) if v2.at and v3.at else timedelta.max


def _agreed(name: str, v2: Read, v3: Read) -> str | None:
    """The verdict where the values are alike; of several V3 offers, the best counts."""
    if name in ("permissions", "vehicles"):
        return "equal" if v2.value <= v3.value else None
    if name.startswith("service-"):
        return _records_agreed(name, v2, v3)
    if name == "location":
        metres = _metres(v2.value, v3.value)
        return "equal" if metres == 0 else "within_tolerance" if metres <= 25 else None
    if isinstance(v2.value, dict):
        # What one side does not know is not judged.
        both = [place for place in v2.value if None not in (v2.value[place], v3.value.get(place))]
        same = all(v2.value[place] == v3.value[place] for place in both)
        return (WORDED.get(name, "equal")) if same else None
    if name in ("charge-limit", "battery-range"):
        found = {_numbers(name, v2, v3, value) for value in v3.value}
        return next((verdict for verdict in ("equal", "converted", "within_tolerance") if verdict in found), None)
    if isinstance(v2.value, int | float) and not isinstance(v2.value, bool):
        return _numbers(name, v2, v3, v3.value)
    return WORDED.get(name, "equal") if _plain(v2.value) == _plain(v3.value) else None


def _plain(value: Any) -> Any:
    """Text without case, blanks and punctuation, under its usual name."""
    text = re.sub(r"[\W_]", "", value).upper() if isinstance(value, str) else value
    if isinstance(text, str):
        return ALIASES.get(text, int(text) if text.isdecimal() else text)
    return value


def _numbers(name: str, v2: Read, v3: Read, other: float) -> str | None:
    gap, size = abs(v2.value - other), max(abs(v2.value), abs(other))
    if gap <= 1e-6 * size:
        return "converted" if v2.converted or v3.converted else "equal"
    absolute, relative = TOLERANCES.get(name, (0, 0))
    if name.startswith("tire-"):
        absolute = 3 if _span(v2, v3) <= timedelta(minutes=1) else 30
    return "within_tolerance" if gap <= max(absolute, relative * size) else None


def _records_agreed(name: str, v2: Read, v3: Read) -> str | None:
    """Records are the same by id, or by day and odometer where one side has no id."""
    what, found = name.removeprefix("service-"), set()
    if len(v2.value) != len(v3.value):
        return None
    for record in v2.value:
        other = next((o for o in v3.value if _same_record(record, o)), None)
        if other is None:
            return None
        if what == "odometer":
            found.add(_numbers(name, Read("value", record[what], converted=v2.converted), v3, other[what]))
        else:
            found.add("equal" if record[what] == other[what] else None)
    return next((verdict for verdict in (None, "within_tolerance", "converted") if verdict in found), "equal")


def _same_record(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if None not in (one["id"], other["id"]):
        return one["id"] == other["id"]
    return one["date"] == other["date"] and abs(one["odometer"] - other["odometer"]) <= 1


def _metres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The distance over ground, flat: the places are near each other or far apart."""
    north = (one[0] - other[0]) * 111_195
    east = (one[1] - other[1]) * 111_195 * math.cos(math.radians(one[0]))
    return math.hypot(north, east)
