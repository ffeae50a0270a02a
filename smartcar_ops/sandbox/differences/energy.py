"""Differences in charge, fuel, oil and battery capacity: wrong numbers, and other shapes of limits and ranges."""

from __future__ import annotations

import random
from typing import Any

from smartcar_ops.sandbox.differences.fields import PERCENTS, RANGES, whole_signal
from smartcar_ops.sandbox.differences.kind import Change, Kind, apart, tell, told, write
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE, UNPLUGGED, Car, LocalVehicle

CONVERTED, LIMIT = "converted", ("charge-limit",)
ADDITIONAL = ("ESTIMATED", "IDEAL_CONDITIONS", "RATED")


def percent_off(car: Car, field: str, rng: random.Random) -> None:
    """Move V3's value by 10 to 30 percentage points."""
    tell(car, field, apart(told(car, field), rng.randrange(10, 31)))


def range_off(car: Car, field: str, rng: random.Random) -> None:
    """Add 40 to 119 km to V3's range."""
    tell(car, field, told(car, field) + rng.randrange(40, 120))


def amount_off(car: Car, field: str, rng: random.Random) -> None:
    """Move V3's value by 5 to 14 liters."""
    tell(car, field, round(apart(told(car, field), rng.randrange(5, 15), middle=25), 2))


def other_charge(car: Car, field: str, rng: random.Random) -> None:
    """Set V3's charging state to full, or negate V3's value if it is true or false."""
    tell(car, field, "FULLY_CHARGED" if field == "charge-state" else not told(car, field))


def seen_apart(vehicle: LocalVehicle, field: str) -> bool:
    """Return whether `other_charge` contradicts no other field of the car, because the car does not charge."""
    return field not in ("charge-plugged", "charge-state") or vehicle.car.v2["charge-state"].value == "NOT_CHARGING"


def _scaled(factor: float) -> Change:
    def change(car: Car, field: str, rng: random.Random) -> None:
        tell(car, field, told(car, field) * factor)

    return change


def _share_without_unit(car: Car, field: str, rng: random.Random) -> None:
    tell(car, field, told(car, field) * 0.01, unit=...)


def _limits(active: bool, *types: str) -> Change:
    """Return a change that writes entries of these types; `active`: also the limit in force.

    A GLOBAL entry is the car's limit. Any other entry is 15 percentage points off.
    """

    def change(car: Car, field: str, rng: random.Random) -> None:
        limit = told(car, field)
        elsewhere = apart(limit, 15, middle=75)
        entries = [{"type": type_, "limit": limit if type_ == "GLOBAL" else elsewhere} for type_ in types]
        write(car, field, values=entries, activeLimit=limit if active else None)

    return change


def _at_location(car: Car, field: str, rng: random.Random) -> None:
    _limits(False, "GLOBAL", "LOCATION")(car, field, rng)
    members = car.v3[field].members
    write(car, field, **{**members, "activeLimit": members["values"][1]["limit"]})


def _additional(off: int) -> Change:
    """Return a change that gives V3 another main range; one additional range is `off` km above V2's."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        reach = told(car, field)
        entries: list[dict[str, Any]] = [{"type": type_, "value": reach + 60} for type_ in ADDITIONAL]
        rng.choice(entries)["value"] = reach + off
        tell(car, field, reach + 45, additionalValues=entries)

    return change


def _not_equipped(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value=None)
    car.retell("v3", field, value=None, at=None, status=NOT_CAPABLE)


def _plug_out(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, status=UNPLUGGED)


def _is_unplugged(vehicle: LocalVehicle, field: str) -> bool:
    return not vehicle.car.v2["charge-plugged"].value


NOMINAL, OLD = "nominal-capacity", "battery-capacity-old"
NEAR = "within_tolerance"


def _options(*capacities: float) -> list[dict[str, float | None]]:
    return [{"capacity": capacity, "description": None} for capacity in capacities]


def _two(car: Car) -> list[dict[str, float | None]]:
    """Return the car's capacity and one that is 5% larger."""
    nominal = told(car, NOMINAL)
    return _options(nominal, round(nominal * 1.05, 2))


