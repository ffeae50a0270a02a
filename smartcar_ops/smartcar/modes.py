"""Which vehicles something is about: live ones, simulated ones, or those of a dashboard's test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartcar_ops.smartcar.failures import text

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
