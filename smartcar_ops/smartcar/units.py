"""Unit words and factors: every number is compared in one unit of its kind."""

from __future__ import annotations

CANONICAL: dict[str, tuple[str, float]] = {
    "km": ("km", 1),
    "kilometers": ("km", 1),
    "kilometres": ("km", 1),
    "mi": ("km", 1.609344),
    "miles": ("km", 1.609344),
    "fraction": ("percent", 100),
    "percent": ("percent", 1),
    "percentage": ("percent", 1),
    "%": ("percent", 1),
}
"""Unit word, lower case -> (the unit compared in, factor)."""

IMPERIAL = {"km": "miles"}
"""What V2 means instead where it answers ``sc-unit-system: imperial``."""


def convert(number: float, unit: str) -> tuple[float, str, bool]:
    """(number, unit, whether the number changed); an unknown unit stays as it is."""
    name, factor = CANONICAL.get(unit.strip().lower(), (unit, 1))
    return round(number * factor, 9), name, factor != 1
