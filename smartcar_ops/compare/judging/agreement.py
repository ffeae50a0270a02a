"""Whether two values of one field agree, and otherwise how far apart they are, in words."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Literal

from smartcar_ops.fields.field_map import Field
from smartcar_ops.fields.reading import Reading
from smartcar_ops.fields.units import GALLON, MILE, PSI

EXACT = 1e-6
"""Relative difference below which two numbers are the same number."""

TOGETHER = timedelta(seconds=60)
"""Makers' times this close count as the same time."""

EARTH = 6_371_008.8
"""The Earth's mean radius in meters."""

RATIOS = {
    "percent": (100.0, "a fraction sent as a percentage?"),
    "km": (MILE, "miles sent as km?"),
    "km/h": (MILE, "mph sent as km/h?"),
    "kPa": (PSI, "psi sent as kPa?"),
    "liters": (GALLON, "gallons sent as liters?"),
    "watts": (1000.0, "kW sent as W?"),
}
"""Unit compared in -> (the ratio that suggests another scale, the suspicion in words)."""

MAX_NAMED = 5
"""Most entries of a list that a reason names."""

Agreement = tuple[Literal["equal", "converted", "within_tolerance"], str]


def agreement(field: Field, v2: Reading, v3: Reading) -> Agreement | None:
    """Return how two values agree and why; None if they differ. Any of V3's other values may be the one that agrees."""
    found = _agreement(field, v2, v3)
    if found is None:
        for other in v3.others:
            if found := _agreement(field, v2, other):
                return found[0], f"{found[1]} (another of V3's values; its first one differs)"
    return found


def gap(field: Field, v2: Reading, v3: Reading) -> str:
    """Return how far apart two values are, in words; a private field's numbers are not shown."""
    a, b = v2.value, v3.value
    if isinstance(a, float) and isinstance(b, float):
        if v2.unit != v3.unit and v2.unit and v3.unit:
            return f"different units: {v2.unit} on V2, {v3.unit} on V3"
        unit = v3.unit or v2.unit
        both = "" if field.private else f"{_amount(a, unit)} on V2, {_amount(b, unit)} on V3: "
        return f"{both}{_difference(float(f'{abs(a - b):.4g}'), unit)} apart{_suspicion(v2, v3)}"
    if field.rule == "place":
        return f"{metres(a, b):,.0f} m apart"
    if isinstance(a, tuple):
        return _lists(a, b)
    return "the values differ"


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the great-circle distance in meters of two places, each (latitude, longitude) in degrees."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, point)) for point in (a, b))
    inner = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(inner)))


def _agreement(field: Field, v2: Reading, v3: Reading) -> Agreement | None:
    a, b = v2.value, v3.value
    if isinstance(a, float) and isinstance(b, float):
        return _numbers(field, v2, v3)
    if a == b:
        if v2.converted or v3.converted:
            return "converted", "the same value, written differently"
        return "equal", "the same"
    if field.rule == "place":
        distance = metres(a, b)
        if distance <= field.absolute:
            return "within_tolerance", f"{distance:.0f} m apart, {field.absolute:g} m allowed"
    elif field.v3_may_add and set(a) <= set(b):
        return "equal", f"V3 has all of V2's entries, and also {_some(sorted(set(b) - set(a)))}"
    return None


def _numbers(field: Field, v2: Reading, v3: Reading) -> Agreement | None:
    if v2.unit != v3.unit and v2.unit and v3.unit:
        return None
    apart, size = abs(v2.value - v3.value), max(abs(v2.value), abs(v3.value))
    if apart <= EXACT * size:
        if v2.converted or v3.converted:
            return "converted", f"the same in {v3.unit}"
        return "equal", "the same number"
    allowed = max(field.absolute, field.relative * size)
    if field.apart is not None and not _together(v2, v3):
        allowed = max(allowed, field.apart)
    if apart <= allowed:
        unit = v3.unit or v2.unit
        shown = [_difference(float(f"{number:.3g}"), unit) for number in (apart, allowed)]
        return "within_tolerance", f"{shown[0]} apart, {shown[1]} allowed"
    return None


def _together(v2: Reading, v3: Reading) -> bool:
    return v2.at is not None and v3.at is not None and abs(v2.at - v3.at) <= TOGETHER


def _amount(value: float, unit: str | None) -> str:
    return f"{value:,.10g}%" if unit == "percent" else f"{value:,.10g}{_unit(unit)}"


def _difference(value: float, unit: str | None) -> str:
    """Return a difference with its unit; percentages are so many points apart."""
    return f"{value:,.10g} points" if unit == "percent" else f"{value:,.10g}{_unit(unit)}"


def _unit(unit: str | None) -> str:
    return f" {unit}" if unit and unit != "count" else ""


def _suspicion(v2: Reading, v3: Reading) -> str:
    """Return which scale of their unit would explain two numbers, in words; empty if none would."""
    ratio, words = RATIOS.get(v3.unit or v2.unit or "", (0.0, ""))
    small, large = sorted((abs(v2.value), abs(v3.value)))
    if not ratio or not small:
        return ""
    return f" ({words})" if abs(large / small / ratio - 1) < 0.01 else ""


def _lists(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    differences = []
    if missing := sorted(set(a) - set(b)):
        differences.append(f"V3 lacks {_some(missing)}")
    if added := sorted(set(b) - set(a)):
        differences.append(f"only V3 has {_some(added)}")
    return "; ".join(differences) or "the numbers of entries differ"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(name[:60] for name in names[:MAX_NAMED]) + more
