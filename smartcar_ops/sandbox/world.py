"""Builds the pretend world: without side effects, and the same for the same (users, seed, now) in any process."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from smartcar_ops.sandbox.differences.plant import plant
from smartcar_ops.sandbox.fleet.builder import FIRST_VEHICLE_ID, Draft
from smartcar_ops.sandbox.fleet.cars import new_id
from smartcar_ops.sandbox.fleet.catalogue import VIN_LETTERS
from smartcar_ops.sandbox.fleet.model import (
    LIVE,
    SIMULATED,
    Car,
    Connection,
    Credentials,
    Difference,
    LocalUser,
    LocalVehicle,
    UserToken,
)
from smartcar_ops.sandbox.fleet.personas import DECISIONS, Persona, instances

FIRST_NAMES = ("Ada", "Ben", "Cora", "Dario", "Elif", "Finn", "Greta", "Hugo", "Kaya", "Liam", "Mira", "Nils")
LAST_NAMES = ("Arndt", "Berg", "Costa", "Dahl", "Eder", "Frank", "Gallo", "Holm", "Klein", "Lopez", "Ortiz")
ORPHAN_SHARE = 0.04
SIMULATED_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class World:
    """Everything that exists at Smartcar and at its customer, at the moment `now`."""

    seed: int
    now: datetime
    credentials: Credentials
    users: tuple[LocalUser, ...]
    cars: dict[str, Car]
    connections: tuple[Connection, ...]
    """Newest first, in every mode."""
    tokens: dict[str, UserToken]
    differences: tuple[Difference, ...]

    def __repr__(self) -> str:
        return (
            f"World(seed={self.seed}, now={self.now.isoformat()}, users={len(self.users)}, "
            f"vehicles={len(self.vehicles)}, connections={len(self.connections)})"
        )

    @property
    def vehicles(self) -> list[LocalVehicle]:
        """Return the rows of the company's table `vehicles`."""
        return [vehicle for user in self.users for vehicle in user.vehicles]

    def connections_of(self, vehicle_id: str) -> list[Connection]:
        """Return the connections to this car in any mode, newest first."""
        return [connection for connection in self.connections if connection.vehicle_id == vehicle_id]


def build_world(users: int = 300, seed: int = 0, now: datetime | None = None) -> World:
    """Build a world with `users` local users, at `now` (an aware datetime; None: the present).

    Raises ValueError for fewer than one user or a naive `now`.
    """
    if users < 1:
        raise ValueError(f"sandbox: users is {users}, at least 1 is needed")
    if now is not None and now.tzinfo is None:
        raise ValueError(f"sandbox: now is {now.isoformat()} without a time zone")
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    rng = random.Random(seed)
    credentials = _credentials(rng)
    draft = Draft(rng, moment)
    locals_ = _people(draft, users)
    _number_vehicles(locals_)
    _add_strangers(draft, locals_)
    differences = plant(rng, [v for user in locals_ for v in user.vehicles if _comparable(draft, user, v)])
    newest_first = sorted(draft.connections, key=lambda c: (c.created_at, c.id), reverse=True)
    return World(seed, moment, credentials, locals_, draft.cars, tuple(newest_first), draft.tokens, tuple(differences))


def _credentials(rng: random.Random) -> Credentials:
    ulid = "".join(rng.choice("0123456789" + VIN_LETTERS) for _ in range(17))
    secrets = [f"{word}-{rng.getrandbits(24):06x}" for word in ("pretend", "legacy", "manage")]
    return Credentials(f"client_01SANDBOX{ulid}", new_id(rng), *secrets)


def _people(draft: Draft, users: int) -> tuple[LocalUser, ...]:
    """Build the personas with randomly assigned user ids. Return the users ordered by id."""
    ids = list(range(1, users + 1))
    draft.rng.shuffle(ids)
    dealt: list[LocalUser] = []
    for persona, count in instances(users):
        for number in range(count):
            members = [_member(draft, persona, place, ids.pop()) for place in range(persona.size)]
            persona.build(draft, members, number)
            dealt += members
    return tuple(sorted(dealt, key=lambda user: user.id))


def _member(draft: Draft, persona: Persona, place: int, number: int) -> LocalUser:
    first, last = draft.rng.choice(FIRST_NAMES), draft.rng.choice(LAST_NAMES)
    return LocalUser(
        id=number,
        name=f"{first} {last}",
        email=f"{first}.{last}.{number}@example.com".lower(),
        created_at=draft.now.replace(microsecond=0) - timedelta(seconds=draft.rng.randrange(10**6, 10**8)),
        persona=persona.name,
        before=persona.before,
        after=persona.after,
        uncalled=persona.uncalled[place],
    )


def _number_vehicles(users: tuple[LocalUser, ...]) -> None:
    number = FIRST_VEHICLE_ID
    for user in users:
        for vehicle in user.vehicles:
            vehicle.id = number
            number += 1


def _add_strangers(draft: Draft, users: tuple[LocalUser, ...]) -> None:
    """Add connections that no local user claims, and some to simulated cars, half of them by known users."""
    live = len(draft.connections)
    for _ in range(max(2, round(live * ORPHAN_SHARE))):
        draft.connect(draft.person(), draft.car())
    known = [user.smartcar_user_id for user in users if user.before == "mapped" and user.smartcar_user_id]
    for number in range(max(2, round(live * SIMULATED_SHARE))):
        person = draft.rng.choice(known) if number % 2 and known else draft.person()
        draft.connect(person, draft.car(SIMULATED))


def _comparable(draft: Draft, user: LocalUser, vehicle: LocalVehicle) -> bool:
    """Return whether both versions return data for the car and a correct backfill links it to a connection."""
    return vehicle.token_alive and vehicle.tied and DECISIONS[user.before] != "conflict"


def orphans(world: World, *, played: bool) -> list[Connection]:
    """Return the live connections that no local user claims by a car, an external id or a stored id.

    `played`: whether the company's Connect callbacks ran.
    """
    cars = {v.car.id for v in world.vehicles if v.tied}
    stored = {(user.stores or "").strip().lower() for user in world.users} if played else set()
    local_ids = {str(user.id) for user in world.users}
    return [
        c
        for c in world.connections
        if c.mode == LIVE and c.vehicle_id not in cars and c.user_id not in stored and c.external_id not in local_ids
    ]


def connected_cars(world: World) -> dict[str, set[str]]:
    """Return the id of every connected car with the ids of the Smartcar users connected to it."""
    users: dict[str, set[str]] = defaultdict(set)
    for connection in world.connections:
        users[connection.vehicle_id].add(connection.user_id)
    return users
