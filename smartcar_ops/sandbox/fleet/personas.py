"""The personas as data: how many there are of each, and the audit bucket that each must be in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from smartcar_ops.sandbox.fleet import persona_builders
from smartcar_ops.sandbox.fleet.persona_builders import Build

KEEP, SET, CONFLICT, SKIP = "keep", "set", "conflict", "skip"
DECISIONS = {
    "invalid": CONFLICT,
    "conflict": CONFLICT,
    "shared": CONFLICT,
    "mapped": KEEP,
    "unconfirmed": KEEP,
    "ready": SET,
    "no_vehicles": SKIP,
    "unasked": SKIP,
    "reconnect": SKIP,
}


@dataclass(frozen=True, slots=True)
class Persona:
    """A kind of customer: its share of the users in percent, its buckets, and how it is built.

    `before`: the bucket at the first audit after the callbacks ran; `after`: after a correct backfill;
    `uncalled`: if no callback ever ran, one entry for each local user of an instance.
    """

    name: str
    share: float
    build: Build
    before: str
    after: str
    uncalled: tuple[str, ...]

    @property
    def size(self) -> int:
        """Return how many local users one instance has."""
        return len(self.uncalled)


PERSONAS = (
    Persona("registered", 18, persona_builders.registered, "mapped", "mapped", ("ready",)),
    Persona("token_alive", 22, persona_builders.token_alive, "ready", "mapped", ("ready",)),
    Persona("vin_only", 18, persona_builders.vin_only, "ready", "mapped", ("ready",)),
    Persona("blank", 1, persona_builders.blank, "ready", "mapped", ("ready",)),
    Persona("one_token", 3, persona_builders.one_token, "ready", "mapped", ("ready",)),
    Persona("family_car_token", 2, persona_builders.family_car_token, "ready", "mapped", ("ready",)),
    Persona("external_id", 1, persona_builders.external_id, "ready", "unconfirmed", ("ready",)),
    Persona("revoked_token", 2, persona_builders.revoked_token, "ready", "mapped", ("ready",)),
    Persona("couple", 3, persona_builders.couple, "shared", "shared", ("shared", "shared")),
    Persona("borrowed", 1, persona_builders.borrowed, "shared", "shared", ("ready", "no_vehicles")),
    Persona("wrong_id", 2, persona_builders.wrong_id, "conflict", "conflict", ("ready",)),
    Persona("malformed", 2, persona_builders.malformed, "invalid", "invalid", ("ready",)),
    Persona("two_ids_vin", 1.5, persona_builders.two_ids_vin, "conflict", "conflict", ("conflict",)),
    Persona("two_ids_token", 1, persona_builders.two_ids_token, "conflict", "conflict", ("conflict",)),
    Persona("family_car", 1.5, persona_builders.family_car, "conflict", "conflict", ("conflict",)),
    Persona("previous_owner", 1, persona_builders.previous_owner, "conflict", "conflict", ("conflict",)),
    Persona("no_vehicles", 6, persona_builders.no_vehicles, "no_vehicles", "no_vehicles", ("no_vehicles",)),
    Persona("walk_in", 1, persona_builders.walk_in, "mapped", "mapped", ("no_vehicles",)),
    Persona("lapsed", 4, persona_builders.lapsed, "unconfirmed", "unconfirmed", ("reconnect",)),
    Persona("gone", 9, persona_builders.gone, "reconnect", "reconnect", ("reconnect",)),
    Persona("silent_token", 1, persona_builders.silent_token, "unasked", "unasked", ("unasked",)),
)


def instances(users: int) -> list[tuple[Persona, int]]:
    """Return how often each persona occurs among `users` local users: at least once, while there are enough users."""
    counts = dict.fromkeys(PERSONAS, 0)
    left = users
    for persona in PERSONAS:
        if persona.size <= left:
            counts[persona] = 1
            left -= persona.size
    while left:
        fitting = [persona for persona in PERSONAS if persona.size <= left]
        neediest = max(fitting, key=lambda persona: _missing(persona, counts[persona], users))
        more = max(1, math.floor(_missing(neediest, counts[neediest], users) / neediest.size))
        more = min(more, left // neediest.size)
        counts[neediest] += more
        left -= more * neediest.size
    return list(counts.items())


def _missing(persona: Persona, count: int, users: int) -> float:
    """Return how many local users this persona still needs to reach its share."""
    whole = sum(other.share for other in PERSONAS)
    return users * persona.share / whole - count * persona.size
