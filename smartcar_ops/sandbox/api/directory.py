"""The current connections, found by user, vehicle, external id or mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from smartcar_ops.sandbox.fleet.model import Connection

Key = tuple[str, str]
"""(Smartcar user id, vehicle id): what stays the same when the connection's id changes."""


def key_of(connection: Connection) -> Key:
    """Return the user and the vehicle of a connection."""
    return connection.user_id, connection.vehicle_id


class Directory:
    """A list, newest first, that changes while it is read. Only one event loop may change it."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self.all = list(connections)
        self.by_id: dict[str, Connection] = {}
        self.by_user: dict[str, list[Connection]] = {}
        self.by_vehicle: dict[str, list[Connection]] = {}
        self.arrived: list[Key] = []
        self.left: list[Key] = []
        self._by_mode: dict[str | None, list[Connection]] = {}
        for connection in reversed(self.all):
            self._index(connection)

    def add(self, connection: Connection) -> None:
        """Put a new connection before all others."""
        self.all.insert(0, connection)
        self._index(connection)
        self._by_mode.clear()
        self.arrived.append(key_of(connection))

    def remove(self, gone: Iterable[Connection]) -> list[Connection]:
        """Remove these connections. Return those that were in the list."""
        found = [connection for connection in gone if self.by_id.pop(connection.id, None) is not None]
        self.all = [connection for connection in self.all if connection.id in self.by_id]
        for connection in found:
            self.left.append(key_of(connection))
            for index, key in ((self.by_user, connection.user_id), (self.by_vehicle, connection.vehicle_id)):
                index[key].remove(connection)
                if not index[key]:
                    del index[key]
        self._by_mode.clear()
        return found

    def name(self, user_id: str, external_id: str | None) -> None:
        """Set the external id (the company's id of the user) on all connections of a user; None removes it."""
        for old in self.by_user.get(user_id, [])[:]:
            new = replace(old, external_id=external_id)
            self.by_id[new.id] = new
            for listed in (self.all, self.by_user[user_id], self.by_vehicle[new.vehicle_id]):
                listed[listed.index(old)] = new
        self._by_mode.clear()

    def find(
        self,
        user_id: str | None = None,
        vehicle_id: str | None = None,
        external_id: str | None = None,
        mode: str | None = None,
    ) -> list[Connection]:
        """Return the connections that match all arguments, newest first. Do not change the list: it may be cached."""
        if user_id is not None:
            found = self.by_user.get(user_id, [])
        elif vehicle_id is not None:
            found = self.by_vehicle.get(vehicle_id, [])
        elif external_id is None:
            return self._of_mode(mode)
        else:
            found = self.all
        return [
            connection
            for connection in found
            if vehicle_id in (None, connection.vehicle_id)
            and external_id in (None, connection.external_id)
            and mode in (None, connection.mode)
        ]

    def _of_mode(self, mode: str | None) -> list[Connection]:
        """Return the connections in a mode. Cached until the list changes, so that a page doesn't scan ten thousand."""
        if mode not in self._by_mode:
            self._by_mode[mode] = [c for c in self.all if mode in (None, c.mode)]
        return self._by_mode[mode]

    def _index(self, connection: Connection) -> None:
        self.by_id[connection.id] = connection
        self.by_user.setdefault(connection.user_id, []).insert(0, connection)
        self.by_vehicle.setdefault(connection.vehicle_id, []).insert(0, connection)
