"""Connections as V3 lists them: who consented to which vehicle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
class ConnectionList:
    """All connections of a mode: one for each user, vehicle and external id that was seen together.

    ``complete`` is False where the count never agreed with ``totalCount``. ``dropped`` is the number of rows that
    could not be taken in: without a readable user or vehicle, or without a mode.
    """

    connections: tuple[Connection, ...]
    complete: bool
    dropped: int = 0


@dataclass(frozen=True)
class ListedRow:
    """What a row of the list says: a connection for each user that it names, none where it can't be read."""

    connections: tuple[Connection, ...]
    mode: str
    key: Hashable
    """What tells it from every other row."""


def listing_of(rows: Iterable[ListedRow], mode: str, *, complete: bool) -> ConnectionList:
    """The connections of the mode; where two rows tell the same, the first (the newest) is kept."""
    found: dict[Hashable, Connection] = {}
    dropped = 0
    for row in rows:
        if row.mode == mode:
            for one in row.connections:
                found.setdefault((one.user_id, one.vehicle_id, one.external_id), one)
        dropped += row.mode in ("", mode) and not (row.mode and row.connections)
    return ConnectionList(tuple(found.values()), complete, dropped)


def read_connection(row: Any, oddities: Oddities | None = None) -> Connection:
    """A connection from its JSON; NotSmartcarError where it doesn't name one user and one vehicle."""
    found = read_row(row, oddities).connections
    if len(found) != 1:
        what = "two users" if found else "no user or no vehicle"
        raise NotSmartcarError(f"smartcar: a V3 connection names {what}; expected one of each in relationships.")
    return found[0]


def read_row(row: Any, oddities: Oddities | None = None) -> ListedRow:
    """A row of the list from its JSON: what it says of whom, read from ``relationships`` and from ``attributes``.

    Two users that differ are both named: a person has to see it. Two vehicles that differ are none: nobody's car may
    be taken for another's. Both, whatever is no id, and members not seen before are counted as oddities.
    """
    odd = oddities or Oddities()
    users, vehicles = (_named(row, what, odd) for what in ("user", "vehicle"))
    told = _told(row, odd)
    if not told["mode"]:
        odd.note("connection: no mode")
    if not users or len(vehicles) != 1:
        odd.note("connection: names no user or no vehicle")
        return ListedRow((), told["mode"], _fingerprint(row))
    connections = tuple(Connection(user_id=user_id, vehicle_id=vehicles[0], **told) for user_id in users)
    key = (told["id"], tuple(users), vehicles[0], told["mode"], told["external_id"])
    return ListedRow(connections, told["mode"], key)


def _told(row: Any, odd: Oddities) -> dict[str, Any]:
    """Everything of a connection but whose it is."""
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


def _named(row: Any, what: str, odd: Oddities) -> list[str]:
    """The different ids that a row gives its user or vehicle, the related one first."""
    attributes, related = mapping(mapping(row).get("attributes")), mapping(mapping(row).get("relationships"))
    given = (mapping(mapping(related.get(what)).get("data")).get("id"), mapping(attributes.get(what)).get("id"))
    found = list(dict.fromkeys(id for value in given if (id := read_id(value, f"connection {what}", odd))))
    if len(found) > 1:
        odd.note(f"connection: attributes.{what} and relationships.{what} differ")
    return found


def _fingerprint(row: Any) -> str:
    """Tells a row that can't be read from the others."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode("utf-8", "replace")).hexdigest()
