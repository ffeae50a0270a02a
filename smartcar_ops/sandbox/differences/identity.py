"""Differences in what identifies a car (VIN, make, model, year) and in its permissions."""

from __future__ import annotations

import random

from smartcar_ops.sandbox.differences.kind import Kind
from smartcar_ops.sandbox.fleet.builder import PERMISSIONS
from smartcar_ops.sandbox.fleet.catalogue import MODELS, with_check_digit
from smartcar_ops.sandbox.fleet.model import Car, LocalVehicle

ALIASES = {"VOLKSWAGEN": "VW"}
OTHER_MAKES = ("AUDI", "KIA", "SKODA")
MORE = ("read_climate", "read_user_profile")
MARKS = ".-"

# For the VIN and the make, V2 is the wrong one: the company's table and V3 agree, so that the car is still found
# by its VIN and counted under its make.


def _other_vin(car: Car, field: str, rng: random.Random) -> None:
    vin = car.v2[field].value
    car.retell("v2", field, value=with_check_digit(vin[:16] + str((int(vin[16]) + 1 + rng.randrange(9)) % 10)))


def _other_make(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value=rng.choice(OTHER_MAKES))


def _other_model(car: Car, field: str, rng: random.Random) -> None:
    others = [model.name for model in MODELS if model.name != car.v2[field].value]
    car.retell("v2", field, value=rng.choice(others))


def _other_year(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v3", field, value=car.v2[field].value + rng.choice((-1, 1)))


def _fewer_permissions(car: Car, field: str, rng: random.Random) -> None:
    # A comparison needs read_ scopes; if one is missing, V2 is not even asked. So only a control_ scope is removed.
    lost = rng.choice([scope for scope in PERMISSIONS[1:] if scope.startswith("control_")])
    car.retell("v3", field, value=tuple(scope for scope in PERMISSIONS[1:] if scope != lost))


def _more_permissions(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v3", field, value=PERMISSIONS + MORE)


def _plain_model(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v3", field, value=car.v2[field].value.replace(".", "").replace("-", " "))


def _title_case(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v3", field, value=car.v2[field].value.title())


def _alias(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value=ALIASES[car.v2[field].value])


def _small_vin(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value=f" {car.v2[field].value.lower()} ")


def _year_as_text(car: Car, field: str, rng: random.Random) -> None:
    car.retell("v2", field, value=str(car.v2[field].value))


def _own_token(vehicle: LocalVehicle, field: str) -> bool:
    """Return whether the car has a token of its own. Two cars with one token are distinguished by their VINs."""
    return not vehicle.shares_token


def _has_marks(vehicle: LocalVehicle, field: str) -> bool:
    return any(mark in vehicle.car.v2[field].value for mark in MARKS)


def _has_alias(vehicle: LocalVehicle, field: str) -> bool:
    return vehicle.car.v2[field].value in ALIASES


TRUE_KINDS = (
    Kind("vin-differs", ("vin",), _other_vin, "mismatch", fits=_own_token),
    Kind("make-differs", ("vehicle-make",), _other_make, "mismatch"),
    Kind("model-differs", ("vehicle-model",), _other_model, "mismatch"),
    Kind("year-differs", ("vehicle-year",), _other_year, "mismatch"),
    Kind("permission-missing", ("permissions",), _fewer_permissions, "mismatch"),
)
HARMLESS_KINDS = (
    Kind("model-punctuation", ("vehicle-model",), _plain_model, "equal", fits=_has_marks),
    Kind("make-case", ("vehicle-make",), _title_case, "equal"),
    Kind("make-alias", ("vehicle-make",), _alias, "equal", fits=_has_alias),
    Kind("vin-case", ("vin",), _small_vin, "equal", fits=_own_token),
    Kind("year-as-text", ("vehicle-year",), _year_as_text, "equal"),
    Kind("more-permissions", ("permissions",), _more_permissions, "equal"),
)
