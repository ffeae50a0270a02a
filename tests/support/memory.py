"""The most memory that a piece of work takes, whatever else the test's process has in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


def peak_of(work: Callable[[], ResultT]) -> tuple[ResultT, int]:
    """Return what the work returns, and its most bytes at a time.

    Garbage is collected as often as in any program: the tests' own process waits longer, and what lies about would
    count.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(700, 10, 10)
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.set_threshold(*before)
