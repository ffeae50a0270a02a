"""Parses JSON from outside, with a limit on nesting, and the times in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any


def parse(value: object) -> datetime | None:
    """Return a time in UTC; None if the value is not a time.

    Text is ISO 8601. A number is milliseconds since 1970 from 1e11, or seconds from 1e9; smaller ones are no time.
    """
    try:
        if isinstance(value, str):
            return _written(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1e9:
            return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


@lru_cache(maxsize=4096)
def _written(value: str) -> datetime:
    """Parse an ISO 8601 time; cached, because all signals of a reading have the same one."""
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


DEEPEST = 64
"""Maximum nesting of lists and objects; Smartcar's own answers have about a dozen levels."""


def loads(text: str | bytes) -> Any:
    """Return the value; ValueError if the text is not JSON or is nested deeper than `DEEPEST`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _may_be_deep(text) and is_deep(value):
        raise ValueError("nested too deep")
    return value


def _may_be_deep(text: str | bytes) -> bool:
    """Return whether there are enough brackets; a cheap check, because few texts have so many."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{") > DEEPEST
    return text.count("[") + text.count("{") > DEEPEST


def is_deep(value: object) -> bool:
    """Return whether a value is nested deeper than `DEEPEST`."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
