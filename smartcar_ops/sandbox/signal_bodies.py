"""The bodies of V3's signals, by shape (seen, documented); each also writes the body without a value."""

from __future__ import annotations

from typing import Any

from .car_body import by_position
from .state import iso

Json = dict[str, Any]


def plain(value: Any, unit: str | None) -> Json:
    """`value`, and `unit` where there is one."""
    return {"value": value, **({"unit": unit} if unit else {})}


def reach(value: Any, unit: str | None) -> Json:
    """A range, of which there may be several kinds."""
    return {"value": value, "type": "DEFAULT", "additionalValues": [], "unit": unit}


def capacity(value: Any, unit: str | None) -> Json:
    """The nominal capacity, which is not called `value`."""
    if value is None:
        return {"capacity": None}
    available = [{"capacity": value, "description": None}]
    return {"capacity": value, "source": "SMARTCAR", "availableCapacities": available, "unit": unit}


def limits(value: Any, unit: str | None) -> Json:
    """Charge limits: one for everywhere."""
    values = [] if value is None else [{"type": "GLOBAL", "limit": value}]
    return {"values": values, "activeLimit": value, "unit": unit}


def members(value: Any, unit: str | None) -> Json:
    """The members of a single flap, as they are."""
    return {"isOpen": None} if value is None else dict(value)


def system(value: Any, unit: str | None) -> Json:
    """A system's status."""
    return {"status": None, "description": None} if value is None else dict(value)


def places(value: Any, unit: str | None) -> Json:
    """Doors or windows by row and column."""
    return _grid(by_position(value or {}))


def tires(value: Any, unit: str | None) -> Json:
    """Pressures by row and column; the unit is what the maker's label says."""
    if value is None:
        return _grid([])
    pressures = {place: {"tirePressure": told} for place, told in value.pressures.items()}
    return {**_grid(by_position(pressures)), "unit": value.label}


def location(value: Any, unit: str | None) -> Json:
    """Degrees, and how the place is known."""
    return {**(value or {"latitude": None, "longitude": None}), "locationType": "LAST_PARKED"}


def trouble(value: Any, unit: str | None) -> Json:
    """Trouble codes with the time each was first seen."""
    return {"values": [{"code": told["code"], "timestamp": iso(told["timestamp"])} for told in value or []]}


def services(value: Any, unit: str | None) -> Json:
    """Visits to a garage."""
    return {
        "values": [
            {
                "id": visit.id,
                "time": iso(visit.at),
                "odometer": visit.odometer,
                "tasks": [{"id": own, "description": text} for own, text in visit.tasks],
                "details": [{"id": "type", "description": visit.garage}],
                "cost": {"amount": visit.cost, "currency": visit.currency},
            }
            for visit in value or []
        ]
    }


def listed(value: Any, unit: str | None) -> Json:
    """A list of texts."""
    return {"values": list(value or [])}


def _grid(values: list[Json]) -> Json:
    return {"values": values, "rowCount": 2, "columnCount": 2}
