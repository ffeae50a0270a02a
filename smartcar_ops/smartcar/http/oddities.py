"""Counts unknown data in responses for the run's record, so that nothing new is dropped silently."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Collection, Mapping

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-\[\]]{0,63}")
"""The pattern of a member name, keyword or code; anything else may be personal data and is not shown."""

DATA = re.compile(r"(?=.*\d)[A-HJ-NPR-Z0-9]{17}|(.*\d){6}.*", re.IGNORECASE)
"""The pattern of a VIN or an id, even if it also matches `NAME`."""

MOST = 200
"""Maximum number of different oddities counted, so that a broken service can't flood the record."""


class Oddities:
    """Counts by description, shared by threads: ``connection: unknown member attributes.color`` -> 3."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Oddities: {len(self.counts)} kinds>"

    @property
    def counts(self) -> dict[str, int]:
        """The counts by description."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def taken(self) -> dict[str, int]:
        """Return the counts so far and reset them."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of another process."""
        with self._lock:
            for key, count in counts.items():
                if key in self._counts or len(self._counts) < MOST:
                    self._counts[key] += count

    def note(self, what: str, word: object = "") -> None:
        """Count an oddity; ``word`` is shown only if it looks like a name and not like data."""
        is_name = isinstance(word, str) and NAME.fullmatch(word) and not DATA.fullmatch(word)
        shown = str(word) if is_name else ""
        key = f"{what} {shown}".rstrip() if shown or not word else f"{what} (not shown)"
        with self._lock:
            if key in self._counts or len(self._counts) < MOST:
                self._counts[key] += 1

    def members(self, what: str, found: Mapping[str, object], known: Collection[str]) -> dict[str, object]:
        """Count the members that are not in ``known``, and return them."""
        unknown = {name: value for name, value in found.items() if name not in known}
        for name in unknown:
            self.note(f"{what}: unknown member", name)
        return unknown
