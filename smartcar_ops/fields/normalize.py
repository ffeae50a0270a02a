"""Convert raw JSON values to comparable ones, with one function per rule of the field map."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from smartcar_ops.fields.field_map import Field, Place, ValueRule
from smartcar_ops.fields.units import convert, pressure
from smartcar_ops.smartcar import json_values

MAX_NUMBER = 1e300
NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""A number as text: JSON's form, or with a plus sign or leading zeros."""

OPEN_WORDS = {"OPEN": "OPEN", "CLOSED": "CLOSED", "LOCKED": "LOCKED"}
"""V2's words for a door; UNKNOWN and any other word are no value."""

HIGH, FAR = 450.0, 2.0
"""A pressure above `HIGH` kPa and `FAR` times the median of all wheels is a maker's code for "no reading"."""


class Value(NamedTuple):
    """A comparable value: a float in ``unit``, folded text, a bool, a tuple of texts, (latitude, longitude), a time.

    ``converted`` is true if scale, unit, word or polarity was changed.
    """

    value: Any
    unit: str | None = None
    converted: bool = False


NormalizedValue = Value | str
"""A value, or the reason why there is none."""


def normalized(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """Return the comparable value of a raw one that is not null; ``body`` is the body that contains it."""
    return RULES[field.rule](field, place, raw, unit, body)


def is_number(raw: Any) -> TypeGuard[int | float]:
    """True for a finite number; Python's JSON also reads NaN, infinities and integers too large for a float."""
    return isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < MAX_NUMBER


def number_of(raw: Any) -> float | None:
    """Return a raw value as a number if it is finite, or is one as text (``"71.5"``); otherwise None."""
    if isinstance(raw, str) and NUMBER.fullmatch(raw.strip()):
        raw = float(raw)
    return float(raw) if is_number(raw) else None


def fold(value: str, field: Field) -> str:
    """Return text as it is compared: without the differences that the field's ``fold`` ignores."""
    folded = _folded(value, field.fold)
    return field.aliases.get(folded, folded)


@lru_cache(maxsize=4096)
def _folded(value: str, ignored: tuple[str, ...]) -> str:
    folded = value.strip().upper() if "case" in ignored else value.strip()
    if "blanks" in ignored:
        folded = re.sub(r"\s+", "", folded)
    if "punctuation" in ignored:
        folded = re.sub(r"[^\w]|_", "", folded)
    return folded


def plain(raw: Any) -> str:
    """Return a scalar as text, the same for 100 and 100.0, or ``Oil change`` and ``oil change``."""
    if raw is None:
        return ""
    if is_number(raw):
        return f"{float(raw):.10g}"
    return str(raw).strip().casefold()


def _number_in(field: Field, place: Place, raw: Any) -> float | None:
    """Return the number of a raw value; a number as text only from V3, which is known to send them."""
    return number_of(raw) if is_number(raw) or place is not field.v2 else None


# --- the rules --------------------------------------------------------------------------------------------


def _number(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    number = _number_in(field, place, raw)
    if number is None:
        return "the value is not a number"
    value, name, converted = convert(number, unit or "")
    return Value(value, name or None, converted)


def _pressure(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """Convert to kPa by size, because labels are unreliable; a wheel far from the others has no reading."""
    number = _number_in(field, place, raw)
    if number is None:
        return "the value is not a number"
    in_kpa = pressure(number)
    if in_kpa is None:
        return 'no tire can have this pressure; it is probably the maker\'s code for "no reading"'
    kpa, converted = in_kpa
    if kpa > HIGH and kpa > FAR * statistics.median(known[0] for other in _wheels(body) if (known := pressure(other))):
        return 'far from the other wheels; it is probably the maker\'s code for "no reading"'
    return Value(kpa, "kPa", converted)


def _wheels(body: Any) -> list[float]:
    """Return every wheel's raw number in V2's or V3's body."""
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
        return "the value is not an integer"
    return Value(int(text))


def _count(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """Return a count, sent as a number or as a list."""
    if isinstance(raw, list):
        return Value(float(len(raw)), "count")
    number = _number_in(field, place, raw)
    return "the value is not a count" if number is None else Value(number, "count")


def _text(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if not isinstance(raw, str) or not raw.strip():
        return "the value is not text"
    return Value(fold(raw, field))


def _id(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    return Value(plain(raw)) if isinstance(raw, str | int | float) and plain(raw) else "the value is not an id"


def _enum(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if not isinstance(raw, str) or not raw.strip():
        return "the value is not a word"
    word = raw.strip().upper()
    if field.known and word not in field.known:
        return f"{word[:40]} is not one of the words that are compared"
    return Value(word)


def _boolean(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    if place.true_is is not None and isinstance(raw, str) and raw.strip():
        return Value(raw.strip().upper() == place.true_is, converted=True)
    return Value(raw) if isinstance(raw, bool) else "the value is not a boolean"


def _open(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    """Return V2's OPEN, CLOSED or LOCKED, or V3's true or false, as V2's word."""
    if isinstance(raw, bool):
        return Value("OPEN" if raw else "CLOSED", converted=True)
    word = OPEN_WORDS.get(raw.strip().upper()) if isinstance(raw, str) else None
    return Value(word) if word else "the value is neither open nor closed"


def _place(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    angles = [raw.get(name) for name in ("latitude", "longitude")] if isinstance(raw, dict) else []
    numbers = [number for angle in angles if (number := number_of(angle)) is not None]
    if len(numbers) < 2:
        return "the value has no latitude and longitude"
    latitude, longitude = numbers
    if abs(latitude) > 90 or abs(longitude) > 180:
        return "the coordinates are out of range"
    return Value((latitude, longitude), "m")


def _time(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    moment = json_values.parse(raw)
    return Value(moment) if moment else "the value is not a time"


def _set(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    entries = _entries(place, raw)
    return NOT_A_LIST if entries is None else Value(tuple(sorted(set(entries))))


def _multiset(field: Field, place: Place, raw: Any, unit: str | None, body: Any) -> NormalizedValue:
    entries = _entries(place, raw)
    return NOT_A_LIST if entries is None else Value(tuple(sorted(entries)))


NOT_A_LIST = "the value is not a list, or contains only nulls"


def _entries(place: Place, raw: Any) -> list[str] | None:
    """Return the entries of a list, or a single object, as texts; of an object the members in ``place.keys``.

    None if it is not a list, or if none of its entries has a value.
    """
    if isinstance(raw, dict):
        raw = [raw]
    if not isinstance(raw, list):
        return None
    texts = [" ".join(_members(place, entry)) if isinstance(entry, dict) else plain(entry) for entry in raw]
    with_value = [text for text in texts if text]
    return with_value if with_value or not raw else None


def _members(place: Place, entry: dict[str, Any]) -> list[str]:
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
