"""Unit names and factors: every number is compared in one unit per quantity."""

from __future__ import annotations

MILE, GALLON, PSI, BAR = 1.609344, 3.785411784, 6.894757, 100.0
"""One mile in km, one US gallon in liters, one psi and one bar in kPa."""

CANONICAL: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), ("km", 1.0)),
    **dict.fromkeys(("mi", "mile", "miles"), ("km", MILE)),
    **dict.fromkeys(("km/h", "kph", "kmh"), ("km/h", 1.0)),
    **dict.fromkeys(("mph", "mi/h"), ("km/h", MILE)),
    "fraction": ("percent", 100.0),
    **dict.fromkeys(("percent", "percentage", "%"), ("percent", 1.0)),
    **dict.fromkeys(("kwh", "kwhr", "kilowatt-hour", "kilowatt-hours", "kilowatthours"), ("kWh", 1.0)),
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres"), ("liters", 1.0)),
    **dict.fromkeys(("gal", "gallon", "gallons"), ("liters", GALLON)),
    **dict.fromkeys(("kpa", "kilopascal", "kilopascals"), ("kPa", 1.0)),
    "psi": ("kPa", PSI),
    "bar": ("kPa", BAR),
    **dict.fromkeys(("a", "ampere", "amperes", "amp", "amps"), ("ampere", 1.0)),
    **dict.fromkeys(("v", "volt", "volts"), ("volts", 1.0)),
    **dict.fromkeys(("w", "watt", "watts"), ("watts", 1.0)),
    **dict.fromkeys(("kw", "kilowatt", "kilowatts"), ("watts", 1000.0)),
}
"""Unit name in lower case -> (the unit compared in, factor)."""

IMPERIAL = {"km": "miles", "liters": "gallons", "kPa": "psi"}
"""Metric unit -> the unit V2 uses if it answers ``sc-unit-system: imperial``."""

BY_SIZE = ((1, 6, BAR), (15, 75, PSI), (100, 900, 1.0))
"""(from, to, factor to kPa): the unit of a tire pressure by its size, whatever its label."""


def convert(number: float, unit: str) -> tuple[float, str, bool]:
    """Return (number, unit, True if the number changed); an unknown unit stays as it is."""
    name, factor = CANONICAL.get(unit) or CANONICAL.get(unit.strip().lower()) or (unit, 1.0)
    if factor == 1:
        return number, name, False
    return round(number * factor, 9), name, True


def pressure(number: float) -> tuple[float, bool] | None:
    """Return (kPa, True if the number changed), judged by size; None if no tire can have this pressure.

    V3 labels kPa as bar for some makers, so the label is ignored.
    """
    for least, most, factor in BY_SIZE:
        if least <= number <= most:
            return round(number * factor, 9), factor != 1
    return None
