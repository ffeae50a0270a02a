"""Why a value that was written should not have been: by the contract's words, over what the kit was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.model_workspace import USER_ID, VEHICLE_ID, Place
from tests.support.plain_rules import (
    PlainCar,
    PlainCompany,
    connected,
    connected_now,
    ever_connected,
    evidence,
    in_doubt,
    personally,
    stored,
    vehicles_of,
    would_hold,
)

Pairs = set[tuple[str, str]]


@dataclass
class Known:
    """What the kit was told and took in, kept beside its ledger and not read from there."""

    connections: Pairs = field(default_factory=set)
    gone: Pairs = field(default_factory=set)
    external: Pairs = field(default_factory=set)
    gone_external: Pairs = field(default_factory=set)
    tokens: Pairs = field(default_factory=set)
    webhooks: Pairs = field(default_factory=set)
    by_webhook: Pairs = field(default_factory=set)
    redirects: dict[tuple[str, str], bool] = field(default_factory=dict)
    choices: dict[str, str | None] = field(default_factory=dict)
    ties: Pairs = field(default_factory=set)

    def company(self, values: Mapping[Place, str | None], owners: Mapping[str, str | None]) -> PlainCompany:
        """People and cars with these values, and everything that is known of them."""
        unproved = {(*pair, False) for pair in self.by_webhook} | {(*one, ok) for one, ok in self.redirects.items()}
        return PlainCompany(
            people={row: value for (table, row, _), value in values.items() if table == "users"},
            cars=[PlainCar(car, owner, values["vehicles", car, VEHICLE_ID]) for car, owner in owners.items()],
            connections=self.connections,
            personal=self.tokens | self.external,
            gone=self.gone,
            gone_personal=self.gone_external,
            webhooks=self.webhooks,
            redirects=unproved,
            choices=self.choices,
            ties=self.ties,
        )


def why_not(company: PlainCompany, place: Place, id: str | None) -> str:
    """Why this id should not be set, by what holds just before; empty if nothing speaks against it."""
    table, row, column = place
    if (table, column) == ("users", USER_ID):
        return why_not_user(company, row, id)
    assert (table, column) == ("vehicles", VEHICLE_ID), "no other column is ever written"
    return why_not_car(company, row, id)


def why_not_user(company: PlainCompany, user: str, id: str | None) -> str:
    """Why a user should not get this id."""
    if user in company.choices:
        if company.choices[user] != id:
            return "a person chose otherwise"
    else:
        against = contradicting(company, user, id)
        if against:
            return against
    return held_by_another(company, user, id)


def contradicting(company: PlainCompany, user: str, id: str | None) -> str:
    """What contradicts that an undecided user gets this id."""
    if stored(company, user) is not None:
        return "another id was stored"
    own = personally(company, user)
    if own - {id}:
        return "something that speaks for the user alone names another id"
    for car in (car for car in company.cars if car.user == user):
        live, ever = connected(company, car), ever_connected(company, car)
        if (live and id not in live) or (ever and id not in ever):
            return "a car of the user is connected under other ids"
        if not own and (live | ever) - {id}:
            return "a car of the user is, or was, connected under another id, too"
    if in_doubt(company, user) - {id}:
        return "what once contradicted is still for a person"
    return "" if id in evidence(company, user) else "nothing names it"


def held_by_another(company: PlainCompany, user: str, id: str | None) -> str:
    """Whether another user holds, or would get, this id, and no person said so for both."""
    for other in company.people if id is not None else ():
        decided = other in company.choices and user in company.choices
        if other != user and would_hold(company, other) == id and not decided:
            return f"user {other} holds it, or would get it"
    return ""


def why_not_car(company: PlainCompany, car: str, id: str | None) -> str:
    """Why a car should not get this vehicle id."""
    (own,) = [one for one in company.cars if one.id == car]
    linked = {vehicle for vehicle, _ in connected_now(company) if vehicle in vehicles_of(company, own)}
    if linked != {id}:
        return f"{len(linked)} vehicles are connected and linked to it, not just this one"
    return ""
