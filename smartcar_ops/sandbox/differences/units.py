"""The same values in other units or words, labeled correctly or not; rounded values; V2 in imperial units."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from smartcar_ops.sandbox.differences import body as body
from smartcar_ops.sandbox.differences import upkeep as upkeep
from smartcar_ops.sandbox.differences.driving import nearby
from smartcar_ops.sandbox.differences.fields import PERCENTS, RANGES, TIRES, whole_signal
from smartcar_ops.sandbox.differences.kind import Change, Kind, tell, told, write
from smartcar_ops.sandbox.fleet.catalogue import KM_PER_MILE, KPA_PER_PSI, LITRES_PER_GALLON
from smartcar_ops.sandbox.fleet.model import Car

PERCENT_WORDS = ("percentage", "%")
WORDS = {
    **dict.fromkeys(("odometer", *RANGES), ("kilometers",)),
    **dict.fromkeys(PERCENTS, PERCENT_WORDS),
    "nominal-capacity": ("kWhr", "kilowatt-hours"),
}
"""Other names of the units."""
IMPERIAL: dict[str, tuple[float, str]] = {
    **dict.fromkeys(("odometer", *RANGES), (KM_PER_MILE, "miles")),
    "fuel-amount": (LITRES_PER_GALLON, "gallons"),
}
MEASURES = ("odometer", *RANGES, "fuel-amount", *TIRES, "service-odometer")
"""The fields that V2 returns in imperial units if asked to."""
BESIDE = {**dict.fromkeys(PERCENTS, 0.4), **dict.fromkeys(RANGES, 1), "fuel-amount": 0.3}
"""Offsets within the tolerance: percentage points, km, and liters."""


def _rounded(car: Car, field: str, rng: random.Random) -> None:
    if field == "odometer":
        tell(car, field, round(told(car, field)))
    elif field in TIRES:
        body.tire_rounded(car, field, rng)
    elif field == "location":
        nearby(car, field, rng)
    elif field == "service-odometer":
        upkeep.service_rounded(car, field, rng)
    else:
        tell(car, field, round(told(car, field) + BESIDE[field], 2))


def _in_words(car: Car, field: str, rng: random.Random) -> None:
    write(car, field, unit=rng.choice(WORDS[field]))


def _without_unit(car: Car, field: str, rng: random.Random) -> None:
    write(car, field, unit=...)


def _imperial(car: Car, field: str, rng: random.Random) -> None:
    size, unit = IMPERIAL[field]
    tell(car, field, told(car, field) / size, unit=unit)


def _in_psi(**members: Any) -> Change:
    def change(car: Car, field: str, rng: random.Random) -> None:
        tires = told(car, field)
        psi = {place: kpa / KPA_PER_PSI for place, kpa in tires.pressures.items()}
        tell(car, field, replace(tires, pressures=psi), **members)

    return change


def _mislabelled(car: Car, field: str, rng: random.Random) -> None:
    tell(car, field, round(told(car, field) / IMPERIAL[field][0], 1))


def _all_imperial(car: Car, field: str, rng: random.Random) -> None:
    car.imperial = True


ROUNDED = ("odometer", *BESIDE, *TIRES, "location", "service-odometer")
TRUE_KINDS = (Kind("imperial-mislabelled", (*RANGES, "fuel-amount"), _mislabelled, "mismatch"),)
HARMLESS_KINDS = (
    Kind("rounding", ROUNDED, _rounded, "within_tolerance"),
    Kind(
        "unit-words", tuple(WORDS), _in_words, {**dict.fromkeys(WORDS, "equal"), **dict.fromkeys(PERCENTS, "converted")}
    ),
    Kind("unit-missing", PERCENTS, _without_unit, "converted"),
    Kind("imperial-on-v3", tuple(IMPERIAL), _imperial, "converted"),
    Kind("tires-in-psi", TIRES, _in_psi(unit="psi"), "converted", reach=whole_signal),
    Kind("tires-in-psi-mislabelled", TIRES, _in_psi(), "converted", reach=whole_signal),
    Kind("imperial-on-v2", ("odometer",), _all_imperial, "converted", reach=lambda _: MEASURES),
)
