"""JSON from outside, read within bounds, and its times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any


def parse(value: Any) -> datetime | None:
    """The moment, in UTC; None where there is none.

    Text is ISO-8601; a number from 1e11 is epoch milliseconds, from 1e9 seconds; 0 and anything else is none.
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
    """An ISO-8601 moment; one reading's time stands in all its signals."""
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


DEEPEST = 64
"""Lists and objects within each other; Smartcar's own answers have a dozen."""


def loads(text: str | bytes) -> Any:
    """The value; ValueError where the text is no JSON, or is nested deeper than `DEEPEST`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _may_be_deep(text) and is_deep(value):
        raise ValueError("nested too deep")
    return value


def _may_be_deep(text: str | bytes) -> bool:
    """Whether there are enough brackets; few texts have, and counting them is cheap."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{") > DEEPEST
    return text.count("[") + text.count("{") > DEEPEST


def is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than `DEEPEST`."""
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
