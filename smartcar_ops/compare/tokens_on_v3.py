"""The migration guide's own check: does V3 say the same to a user's V2 token as to the application's?"""

from __future__ import annotations

from typing import Any, Literal

from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.errors import AuthenticationError, NotPermittedError, SmartcarError
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.smartcar.v3 import V3

Found = Literal["same", "differs", "refused"]
UNITS = 2
"""What the check costs: V3 once with each token."""

SENTENCES: dict[Found, str] = {
    "same": "V3 tells a user's V2 token the same as the application's token: either will do while you move",
    "differs": "V3 tells a user's V2 token something else than the application's token: compare and build with the "
    "application's token and sc-user-id alone",
    "refused": "V3 refuses a user's V2 token: every call to V3 needs the application's token with sc-user-id",
}
"""What came of it, and what that means."""


def compare_tokens(v3: V3, pair: LinkedVehicle) -> Found | None:
    """Reads one vehicle with both tokens; None where the allowance ended first, or V3 gave no proper answer.

    A signal whose maker's time moved between the two reads is left out: the car did that, not the token.
    """
    try:
        application = v3.signals_document(pair.vehicle_id, pair.smartcar_user_id).body
        user = v3.signals_document(pair.vehicle_id, pair.smartcar_user_id, user_token=pair.token or "").body
    except (AuthenticationError, NotPermittedError):
        return "refused"
    except SmartcarError:
        return None
    return "same" if _alike(_by_code(application), _by_code(user)) else "differs"


def _by_code(body: Any) -> dict[str, dict[str, Any]]:
    rows = (mapping(row) for row in mapping(body).get("data") or ())
    return {str(row.get("id")): row for row in rows}


def _alike(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> bool:
    if set(one) != set(other):
        return False
    return all(
        row.get("attributes") == other[code].get("attributes")
        for code, row in one.items()
        if mapping(row.get("meta")).get("oemUpdatedAt") == mapping(other[code].get("meta")).get("oemUpdatedAt")
    )


def sentence(found: Found | None) -> str:
    """Return what came of the check; None: it was not made."""
    return SENTENCES[found] if found else "V3 was not asked whether it takes a user's V2 token: no vehicle was read now"
