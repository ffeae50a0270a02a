"""Ids as they come in from outside: each is read here, or it is none.

An answer, a file or a person may hold anything where an id should be (``undefined``, ``null``, the nil UUID): such
text must never name anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.error_responses import text
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.text import NIL, UUID

LONGEST_EXTERNAL_ID = 191
"""Characters; a longer text is no key of any company's table."""


def smartcar_id(value: Any) -> str | None:
    """A Smartcar user or vehicle id in lower case; None for whatever is no UUID, and for the nil UUID."""
    found = value.strip().lower() if isinstance(value, str) else ""
    return found if UUID.fullmatch(found) and found != NIL else None


def external_id(value: Any) -> str | None:
    """The company's own id of a user, as it came; None where it is blank, not printable or too long to be one."""
    found = text(value) or ""
    usable = found.strip() and found.isprintable() and len(found) <= LONGEST_EXTERNAL_ID
    return found if usable else None


def read_id(value: Any, what: str, oddities: Oddities) -> str | None:
    """A Smartcar id; a value that is there and is none is counted as an oddity, and not repeated."""
    found = smartcar_id(value)
    if found is None and value not in (None, ""):
        oddities.note(f"{what}: no id of Smartcar")
    return found


def read_external_id(value: Any, what: str, oddities: Oddities) -> str | None:
    """The company's own id; a value that is there and can be none is counted as an oddity, and not repeated."""
    found = external_id(value)
    if found is None and value not in (None, ""):
        oddities.note(f"{what}: no id of a company")
    return found


def read_one(values: list[Any]) -> tuple[str | None, str]:
    """The one Smartcar id of several places, and what is wrong with them, empty where nothing is.

    None without a problem where no place has a value.
    """
    given = [value for value in values if value not in (None, "")]
    found = {smartcar_id(value) for value in given}
    if None in found:
        return None, "is no UUID, or the nil one"
    if len(found) > 1:
        return None, f"comes with {len(found)} different values"
    return next(iter(found), None), ""


def refuse_another_car(told: Mapping[str, Any], vehicle_id: str, api: str) -> None:
    """NotSmartcarError where an answer tells the id of another vehicle than was asked for, as a wrong cache would."""
    found, asked = smartcar_id(told.get("id")), smartcar_id(vehicle_id)
    if found and asked and found != asked:
        raise NotSmartcarError(
            f"smartcar: {api} answered about another vehicle than was asked for; nothing of that answer is used. "
            "A proxy with a cache may stand in between."
        )


SIMULATED = "simulated"
"""A mode, and the make that Smartcar gives its simulated cars."""


def read_mode(value: Any) -> str:
    """A mode in lower case; empty where there is none."""
    return (text(value) or "").strip().lower()


def modes_in(*places: Mapping[str, Any]) -> tuple[str, ...]:
    """Every mode that these objects tell, each once; a car of the make ``Simulated`` is simulated."""
    told = [read_mode(value) for place in places for name, value in place.items() if str(name).lower() == "mode"]
    made = [SIMULATED for place in places if read_mode(place.get("make")) == SIMULATED]
    return tuple(dict.fromkeys(mode for mode in [*told, *made] if mode))
