"""The ids that a person can choose from for a user, and the commands that record the choice."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.text import UUID

NONE = "none"
"""What is decided for a user who has no Smartcar id."""


def ids_in(*told: str | None) -> tuple[str, ...]:
    """The ids that can be chosen from: those in what is stored and in the evidence, each once."""
    named = UUID.findall(" ".join(one for one in told if one))
    return tuple(dict.fromkeys(id for one in named if (id := smartcar_id(one))))


def commands(user_id: str, ids: Iterable[str]) -> tuple[str, ...]:
    """A command for each choice there is for a user: one of the ids, or none; name and reason are to be filled in."""
    user = shlex.quote(user_id)
    return tuple(f"smartcar-ops decide {user} {id} --by NAME --reason TEXT" for id in (*ids, NONE))
