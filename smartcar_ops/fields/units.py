"""Unit words and factors: every number is compared in one unit of its kind."""

from __future__ import annotations

MILE, GALLON, PSI, BAR = 1.609344, 3.785411784, 6.894757, 100.0
"""Kilometres, litres (of a US gallon), kilopascals."""

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
"""Unit word, lower case -> (the unit compared in, factor)."""

IMPERIAL = {"km": "miles", "liters": "gallons", "kPa": "psi"}
"""What V2 means instead where it answers ``sc-unit-system: imperial``."""

BY_SIZE = ((1, 6, BAR), (15, 75, PSI), (100, 900, 1.0))
"""(from, to, factor to kPa): what a tire's pressure must be in, whatever its label says."""


def convert(number: float, unit: str) -> tuple[float, str, bool]:
    """(number, unit, whether the number changed); an unknown unit stays as it is."""
    name, factor = CANONICAL.get(unit) or CANONICAL.get(unit.strip().lower()) or (unit, 1.0)
    if factor == 1:
        return number, name, False
    return round(number * factor, 9), name, True


def pressure(number: float) -> tuple[float, bool] | None:
    """(kPa, whether the number changed), by size; None where no tire has such a pressure.

    V3 labels kPa as bar for some makers, so that the label can't be believed.
    """
    for least, most, factor in BY_SIZE:
        if least <= number <= most:
            return round(number * factor, 9), factor != 1
    return None
