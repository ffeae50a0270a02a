"""A field as one version tells it, and what it means where it tells no value."""

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
"""Of several signals of one field, the first of these states speaks for it."""

EITHER_SAYS: tuple[ReadingState, ...] = ("value", "cached_error", "not_permitted", "no_value", "not_capable")
"""Of several places, any of which may be the one a car has: it is not capable only where none of them is."""

NOT_SAID = frozenset({"unit", "rowCount", "columnCount", "type", "locationType"})
"""Members that stand in a body without a value too."""


@dataclass
class Part:
    """One of many values of a field, such as a door: its name, what it is matched by in turn, its reading."""

    name: str
    keys: tuple[Any, ...]
    reading: Reading


@dataclass
class Reading:
    """A field as one version tells it. Nobody changes one; not frozen, since a fleet has millions and that costs most.

    ``raw`` is the JSON value as it came; ``value`` is comparable (a float in ``unit``, folded text, a bool);
    ``converted`` says that scale or unit was changed; ``at`` is the maker's time in UTC, None where not told;
    ``reason`` says in words why there is no value. ``others`` are readings from further places, any of which may
    agree; ``parts`` are a field's many values, where it has many (its own ``value`` is then None).
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
    """The reading that says most, with the other values beside it: any of them may agree."""
    best = min(readings, key=lambda reading: order.index(reading.state))
    others = tuple(reading for reading in readings if reading is not best and reading.state == "value")
    return dataclasses.replace(best, others=others) if others else best


def v2_unit(place: Place, item: BatchItem) -> str | None:
    """The unit of a V2 number in the unit system that the answer names."""
    if place.unit and item.unit_system == "imperial":
        return IMPERIAL.get(place.unit, place.unit)
    return place.unit


def signal_trouble(signal: Signal | None) -> Reading | None:
    """Why a signal has no value that counts, as a reading; None where its body counts."""
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
    """A reading with a comparable value; without one where the raw value is null or not of the rule's kind."""
    if raw is None:
        return Reading("no_value", at=at, reason="the value is null")
    told = normalize.normalized(field, place, raw, unit, body)
    if isinstance(told, str):
        return Reading("no_value", raw, at=at, reason=told)
    return Reading("value", raw, told.value, told.unit, told.converted, at)


def has_value(body: Mapping[str, Any] | None) -> bool:
    """Whether a body has anything to say; places, counts and units alone say nothing."""
    return any(value is not None and value != [] for key, value in (body or {}).items() if key not in NOT_SAID)
