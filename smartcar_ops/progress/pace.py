"""How fast users get done: the pace so far, and the pace that the deadline needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot

WINDOW_DAYS = 14
"""Days over which the actual pace is measured, or fewer if there is no earlier audit."""


@dataclass(frozen=True)
class DailyPace:
    """Users done per day: ``actual`` over the last ``days``, ``needed`` from now on; None if not known.

    ``actual`` is below 0 if more users fall back or join than are done. ``needed`` is None once the deadline is over.
    """

    actual: float | None
    days: int
    needed: float | None

    def __str__(self) -> str:
        parts = []
        if self.actual is not None:
            over = "day" if self.days == 1 else f"{self.days} days"
            parts.append(f"{self.actual:,.1f} users a day over the last {over}")
        if self.needed is not None:
            parts.append(f"{self.needed:,.1f} a day needed until the deadline")
        return "; ".join(parts) or "The pace is not known with one audit"


def pace(days: Sequence[Snapshot], deadline: date, days_left: float) -> DailyPace:
    """Return the pace after the last of these days; ``days_left`` are those until the deadline."""
    if not days:
        return DailyPace(None, 0, None)
    last, left = days[-1].day, buckets.left(days[-1].counts)
    needed = left / days_left if days_left > 0 else None
    span = min(WINDOW_DAYS, (last - days[0].day).days)
    if not span:
        return DailyPace(None, 0, needed)
    known = [day.day.toordinal() for day in days]
    then = float(np.interp(last.toordinal() - span, known, [buckets.left(day.counts) for day in days]))
    return DailyPace((then - left) / span, span, needed)
