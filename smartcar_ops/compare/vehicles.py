"""The vehicles that can be read on both versions, each with its Smartcar user and V2 token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from smartcar_ops.audit import buckets
from smartcar_ops.audit.resolver import was_asked
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger_rows import StoredConnection
from smartcar_ops.database.tables import Company

PAGE = 50
"""Vehicles on one page of V2's list; the list is not compared for a user with more."""

Stratum = tuple[str, str]
"""(make, powertrain)."""

VehicleKey = tuple[str, str]
"""(the company's vehicle id, Smartcar's vehicle id)."""


@dataclass(frozen=True)
class Consent:
    """One user's consent for one vehicle, according to the stored connections."""

    permissions: tuple[str, ...] = ()
    vehicles: tuple[str, ...] | None = None
    """Every vehicle of that user; None if there are more than one page of V2's list."""


@dataclass(frozen=True)
class LinkedVehicle:
    """A linked vehicle that can be read on both versions: its ids, its Smartcar user, its V2 token."""

    vehicle_id: str
    local_vehicle_id: str
    smartcar_user_id: str
    make: str
    powertrain: str
    token: str | None = field(repr=False)
    subscribed: bool | None = None
    """Whether the vehicle has a webhook subscription; without one, V3's data may be a day old. None: not known."""
    user_id: str | None = None
    consents: Mapping[str, Consent] = field(default_factory=dict, repr=False, compare=False)
    """Every Smartcar user who is connected to the vehicle."""

    @property
    def key(self) -> tuple[str, str]:
        """The key under which the vehicle's recording is stored."""
        return self.local_vehicle_id, self.vehicle_id

    @property
    def stratum(self) -> tuple[str, str]:
        """Make and powertrain."""
        return self.make, self.powertrain

    @property
    def permissions(self) -> tuple[str, ...]:
        """What the user granted, according to the connection; empty if that is not known."""
        return self.consents.get(self.smartcar_user_id, Consent()).permissions

    @property
    def consent(self) -> dict[str, Any]:
        """The connection's user, permissions and vehicles, to compare with V2's."""
        stored = self.consents.get(self.smartcar_user_id, Consent())
        consent: dict[str, Any] = {"user": self.smartcar_user_id}
        if stored.permissions:
            consent["permissions"] = list(stored.permissions)
        if stored.vehicles is not None:
            consent["vehicles"] = list(stored.vehicles)
        return consent

    def under(self, smartcar_user_id: str) -> LinkedVehicle:
        """Return the same vehicle under another of its users."""
        return replace(self, smartcar_user_id=smartcar_user_id)


def unlisted_vehicles(company: Company, ledger: Ledger, now: datetime) -> list[LinkedVehicle]:
    """Return the vehicles that may be readable once the connections are listed: linked, with a live token.

    Their make is not known yet. Some of them may not be connected any more.
    """
    linked = {row["local_vehicle_id"] for row in ledger.rows(t.ties)}
    cars = [car for car in company.cars_to_ask(now) if car.smartcar_vehicle_id or car.local_vehicle_id in linked]
    return [
        LinkedVehicle(car.smartcar_vehicle_id or "", car.local_vehicle_id, "", "", "", car.token)
        for car in cars
        if car.token_alive
    ]


def linked_vehicles(company: Company, ledger: Ledger, now: datetime) -> list[LinkedVehicle]:
    """Return every linked vehicle with the Smartcar user it is connected under, and its V2 token if it is live.

    If a vehicle has several Smartcar users, the id stored for the company's own user is taken, then the id that the
    evidence gives for that user, otherwise the first.
    """
    with open_workspace(company, ledger, now) as workspace:
        facts = UserFacts(workspace)
        links = {row["local_vehicle_id"]: row["highest"] for row in workspace.rows(facts.cars()) if row["highest"]}
        own = {row["user_id"]: (row["stored"], row["named"]) for row in workspace.rows(facts.judged(buckets.RULES))}
    connected = _connected(ledger)
    answers = ledger.asked("tokens")
    subscribed = ledger.subscribed_vehicles()
    refused = {subject: entry for subject, entry in answers.items() if entry[1].startswith("refused")}
    vehicles = []
    for car in company.cars_to_ask(now):
        vehicle_id = links.get(car.local_vehicle_id, "")
        row, consents = connected.get(vehicle_id, (None, {}))
        if row is None:
            continue
        usable = car.token_alive and not was_asked(refused.get(car.local_vehicle_id), car.token)
        vehicles.append(
            LinkedVehicle(
                vehicle_id=vehicle_id,
                local_vehicle_id=car.local_vehicle_id,
                smartcar_user_id=next((id for id in own.get(car.user_id or "", ()) if id in consents), min(consents)),
                make=row["make"],
                powertrain=row["powertrain"],
                token=car.token if usable else None,
                subscribed=None if subscribed is None else vehicle_id in subscribed,
                user_id=car.user_id,
                consents=consents,
            )
        )
    return vehicles


def _connected(ledger: Ledger) -> dict[str, tuple[StoredConnection, dict[str, Consent]]]:
    """Return vehicle -> (one of its connections, user -> consent for every user connected to it)."""
    rows = sorted(ledger.connections(), key=lambda row: str(row["smartcar_user_id"]))
    of_user: dict[str, list[str]] = {}
    for row in rows:
        of_user.setdefault(row["smartcar_user_id"], []).append(row["vehicle_id"])
    connected: dict[str, tuple[StoredConnection, dict[str, Consent]]] = {}
    for row in rows:
        vehicles = of_user[row["smartcar_user_id"]]
        listed = tuple(sorted(vehicles)) if len(vehicles) <= PAGE else None
        _, consents = connected.setdefault(row["vehicle_id"], (row, {}))
        consents[row["smartcar_user_id"]] = Consent(tuple((row["permissions"] or "").split()), listed)
    return connected
