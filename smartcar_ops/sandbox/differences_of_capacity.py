"""The battery's capacity told otherwise: one signal of V3, two endpoints of V2, four fields."""

from __future__ import annotations

import random

from .compared import whole_signal
from .kinds import Change, Kind, told, write
from .records import Car

NOMINAL, OLD = "nominal-capacity", "battery-capacity-old"
NEAR = "within_tolerance"


def _options(*capacities: float) -> list[dict[str, float | None]]:
    return [{"capacity": capacity, "description": None} for capacity in capacities]


def _two(car: Car) -> list[dict[str, float | None]]:
    """The car's capacity and one that is a twentieth larger."""
    nominal = told(car, NOMINAL)
    return _options(nominal, round(nominal * 1.05, 2))


def _differs(car: Car, field: str, rng: random.Random) -> None:
    """The two versions hold different ones of two that both list."""
    both = _two(car)
    car.retell("v2", "capacity", members={"availableCapacities": both})
    write(car, field, capacity=both[1]["capacity"], availableCapacities=both)


def _source_differs(car: Car, field: str, rng: random.Random) -> None:
    write(car, field, source="USER_SELECTED")


def _option_missing(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", "capacity", members={"availableCapacities": _two(car)})


def _undetermined(car: Car, field: str, rng: random.Random) -> None:
    """Nobody has said yet which of two it is."""
    both = _two(car)
    car.retell("v2", "capacity", members={"availableCapacities": both, "capacity": None})
    write(car, field, capacity=None, source=None, availableCapacities=both)


def _rounded(car: Car, field: str, rng: random.Random) -> None:
    nominal = told(car, field)
    write(car, field, capacity=round(nominal + 0.04, 2), availableCapacities=_options(nominal))


def _usable(share: float) -> Change:
    """V2's older endpoint tells a share of the capacity."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        car.retell("v2", "old-capacity", value=round(told(car, field) * share, 1))

    return change


UNDETERMINED = dict.fromkeys(whole_signal(NOMINAL), "unavailable") | {"nominal-capacity-available": "equal"}
TRUE_KINDS = (
    Kind("capacity-differs", (NOMINAL,), _differs, {NOMINAL: "mismatch", OLD: NEAR}, reach=lambda _: (NOMINAL, OLD)),
    Kind("capacity-source-differs", ("nominal-capacity-source",), _source_differs, "mismatch"),
    Kind("capacity-option-missing", ("nominal-capacity-available",), _option_missing, "mismatch"),
    Kind("old-capacity-off", (OLD,), _usable(0.8), "mismatch"),
)
HARMLESS_KINDS = (
    Kind("capacity-undetermined", (NOMINAL,), _undetermined, UNDETERMINED, reach=whole_signal),
    Kind("capacity-rounding", (NOMINAL,), _rounded, NEAR, reach=lambda _: (NOMINAL, OLD)),
    Kind("old-capacity-usable", (OLD,), _usable(0.94), NEAR),
)
