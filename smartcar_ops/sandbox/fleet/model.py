"""The records that make up a pretend world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

LIVE = "live"
SIMULATED = "simulated"

# What an API version reports about a field, with or without a value.
SUCCESS = "SUCCESS"
NOT_CAPABLE = "COMPATIBILITY"
NOT_PERMITTED = "PERMISSION"
CACHED = "VEHICLE_STATE"
MISSING = "MISSING"
NOT_CHARGING = "NOT_CHARGING"
NULLS = "NULLS"
UNAVAILABLE = "UNAVAILABLE"
UNPLUGGED = "CHARGING_PLUG_NOT_CONNECTED"


@dataclass(frozen=True, slots=True)
class Told:
    """What one API version returns for a field: a value and the maker's time, or the reason why there is none.

    Distances are km, charge and fuel percent 0-100, capacity kWh, fuel liters; times are UTC. `members`: members of
    the body that differ from what the value gives; `...` leaves a member out.
    """

    value: Any
    at: datetime | None = None
    status: str = SUCCESS
    members: dict[str, Any] = field(default_factory=dict)

    def written(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of this field as it is sent, with `members` in place of the usual ones."""
        return {name: value for name, value in {**body, **self.members}.items() if value is not ...}


@dataclass(slots=True)
class Car:
    """A vehicle at Smartcar: its identity, and what each API version returns about it, by field."""

    id: str
    mode: str
    powertrain: str
    v2: dict[str, Told]
    v3: dict[str, Told] = field(default_factory=dict)
    moving: bool = False
    imperial: bool = False
    """Whether V2 answers in imperial units, whatever was asked."""

    @property
    def vin(self) -> str:
        """Return the true VIN: the one on the windshield, in the company's table and on V3."""
        return str(self.v3["vin"].value)

    def retell(self, version: str, name: str, **changes: Any) -> None:
        """Change what `version` ("v2" or "v3") returns for the field `name`."""
        told: dict[str, Told] = getattr(self, version)
        told[name] = replace(told[name], **changes)


@dataclass(frozen=True, slots=True)
class Connection:
    """A grant: one Smartcar user connected to one vehicle."""

    id: str
    user_id: str
    vehicle_id: str
    mode: str
    permissions: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class UserToken:
    """A V2 access token as Smartcar knows it.

    `behaviour` is "normal", "revoked" (401 although young) or "broken" (500 on every path).
    """

    text: str
    user_id: str
    vehicle_ids: tuple[str, ...]
    created_at: datetime
    behaviour: str = "normal"
    refresh_token: str = field(default="", repr=False)


@dataclass(slots=True)
class LocalVehicle:
    """A row of the company's `vehicles`, and the car it stands for (which the company does not know)."""

    id: int
    user_id: int
    vin: str | None
    token: str
    token_created_at: datetime
    car: Car
    token_alive: bool
    tied: bool
    """Whether the company's data link the car to a connection."""
    shares_token: bool = False


@dataclass(slots=True)
class LocalUser:
    """A row of the company's `users`, and the truth about that user."""

    id: int
    name: str
    email: str
    created_at: datetime
    persona: str
    before: str
    after: str
    uncalled: str
    smartcar_user_id: str | None = None
    stores: str | None = None
    vehicles: list[LocalVehicle] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the two versions differ, and the verdict that a comparison must find.

    `field`: an id in the field map; `planted`: whether it is a true difference, not a harmless one.
    """

    vehicle: LocalVehicle
    field: str
    kind: str
    planted: bool
    expected: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The application's five credentials. The three secret ones are not in the repr."""

    client_id: str
    application_id: str
    client_secret: str = field(repr=False)
    v2_client_secret: str = field(repr=False)
    management_token: str = field(repr=False)
