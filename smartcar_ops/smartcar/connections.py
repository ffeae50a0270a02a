"""Connections as V3 lists them: who consented to which vehicle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import times
from smartcar_ops.smartcar.failures import mapping, text
from smartcar_ops.smartcar.oddities import Oddities

ATTRIBUTES = frozenset({"permissions", "vehicle", "user", "createdAt", "updatedAt"})
VEHICLE = frozenset({"id", "make", "model", "year", "mode", "powertrainType"})
USER = frozenset({"id", "externalId"})


@dataclass(frozen=True)
class Connection:
    """One Smartcar user's consent for one vehicle: (``user_id``, ``vehicle_id``) is its key.

    The connection's own ``id`` changes with a new consent. Times are UTC, ids lower case.
    """

    id: str
    user_id: str
    vehicle_id: str
    mode: str
    make: str
    model: str
    year: int | None
    powertrain: str
    permissions: tuple[str, ...]
    external_id: str | None
    created_at: datetime | None
    other: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Members that were not seen before, as they came."""


@dataclass(frozen=True)
class Listing:
    """All connections of a mode; ``complete`` is False where the count never agreed with ``totalCount``."""

    connections: tuple[Connection, ...]
    complete: bool


def read_connection(row: Any, oddities: Oddities | None = None) -> Connection:
    """A connection from its JSON; NotSmartcarError where its user or vehicle is missing.

    The user is read from ``relationships`` before ``attributes.user``; two that differ, and members not seen
    before, are counted as oddities.
    """
    attributes, relationships = (
        mapping(mapping(row).get("attributes")),
        mapping(mapping(row).get("relationships")),
    )
    vehicle, person = mapping(attributes.get("vehicle")), mapping(attributes.get("user"))
    related = {key: mapping(mapping(relationships.get(key)).get("data")).get("id") for key in ("user", "vehicle")}
    user_id, vehicle_id = text(related["user"]) or text(person.get("id")), text(related["vehicle"])
    if not user_id or not vehicle_id:
        raise NotSmartcarError("smartcar: a V3 connection names no user or no vehicle; expected both in relationships.")
    odd = oddities or Oddities()
    if related["user"] and person.get("id") and text(related["user"]) != text(person["id"]):
        odd.note("connection: attributes.user and relationships.user differ")
    other = {
        **odd.members("connection", attributes, ATTRIBUTES),
        **odd.members("connection vehicle", vehicle, VEHICLE),
        **odd.members("connection user", person, USER),
    }
    year, permissions = vehicle.get("year"), attributes.get("permissions")
    return Connection(
        id=(text(row.get("id")) or "").lower(),
        user_id=user_id.strip().lower(),
        vehicle_id=vehicle_id.strip().lower(),
        mode=(text(vehicle.get("mode")) or "").lower(),
        make=(text(vehicle.get("make")) or "").upper(),
        model=text(vehicle.get("model")) or "",
        year=int(year) if isinstance(year, int | str) and str(year).isdecimal() else None,
        powertrain=(text(vehicle.get("powertrainType")) or "").upper(),
        permissions=tuple(str(scope) for scope in permissions) if isinstance(permissions, list) else (),
        external_id=text(person.get("externalId")),
        created_at=times.parse(mapping(row.get("meta")).get("createdAt")),
        other=other,
    )
