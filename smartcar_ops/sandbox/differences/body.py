"""Differences in the lock, doors, windows, flaps and tires."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from smartcar_ops.sandbox.differences.fields import AGREED, TIRES, whole_signal
from smartcar_ops.sandbox.differences.kind import Change, Kind, age, part_of, tell, told, write
from smartcar_ops.sandbox.fleet.car_body import PLACES, by_position
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE, Car, LocalVehicle

GRIDS: tuple[str, ...] = ("doors", "windows")
FLAPS: tuple[str, ...] = ("sunroof", "storage-rear", "storage-front")
NO_READING = (6553.5, 0)
"""The values that makers write for a wheel without a reading."""


def other_state(car: Car, field: str, rng: random.Random) -> None:
    """Swap open and shut on V3 (the flap, or one of the places), or locked and unlocked."""
    value = told(car, field)
    if field in GRIDS:
        place = rng.choice(list(value))
        tell(car, field, {**value, place: _flipped(value[place])})
    else:
        tell(car, field, _flipped(value) if field in FLAPS else not value)


def _flipped(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "isOpen": not part["isOpen"]}


def tire_off(car: Car, field: str, rng: random.Random) -> None:
    """Set one wheel 40 to 60 kPa lower on V3."""
    _wheel(car, "v3", field, _pressure(car, field) - rng.randrange(40, 61))


def tire_rounded(car: Car, field: str, rng: random.Random) -> None:
    """Set one wheel 1 or 2 kPa higher or lower on V3."""
    _wheel(car, "v3", field, _pressure(car, field) + rng.choice((-2, -1, 1, 2)))


def _place(field: str) -> str:
    return field.removeprefix("tire-")


def _pressure(car: Car, field: str) -> int:
    return int(told(car, field).pressures[_place(field)])


def _wheel(car: Car, version: str, field: str, pressure: float) -> None:
    tires = told(car, field)
    changed = replace(tires, pressures={**tires.pressures, _place(field): pressure})
    car.retell(version, "tires", value=changed)


def _cooled(car: Car, field: str, rng: random.Random) -> None:
    _wheel(car, "v3", field, _pressure(car, field) - rng.randrange(10, 26))
    age(car, field, rng.randrange(2, 20))


def _without_reading(*versions: str) -> Change:
    def change(car: Car, field: str, rng: random.Random) -> None:
        marker = rng.choice(NO_READING)
        for version in versions:
            _wheel(car, version, field, marker)

    return change


def _mislabelled(car: Car, field: str, rng: random.Random) -> None:
    write(car, field, unit=rng.choice(("bar", "psi", ...)))


def _in_bar(car: Car, field: str, rng: random.Random) -> None:
    tires = told(car, field)
    tell(
        car, field, replace(tires, pressures={place: kpa / 100 for place, kpa in tires.pressures.items()}, label="bar")
    )


def _shuffled(car: Car, field: str, rng: random.Random) -> None:
    order = list(PLACES)[::-1]
    value = told(car, field)
    if field in GRIDS:
        tell(car, field, {place: value[place] for place in order})
    else:
        tell(car, field, replace(value, pressures={place: value.pressures[place] for place in order}))


def _named_key(car: Car, field: str, rng: random.Random) -> None:
    """Put the list under the signal's own name, as one page of the documentation shows it."""
    write(car, field, **{field: by_position(told(car, field)), "values": ...})


def _unknown(version: str) -> Change:
    """Return a change that makes it unknown whether the flap, or one of the places, is open."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        value = told(car, field)
        if field in GRIDS:
            place = rng.choice(list(value))
            changed = {**value, place: {**value[place], "isOpen": None}}
        else:
            changed = {**value, "isOpen": None}
        car.retell(version, part_of(car, field), value=changed)

    return change


def _locked_doors(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value={place: {**part, "status": "LOCKED"} for place, part in told(car, field).items()})


def _told_by(other: str) -> Change:
    """Return a change that moves the value to V3's `other` signal, and makes the usual one not capable."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        usual = part_of(car, field)
        car.v3[other] = car.v3[usual]
        car.retell("v3", usual, value=None, at=None, status=NOT_CAPABLE)

    return change


def _is_locked(vehicle: LocalVehicle, field: str) -> bool:
    return bool(vehicle.car.v2["locked"].value)


def _has_front_trunk(vehicle: LocalVehicle, field: str) -> bool:
    return part_of(vehicle.car, field) == "front-trunk"


TRUE_KINDS = (
    Kind("lock-contradiction", ("locked",), other_state, "mismatch"),
    Kind("door-contradiction", GRIDS, other_state, "mismatch"),
    Kind("flap-contradiction", (*FLAPS, "charging-port"), other_state, "mismatch"),
    Kind("tire-off", TIRES, tire_off, "mismatch"),
)
HARMLESS_KINDS = (
    Kind("tire-cooled", TIRES, _cooled, "within_tolerance"),
    Kind("tire-without-reading", TIRES, _without_reading("v3"), "unavailable"),
    Kind("tire-without-reading-on-v2", TIRES, _without_reading("v2"), "v3_only"),
    Kind("tire-without-any-reading", TIRES, _without_reading("v2", "v3"), "unavailable"),
    Kind("tires-mislabelled", TIRES, _mislabelled, "equal", reach=whole_signal),
    Kind("tires-in-bar", TIRES, _in_bar, "converted", reach=whole_signal),
    Kind("places-shuffled", (*GRIDS, *TIRES), _shuffled, AGREED, reach=whole_signal),
    Kind("places-named", GRIDS, _named_key, "converted"),
    Kind("place-unknown-on-v2", GRIDS, _unknown("v2"), "converted"),
    Kind("place-unknown-on-v3", GRIDS, _unknown("v3"), "converted"),
    Kind("flap-unknown-on-v2", FLAPS, _unknown("v2"), "v3_only"),
    Kind("doors-locked-on-v2", ("doors",), _locked_doors, "converted", fits=_is_locked),
    Kind("tailgate", ("storage-rear",), _told_by("tailgate"), "converted"),
    Kind("engine-cover", ("storage-front",), _told_by("hood"), "converted", fits=_has_front_trunk),
)
