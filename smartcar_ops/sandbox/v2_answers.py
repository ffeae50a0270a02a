"""What every V2 endpoint answers from and with: the question, its times, units and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .errors import V2Error
from .records import NOT_CAPABLE, Car, Told
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


def not_capable() -> V2Error:
    """501: the car has no such thing."""
    text = "The vehicle is incapable of performing your request."
    return V2Error(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE", text)


def timed(question: Question, source: str, body: Any, *, units: bool = False, derived: bool = False) -> Answer:
    """An answer with the times of the field `source`; `derived`: both times are Smartcar's own.

    Raises 501 where the car is not capable of the field.
    """
    told = question.told[source]
    if told.status == NOT_CAPABLE:
        raise not_capable()
    at = question.now if derived or told.at is None else told.at
    headers = {"sc-data-age": iso(at), "sc-fetched-at": iso(question.now)}
    if units:
        headers["sc-unit-system"] = "imperial" if question.imperial else "metric"
    return Answer(body, headers)
