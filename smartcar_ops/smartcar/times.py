"""One reader for every way Smartcar writes a time."""

from __future__ import annotations

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
