"""Values that one version does not return: not capable, not permitted, not there yet, null, or old."""

from __future__ import annotations

import random

from smartcar_ops.sandbox.differences.fields import AGREED, COMPARED, SIGNALS, parts_told, whole_endpoint, whole_signal
from smartcar_ops.sandbox.differences.kind import Change, Kind, age
from smartcar_ops.sandbox.fleet.model import CACHED, MISSING, NOT_CAPABLE, NOT_PERMITTED, NULLS, UNAVAILABLE, Car

SOURCES = {
    "odometer": "odometer",
    "battery-percent": "battery-percent",
    "battery-capacity-old": "old-capacity",
    "nominal-capacity": "capacity",
    "charge-state": "charge-state",
    "charge-limit": "charge-limit",
    "fuel-percent": "fuel-percent",
    "oil-life": "oil-life",
    "tire-frontLeft": "tires",
    "location": "location",
    "locked": "locked",
    "dtc-list": "trouble-codes",
    "service-id": "services",
}
"""One field of each V2 endpoint, and the car's field that decides whether the endpoint answers."""
WHOLE = tuple(field for field in SOURCES if "capacity" not in field)
"""The fields of `SOURCES` whose V3 signals are reported by only one V2 endpoint."""


def _without_value(status: str) -> Change:
    def change(car: Car, field: str, rng: random.Random) -> None:
        # Some flaps have two signals. Neither gets a value.
        for part in COMPARED[field].parts:
            car.retell("v3", part, status=status, value=None, at=None)

    return change


def _with_status(status: str) -> Change:
    def change(car: Car, field: str, rng: random.Random) -> None:
        for part in parts_told(car, field):
            car.retell("v3", part, status=status)

    return change


def _cached(car: Car, field: str, rng: random.Random) -> None:
    _with_status(CACHED)(car, field, rng)
    age(car, field, rng.randrange(20, 90))


def _older(car: Car, field: str, rng: random.Random) -> None:
    age(car, field, rng.randrange(30, 200))


def _refused(*, on_v3_too: bool) -> Change:
    """Return a change that removes the permission for V2's endpoint, and for its V3 signals if `on_v3_too`."""

    def change(car: Car, field: str, rng: random.Random) -> None:
        car.retell("v2", SOURCES[field], status=NOT_PERMITTED)
        for struck in whole_endpoint(field) if on_v3_too else ():
            if parts_told(car, struck):
                _without_value(NOT_PERMITTED)(car, struck, rng)

    return change


TRUE_KINDS = (
    Kind("not-capable-on-v3", SIGNALS, _without_value(NOT_CAPABLE), "v2_only", reach=whole_signal),
    Kind("permission-lost", SIGNALS, _without_value(NOT_PERMITTED), "not_permitted", reach=whole_signal),
)
HARMLESS_KINDS = (
    Kind("not-permitted-on-v2", tuple(SOURCES), _refused(on_v3_too=False), "v3_only", reach=whole_endpoint),
    Kind("not-permitted-at-all", WHOLE, _refused(on_v3_too=True), "not_permitted", reach=whole_endpoint),
    Kind("cached-error", SIGNALS, _cached, "cached_error", reach=whole_signal),
    Kind("missing-code", SIGNALS, _without_value(MISSING), "unavailable", reach=whole_signal),
    Kind("null-members", SIGNALS, _with_status(NULLS), "unavailable", reach=whole_signal),
    Kind("status-unavailable", SIGNALS, _without_value(UNAVAILABLE), "unavailable", reach=whole_signal),
    Kind("state-without-body", SIGNALS, _without_value(CACHED), "unavailable", reach=whole_signal),
    Kind("older-but-the-same", SIGNALS, _older, AGREED),
)
