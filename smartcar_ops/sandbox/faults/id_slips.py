"""Faults of the ids in lists: users without a real id, connections that name two users or two external ids."""

from __future__ import annotations

from dataclasses import replace

from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.fleet.seeded import id_of, one_in
from smartcar_ops.sandbox.world import World

NIL = "00000000-0000-0000-0000-000000000000"


def is_nobody(user_id: str) -> bool:
    """Return whether `ids-undefined` applies to this user."""
    return one_in(4, "undefined", user_id)


def tell_user(user_id: str, behaviour: Behaviour) -> str:
    """Return the user id as the API reports it.

    Under `ids-undefined`, one user in four gets `undefined` or the nil UUID.
    """
    if not (behaviour.undefined_ids and is_nobody(user_id)):
        return user_id
    return NIL if one_in(2, "nil", user_id) else "undefined"


def names_two(connection: Connection) -> bool:
    """Return whether `two-users-in-a-row` applies to this connection."""
    return one_in(8, "two users", connection.id)


def tell_user_beside(connection: Connection, behaviour: Behaviour) -> str:
    """Return the user id under `attributes`. Under `two-users-in-a-row`, one connection in eight names another user."""
    if behaviour.two_users and names_two(connection):
        return id_of("another user", connection.id)
    return tell_user(connection.user_id, behaviour)


def stranger(world: World) -> str:
    """Return the external id that `two-external-ids` adds: the local id of the company's last user."""
    return str(world.users[-1].id)


def with_doubles(connections: list[Connection], world: World, behaviour: Behaviour) -> list[Connection]:
    """Return the list. Under `two-external-ids`, each connection with an external id is repeated with another one."""
    if not behaviour.two_external_ids:
        return connections
    doubled = []
    for one in connections:
        doubled.append(one)
        if one.external_id is not None:
            doubled.append(replace(one, id=id_of("double", one.id), external_id=stranger(world)))
    return doubled
