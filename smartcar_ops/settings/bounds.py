"""Numbers that a parameter may have."""

from __future__ import annotations

from smartcar_ops.errors import ParameterError


def at_least(name: str, value: float, least: int) -> None:
    """ParameterError for a number below the least one."""
    if value < least:
        raise ParameterError(f"parameters: {name} is {value}; expected {least} or more.")