def _differs(car: Car, field: str, rng: random.Random) -> None:
    """Let each version use another one of two capacities that both list."""
    both = _two(car)
    car.retell("v2", "capacity", members={"availableCapacities": both})
    write(car, field, capacity=both[1]["capacity"], availableCapacities=both)


def _source_differs(car: Car, field: str, rng: random.Random) -> None:
    write(car, field, source="USER_SELECTED")


def _option_missing(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", "capacity", members={"availableCapacities": _two(car)})


def _undetermined(car: Car, field: str, rng: random.Random) -> None:
    """Let neither version choose between two capacities that both list."""
    both = _two(car)
    car.retell("v2", "capacity", members={"availableCapacities": both, "capacity": None})
    write(car, field, capacity=None, source=None, availableCapacities=both)


def _rounded(car: Car, field: str, rng: random.Random) -> None:
    nominal = told(car, field)
    write(car, field, capacity=round(nominal + 0.04, 2), availableCapacities=_options(nominal))


def _usable(share: float) -> Change:
    """Return a change that sets V2's older endpoint to this share of the capacity."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        car.retell("v2", "old-capacity", value=round(told(car, field) * share, 1))

    return change


UNDETERMINED = dict.fromkeys(whole_signal(NOMINAL), "unavailable") | {"nominal-capacity-available": "equal"}
TRUE_KINDS = (
    Kind("percent-off", ("battery-percent", "fuel-percent"), percent_off, "mismatch"),
    Kind("range-off", RANGES, range_off, "mismatch"),
    Kind("fuel-amount-off", ("fuel-amount",), amount_off, "mismatch"),
    Kind("oil-life-off", ("oil-life",), percent_off, "mismatch"),
    Kind("limit-off", LIMIT, percent_off, "mismatch"),
    Kind("percent-hundredfold", PERCENTS, _scaled(100), "mismatch"),
    Kind("percent-as-fraction", PERCENTS, _scaled(0.01), "mismatch"),
    Kind("charge-contradiction", ("charge-plugged", "charge-state"), other_charge, "mismatch", fits=seen_apart),
    Kind("charging-contradiction", ("charge-state-derived",), other_charge, "mismatch"),
    Kind("capacity-differs", (NOMINAL,), _differs, {NOMINAL: "mismatch", OLD: NEAR}, reach=lambda _: (NOMINAL, OLD)),
    Kind("capacity-source-differs", ("nominal-capacity-source",), _source_differs, "mismatch"),
    Kind("capacity-option-missing", ("nominal-capacity-available",), _option_missing, "mismatch"),
    Kind("old-capacity-off", (OLD,), _usable(0.8), "mismatch"),
)
HARMLESS_KINDS = (
    Kind("share-without-unit", ("battery-percent", "fuel-percent", "oil-life"), _share_without_unit, "unavailable"),
    Kind("limit-active-only", LIMIT, _limits(True), CONVERTED),
    Kind("limit-global-only", LIMIT, _limits(False, "GLOBAL"), CONVERTED),
    Kind("limit-with-locations", LIMIT, _limits(True, "LOCATION", "GLOBAL", "LOCATION"), CONVERTED),
    Kind("limit-by-charging-type", LIMIT, _limits(True, "CHARGING_TYPE"), CONVERTED),
    Kind("limit-at-location", LIMIT, _at_location, CONVERTED),
    Kind("limit-unplugged-on-v2", LIMIT, _plug_out, "v3_only", fits=_is_unplugged),
    Kind("additional-range", ("battery-range",), _additional(0), "equal"),
    Kind("additional-range-near", ("battery-range",), _additional(1), "within_tolerance"),
    Kind("not-equipped", ("battery-range", "fuel-percent", "fuel-amount", "fuel-range"), _not_equipped, "not_capable"),
    Kind("capacity-undetermined", (NOMINAL,), _undetermined, UNDETERMINED, reach=whole_signal),
    Kind("capacity-rounding", (NOMINAL,), _rounded, NEAR, reach=lambda _: (NOMINAL, OLD)),
    Kind("old-capacity-usable", (OLD,), _usable(0.94), NEAR),
)
