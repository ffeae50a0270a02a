"""The kit's own log: its levels, the format of a line, and temporary handlers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KIT = logging.getLogger("smartcar_ops")
"""The parent of all loggers of the kit, such as ``smartcar_ops.audit`` and ``smartcar_ops.smartcar``."""

LEVELS = ("debug", "info", "warning", "error")
DEFAULT = "warning"


class LogLine(logging.Formatter):
    """Formats a record as one line: ``14:01:07Z INFO smartcar_ops.audit: …``, in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%SZ")
        self.converter = time.gmtime


def seconds_since(started: float) -> float:
    """Return the seconds since ``started``, a value of ``time.perf_counter``."""
    return time.perf_counter() - started


def counts(found: Mapping[str, int]) -> str:
    """Return counts in words, such as ``3 ready, 1,200 mapped``, without zeros; ``nothing`` if all are zero."""
    return ", ".join(f"{count:,} {name}" for name, count in found.items() if count) or "nothing"


@contextmanager
def heard(handler: logging.Handler, level: str) -> Iterator[None]:
    """While the block runs, send the kit's records at this level or above to the handler."""
    before = KIT.level
    KIT.addHandler(handler)
    KIT.setLevel(level.upper())
    try:
        yield
    finally:
        KIT.setLevel(before)
        KIT.removeHandler(handler)
