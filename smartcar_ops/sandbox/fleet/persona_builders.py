"""What each persona has: its cars, connections and tokens, and the id its Connect callback stores."""

from __future__ import annotations

from collections.abc import Callable

from smartcar_ops.sandbox.fleet.builder import Draft
from smartcar_ops.sandbox.fleet.cars import new_id
from smartcar_ops.sandbox.fleet.model import LocalUser

Build = Callable[[Draft, list[LocalUser], int], None]
"""Builds one instance of a persona: the draft, its local users (two for a pair), its number from 0."""


def _connected(
    draft: Draft,
    user: LocalUser,
    cars: int,
    *,
    live: Callable[[int], bool] = lambda number: False,
    old: str = "normal",
) -> str:
    """Give `user` connected cars with VINs; `live(n)`: whether the n-th token is alive. Returns the id.

    `old`: the behaviour of the tokens which are not; a revoked one cannot be refreshed either.
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
    """Already migrated by the callback; some stored the id in capitals or with blanks around it."""
    live = [draft.rng.random() < 0.5 for _ in range(2)]
    person = _connected(draft, users[0], _one_or_two(draft), live=lambda n: live[n])
    users[0].stores = {0: person.upper(), 1: f" {person} "}.get(number % 8, person)


def token_alive(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Each car has a living token of its own."""
    _connected(draft, users[0], draft.rng.choices((1, 2, 3), (4, 3, 2))[0], live=lambda n: True)


def vin_only(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Only the VIN leads to the connection."""
    _connected(draft, users[0], _one_or_two(draft))


def blank(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The callback stored an empty text."""
    vin_only(draft, users, number)
    users[0].stores = ""


def one_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """One living token for two cars: V2 lists both, the VIN says which is which."""
    person = draft.person()
    cars = draft.car(), draft.car()
    token = draft.live_token(person, *cars)
    for car in cars:
        draft.connect(person, car)
        draft.own(users[0], car, token)
    users[0].smartcar_user_id = person


def family_car_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """A car two people connected; the living token says which of them is the customer."""
    person = _connected(draft, users[0], 1, live=lambda n: True)
    assert person
    draft.connect(draft.person(), users[0].vehicles[0].car)


def external_id(draft: Draft, users: list[LocalUser], number: int) -> None:
    """No VIN and no living token; but the connection carries the company's own id of the user."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car, external_id=str(users[0].id))
    draft.own(users[0], car, draft.old_token(person, car, behaviour="revoked"), vin=False, tied=False)
    users[0].smartcar_user_id = person


def revoked_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The token is young, and V2 refuses it all the same."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car)
    draft.own(users[0], car, draft.live_token(person, car, behaviour="revoked"))
    users[0].smartcar_user_id = person


def couple(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Two local users with a row of the same car; every second pair stores the one id twice."""
    person, car = draft.person(), draft.car()
    draft.connect(person, car)
    for user in users:
        draft.own(user, car, draft.old_token(person, car))
        user.smartcar_user_id = person
        user.stores = person if number % 2 else None


def borrowed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The second user has no vehicle and stores the first one's id."""
    person = _connected(draft, users[0], 1)
    users[0].stores = users[1].stores = person


def wrong_id(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The callback stored an id that is nobody's."""
    vin_only(draft, users, number)
    users[0].stores = new_id(draft.rng)


def malformed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The callback stored what a bug made of the id."""
    person = _connected(draft, users[0], _one_or_two(draft))
    users[0].stores = ("undefined", "null", "[object Object]", person[:23])[number % 4]


def two_ids_vin(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Two cars that lead to two different Smartcar users, by VIN."""
    for _ in range(2):
        _connected(draft, users[0], 1)
    users[0].smartcar_user_id = None


def two_ids_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Two living tokens of two different Smartcar users."""
    for _ in range(2):
        _connected(draft, users[0], 1, live=lambda n: True)
    users[0].smartcar_user_id = None


def family_car(draft: Draft, users: list[LocalUser], number: int) -> None:
    """A car two people connected, and nothing says which of them is the customer."""
    _connected(draft, users[0], 1, old="revoked")
    draft.connect(draft.person(), users[0].vehicles[0].car)


def previous_owner(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The token still lists the car, but somebody else is connected to it."""
    person, car = draft.person(), draft.car()
    draft.connect(draft.person(), car)
    draft.own(users[0], car, draft.live_token(person, car))


def no_vehicles(draft: Draft, users: list[LocalUser], number: int) -> None:
    """An account and nothing else."""


def walk_in(draft: Draft, users: list[LocalUser], number: int) -> None:
    """Connected and stored, but the car never became a row."""
    person = draft.person()
    draft.connect(person, draft.car())
    users[0].smartcar_user_id = users[0].stores = person


def lapsed(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The right id is stored, the cars are no longer connected."""
    gone(draft, users, number)
    person = draft.tokens[users[0].vehicles[0].token].user_id
    users[0].smartcar_user_id = users[0].stores = person


def gone(draft: Draft, users: list[LocalUser], number: int) -> None:
    """The cars are no longer connected and nothing is stored."""
    person = draft.person()
    for _ in range(_one_or_two(draft)):
        car = draft.car()
        draft.own(users[0], car, draft.old_token(person, car), tied=False)


def silent_token(draft: Draft, users: list[LocalUser], number: int) -> None:
    """A living token which V2 answers with 500, and nothing else to go by."""
    person, car = draft.person(), draft.car()
    token = draft.live_token(person, car, behaviour="broken")
    draft.own(users[0], car, token, vin=False, tied=False)
