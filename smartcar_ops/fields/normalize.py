"""A raw JSON value as something two versions can be compared by, one function a rule of the field map."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from smartcar_ops.fields.field_map import Field, Place, ValueRule
from smartcar_ops.fields.units import convert, pressure
from smartcar_ops.smartcar import json_values

MUCH = 1e300
NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""A number as text: JSON's own form, with a plus and leading zeros."""

OPEN_WORDS = {"OPEN": "OPEN", "CLOSED": "CLOSED", "LOCKED": "LOCKED"}
"""V2's words for a door; UNKNOWN, and any other, is no value."""

HIGH, FAR = 450.0, 2.0
"""A wheel above so many kPa, and so many times the pressure of the others, is a maker's way to say "no reading"."""


class Value(NamedTuple):
    """A comparable value: a float in ``unit``, folded text, a bool, a tuple of texts, (latitude, longitude), a time.

    ``converted`` says that scale, unit, word or polarity was changed.
    """

    value: Any
    unit: str | None = None
    converted: bool = False


NormalizedValue = Value | str
"""A value, or why there is none, in words."""


def normalized(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """The value of a raw one that is not null; ``body`` is what it stands in."""
    return RULES[field.rule](field, place, raw, unit, body)


def is_number(raw: Any) -> TypeGuard[int | float]:
    """A finite number; Python's JSON also reads NaN, infinities and whole numbers too large for a float."""
    return isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < MUCH


def number_of(raw: Any) -> float | None:
    """The finite number that a raw value is, or says as text (``"71.5"``); None for anything else."""
    if isinstance(raw, str) and NUMBER.fullmatch(raw.strip()):
        raw = float(raw)
    return float(raw) if is_number(raw) else None


def fold(value: str, field: Field) -> str:
    """Text as it is compared: with the differences that the field's row puts aside removed."""
    folded = _folded(value, field.fold)
    return field.aliases.get(folded, folded)


@lru_cache(maxsize=4096)
def _folded(value: str, aside: tuple[str, ...]) -> str:
    folded = value.strip().upper() if "case" in aside else value.strip()
    if "blanks" in aside:
        folded = re.sub(r"\s+", "", folded)
    if "punctuation" in aside:
        folded = re.sub(r"[^\w]|_", "", folded)
    return folded


def plain(raw: Any) -> str:
    """A scalar as text that is the same however it was written: 100 and 100.0, ``Oil change`` and ``oil change``."""
    if raw is None:
        return ""
    if is_number(raw):
        return f"{float(raw):.10g}"
    return str(raw).strip().casefold()


def _told(field: Field, place: Place, raw: Any) -> float | None:
    """The number of a raw value; as text only from V3, of whom that is known."""
    return number_of(raw) if is_number(raw) or place is not field.v2 else None


# --- the rules --------------------------------------------------------------------------------------------


def _number(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    number = _told(field, place, raw)
    if number is None:
        return "the value is no number"
    value, name, converted = convert(number, unit or "")
    return Value(value, name or None, converted)


def _pressure(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """kPa, by size: labels can't be believed; a wheel that is far from the others has no reading."""
    number = _told(field, place, raw)
    if number is None:
        return "the value is no number"
    found = pressure(number)
    if found is None:
        return "no tire has such a pressure; it looks like a maker's mark for no reading"
    kpa, converted = found
    if kpa > HIGH and kpa > FAR * statistics.median(known[0] for other in _wheels(body) if (known := pressure(other))):
        return "far from the other wheels; it looks like a maker's mark for no reading"
    return Value(kpa, "kPa", converted)


def _wheels(body: Any) -> list[float]:
    """Every wheel's raw number in V2's or V3's body."""
    entries = body.get("values") if isinstance(body, dict) else None
    raws = (
        (entry.get("tirePressure") for entry in entries if isinstance(entry, dict))
        if isinstance(entries, list)
        else (body or {}).values()
    )
    return [number for raw in raws if (number := number_of(raw)) is not None]


def _integer(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    text = str(raw).strip()
    if isinstance(raw, bool) or not text.isdecimal():
        return "the value is no integer"
    return Value(int(text))


def _count(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """A number of things, told as such or as the list of them."""
    if isinstance(raw, list):
        return Value(float(len(raw)), "count")
    number = _told(field, place, raw)
    return "the value is no count" if number is None else Value(number, "count")


def _text(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if not isinstance(raw, str) or not raw.strip():
        return "the value is no text"
    return Value(fold(raw, field))


def _id(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    return Value(plain(raw)) if isinstance(raw, str | int | float) and plain(raw) else "the value is no id"


def _enum(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if not isinstance(raw, str) or not raw.strip():
        return "the value is no enum"
    word = raw.strip().upper()
    if field.known and word not in field.known:
        return f"{word[:40]} is none of the words that are compared"
    return Value(word)


def _boolean(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if place.true_is is not None and isinstance(raw, str) and raw.strip():
        return Value(raw.strip().upper() == place.true_is, converted=True)
    return Value(raw) if isinstance(raw, bool) else "the value is no boolean"


def _open(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """V2's OPEN, CLOSED or LOCKED, V3's true or false, as V2's words."""
    if isinstance(raw, bool):
        return Value("OPEN" if raw else "CLOSED", converted=True)
    word = OPEN_WORDS.get(raw.strip().upper()) if isinstance(raw, str) else None
    return Value(word) if word else "neither open nor closed is told"


def _place(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    angles = [raw.get(name) for name in ("latitude", "longitude")] if isinstance(raw, dict) else []
    numbers = [number for angle in angles if (number := number_of(angle)) is not None]
    if len(numbers) < 2:
        return "no place is told"
    latitude, longitude = numbers
    if abs(latitude) > 90 or abs(longitude) > 180:
        return "the place is not on Earth"
    return Value((latitude, longitude), "m")


def _time(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    moment = json_values.parse(raw)
    return Value(moment) if moment else "the value is no time"


def _set(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    found = _entries(place, raw)
    return "the value is no list, or a list of nulls" if found is None else Value(tuple(sorted(set(found))))


def _multiset(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    found = _entries(place, raw)
    return "the value is no list, or a list of nulls" if found is None else Value(tuple(sorted(found)))


def _entries(place: Place, raw: Any) -> list[str] | None:
    """A list's entries, or an object alone, as texts: of objects the members that the place names.

    None where it is no list, or where none of its entries says anything.
    """
    if isinstance(raw, dict):
        raw = [raw]
    if not isinstance(raw, list):
        return None
    told = [" ".join(_named(place, entry)) if isinstance(entry, dict) else plain(entry) for entry in raw]
    found = [words for words in told if words]
    return found if found or not raw else None


def _named(place: Place, entry: dict[str, Any]) -> list[str]:
    return [word for key in place.keys if (word := plain(entry.get(key)))]


def _listed(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    return Value(None)


RULES: dict[ValueRule, Callable[[Field, Place, Any, str | None, Any], NormalizedValue]] = {
    "number": _number,
    "pressure": _pressure,
    "integer": _integer,
    "count": _count,
    "text": _text,
    "id": _id,
    "enum": _enum,
    "boolean": _boolean,
    "open": _open,
    "place": _place,
    "time": _time,
    "set": _set,
    "multiset": _multiset,
    "listed": _listed,
}
"""How a raw value of each rule becomes comparable."""
