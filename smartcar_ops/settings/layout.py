"""The sections of `smartcar_ops.toml`: tables, columns, gate, limits, waivers. Defaults are the guide's names.

Also the company's own functions that decrypt and encrypt stored tokens.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import files

NAMED = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")
"""Matches ``module:function``."""


class Section(BaseModel):
    """A section of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Users(Section):
    """The company's users table; ``where`` filters it, for example to users who are not deleted."""

    table: str = "users"
    schema_: str = Field(default="", alias="schema")
    id: str = "id"
    email: str = "email"
    name: str = "name"
    smartcar_user_id: str = "smartcar_user_id"
    where: str = ""


class Vehicles(Section):
    """The company's vehicles table; ``from`` may be a SELECT that returns these names if the structure differs."""

    table: str = "vehicles"
    schema_: str = Field(default="", alias="schema")
    id: str = "id"
    user_id: str = "user_id"
    vin: str = "vin"
    access_token: str = "vehicle_access_token"  # noqa: S105 (a column's name)
    token_created_at: str = "token_created_at"  # noqa: S105 (a column's name)
    refresh_token: str = ""
    smartcar_vehicle_id: str = "smartcar_vehicle_id"
    smartcar_user_id: str = ""
    from_: str = Field(default="", alias="from")
    where: str = ""
    open_token: str = ""
    seal_token: str = ""
    refresh: bool = False


class Gate(Section):
    """When the gate says no: the share of fields that may be lost or differ, and the share that must be judged."""

    lost_share: float = Field(default=0.0, ge=0, le=1)
    min_judged: float = Field(default=0.5, ge=0, le=1)


class Health(Section):
    """When an apply stops by itself: if the query no longer returns 1, or if too large a share of rows fails."""

    query: str = ""
    failed_share: float = Field(default=0.05, ge=0, le=1)


class Webhooks(Section):
    """How stored webhooks without a valid signature are treated: refused, unless the company believes them."""

    unsigned: Literal["refuse", "believe"] = "refuse"
    wrong_signature: Literal["refuse", "believe"] = "refuse"


MAKERS = {"HYUNDAI": 10, "KIA": 10}
"""Units per vehicle in 24 hours for makes that allow 20; half is left for the company's own calls."""


class Limits(Section):
    """Most units that the kit may spend on one vehicle; 0: no limit. A V3 read counts like a V2 path."""

    per_vehicle_month: int = Field(default=0, ge=0)
    per_vehicle_day: dict[str, Annotated[int, Field(ge=0)]] = MAKERS

    @field_validator("per_vehicle_day")
    @classmethod
    def _with_the_makers_own(cls, given: dict[str, int]) -> dict[str, int]:
        """Add the makers' own limits, unless the file sets others; makes are in upper case."""
        return {**MAKERS, **{make.strip().upper(): cap for make, cap in given.items()}}

    @field_validator("per_vehicle_day", "per_vehicle_month")
    @classmethod
    def _is_enough(cls, given: Any) -> Any:
        """Reject 1: one unit is not enough to read anything on both versions."""
        if 1 in (given.values() if isinstance(given, dict) else [given]):
            raise ValueError("expected 0 (no limit), or 2 or more: one V3 read and one V2 path")
        return given

    @property
    def by_make(self) -> bool:
        """True if any make has a limit."""
        return any(self.per_vehicle_day.values())

    def day(self, make: str) -> int:
        """Return the most units in 24 hours for a vehicle of this make; 0: no limit."""
        return self.per_vehicle_day.get(make.strip().upper(), 0)

    @classmethod
    def none(cls) -> Limits:
        """Return limits that limit nothing, for the sandbox."""
        return cls(per_vehicle_day=dict.fromkeys(MAKERS, 0))


class Tolerance(Section):
    """The largest difference at which two values of a field still agree."""

    absolute: float | None = Field(default=None, ge=0)
    relative: float | None = Field(default=None, ge=0)


class Waiver(Section):
    """A difference that a named owner accepts until a day (UTC)."""

    field: str
    make: str = ""
    reason: str
    owner: str
    expires: date


class Layout(Section):
    """The whole file; every key is optional."""

    users: Users = Users()
    vehicles: Vehicles = Vehicles()
    gate: Gate = Gate()
    health: Health = Health()
    webhooks: Webhooks = Webhooks()
    limits: Limits = Limits()
    tolerance: dict[str, Tolerance] = {}
    field: tuple[dict[str, Any], ...] = ()
    waiver: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class Vault:
    """The company's own functions that decrypt and encrypt stored tokens; without them, tokens are stored as is."""

    open: Callable[[Any], Any] | None = field(default=None, repr=False)
    seal: Callable[[str], Any] | None = field(default=None, repr=False)

    def opened(self, stored: Any) -> str | None:
        """Decrypt a stored token; None if the company's function fails or returns no text."""
        if self.open is None:
            return stored if isinstance(stored, str) else None
        try:
            token = self.open(stored)
        except Exception:  # any error of the company's code; its text may contain the token, so it is dropped
            return None
        return token if isinstance(token, str) and token.strip() else None

    def sealed(self, token: str) -> str | bytes | None:
        """Encrypt a token for storage; None if the company's function fails or returns neither text nor bytes."""
        if self.seal is None:
            return token
        try:
            stored = self.seal(token)
        except Exception:  # as above
            return None
        return stored if isinstance(stored, str | bytes) and stored else None


def find_vault(vehicles: Vehicles, root: Path) -> Vault:
    """Return the vault with the functions ``open_token`` and ``seal_token``, from ``root`` or the installed packages.

    SettingsError, naming the key, if a value is malformed or the function does not exist.
    """
    return Vault(
        _find_function("open_token", vehicles.open_token, root), _find_function("seal_token", vehicles.seal_token, root)
    )


def _find_function(key: str, named: str, root: Path) -> Callable[[Any], Any] | None:
    if not named:
        return None
    setting, parts = f"settings: [vehicles] {key} is {named!r}", NAMED.fullmatch(named)
    if parts is None:
        raise SettingsError(f'{setting}; expected "module:function".')
    for place in (root / f"{parts['module'].partition('.')[0]}{end}" for end in ("", ".py")):
        if place.exists():
            files.refuse_foreign(place)
    if str(root) not in sys.path:
        sys.path.append(str(root))  # last, so that no file there shadows an installed package
        importlib.invalidate_caches()
    try:
        function = getattr(importlib.import_module(parts["module"]), parts["function"], None)
    except (Exception, SystemExit) as error:  # any error while the company's module is imported
        raise SettingsError(
            f"{setting}, but the module can't be imported ({type(error).__name__}); it must be in {root} or installed."
        ) from None
    if not callable(function):
        problem = "has no such function" if function is None else f"has a {type(function).__name__} of that name"
        raise SettingsError(f"{setting}, but the module {problem}.")
    return function  # type: ignore[no-any-return]
