"""The planted differences between V2 and V3, each with the verdict a comparison must find."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from .catalogue import with_check_digit
from .records import CACHED, MISSING, NOT_CAPABLE, NOT_PERMITTED, Car, Difference, LocalVehicle
from .units import KM_PER_MILE

COMPARED = (
    "vin",
    "vehicle-make",
    "vehicle-model",
    "vehicle-year",
    "odometer",
    "battery-percent",
    "battery-range",
    "charge-plugged",
    "charge-state",
)
READ = COMPARED[4:]
MOVING = ("odometer", "battery-percent", "battery-range")
TRUE_SHARE = 0.03
HARMLESS_SHARE = 0.08


def _in_miles(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=round(car.v2[name].value / KM_PER_MILE, 1))


def _backwards(car: Car, name: str, rng: random.Random) -> None:
    told = car.v2[name]
    assert told.at is not None
    car.retell("v2", name, at=told.at - timedelta(hours=rng.randrange(3, 9)))
    car.retell("v3", name, value=round(told.value - rng.randrange(200, 900), 1))


def _percent_off(car: Car, name: str, rng: random.Random) -> None:
    percent = car.v2[name].value
    off = rng.randrange(10, 31)
    car.retell("v3", name, value=percent - off if percent > 50 else percent + off)


def _range_off(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=car.v2[name].value + rng.randrange(40, 120))


def _other_charge(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value="FULLY_CHARGED" if name == "charge-state" else not car.v2[name].value)


def _other_vin(car: Car, name: str, rng: random.Random) -> None:
    # V2 is the wrong one: the company's table and V3 agree, so that the car can still be found by VIN.
    vin = car.v2[name].value
    car.retell("v2", name, value=with_check_digit(vin[:16] + str((int(vin[16]) + 1 + rng.randrange(9)) % 10)))


def _other_year(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=car.v2[name].value + rng.choice((-1, 1)))


def _without_value(status: str) -> Callable[[Car, str, random.Random], None]:
    def change(car: Car, name: str, rng: random.Random) -> None:
        car.retell("v3", name, status=status, value=None, at=None)

    return change


def _cached(car: Car, name: str, rng: random.Random) -> None:
    told = car.v3[name]
    assert told.at is not None
    car.retell("v3", name, status=CACHED, at=told.at - timedelta(hours=rng.randrange(20, 90)))


def _stale(car: Car, name: str, rng: random.Random) -> None:
    {
        "odometer": lambda: car.retell("v3", name, value=round(car.v2[name].value - rng.randrange(20, 200), 1)),
        "battery-percent": lambda: _percent_off(car, name, rng),
        "battery-range": lambda: _range_off(car, name, rng),
    }.get(name, lambda: _other_charge(car, name, rng))()
    told = car.v3[name]
    assert told.at is not None
    car.retell("v3", name, at=told.at - timedelta(hours=5))


def _moving(car: Car, name: str, rng: random.Random) -> None:
    car.moving = True


def _plain_model(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=car.v2[name].value.replace(".", "").replace("-", " "))


def _title_case(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=car.v2[name].value.title())


def _rounded(car: Car, name: str, rng: random.Random) -> None:
    car.retell("v3", name, value=round(car.v2[name].value))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of difference: the fields it can strike, what it does to a car, and the verdict."""

    name: str
    fields: tuple[str, ...]
    change: Callable[[Car, str, random.Random], None]
    expected: str


