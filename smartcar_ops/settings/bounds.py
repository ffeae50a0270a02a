"""Bounds for numeric parameters."""

from __future__ import annotations

from smartcar_ops.errors import ParameterError


def at_least(name: str, value: float, least: int) -> None:
    """Raise ParameterError if a number is below the least one allowed."""
    if value < least:
        raise ParameterError(f"parameters: {name} is {value}; expected {least} or more.")
