"""The migration guide's own check: does V3 return the same for a user's V2 token as for the application token?"""

from __future__ import annotations

from typing import Literal

from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.errors import AuthenticationError, NotPermittedError, SmartcarError
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.smartcar.v3 import V3

Found = Literal["same", "differs", "refused"]
UNITS = 2
"""Units of the check: one V3 call with each token."""

SENTENCES: dict[Found, str] = {
    "same": "V3 returns the same data for a user's V2 token as for the application token: you can use either while "
    "you migrate",
    "differs": "V3 returns different data for a user's V2 token than for the application token: use only the "
    "application token with sc-user-id",
    "refused": "V3 refuses a user's V2 token: every V3 call needs the application token with sc-user-id",
}
"""Each result of the check, and what it means for you."""


def compare_tokens(v3: V3, pair: LinkedVehicle) -> Found | None:
    """Read one vehicle on V3 with both tokens; None if the allowance ran out or V3 gave no proper answer.

    A signal whose maker's time changed between the two reads is ignored: the car changed it, not the token.
    """
    try:
        application = v3.signals_document(pair.vehicle_id, pair.smartcar_user_id).body
        user = v3.signals_document(pair.vehicle_id, pair.smartcar_user_id, user_token=pair.token or "").body
    except (AuthenticationError, NotPermittedError):
        return "refused"
    except SmartcarError:
        return None
    return "same" if _is_same(_by_code(application), _by_code(user)) else "differs"


def _by_code(body: object) -> dict[str, dict[str, object]]:
    listed = mapping(body).get("data")
    rows = (mapping(row) for row in listed) if isinstance(listed, list) else ()
    return {str(row.get("id")): row for row in rows}


def _is_same(one: dict[str, dict[str, object]], other: dict[str, dict[str, object]]) -> bool:
    if set(one) != set(other):
        return False
    return all(
        row.get("attributes") == other[code].get("attributes")
        for code, row in one.items()
        if mapping(row.get("meta")).get("oemUpdatedAt") == mapping(other[code].get("meta")).get("oemUpdatedAt")
    )


def sentence(found: Found | None) -> str:
    """Return the result of the check as a sentence; ``found`` is None if it was not made."""
    return SENTENCES[found] if found else "Not checked whether V3 accepts a user's V2 token: no vehicle was read now"
