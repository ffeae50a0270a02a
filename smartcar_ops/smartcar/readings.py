"""What both versions are turned into: one reading a field, in one unit, with the maker's time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from smartcar_ops.errors import NotSmartcarError, SmartcarError, UnreachableError
from smartcar_ops.smartcar.fields import Field
from smartcar_ops.smartcar.signals import Signal, Signals
from smartcar_ops.smartcar.units import IMPERIAL, convert
from smartcar_ops.smartcar.v2 import Batch

State = Literal["value", "no_value", "not_capable", "not_permitted", "cached_error", "failed"]

FAILED = frozenset({401, 429, 430, 500, 502, 503, 504})
BY_STATUS: dict[int, State] = {403: "not_permitted", 501: "not_capable"}
BY_TYPE: dict[str, State] = {"COMPATIBILITY": "not_capable", "PERMISSION": "not_permitted"}
MUCH = 1e300
VEHICLE = "vehicle"
"""In the map, the vehicle's own attributes in place of a signal."""


@dataclass(frozen=True)
class Reading:
    """A field as one version tells it.

    ``raw`` is the JSON value as it came; ``value`` is comparable (a float in ``unit``, folded text, a bool);
    ``converted`` says that scale or unit was changed; ``at`` is the maker's time in UTC, None where not told;
    ``reason`` says in words why there is no value.
    """

    state: State
    raw: Any = dataclasses.field(default=None, repr=False)
    value: Any = dataclasses.field(default=None, repr=False)
    unit: str | None = None
    converted: bool = False
    at: datetime | None = None
    reason: str = ""


def read_v2(field: Field, answer: Batch | SmartcarError) -> Reading:
    """The field from a V2 batch, or from the error that came instead of one."""
    if field.v2 is None:
        return Reading("no_value", reason="V2 has no such field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    item = answer.items.get(field.v2.source)
    if item is None:
        return Reading("failed", reason=f"the batch has no answer for {field.v2.source}")
    if item.code != 200:
        words = " ".join(word for word in (item.error_type, item.error_code) if word)
        return Reading(_state(item.code), at=item.data_age, reason=f"V2 {item.code} {words}".strip())
    raw = item.body.get(field.v2.member) if isinstance(item.body, dict) else None
    unit = field.v2.unit
    if unit and item.unit_system == "imperial":
        unit = IMPERIAL.get(unit, unit)
    return _parsed(field, raw, unit, item.data_age)


def read_v3(field: Field, answer: Signals | SmartcarError) -> Reading:
    """The field from V3's signals, or from the error that came instead of them."""
    if field.v3 is None:
        return Reading("no_value", reason="V3 has no such field")
    if isinstance(answer, SmartcarError):
        return _from_error(answer)
    if field.v3.source == VEHICLE:
        return _parsed(field, answer.vehicle.get(field.v3.member), field.v3.unit, None)
    signal = answer.signals.get(field.v3.source)
    if signal is None:
        return Reading("no_value", reason="V3 has not ingested this signal")
    if signal.status not in ("SUCCESS", None):
        return _from_signal_error(signal)
    body = signal.body or {}
    unit = body.get("unit")
    raw = body.get(field.v3.member)
    if field.v3.unit == "percent" and not unit and isinstance(raw, int | float) and 0 < raw <= 1:
        return Reading("no_value", raw=raw, at=signal.oem_updated_at, reason="V3 gives a share without a unit")
    return _parsed(field, raw, unit if isinstance(unit, str) else field.v3.unit, signal.oem_updated_at)


def _from_signal_error(signal: Signal) -> Reading:
    words = " ".join(word for word in (signal.error_type, signal.error_code) if word) or signal.status
    reason, at = f"V3 {words}", signal.oem_updated_at
    if signal.status == "ERROR":
        if signal.error_type in BY_TYPE:
            return Reading(BY_TYPE[signal.error_type], at=at, reason=reason)
        if _has_value(signal.body):
            return Reading("cached_error", raw=dict(signal.body or {}), at=at, reason=f"{reason}, with an old value")
    return Reading("no_value", at=at, reason=reason)


def _from_error(error: SmartcarError) -> Reading:
    silent = isinstance(error, NotSmartcarError | UnreachableError) or error.status is None
    return Reading("failed" if silent else _state(error.status or 0), reason=str(error))


def _state(status: int) -> State:
    return "failed" if status in FAILED else BY_STATUS.get(status, "no_value")


def _has_value(body: Mapping[str, Any] | None) -> bool:
    return any(value is not None and value != [] for key, value in (body or {}).items() if key != "unit")


def _is_number(raw: Any) -> bool:
    """A finite number; Python's JSON also reads NaN, infinities and whole numbers too large for a float."""
    return isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < MUCH


def _parsed(field: Field, raw: Any, unit: str | None, at: datetime | None) -> Reading:
    """A reading with a comparable value; without one where the raw value is null or not of the rule's kind."""
    if raw is None:
        return Reading("no_value", at=at, reason="the value is null")
    if field.rule == "number" and _is_number(raw):
        value, name, converted = convert(float(raw), unit or "")
        return Reading("value", raw, value, name or None, converted, at)
    if field.rule == "integer" and str(raw).strip().isdecimal():
        return Reading("value", raw, int(raw), at=at)
    if field.rule == "boolean" and isinstance(raw, bool):
        return Reading("value", raw, raw, at=at)
    if field.rule == "enum" and isinstance(raw, str):
        return Reading("value", raw, raw.strip().upper(), at=at)
    if field.rule == "text" and isinstance(raw, str) and raw.strip():
        return Reading("value", raw, fold(raw, field), at=at)
    return Reading("no_value", raw, at=at, reason=f"the value is no {field.rule}")


def fold(value: str, field: Field) -> str:
    """Text as it is compared: with the differences the field's row puts aside removed."""
    folded = value.strip().upper() if "case" in field.fold else value.strip()
    if "blanks" in field.fold:
        folded = re.sub(r"\s+", "", folded)
    if "punctuation" in field.fold:
        folded = re.sub(r"[^\w]|_", "", folded)
    return field.aliases.get(folded, folded)
