"""How the company's tables are named: the sections of `smartcar_ops.toml`; defaults are the guide's names.

And how the tokens in them are opened and sealed, where the company encrypts what it stores.
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
"""``module:function``."""


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
    smartcar_user_id: str = ""
    from_: str = Field(default="", alias="from")
    where: str = ""
    open_token: str = ""
    seal_token: str = ""
    refresh: bool = False


class Gate(Section):
    """When the comparison says no: the share lost or differing, and the least share that must be judged."""

    lost_share: float = Field(default=0.0, ge=0, le=1)
    min_judged: float = Field(default=0.5, ge=0, le=1)


class Health(Section):
    """When an apply stops by itself: a query that no longer gives 1, or too large a share of failed rows."""

    query: str = ""
    failed_share: float = Field(default=0.05, ge=0, le=1)


class Webhooks(Section):
    """What becomes of a stored webhook that no signature proves: refused, unless the company believes it."""

    unsigned: Literal["refuse", "believe"] = "refuse"
    wrong_signature: Literal["refuse", "believe"] = "refuse"


MAKERS = {"HYUNDAI": 10, "KIA": 10}
"""Makes that answer for a vehicle 20 times in 24 hours: half of it is left for the company's own calls."""


class Limits(Section):
    """How much the kit may ask of one vehicle, in units; 0: no limit. What V3 is asked counts like V2's paths."""

    per_vehicle_month: int = Field(default=0, ge=0)
    per_vehicle_day: dict[str, Annotated[int, Field(ge=0)]] = MAKERS

    @field_validator("per_vehicle_day")
    @classmethod
    def _with_the_makers_own(cls, given: dict[str, int]) -> dict[str, int]:
        """The makers' own limits, unless the file says otherwise; makes in capitals."""
        return {**MAKERS, **{make.strip().upper(): cap for make, cap in given.items()}}

    @field_validator("per_vehicle_day", "per_vehicle_month")
    @classmethod
    def _is_enough(cls, given: Any) -> Any:
        """One unit reads nothing on both versions."""
        if 1 in (given.values() if isinstance(given, dict) else [given]):
            raise ValueError("expected 0 (no limit), or 2 and more: V3 is read once, and one path of V2")
        return given

    @property
    def by_make(self) -> bool:
        """Whether any make has a limit."""
        return any(self.per_vehicle_day.values())

    def day(self, make: str) -> int:
        """Units in 24 hours that a vehicle of this make may be asked for; 0: no limit."""
        return self.per_vehicle_day.get(make.strip().upper(), 0)

    @classmethod
    def none(cls) -> Limits:
        """No limit at all: as against the sandbox, whose cars are nobody's."""
        return cls(per_vehicle_day=dict.fromkeys(MAKERS, 0))


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
    health: Health = Health()
    webhooks: Webhooks = Webhooks()
    limits: Limits = Limits()
    tolerance: dict[str, Tolerance] = {}
    field: tuple[dict[str, Any], ...] = ()
    waiver: tuple[Waiver, ...] = ()


@dataclass(frozen=True)
class Vault:
    """The company's own functions around a stored token; without them a token is stored as it is used."""

    open: Callable[[Any], Any] | None = field(default=None, repr=False)
    seal: Callable[[str], Any] | None = field(default=None, repr=False)

    def opened(self, stored: Any) -> str | None:
        """The usable token of a stored one; None where the company's function fails or gives no text."""
        if self.open is None:
            return stored if isinstance(stored, str) else None
        try:
            token = self.open(stored)
        except Exception:  # whatever the company's code raises; its words may hold the token, so they are not kept
            return None
        return token if isinstance(token, str) and token.strip() else None

    def sealed(self, token: str) -> str | bytes | None:
        """What is stored for a token; None where the company's function fails or gives neither text nor bytes."""
        if self.seal is None:
            return token
        try:
            stored = self.seal(token)
        except Exception:  # as above
            return None
        return stored if isinstance(stored, str | bytes) and stored else None


def find_vault(vehicles: Vehicles, root: Path) -> Vault:
    """The vault that ``open_token`` and ``seal_token`` name, looked for in ``root`` and the installed packages.

    SettingsError names the key, where a text is ill-formed or its function is not there.
    """
    return Vault(
        _find_function("open_token", vehicles.open_token, root), _find_function("seal_token", vehicles.seal_token, root)
    )


def _find_function(key: str, named: str, root: Path) -> Callable[[Any], Any] | None:
    if not named:
        return None
    told, parts = f"settings: [vehicles] {key} is {named!r}", NAMED.fullmatch(named)
    if parts is None:
        raise SettingsError(f'{told}; expected "module:function".')
    for place in (root / f"{parts['module'].partition('.')[0]}{end}" for end in ("", ".py")):
        if place.exists():
            files.refuse_foreign(place)
    if str(root) not in sys.path:
        sys.path.append(str(root))  # last, so that no file there hides an installed package
        importlib.invalidate_caches()
    try:
        function = getattr(importlib.import_module(parts["module"]), parts["function"], None)
    except (Exception, SystemExit) as error:  # whatever the company's module does when it is imported
        raise SettingsError(
            f"{told}, but the module can't be imported ({type(error).__name__}); expected it in {root} or installed."
        ) from None
    if not callable(function):
        found = "has no such function" if function is None else f"has a {type(function).__name__} there, no function"
        raise SettingsError(f"{told}, but the module {found}.")
    return function  # type: ignore[no-any-return]
