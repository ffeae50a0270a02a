"""V3 connections: which user gave consent for which vehicle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import mapping, text
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.ids import read_external_id, read_id, read_mode

ATTRIBUTES = frozenset({"permissions", "vehicle", "user", "createdAt", "updatedAt"})
VEHICLE = frozenset({"id", "make", "model", "year", "mode", "powertrainType"})
USER = frozenset({"id", "externalId"})


@dataclass(frozen=True)
class Connection:
    """One Smartcar user's consent for one vehicle; its key is (``user_id``, ``vehicle_id``).

    The connection's own ``id`` changes with each new consent. Times are in UTC, ids in lower case.
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
    other: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)
    """Unknown members, as received."""


@dataclass(frozen=True)
class ConnectionList:
    """All connections of a mode: one per combination of user, vehicle and external id.

    ``complete`` is False if the number of rows never matched ``totalCount``. ``dropped`` is the number of rows
    without a readable user, vehicle or mode.
    """

    connections: tuple[Connection, ...]
    complete: bool
    dropped: int = 0


@dataclass(frozen=True)
class ListedRow:
    """A row of the list: one connection per user in it, none if it can't be read."""

    connections: tuple[Connection, ...]
    mode: str
    key: Hashable
    """Identifies the row in the list."""


def listing_of(rows: Iterable[ListedRow], mode: str, *, complete: bool) -> ConnectionList:
    """Return the connections of the mode; of two rows with the same key, the first (the newest) is kept."""
    by_key: dict[Hashable, Connection] = {}
    dropped = 0
    for row in rows:
        if row.mode == mode:
            for one in row.connections:
                by_key.setdefault((one.user_id, one.vehicle_id, one.external_id), one)
        dropped += row.mode in ("", mode) and not (row.mode and row.connections)
    return ConnectionList(tuple(by_key.values()), complete, dropped)


def read_connection(row: object, oddities: Oddities | None = None) -> Connection:
    """Parse a connection; NotSmartcarError unless it has one user and one vehicle."""
    connections = read_row(row, oddities).connections
    if len(connections) != 1:
        what = "two users" if connections else "no user or no vehicle"
        raise NotSmartcarError(f"smartcar: a V3 connection has {what}; expected one of each in relationships.")
    return connections[0]


def read_row(row: object, oddities: Oddities | None = None) -> ListedRow:
    """Parse a row of the list; user and vehicle are read from ``relationships`` and from ``attributes``.

    If the two places have different users, the row gives a connection for both, so that a person sees it. If they
    have different vehicles, it gives none, so that no car is taken for another. Both cases, invalid ids and unknown
    members are counted as oddities.
    """
    odd = oddities or Oddities()
    users, vehicles = (_ids(row, what, odd) for what in ("user", "vehicle"))
    details = _details(row, odd)
    if not details["mode"]:
        odd.note("connection: no mode")
    if not users or len(vehicles) != 1:
        odd.note("connection: names no user or no vehicle")
        return ListedRow((), details["mode"], _fingerprint(row))
    connections = tuple(Connection(user_id=user_id, vehicle_id=vehicles[0], **details) for user_id in users)
    key = (details["id"], tuple(users), vehicles[0], details["mode"], details["external_id"])
    return ListedRow(connections, details["mode"], key)


class _Details(TypedDict):
    """Everything of a connection but its user and vehicle."""

    id: str
    mode: str
    make: str
    model: str
    year: int | None
    powertrain: str
    permissions: tuple[str, ...]
    external_id: str | None
    created_at: datetime | None
    other: Mapping[str, object]


def _details(row: object, odd: Oddities) -> _Details:
    """Return everything of a connection but its user and vehicle."""
    attributes = mapping(mapping(row).get("attributes"))
    vehicle, person = mapping(attributes.get("vehicle")), mapping(attributes.get("user"))
    year, permissions = vehicle.get("year"), attributes.get("permissions")
    return {
        "id": (text(mapping(row).get("id")) or "").lower(),
        "mode": read_mode(vehicle.get("mode")),
        "make": (text(vehicle.get("make")) or "").upper(),
        "model": text(vehicle.get("model")) or "",
        "year": int(year) if isinstance(year, int | str) and re.fullmatch("[0-9]{1,4}", str(year)) else None,
        "powertrain": (text(vehicle.get("powertrainType")) or "").upper(),
        "permissions": tuple(str(scope) for scope in permissions) if isinstance(permissions, list) else (),
        "external_id": read_external_id(person.get("externalId"), "connection user externalId", odd),
        "created_at": json_values.parse(mapping(mapping(row).get("meta")).get("createdAt")),
        "other": {
            **odd.members("connection", attributes, ATTRIBUTES),
            **odd.members("connection vehicle", vehicle, VEHICLE),
            **odd.members("connection user", person, USER),
        },
    }


def _ids(row: object, what: str, odd: Oddities) -> list[str]:
    """Return the different ids of a row's user or vehicle, the one in ``relationships`` first."""
    attributes, related = mapping(mapping(row).get("attributes")), mapping(mapping(row).get("relationships"))
    given = (mapping(mapping(related.get(what)).get("data")).get("id"), mapping(attributes.get(what)).get("id"))
    found = list(dict.fromkeys(id for value in given if (id := read_id(value, f"connection {what}", odd))))
    if len(found) > 1:
        odd.note(f"connection: attributes.{what} and relationships.{what} differ")
    return found


def _fingerprint(row: object) -> str:
    """Return a key for a row that can't be read."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode("utf-8", "replace")).hexdigest()
