"""What every V2 endpoint answers from and with: the question, its times, units and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .errors import V2Error
from .records import NOT_CAPABLE, NOT_PERMITTED, UNPLUGGED, Car, Told
from .state import iso
from .units import KM_PER_MILE


@dataclass(frozen=True, slots=True)
class Question:
    """All a V2 endpoint answers from."""

    car: Car
    told: dict[str, Told]
    permissions: tuple[str, ...]
    imperial: bool
    now: datetime
    offset: int = 0
    limit: int = 25

    def value(self, name: str) -> Any:
        """What the car tells of a field."""
        return self.told[name].value

    def share(self, name: str) -> Any:
        """A percentage as V2 writes it: 0 to 1."""
        value = self.value(name)
        return value if value is None else value * 0.01

    def measure(self, value: float | None, per_imperial: float) -> float | None:
        """A metric number in the units asked for."""
        return value / per_imperial if value is not None and self.imperial else value

    def length(self, name: str) -> float | None:
        """A field in km, or in miles."""
        return self.measure(self.value(name), KM_PER_MILE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and the headers that belong to it (lower-case, as in a batch)."""

    body: Any
    headers: dict[str, str] = field(default_factory=dict)


REFUSALS = {
    NOT_CAPABLE: (
        501,
        "COMPATIBILITY",
        "VEHICLE_NOT_CAPABLE",
        "The vehicle is incapable of performing your request.",
    ),
    NOT_PERMITTED: (
        403,
        "PERMISSION",
        None,
        "Your application has insufficient permissions to access the requested resource.",
    ),
    UNPLUGGED: (409, "VEHICLE_STATE", UNPLUGGED, "The vehicle's charging plug is not connected."),
}
"""Status, type, code and text, by what the car tells of an endpoint's field."""


def timed(question: Question, source: str, body: Any, *, units: bool = False, derived: bool = False) -> Answer:
    """An answer with the times of the field `source`; `derived`: both times are Smartcar's own.

    Raises 501 where the car is not capable of the field, 403 where it may not be asked, 409 in the wrong state.
    """
    told = question.told[source]
    if told.status in REFUSALS:
        raise V2Error(*REFUSALS[told.status])
    at = question.now if derived or told.at is None else told.at
    headers = {"sc-data-age": iso(at), "sc-fetched-at": iso(question.now)}
    if units:
        headers["sc-unit-system"] = "imperial" if question.imperial else "metric"
    return Answer(told.written(body) if isinstance(body, dict) else body, headers)
