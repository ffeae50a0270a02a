"""The ids that a person can choose from for a user, and the commands that record the choice."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.text import UUID

NONE = "none"
"""The choice for a user who has no Smartcar id."""


def ids_in(*texts: str | None) -> tuple[str, ...]:
    """Return the Smartcar ids in these texts (the stored id, the evidence), each once."""
    uuids = UUID.findall(" ".join(text for text in texts if text))
    return tuple(dict.fromkeys(id for uuid in uuids if (id := smartcar_id(uuid))))


def commands(user_id: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Return a command for each choice: one of the ids, or none. You fill in NAME and TEXT."""
    user = shlex.quote(user_id)
    return tuple(f"smartcar-ops decide {user} {id} --by NAME --reason TEXT" for id in (*ids, NONE))
