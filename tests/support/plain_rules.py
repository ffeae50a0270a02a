"""The audit's rules as plain Python over plain records, written from the contract's words alone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

NIL = "00000000-0000-0000-0000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class PlainCar:
    """A row of the company's vehicles."""

    id: str
    user: str | None
    vehicle_id: str | None = None
    token_alive: bool = False
    has_vin: bool = False


@dataclass
class PlainCompany:
    """People with their stored text, cars, and the evidence of one mode and service."""

    people: dict[str, str | None]
    cars: list[PlainCar] = field(default_factory=list)
    connections: set[tuple[str, str]] = field(default_factory=set)
    """(vehicle id, Smartcar user id), those still there."""
    personal: set[tuple[str, str]] = field(default_factory=set)
    """(local user, Smartcar user id)."""
    sightings: set[tuple[str, str]] = field(default_factory=set)
    """(vehicle id, Smartcar user id), by V2 management."""
    gone: set[tuple[str, str]] = field(default_factory=set)
    """(vehicle id, Smartcar user id) that a later list no longer had."""
    gone_personal: set[tuple[str, str]] = field(default_factory=set)
    """(local user, Smartcar user id) that a later list no longer had."""
    webhooks: set[tuple[str, str]] = field(default_factory=set)
    """(vehicle id, Smartcar user id), by a stored webhook."""
    redirects: set[tuple[str, str, bool]] = field(default_factory=set)
    """(local user, Smartcar user id, whether the company checked its state), by a redirect."""
    choices: dict[str, str | None] = field(default_factory=dict)
    """Local user -> what a person chose; None: no id."""
    ties: set[tuple[str, str]] = field(default_factory=set)
    """(local vehicle, vehicle id)."""
    listed: bool = True
    """The connections were asked for, and all came."""
    tokens_asked: set[str] = field(default_factory=set)
    """Local vehicles whose token answered."""
    vins_asked: set[str] = field(default_factory=set)
    """Vehicle ids whose VIN V3 answered for."""


def buckets(company: PlainCompany) -> dict[str, str]:
    """Every user's bucket: the first of the contract's nine that holds."""
    held = Counter(would_hold(company, user) for user in company.people)
    return {user: _bucket(company, user, held) for user in company.people}


def orphans(company: PlainCompany) -> set[tuple[str, str]]:
    """(Smartcar user, vehicle) of the connections that no local user claims by a car, a stored or a personal id."""
    cars = {vehicle for car in company.cars for vehicle in vehicles_of(company, car)}
    ids = {stored(company, user) for user in company.people}
    ids |= {id for user in company.people for id in personally(company, user)}
    return {(id, vehicle) for vehicle, id in company.connections if vehicle not in cars and id not in ids}


def _bucket(company: PlainCompany, user: str, held: Counter[str | None]) -> str:
    id, own = stored(company, user), [car for car in company.cars if car.user == user]
    if is_invalid(company, user):
        return "invalid"
    if is_conflict(company, user):
        return "conflict"
    mine = would_hold(company, user)
    if mine is not None and held[mine] > 1:
        twins = [other for other in company.people if would_hold(company, other) == mine]
        if any(other not in company.choices for other in twins):
            return "shared"
    if id is not None:
        named = {person for _, person in connected_now(company)} if not own else by_cars(company, user)
        return "mapped" if id in named else "unconfirmed"
    if evidence(company, user):
        return "ready"
    if not own:
        return "no_vehicles"
    return "unasked" if not company.listed or any(could_speak(company, car) for car in own) else "reconnect"


def stored(company: PlainCompany, user: str) -> str | None:
    """The stored id, trimmed and in lower case; empty text is none."""
    return (company.people[user] or "").strip(" ").lower() or None


def is_invalid(company: PlainCompany, user: str) -> bool:
    """Whether the stored id is no UUID."""
    id = stored(company, user)
    return id is not None and (id == NIL or not UUID.fullmatch(id))


