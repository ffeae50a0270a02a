"""A car's energy: its battery and how it charges, its tank and its oil."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from smartcar_ops.sandbox.fleet.catalogue import Model
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE, NOT_CHARGING, Told

BATTERY_FIELDS = ("battery-percent", "battery-range", "capacity", "old-capacity")
CHARGE_FIELDS = ("charge-plugged", "charge-state", "charging")
CHARGING_FIELDS = ("amperage", "voltage", "wattage", "minutes-left", "energy-added", "charge-rate")
SOCKET_FIELDS = ("charge-limit", "cable-latched", "connector", "fast-charger")
FUEL_FIELDS = ("fuel-percent", "fuel-amount", "fuel-range")
CHARGE_STATES = (
    ("NOT_CHARGING", False),
    ("NOT_CHARGING", False),
    ("NOT_CHARGING", True),
    ("CHARGING", True),
    ("FULLY_CHARGED", True),
)
NOTHING = Told(None, None, NOT_CAPABLE)
VOLTS = 230
KM_PER_KWH = 5.5


def none_of(*fields: str) -> dict[str, Told]:
    """Return these fields as not capable."""
    return dict.fromkeys(fields, NOTHING)


def battery(rng: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Return the charge in percent, range in km, capacity in kWh, and the charging state."""
    if not model.capacity:
        return none_of(*BATTERY_FIELDS, *CHARGE_FIELDS)
    read = at + timedelta(seconds=7)
    state, plugged = rng.choice(CHARGE_STATES)
    percent = 100 if state == "FULLY_CHARGED" else rng.randrange(30, 86)
    reach = round(model.capacity * KM_PER_KWH * percent / 100)
    return {
        "battery-percent": Told(percent, read),
        "battery-range": Told(reach, read),
        "capacity": Told(model.capacity, read),
        "old-capacity": Told(model.capacity, read),
        "charge-plugged": Told(plugged, read),
        "charge-state": Told(state, read),
        "charging": Told(state == "CHARGING", read),
    }


def charging(own: random.Random, model: Model, told: dict[str, Told], at: datetime) -> dict[str, Told]:
    """Return the charge limit in percent, the socket, and the charging values.

    A car that does not charge has the values of its last charge (seen).
    """
    if not model.capacity:
        return none_of(*SOCKET_FIELDS, *CHARGING_FIELDS)
    amps = own.choice((10, 16, 32))
    watts = amps * VOLTS
    flow = (amps, VOLTS, watts, own.randrange(5, 400), round(own.uniform(0.5, 30), 1), round(watts / 1000 * KM_PER_KWH))
    now = told["charging"].value
    plugged = told["charge-plugged"].value
    socket: tuple[Any, ...] = (own.randrange(50, 105, 5), plugged, "CCS" if plugged else "invalid", False)
    return {
        **{name: Told(value, at) for name, value in zip(SOCKET_FIELDS, socket, strict=True)},
        **{name: _flow(value, at, now) for name, value in zip(CHARGING_FIELDS, flow, strict=True)},
    }


def _flow(value: float, at: datetime, charging_now: bool) -> Told:
    return Told(value, at) if charging_now else Told(value, at - timedelta(hours=20), NOT_CHARGING)


def fuel(rng: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Return the fuel in percent and liters, and the range in km."""
    if not model.tank:
        return none_of(*FUEL_FIELDS)
    percent = rng.randrange(10, 100)
    litres = round(model.tank * percent / 100, 2)
    return {
        "fuel-percent": Told(percent, at),
        "fuel-amount": Told(litres, at),
        "fuel-range": Told(round(litres * 14), at),
    }


def oil(own: random.Random, model: Model, at: datetime) -> dict[str, Told]:
    """Return the remaining oil life in percent."""
    return {"oil-life": Told(own.randrange(5, 101), at)} if model.tank else none_of("oil-life")
