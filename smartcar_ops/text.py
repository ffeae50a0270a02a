"""What a UUID looks like, numbers in words, and words for people who mistyped."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean max_calls?)`` where a known word is near the given one; empty otherwise."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


SHAPE = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""A UUID in lower case, as a regular expression."""

NIL = "00000000-0000-0000-0000-000000000000"
"""The UUID that stands for none: whoever sends it has lost an id."""

UUID = re.compile(SHAPE, re.IGNORECASE)


def thousands(count: int, noun: str = "") -> str:
    """Return 1204 as ``1,204``; with a noun in the plural as ``1,204 users``, ``1 user``."""
    return f"{count:,} {noun if count != 1 else noun.removesuffix('s')}".strip()


def percent(part: int, whole: int) -> str:
    """Return a share in words that never says 0% of some or 100% of not quite all; no whole is an en dash."""
    return percents([part, whole - part])[0] if whole > 0 else "–"


def percents(parts: list[int]) -> list[str]:
    """Return the share of each part in words; whole percents are rounded so that they add up to 100."""
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
