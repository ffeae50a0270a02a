"""What a UUID looks like, and words for people who mistyped."""

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
