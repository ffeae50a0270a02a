"""Which vehicles can be read on both versions, under which of their users, with which token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from smartcar_ops.audit.resolver import was_asked
from smartcar_ops.database.evidence import buckets
from smartcar_ops.database.evidence.facts import UserFacts
from smartcar_ops.database.evidence.workspace import desk
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company

PAGE = 50
"""A user with more vehicles than V2 lists on a page is not compared by that list."""

Stratum = tuple[str, str]
"""(make, powertrain)."""

VehicleKey = tuple[str, str]
"""(the company's vehicle id, Smartcar's vehicle id)."""


@dataclass(frozen=True)
class Consent:
    """What the mirror of connections knows of one user's consent for one vehicle."""

    permissions: tuple[str, ...] = ()
    vehicles: tuple[str, ...] | None = None
    """Every vehicle of that user; None where they are more than a page of V2's list."""


@dataclass(frozen=True)
class LinkedVehicle:
    """A linked vehicle that can be read on both versions: its ids, its Smartcar user, its V2 token."""

    vehicle_id: str
    local_vehicle_id: str
    smartcar_user_id: str
    make: str
    powertrain: str
    token: str | None = field(repr=False)
    fed: bool | None = None
    """Whether a webhook is fed with this vehicle; V3's data may else be a day old. None: not known."""
    user_id: str | None = None
    consents: Mapping[str, Consent] = field(default_factory=dict, repr=False, compare=False)
    """Every Smartcar user who is connected to the vehicle."""

    @property
    def key(self) -> tuple[str, str]:
        """What a recording of this pair is kept under."""
        return self.local_vehicle_id, self.vehicle_id

    @property
    def stratum(self) -> tuple[str, str]:
        """Make and powertrain."""
        return self.make, self.powertrain

    @property
    def permissions(self) -> tuple[str, ...]:
        """What the user granted, as the connection tells it; empty where that is not known."""
        return self.consents.get(self.smartcar_user_id, Consent()).permissions

    @property
    def consent(self) -> dict[str, Any]:
        """The connection's side of what V2 tells of user, permissions and vehicles."""
        found = self.consents.get(self.smartcar_user_id, Consent())
        told: dict[str, Any] = {"user": self.smartcar_user_id}
        if found.permissions:
            told["permissions"] = list(found.permissions)
        if found.vehicles is not None:
            told["vehicles"] = list(found.vehicles)
        return told

    def under(self, smartcar_user_id: str) -> LinkedVehicle:
        """The same vehicle under another of its users."""
        return replace(self, smartcar_user_id=smartcar_user_id)


def unlisted_vehicles(company: Company, ledger: Ledger, now: datetime) -> list[LinkedVehicle]:
    """The vehicles that may be read once the connections are listed: linked, with a living token, of no known make.

    More than there will be: some of them may not be connected any more.
    """
    tied = {row["local_vehicle_id"] for row in ledger.rows(t.ties)}
    cars = [car for car in company.cars_to_ask(now) if car.smartcar_vehicle_id or car.local_vehicle_id in tied]
    return [
        LinkedVehicle(car.smartcar_vehicle_id or "", car.local_vehicle_id, "", "", "", car.token)
        for car in cars
        if car.token_alive
    ]


def linked_vehicles(company: Company, ledger: Ledger, now: datetime) -> list[LinkedVehicle]:
    """Every linked vehicle with the Smartcar user it is connected under, and its V2 token while alive.

    Of several users, the one stored for, or named by, the company's own user is taken; else the first.
    """
    with desk(company, ledger, now) as at:
        facts = UserFacts(at)
        links = {row["local_vehicle_id"]: row["highest"] for row in at.rows(facts.cars()) if row["highest"]}
        own = {row["user_id"]: (row["stored"], row["named"]) for row in at.rows(facts.judged(buckets.RULES))}
    connected = _connected(ledger)
    answers = ledger.asked("tokens")
    fed = ledger.fed()
    refused = {subject: entry for subject, entry in answers.items() if entry[1].startswith("refused")}
    found = []
    for car in company.cars_to_ask(now):
        vehicle_id = links.get(car.local_vehicle_id, "")
        row, consents = connected.get(vehicle_id, (None, {}))
        if row is None:
            continue
        usable = car.token_alive and not was_asked(refused.get(car.local_vehicle_id), car.token)
        found.append(
            LinkedVehicle(
                vehicle_id=vehicle_id,
                local_vehicle_id=car.local_vehicle_id,
                smartcar_user_id=next((id for id in own.get(car.user_id or "", ()) if id in consents), min(consents)),
                make=row["make"],
                powertrain=row["powertrain"],
                token=car.token if usable else None,
                fed=None if fed is None else vehicle_id in fed,
                user_id=car.user_id,
                consents=consents,
            )
        )
    return found


def _connected(ledger: Ledger) -> dict[str, tuple[dict[str, Any], dict[str, Consent]]]:
    """vehicle -> (a connection of it, every user who is connected to it with what they granted)."""
    rows = sorted(ledger.connections(), key=lambda row: str(row["smartcar_user_id"]))
    of_user: dict[str, list[str]] = {}
    for row in rows:
        of_user.setdefault(row["smartcar_user_id"], []).append(row["vehicle_id"])
    found: dict[str, tuple[dict[str, Any], dict[str, Consent]]] = {}
    for row in rows:
        vehicles = of_user[row["smartcar_user_id"]]
        listed = tuple(sorted(vehicles)) if len(vehicles) <= PAGE else None
        _, consents = found.setdefault(row["vehicle_id"], (row, {}))
        consents[row["smartcar_user_id"]] = Consent(tuple((row["permissions"] or "").split()), listed)
    return found
