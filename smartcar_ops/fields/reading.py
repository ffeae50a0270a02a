"""A field's value on one version, or the reason why it has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from smartcar_ops.fields import normalize
from smartcar_ops.fields.field_map import Field, Place
from smartcar_ops.fields.units import IMPERIAL
from smartcar_ops.smartcar.signals import Signal
from smartcar_ops.smartcar.v2 import BatchItem

ReadingState = Literal["value", "no_value", "not_capable", "not_permitted", "cached_error", "failed"]

BY_TYPE: dict[str, ReadingState] = {"COMPATIBILITY": "not_capable", "PERMISSION": "not_permitted"}
SAYS_MOST: tuple[ReadingState, ...] = ("value", "cached_error", "not_permitted", "not_capable", "no_value")
"""If a field has several signals, it takes the first of these states."""

EITHER_SAYS: tuple[ReadingState, ...] = ("value", "cached_error", "not_permitted", "no_value", "not_capable")
"""The order if a car may have the field in any of several places: it is not capable only if every place is not."""

NOT_VALUES = frozenset({"unit", "rowCount", "columnCount", "type", "locationType"})
"""Members that a body may have without having a value."""


@dataclass
class Part:
    """One of many values of a field, such as a door: its name, the keys to match it by in turn, and its reading."""

    name: str
    keys: tuple[Any, ...]
    reading: Reading


@dataclass
class Reading:
    """A field's value on one version. Treat it as immutable: it is not frozen only because a fleet has millions.

    ``raw`` is the JSON value as sent; ``value`` is comparable (a float in ``unit``, folded text, a bool); ``converted``
    is true if scale or unit was changed; ``at`` is the maker's time in UTC, None if missing; ``reason`` is why there is
    no value, in words. ``others`` are readings from alternative places, any of which may agree; ``parts`` are the
    values of a many-valued field (its own ``value`` is then None).
    """

    state: ReadingState
    raw: Any = dataclasses.field(default=None, repr=False)
    value: Any = dataclasses.field(default=None, repr=False)
    unit: str | None = None
    converted: bool = False
    at: datetime | None = None
    reason: str = ""
    others: tuple[Reading, ...] = ()
    parts: tuple[Part, ...] = ()


def strongest(readings: list[Reading], order: tuple[ReadingState, ...] = SAYS_MOST) -> Reading:
    """Return the reading whose state comes first in ``order``, with the other values as its ``others``."""
    best = min(readings, key=lambda reading: order.index(reading.state))
    others = tuple(reading for reading in readings if reading is not best and reading.state == "value")
    return dataclasses.replace(best, others=others) if others else best


def v2_unit(place: Place, item: BatchItem) -> str | None:
    """Return the unit of a V2 number in the answer's unit system."""
    if place.unit and item.unit_system == "imperial":
        return IMPERIAL.get(place.unit, place.unit)
    return place.unit


def signal_trouble(signal: Signal | None) -> Reading | None:
    """Return why a signal has no usable value, as a reading; None if its body is usable."""
    if signal is None:
        return Reading("no_value", reason="V3 has not ingested this signal")
    if signal.status in ("SUCCESS", None):
        return None
    words = " ".join(word for word in (signal.error_type, signal.error_code) if word) or signal.status
    reason, at = f"V3 {words}", signal.oem_updated_at
    if signal.status == "ERROR":
        if signal.error_type in BY_TYPE:
            return Reading(BY_TYPE[signal.error_type], at=at, reason=reason)
        if has_value(signal.body):
            return Reading("cached_error", raw=dict(signal.body or {}), at=at, reason=f"{reason}, with an old value")
    return Reading("no_value", at=at, reason=reason)


def parsed(field: Field, place: Place, raw: Any, unit: str | None, at: datetime | None, body: Any = None) -> Reading:
    """Return a reading with a comparable value; ``no_value`` if the raw value is null or does not fit the rule."""
    if raw is None:
        return Reading("no_value", at=at, reason="the value is null")
    normalized = normalize.normalized(field, place, raw, unit, body)
    if isinstance(normalized, str):
        return Reading("no_value", raw, at=at, reason=normalized)
    return Reading("value", raw, normalized.value, normalized.unit, normalized.converted, at)


def has_value(body: Mapping[str, Any] | None) -> bool:
    """True if a body has a value; places, counts and units alone are none."""
    return any(value is not None and value != [] for key, value in (body or {}).items() if key not in NOT_VALUES)
