"""V2's endpoints of battery, charge, fuel and oil (SDK, seen)."""

from __future__ import annotations

from .units import LITRES_PER_GALLON
from .v2_answers import Answer, Question, timed


def battery(question: Question) -> Answer:
    """Charge from 0 to 1 and range."""
    body = {"percentRemaining": question.share("battery-percent"), "range": question.length("battery-range")}
    return timed(question, "battery-percent", body, units=True)


def capacity(question: Question) -> Answer:
    """kWh, by the older endpoint."""
    return timed(question, "old-capacity", {"capacity": question.value("old-capacity")}, derived=True)


def nominal_capacity(question: Question) -> Answer:
    """kWh, with where it comes from; both times are Smartcar's."""
    nominal = question.value("capacity")
    body = {
        "availableCapacities": [{"capacity": nominal, "description": None}],
        "capacity": {"nominal": nominal, "source": "SMARTCAR"},
        "url": None,
    }
    return timed(question, "capacity", body, derived=True)


def charge(question: Question) -> Answer:
    """Whether it is plugged in, and its state."""
    body = {"isPluggedIn": question.value("charge-plugged"), "state": question.value("charge-state")}
    return timed(question, "charge-state", body)


def charge_limit(question: Question) -> Answer:
    """From 0 to 1."""
    return timed(question, "charge-limit", {"limit": question.share("charge-limit")})


def fuel(question: Question) -> Answer:
    """Fuel in litres (gallons) and from 0 to 1, and range."""
    body = {
        "amountRemaining": question.measure(question.value("fuel-amount"), LITRES_PER_GALLON),
        "percentRemaining": question.share("fuel-percent"),
        "range": question.length("fuel-range"),
    }
    return timed(question, "fuel-percent", body, units=True)


def oil(question: Question) -> Answer:
    """Oil life from 0 to 1."""
    return timed(question, "oil-life", {"lifeRemaining": question.share("oil-life")})
