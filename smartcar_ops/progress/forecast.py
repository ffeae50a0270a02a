"""When nobody will be left to migrate, if the work goes on as so far.

The daily changes of the last 20 weeks are drawn again and again, a week at a time, until nobody is left; the band holds
the middle 80% of the days on which that happens. Users who must act themselves and none of whom has come back for two
weeks are named, not forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot
from smartcar_ops.text import day_in_words, days_in_words, thousands

FEWEST_SNAPSHOTS = 4
"""Days with an audit below which there is no forecast."""

PLATEAU_DAYS = 14
"""Days without any progress after which users who must act themselves are taken not to come back."""

MEMORY_DAYS = 140
"""How far back the pace is looked at."""

BLOCK_DAYS = 7
"""Days that are drawn together, so that weekends and weekly backfills stay as they are."""

PATHS = 1_000
"""Futures that are drawn."""

FARTHEST_DAYS = 3_650
"""A future that takes longer never ends."""

PERCENTILES = (0.1, 0.5, 0.9)
"""The band's low end, its middle and its high end."""

DRAWN_AT_ONCE = 26
"""Weeks that are drawn together, for speed."""

HALF_A_USER = 0.5
"""Days without an audit lie on a line between two others, where users are no whole numbers."""

Days = npt.NDArray[np.float64]
"""A number of users for each day, or its change."""

NEVER = "At the pace so far this never ends: as many users are added or fall back as are migrated."

METHOD = (
    "The daily changes of the last 20 weeks are drawn again at random, a week at a time, in 1,000 futures. The band "
    "holds the middle 80% of the days on which nobody is left."
)
"""The method in two sentences, for the page."""


@dataclass(frozen=True)
class Forecast:
    """The day on which nobody is left: the median, and the ends of the band; None if that is not foreseen.

    ``stuck`` is the number of users of whom nobody has come back for two weeks; the days are then those on which all
    others are done. ``why`` says why there is no day, or who is stuck; empty otherwise.
    """

    low: date | None = None
    median: date | None = None
    high: date | None = None
    stuck: int = 0
    why: str = ""


def forecast(history: Sequence[Snapshot], *, seed: int = 0) -> Forecast:
    """Return the forecast after the last of these days, oldest first, at most one snapshot per day.

    The same history gives the same forecast.
    """
    if len(history) < FEWEST_SNAPSHOTS:
        counted = thousands(len(history), "days")
        return Forecast(
            why=f"A forecast needs audits on {FEWEST_SNAPSHOTS} days; so far there are audits on {counted}."
        )
    last = history[-1]
    if not buckets.left(last.counts):
        return Forecast(last.day, last.day, last.day)
    left, waiting = _by_day(history, buckets.left), _by_day(history, _waiting)
    stuck = _stuck(left, waiting)
    left = np.maximum(left - stuck, 0)
    days = _days_to_go(left, np.random.default_rng(seed)) if left[-1] else None
    who = "user never finishes" if stuck == 1 else f"{stuck:,} users never finish"
    why = f"At this pace the last {who}: they must reconnect." if stuck else ""
    if days is None:
        return Forecast(stuck=stuck, why=" ".join(filter(None, [why, NEVER if left[-1] else ""])))
    low, median, high = (last.day + timedelta(days=number) for number in days)
    return Forecast(low, median, high, stuck, why)


def forecast_in_words(forecast: Forecast) -> str:
    """Return the forecast as one or two sentences."""
    if not (forecast.low and forecast.median and forecast.high):
        return forecast.why
    who = "All others are" if forecast.stuck else "Everybody is"
    band = f"80%: {days_in_words(forecast.low, forecast.high)}"
    exact = forecast.low == forecast.high
    return f"{forecast.why} {who} done by {day_in_words(forecast.median)}{'' if exact else f' ({band})'}.".strip()


def _by_day(history: Sequence[Snapshot], count: Callable[[Mapping[str, int]], int]) -> Days:
    """Return a number of users on every day from the first to the last; days without an audit lie on a line."""
    days = [snapshot.day.toordinal() for snapshot in history]
    return np.interp(np.arange(days[0], days[-1] + 1), days, [count(snapshot.counts) for snapshot in history])


def _waiting(counts: Mapping[str, int]) -> int:
    """Return how many users must act themselves."""
    return sum(counts.get(bucket.name, 0) for bucket in buckets.BUCKETS if bucket.turn == "user")


def _stuck(left: Days, waiting: Days) -> int:
    """Return how many users must act themselves, if none of them has done so for two weeks."""
    lately = waiting[-PLATEAU_DAYS - 1 :]
    if len(lately) <= PLATEAU_DAYS or (np.diff(lately) < 0).any():
        return 0
    return int(min(lately[0], left[-1]))


def _days_to_go(left: Days, random: np.random.Generator) -> tuple[int, int, int] | None:
    """Return the days until nobody is left: the band's low end, its middle and its high end; None if too often never.

    Each future draws its weeks from a past that is itself drawn from the weeks that were, so that the band is wider
    where few weeks are known.
    """
    changes = np.diff(left)[-MEMORY_DAYS:]
    length = min(BLOCK_DAYS, max(1, len(changes) // 2))
    weeks = np.lib.stride_tricks.sliding_window_view(changes, length)
    known = max(2, len(changes) // length - 1)
    pasts = random.integers(len(weeks), size=(PATHS, known))
    still, passed = np.full(PATHS, left[-1]), np.full(PATHS, np.inf)
    for start in range(0, FARTHEST_DAYS, DRAWN_AT_ONCE * length):
        drawn = random.integers(known, size=(PATHS, DRAWN_AT_ONCE))
        futures = weeks[np.take_along_axis(pasts, drawn, axis=1)].reshape(PATHS, -1)
        ahead = still[:, None] + futures.cumsum(axis=1)
        done = ahead < HALF_A_USER
        first = np.where(done.any(axis=1), start + 1 + done.argmax(axis=1), np.inf)
        passed, still = np.minimum(passed, first), ahead[:, -1]
        if np.isfinite(passed).all():
            break
    low, middle, high = np.quantile(passed, PERCENTILES, method="higher")
    return (int(low), int(middle), int(high)) if np.isfinite(high) else None