TRUE_KINDS = (
    Kind("odometer-in-miles", ("odometer",), _in_miles, "mismatch"),
    Kind("odometer-backwards", ("odometer",), _backwards, "mismatch"),
    Kind("percent-off", ("battery-percent",), _percent_off, "mismatch"),
    Kind("range-off", ("battery-range",), _range_off, "mismatch"),
    Kind("charge-contradiction", ("charge-plugged", "charge-state"), _other_charge, "mismatch"),
    Kind("vin-differs", ("vin",), _other_vin, "mismatch"),
    Kind("year-differs", ("vehicle-year",), _other_year, "mismatch"),
    Kind("not-capable-on-v3", READ, _without_value(NOT_CAPABLE), "v2_only"),
    Kind("permission-lost", READ, _without_value(NOT_PERMITTED), "not_permitted"),
)
HARMLESS_KINDS = (
    Kind("stale", READ, _stale, "stale"),
    Kind("moving", MOVING, _moving, "moved"),
    Kind("cached-error", READ, _cached, "cached_error"),
    Kind("missing-code", READ, _without_value(MISSING), "unavailable"),
    Kind("model-punctuation", ("vehicle-model",), _plain_model, "equal"),
    Kind("make-case", ("vehicle-make",), _title_case, "equal"),
    Kind("rounding", ("odometer",), _rounded, "within_tolerance"),
)


def plant(rng: random.Random, vehicles: list[LocalVehicle]) -> list[Difference]:
    """Plant differences on `vehicles` (tied to a connection, their tokens alive); returns what was planted.

    About 3% of the (car, field) pairs that have a value become true differences and 8% harmless ones; every
    kind occurs at least once where there is a car for it.
    """
    free = {(v.car.id, name): v for v in vehicles for name in COMPARED if v.car.v2[name].value is not None}
    pairs = len(free)
    planted = _strike(rng, TRUE_KINDS, free, pairs * TRUE_SHARE, planted=True)
    return planted + _strike(rng, HARMLESS_KINDS, free, pairs * HARMLESS_SHARE, planted=False)


def _strike(
    rng: random.Random,
    kinds: tuple[Kind, ...],
    free: dict[tuple[str, str], LocalVehicle],
    wanted: float,
    planted: bool,
) -> list[Difference]:
    """Take the kinds in turn until `wanted` pairs are struck, each kind at least once."""
    found: list[Difference] = []
    queues = {kind.name: _candidates(rng, kind, free) for kind in kinds}
    for turn in range(len(free)):
        for kind in kinds:
            if turn and len(found) >= wanted:
                return found
            pair = next((pair for pair in queues[kind.name] if _fits(kind, pair, free)), None)
            if pair is not None:
                found += _apply(rng, kind, pair, free, planted)
    return found


def _candidates(rng: random.Random, kind: Kind, free: dict[tuple[str, str], LocalVehicle]) -> Iterator[tuple[str, str]]:
    pairs = [pair for pair in free if pair[1] in kind.fields]
    rng.shuffle(pairs)
    return iter(pairs)


def _fits(kind: Kind, pair: tuple[str, str], free: dict[tuple[str, str], LocalVehicle]) -> bool:
    """Whether the pair is still free and this kind of difference can be seen on it."""
    if pair not in free:
        return False
    car_id, name = pair
    car = free[pair].car
    if kind.name == "moving":
        parked = car.v2["charge-plugged"].value or car.v2["charging"].value
        return not parked and all((car_id, f) in free for f in MOVING if car.v2[f].value is not None)
    if kind.name == "model-punctuation":
        return any(mark in car.v2[name].value for mark in ".-")
    if kind.change is _other_charge or kind.name == "stale":
        return not name.startswith("charge") or car.v2["charge-state"].value == "NOT_CHARGING"
    # Two cars behind one token are told apart by their VIN.
    return kind.name != "vin-differs" or not free[pair].shares_token


def _apply(
    rng: random.Random,
    kind: Kind,
    pair: tuple[str, str],
    free: dict[tuple[str, str], LocalVehicle],
    planted: bool,
) -> list[Difference]:
    vehicle = free[pair]
    struck = [pair[1]]
    if kind.name == "moving":
        struck = [name for name in MOVING if vehicle.car.v2[name].value is not None]
    kind.change(vehicle.car, pair[1], rng)
    for name in struck:
        del free[(vehicle.car.id, name)]
    return [Difference(vehicle, name, kind.name, planted, kind.expected) for name in struck]
