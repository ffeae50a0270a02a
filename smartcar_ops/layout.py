"""How the company's tables are named: the sections of `smartcar_ops.toml`; defaults are the guide's names."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of the file: frozen, and a misspelt key is an error, not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Users(Section):
    """The company's table of people; ``where`` narrows it, for example to those not deleted."""

    table: str = "users"
    schema_: str = Field(default="", alias="schema")
    id: str = "id"
    email: str = "email"
    name: str = "name"
    smartcar_user_id: str = "smartcar_user_id"
    where: str = ""


class Vehicles(Section):
    """The company's table of cars; ``from`` is a SELECT giving these names where the structure differs."""

    table: str = "vehicles"
    schema_: str = Field(default="", alias="schema")
    id: str = "id"
    user_id: str = "user_id"
    vin: str = "vin"
    access_token: str = "vehicle_access_token"  # noqa: S105 (a column's name)
    token_created_at: str = "token_created_at"  # noqa: S105 (a column's name)
    refresh_token: str = ""
    smartcar_vehicle_id: str = "smartcar_vehicle_id"
    from_: str = Field(default="", alias="from")
    where: str = ""
    open_token: str = ""
    refresh: bool = False


class Gate(Section):
    """When the comparison says no: the share lost or differing, and the least share that must be judged."""

    lost_share: float = Field(default=0.0, ge=0, le=1)
    min_judged: float = Field(default=0.5, ge=0, le=1)


class Tolerance(Section):
    """How far two values of a field may be apart and still agree."""

    absolute: float | None = Field(default=None, ge=0)
    relative: float | None = Field(default=None, ge=0)


class Waiver(Section):
    """A difference somebody accepts, by name, until a day (UTC)."""

    field: str
    make: str = ""
    reason: str
    owner: str
    expires: date


class Layout(Section):
    """The whole file; every key optional."""

    users: Users = Users()
    vehicles: Vehicles = Vehicles()
    gate: Gate = Gate()
    tolerance: dict[str, Tolerance] = {}
    waiver: tuple[Waiver, ...] = ()
