"""Validates every id that comes from outside.

A response, a file or a person may give anything in place of an id (``undefined``, ``null``, the nil UUID); such text
must never count as an id.
"""

from __future__ import annotations

from collections.abc import Mapping

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.error_responses import text
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.text import NIL, UUID

LONGEST_EXTERNAL_ID = 191
"""Maximum characters; a longer text can't be a key of a company's table."""


def smartcar_id(value: object) -> str | None:
    """Return a Smartcar user or vehicle id in lower case; None if the value is not a UUID, or is the nil UUID."""
    found = value.strip().lower() if isinstance(value, str) else ""
    return found if UUID.fullmatch(found) and found != NIL else None


def external_id(value: object) -> str | None:
    """Return the company's own user id, unchanged; None if it is blank, not printable or too long."""
    found = text(value) or ""
    usable = found.strip() and found.isprintable() and len(found) <= LONGEST_EXTERNAL_ID
    return found if usable else None


def read_id(value: object, what: str, oddities: Oddities) -> str | None:
    """Return a Smartcar id, or None; an invalid value is counted as an oddity without showing it."""
    found = smartcar_id(value)
    if found is None and value not in (None, ""):
        oddities.note(f"{what}: no id of Smartcar")
    return found


def read_external_id(value: object, what: str, oddities: Oddities) -> str | None:
    """Return the company's own id, or None; an invalid value is counted as an oddity without showing it."""
    found = external_id(value)
    if found is None and value not in (None, ""):
        oddities.note(f"{what}: no id of a company")
    return found


def read_one(values: list[object]) -> tuple[str | None, str]:
    """Return the one Smartcar id in several values, and the problem with them, empty if there is none.

    (None, "") if no value is given.
    """
    given = [value for value in values if value not in (None, "")]
    found = {smartcar_id(value) for value in given}
    if None in found:
        return None, "is not a UUID, or is the nil UUID"
    if len(found) > 1:
        return None, f"has {len(found)} different values"
    return next(iter(found), None), ""


def refuse_another_car(vehicle: Mapping[str, object], vehicle_id: str, api: str) -> None:
    """NotSmartcarError if an answer has the id of another vehicle than requested, for example from a cache."""
    answered, requested = smartcar_id(vehicle.get("id")), smartcar_id(vehicle_id)
    if answered and requested and answered != requested:
        raise NotSmartcarError(
            f"smartcar: {api} answered about another vehicle than requested; nothing in that answer is used. "
            "A proxy with a cache may be in between."
        )


SIMULATED = "simulated"
"""A mode, and the make of Smartcar's simulated cars."""


def read_mode(value: object) -> str:
    """Return a mode in lower case; empty if there is none."""
    return (text(value) or "").strip().lower()


def modes_in(*places: Mapping[str, object]) -> tuple[str, ...]:
    """Return every mode in these objects, each once; a car of the make ``Simulated`` is simulated."""
    stated = [read_mode(value) for place in places for name, value in place.items() if str(name).lower() == "mode"]
    by_make = [SIMULATED for place in places if read_mode(place.get("make")) == SIMULATED]
    return tuple(dict.fromkeys(mode for mode in [*stated, *by_make] if mode))
