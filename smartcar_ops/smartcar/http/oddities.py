"""Shapes not seen before: counted for the run's record, so that nothing new is dropped in silence."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-\[\]]{0,63}")
"""What a member, a word or a code looks like; anything else might be somebody's data and is not repeated."""

DATA = re.compile(r"(?=.*\d)[A-HJ-NPR-Z0-9]{17}|(.*\d){6}.*", re.IGNORECASE)
"""What a VIN or an id looks like, though it could be a name."""

MOST = 200
"""Different oddities kept; a service that went mad would else fill the record."""


class Oddities:
    """Counts by what was odd, shared by threads: ``connection: unknown member attributes.color`` -> 3."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Oddities: {len(self.counts)} kinds>"

    @property
    def counts(self) -> dict[str, int]:
        """What was odd, and how often."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def taken(self) -> dict[str, int]:
        """What was odd so far, and how often; counting begins anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds what another process counted."""
        with self._lock:
            for key, count in counts.items():
                if key in self._counts or len(self._counts) < MOST:
                    self._counts[key] += count

    def note(self, what: str, word: Any = "") -> None:
        """Counts an oddity; ``word`` is shown only where it looks like a name and not like data."""
        named = isinstance(word, str) and NAME.fullmatch(word) and not DATA.fullmatch(word)
        shown = str(word) if named else ""
        key = f"{what} {shown}".rstrip() if shown or not word else f"{what} (not shown)"
        with self._lock:
            if key in self._counts or len(self._counts) < MOST:
                self._counts[key] += 1

    def members(self, what: str, found: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """The members outside ``known``, counted; they are the caller's to keep."""
        unknown = {name: value for name, value in found.items() if name not in known}
        for name in unknown:
            self.note(f"{what}: unknown member", name)
        return unknown
