"""Lists that contradict themselves or name nobody: what the faults of ids and modes make of a connection."""

from __future__ import annotations

from dataclasses import replace

from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.fleet.seeded import id_of, one_in
from smartcar_ops.sandbox.world import World

NIL = "00000000-0000-0000-0000-000000000000"


def is_nobody(user_id: str) -> bool:
    """Whether `ids-undefined` strikes this person."""
    return one_in(4, "undefined", user_id)


def tell_user(user_id: str, behaviour: Behaviour) -> str:
    """The user's id as it is told: `undefined`, or the nil UUID, under that fault for about one person in four."""
    if not (behaviour.undefined_ids and is_nobody(user_id)):
        return user_id
    return NIL if one_in(2, "nil", user_id) else "undefined"


def names_two(connection: Connection) -> bool:
    """Whether `two-users-in-a-row` strikes this connection."""
    return one_in(8, "two users", connection.id)


def tell_user_beside(connection: Connection, behaviour: Behaviour) -> str:
    """The user's id under `attributes`: under that fault, for about one connection in eight, somebody else's."""
    if behaviour.two_users and names_two(connection):
        return id_of("another user", connection.id)
    return tell_user(connection.user_id, behaviour)


def stranger(world: World) -> str:
    """The company's own id that `two-external-ids` adds: its last user's."""
    return str(world.users[-1].id)


def with_doubles(connections: list[Connection], world: World, behaviour: Behaviour) -> list[Connection]:
    """The list; under `two-external-ids` each connection with the company's own id once more, with another one."""
    if not behaviour.two_external_ids:
        return connections
    doubled = []
    for one in connections:
        doubled.append(one)
        if one.external_id is not None:
            doubled.append(replace(one, id=id_of("double", one.id), external_id=stranger(world)))
    return doubled
