"""Text helpers: UUID patterns, counts and percentages in words, and suggestions for typing errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import date


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean max_calls?)`` if a known word is similar to the given one, otherwise an empty string."""
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[matches[0]]}?)" if matches else ""


SHAPE = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The regular expression of a UUID in lower case."""

NIL = "00000000-0000-0000-0000-000000000000"
"""The nil UUID: a sender uses it in place of a missing id."""

UUID = re.compile(SHAPE, re.IGNORECASE)


def thousands(count: int, noun: str = "") -> str:
    """Return 1204 as ``1,204``; with a plural noun as ``1,204 users``, or ``1 user``."""
    return f"{count:,} {noun if count != 1 else noun.removesuffix('s')}".strip()


def day_in_words(day: date) -> str:
    """Return a day as ``3 Dec 2026``."""
    return f"{day.day} {day:%b %Y}"


def days_in_words(first: date, last: date) -> str:
    """Return two days as ``3 Dec to 8 Dec 2026``, with both years if they differ."""
    begin = f"{first.day} {first:%b}" if first.year == last.year else day_in_words(first)
    return f"{begin} to {day_in_words(last)}"


def percent(part: int, whole: int) -> str:
    """Return a percentage that never rounds some to 0% or not quite all to 100%; an en dash if the whole is 0."""
    return percents([part, whole - part])[0] if whole > 0 else "–"


def percents(parts: list[int]) -> list[str]:
    """Return the percentage of each part in words, rounded so that they add up to 100."""
    whole = sum(parts)
    if whole <= 0:
        return ["–"] * len(parts)
    floors = [100 * part // whole for part in parts]
    by_rest = sorted(range(len(parts)), key=lambda place: -(100 * parts[place] % whole))
    for place in by_rest[: 100 - sum(floors)]:
        floors[place] += 1
    return [_share_in_words(part, whole, share) for part, share in zip(parts, floors, strict=True)]


def _share_in_words(part: int, whole: int, share: int) -> str:
    if 0 < 100 * part < whole:
        return "under 1%"
    if 99 * whole < 100 * part < 100 * whole:
        return "over 99%"
    return f"{share}%"