def is_conflict(company: PlainCompany, user: str) -> bool:
    """Whether the evidence names two ids, or one that is not the stored id; a person's choice is the last word."""
    if user in company.choices:
        return stored(company, user) not in (None, company.choices[user])
    personal, id = personally(company, user), stored(company, user)
    if len(personal) > 1:
        return True
    if personal:
        (one,) = personal
        for car in company.cars:
            known = connected(company, car) if car.user == user else set()
            ever = ever_connected(company, car) if car.user == user else set()
            if (known and one not in known) or (ever and one not in ever):
                return True
    elif len(by_cars(company, user)) > 1:
        return True
    named = evidence(company, user)
    if id is None:
        return bool(named) and bool(in_doubt(company, user) - named)
    return bool(named) and named != {id}


def in_doubt(company: PlainCompany, user: str) -> set[str]:
    """Ids that once spoke for the user, or for a car of one for whom nothing else speaks: they stay for a person."""
    once = {id for person, id in company.gone_personal if person == user}
    if personally(company, user):
        return once
    return once | {id for car in company.cars if car.user == user for id in ever_connected(company, car)}


def evidence(company: PlainCompany, user: str) -> set[str]:
    """The ids the evidence names: the personal ones where there are any, for they settle a car of several people;
    the one a person chose, before all others."""
    if user in company.choices:
        return {id for id in (company.choices[user],) if id is not None}
    return personally(company, user) or by_cars(company, user)


def would_hold(company: PlainCompany, user: str) -> str | None:
    """The id the user holds, or would get by a backfill; none where the stored id is no UUID or people decide."""
    id = stored(company, user)
    if user in company.choices:
        return company.choices[user]
    if is_invalid(company, user):
        return None
    if id is not None:
        return id
    named = evidence(company, user)
    return None if is_conflict(company, user) or not named else next(iter(named))


def could_speak(company: PlainCompany, car: PlainCar) -> bool:
    """Whether a source that was not asked could still tie this car: its token, or a VIN not read yet."""
    if vehicles_of(company, car):
        return False
    if car.token_alive and car.id not in company.tokens_asked:
        return True
    taken = {vehicle for other in company.cars for vehicle in vehicles_of(company, other)}
    unread = {vehicle for vehicle, _ in company.connections} - taken - company.vins_asked
    return car.has_vin and bool(unread)


def personally(company: PlainCompany, user: str) -> set[str]:
    """The ids that speak for this user alone."""
    listed = {id for _, id in company.connections}
    proved = {(person, id) for person, id, checked in company.redirects if checked or id in listed}
    return {id for person, id in company.personal | proved if person == user}


def by_cars(company: PlainCompany, user: str) -> set[str]:
    """The ids that the connections of the user's own cars name."""
    return {id for car in company.cars if car.user == user for id in connected(company, car)}


def connected(company: PlainCompany, car: PlainCar) -> set[str]:
    """The Smartcar users connected to a car."""
    vehicles = vehicles_of(company, car)
    return {id for vehicle, id in connected_now(company) if vehicle in vehicles}


def connected_now(company: PlainCompany) -> set[tuple[str, str]]:
    """Who is connected to which vehicle; a webhook counts for Smartcar users who are on the list."""
    listed = {id for _, id in company.connections}
    return company.connections | company.sightings | {(car, id) for car, id in company.webhooks if id in listed}


def ever_connected(company: PlainCompany, car: PlainCar) -> set[str]:
    """The Smartcar users that are, or once were, connected to a car."""
    vehicles = vehicles_of(company, car)
    return {id for vehicle, id in connected_now(company) | company.gone if vehicle in vehicles}


def vehicles_of(company: PlainCompany, car: PlainCar) -> set[str]:
    """Smartcar's ids of a car: stored, and by ties."""
    own = {(car.vehicle_id or "").strip(" ").lower()} - {""}
    return own | {vehicle for local, vehicle in company.ties if local == car.id}
