"""What each persona has: its cars, connections and tokens, and the id that its Connect callback stores."""

from __future__ import annotations

from collections.abc import Callable

from smartcar_ops.sandbox.fleet.builder import Draft
from smartcar_ops.sandbox.fleet.cars import new_id
from smartcar_ops.sandbox.fleet.model import LocalUser

Build = Callable[[Draft, list[LocalUser], int], None]
"""Builds one instance of a persona from the draft, its local users (two for a pair), and its number from 0."""


def _connected(
    draft: Draft,
    user: LocalUser,
    cars: int,
    *,
    live: Callable[[int], bool] = lambda number: False,
    old: str = "normal",
) -> str:
    """Give `user` connected cars with VINs. Return the Smartcar user id.

    `live(n)`: whether the n-th token is living. `old`: the behaviour of the other tokens; a revoked one can't be
    refreshed.
    """
    person = draft.person()
    for number in range(cars):
        car = draft.car()
        draft.connect(person, car)
        token = draft.live_token(person, car) if live(number) else draft.old_token(person, car, behaviour=old)
        draft.own(user, car, token)
    user.smartcar_user_id = person
    return person


def _one_or_two(draft: Draft) -> int:
    return 1 + (draft.rng.random() < 0.45)


def registered(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose callback stored the id, sometimes in capitals or with spaces around it."""
    live = [draft.rng.random() < 0.5 for _ in range(2)]
    person = _connected(draft, users[0], _one_or_two(draft), live=lambda n: live[n])
    users[0].stores = {0: person.upper(), 1: f" {person} "}.get(number % 8, person)


def token_alive(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with a living token for each car."""
    _connected(draft, users[0], draft.rng.choices((1, 2, 3), (4, 3, 2))[0], live=lambda n: True)


def vin_only(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose VINs alone lead to the connections."""
    _connected(draft, users[0], _one_or_two(draft))


def blank(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose callback stored an empty string."""
    vin_only(draft, users, number)
    users[0].stores = ""


def one_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with one living token for two cars. V2 lists both, and the VIN tells them apart."""
    person = draft.person()
    cars = draft.car(), draft.car()
    token = draft.live_token(person, *cars)
    for car in cars:
        draft.connect(person, car)
        draft.own(users[0], car, token)
    users[0].smartcar_user_id = person


def family_car_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with a car that two people connected. The living token says which of them is the customer."""
    person = _connected(draft, users[0], 1, live=lambda n: True)
    assert person
    draft.connect(draft.person(), users[0].vehicles[0].car)


def external_id(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user without a VIN or a living token. The connection's external id is the user's local id."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car, external_id=str(users[0].id))
    draft.own(users[0], car, draft.old_token(person, car, behaviour="revoked"), vin=False, tied=False)
    users[0].smartcar_user_id = person


def revoked_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose token is young, but refused by V2."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car)
    draft.own(users[0], car, draft.live_token(person, car, behaviour="revoked"))
    users[0].smartcar_user_id = person


def couple(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build two users who both have a row for the same car. In every second pair, both store the same id."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car)
    for user in users:
        draft.own(user, car, draft.old_token(person, car))
        user.smartcar_user_id = person
        user.stores = person if number % 2 else None


def borrowed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build two users. The second has no vehicle and stores the first one's id."""
    person = _connected(draft, users[0], 1)
    users[0].stores = users[1].stores = person


def wrong_id(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose callback stored an id that belongs to nobody."""
    vin_only(draft, users, number)
    users[0].stores = new_id(draft.rng)


def malformed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose callback stored an id mangled by a bug."""
    person = _connected(draft, users[0], _one_or_two(draft))
    users[0].stores = ("undefined", "null", "[object Object]", person[:23])[number % 4]


def two_ids_vin(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with two cars whose VINs lead to different Smartcar users."""
    for _ in range(2):
        _connected(draft, users[0], 1)
    users[0].smartcar_user_id = None


def two_ids_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with two living tokens of different Smartcar users."""
    for _ in range(2):
        _connected(draft, users[0], 1, live=lambda n: True)
    users[0].smartcar_user_id = None


def family_car(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with a car that two people connected. Nothing says which of them is the customer."""
    _connected(draft, users[0], 1, old="revoked")
    draft.connect(draft.person(), users[0].vehicles[0].car)


def previous_owner(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user whose token still lists a car that somebody else is connected to."""
    person, car = draft.person(), draft.car()
    draft.connect(draft.person(), car)
    draft.own(users[0], car, draft.live_token(person, car))


def no_vehicles(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user who has an account and nothing else."""


def walk_in(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user who is connected and has stored the id, but whose car has no row."""
    person = draft.person()
    draft.connect(person, draft.car())
    users[0].smartcar_user_id = users[0].stores = person


def lapsed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with the right stored id, whose cars are no longer connected."""
    gone(draft, users, number)
    person = draft.tokens[users[0].vehicles[0].token].user_id
    users[0].smartcar_user_id = users[0].stores = person


def gone(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user without a stored id, whose cars are no longer connected."""
    person = draft.person()
    for _ in range(_one_or_two(draft)):
        car = draft.car()
        draft.own(users[0], car, draft.old_token(person, car), tied=False)


def silent_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Build a user with a living token that V2 answers with 500, and no other evidence."""
    person, car = draft.person(), draft.car()
    token = draft.live_token(person, car, behaviour="broken")
    draft.own(users[0], car, token, vin=False, tied=False)
