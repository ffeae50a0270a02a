"""Pretend migrations, day by day, whose end is known: what a forecast is tried on.

Each is drawn from a seed and has some of these traits: bursts (a backfill of many users in one day), setbacks (mapped
users fall back), pauses (days without any progress), growth (users join who are not mapped), weekends (nobody works),
gaps (days without an audit), and a plateau (users who must reconnect and never do).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.storage.parquet import ParquetTable


def past_snapshot(ledger: Ledger, at: datetime, counts: dict[str, int], *, complete: bool = True) -> None:
    """An audit's snapshot of an earlier day, of nobody in particular."""
    users = ParquetTable({"user_id": "str", "bucket": "str"}).close()
    History(ledger).record(Snapshot(at, counts, complete), users)


FIRST_DAY = date(2026, 3, 2)
LONGEST = 1000
"""Days after which a migration counts as never finished."""


@dataclass(frozen=True)
class PretendMigration:
    """One migration: every day's users by bucket, the traits it has, and the first day with nobody left."""

    traits: frozenset[str]
    days: tuple[Snapshot, ...]
    finished: date | None
    seen: tuple[Snapshot, ...]
    """What a company knows of it when it asks for a forecast: some of the days, up to one in the middle."""

    @property
    def today(self) -> date:
        """The day on which the forecast is asked for."""
        return self.seen[-1].day

    @property
    def days_to_come(self) -> int | None:
        """Days from then until nobody is left; None if that day never comes."""
        return None if self.finished is None else (self.finished - self.today).days


def pretend_migration(seed: int) -> PretendMigration:
    """Return the migration of this seed; one in six has a plateau."""
    random = np.random.default_rng(seed)
    has = {
        "bursts": random.random() < 0.5,
        "setbacks": random.random() < 0.4,
        "pauses": random.random() < 0.4,
        "growth": random.random() < 0.5,
        "weekends": random.random() < 0.6,
        "gaps": random.random() < 0.6,
        "plateau": random.random() < 1 / 6,
    }
    days, finished = _lived(random, has)
    return PretendMigration(
        frozenset(trait for trait, is_there in has.items() if is_there), days, finished, _seen(random, has, days)
    )


def _lived(random: np.random.Generator, has: dict[str, bool]) -> tuple[tuple[Snapshot, ...], date | None]:
    """Return every day of a migration, and the first on which nobody was left."""
    total = int(np.exp(random.uniform(np.log(300), np.log(200_000))))
    without_vehicles, mapped = int(total * random.uniform(0, 0.1)), int(total * random.uniform(0, 0.3))
    never = max(3, int(total * random.uniform(0.005, 0.05))) if has["plateau"] else 0
    ready = total - without_vehicles - mapped - never
    returning = int(ready * random.uniform(0, 0.3))
    ready -= returning
    pace, spread = (ready + returning) / random.uniform(40, 150), random.uniform(0.2, 0.8)
    growth = total * random.uniform(0.0002, 0.001) if has["growth"] else 0.0
    burst_share, burst_size = (random.uniform(0.05, 0.2), random.uniform(2, 5)) if has["bursts"] else (0.0, 1.0)
    pauses = _pauses(random) if has["pauses"] else set[int]()
    setbacks = random.uniform(0.01, 0.03) if has["setbacks"] else 0.0
    days, finished = list[Snapshot](), None
    for number in range(LONGEST):
        day = FIRST_DAY + timedelta(days=number)
        newcomers = int(random.poisson(growth))
        ready, total = ready + newcomers, total + newcomers
        if random.random() < setbacks:
            fallen = int(mapped * random.uniform(0.01, 0.08))
            ready, mapped = ready + fallen, mapped - fallen
        idle = number in pauses or (has["weekends"] and day.weekday() >= 5)
        done = 0 if idle else round(random.gamma(1 / spread**2, pace * spread**2))
        done *= 1 if random.random() >= burst_share else round(burst_size)
        done = min(done, ready + returning)
        reconnected = min(returning, int(random.binomial(done, returning / max(1, ready + returning))))
        returning, ready, mapped = returning - reconnected, ready - (done - reconnected), mapped + done
        if ready < 0:
            returning, ready = returning + ready, 0
        counts = {"mapped": mapped, "ready": ready, "reconnect": returning + never, "no_vehicles": without_vehicles}
        days.append(Snapshot(datetime.combine(day, time(5), UTC), buckets.complete(counts), complete=True))
        if ready + returning == 0 and finished is None:
            finished = number
        if finished is not None and (not never or number - finished > 60):
            break
    return tuple(days), None if never or finished is None else days[finished].day


def _pauses(random: np.random.Generator) -> set[int]:
    """Return the numbers of the days of one or two pauses of 3 to 10 days."""
    starts = random.integers(10, 120, size=random.integers(1, 3))
    return {int(start) + day for start in starts for day in range(int(random.integers(3, 11)))}


def _seen(random: np.random.Generator, has: dict[str, bool], days: tuple[Snapshot, ...]) -> tuple[Snapshot, ...]:
    """Return the days that had an audit, up to one in the middle; a plateau has been there for two to six weeks."""
    if has["plateau"]:
        alone = next(number for number, day in enumerate(days) if not day.counts["ready"] and _all_back(days, number))
        last = min(len(days) - 1, alone + int(random.integers(16, 45)))
    else:
        last = max(14, int(len(days) * random.uniform(0.25, 0.75)))
    missing = random.uniform(0.05, 0.4) if has["gaps"] else 0.0
    kept = [day for number, day in enumerate(days[:last]) if number == 0 or random.random() >= missing]
    return (*kept, days[last])


def _all_back(days: tuple[Snapshot, ...], number: int) -> bool:
    """Whether nobody who will ever reconnect is still to do so on this day."""
    return days[number].counts["reconnect"] == days[-1].counts["reconnect"]
