"""Whether two values of one field are the same, and in words how far they are apart."""

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
"""Makers' times no further apart than this are of one moment."""

EARTH = 6_371_008.8
"""Metres: the mean radius."""

RATIOS = {
    "percent": (100.0, "a hundredfold: a share told as a percentage?"),
    "km": (MILE, "miles told as km?"),
    "km/h": (MILE, "miles told as km?"),
    "kPa": (PSI, "psi told as kPa?"),
    "liters": (GALLON, "gallons told as litres?"),
    "watts": (1000.0, "a thousandfold: kW told as W?"),
}
"""Unit compared in -> the ratio that makes one suspect another scale, and which; 80% is no number of miles."""

NAMED = 5
"""Entries of a list that a reason names at most."""

Agreement = tuple[Literal["equal", "converted", "within_tolerance"], str]


def agreement(field: Field, v2: Reading, v3: Reading) -> Agreement | None:
    """How two values agree, and why; None where they differ. Any of V3's further values may be the one that does."""
    found = _agreement(field, v2, v3)
    if found is None:
        for other in v3.others:
            if found := _agreement(field, v2, other):
                return found[0], f"{found[1]}, by another of V3's values (its first one differs)"
    return found


def gap(field: Field, v2: Reading, v3: Reading) -> str:
    """How far two values are apart, in words."""
    a, b = v2.value, v3.value
    if isinstance(a, float) and isinstance(b, float):
        if v2.unit != v3.unit and v2.unit and v3.unit:
            return f"{v2.unit} on V2, {v3.unit} on V3"
        return f"{float(f'{abs(a - b):.4g}'):,.10g} {v3.unit or ''} apart".replace("  ", " ") + _suspicion(v2, v3)
    if field.rule == "place":
        return f"{metres(a, b):,.0f} m apart"
    if isinstance(a, tuple):
        return _lists(a, b)
    return "the values differ"


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The great-circle distance of two places, each (latitude, longitude) in degrees."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, point)) for point in (a, b))
    inner = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(inner)))


def _agreement(field: Field, v2: Reading, v3: Reading) -> Agreement | None:
    a, b = v2.value, v3.value
    if isinstance(a, float) and isinstance(b, float):
        return _numbers(field, v2, v3)
    if a == b:
        if v2.converted or v3.converted:
            return "converted", "the same, said in other words"
        return "equal", "the same"
    if field.rule == "place":
        distance = metres(a, b)
        if distance <= field.absolute:
            return "within_tolerance", f"{distance:.0f} m apart, {field.absolute:g} m allowed"
    elif field.v3_may_add and set(a) <= set(b):
        return "equal", f"all of V2's are there; {_some(sorted(set(b) - set(a)))} more on V3"
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
        return "within_tolerance", f"{apart:.3g} apart, {allowed:.3g} allowed ({v3.unit or 'no unit'})"
    return None


def _together(v2: Reading, v3: Reading) -> bool:
    return v2.at is not None and v3.at is not None and abs(v2.at - v3.at) <= TOGETHER


def _suspicion(v2: Reading, v3: Reading) -> str:
    """Which scale of their unit would explain two numbers, in words; empty where none would."""
    ratio, words = RATIOS.get(v3.unit or v2.unit or "", (0.0, ""))
    small, large = sorted((abs(v2.value), abs(v3.value)))
    if not ratio or not small:
        return ""
    return f" ({words})" if abs(large / small / ratio - 1) < 0.01 else ""


def _lists(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    told = []
    if missing := sorted(set(a) - set(b)):
        told.append(f"V3 lacks {_some(missing)}")
    if added := sorted(set(b) - set(a)):
        told.append(f"V3 alone has {_some(added)}")
    return "; ".join(told) or "the numbers of entries differ"


def _some(names: list[str]) -> str:
    left = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name[:60] for name in names[:NAMED]) + left
