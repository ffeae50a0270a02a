"""The application's bucket of requests, and the budget one act may spend of it.

Smartcar's documented default: 120 requests, refilled at 2 a minute. The bucket's level is kept by a keeper, in
this process or, through the ledger, for every process and host on one database.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from smartcar_ops.errors import AllowanceSpentError
from smartcar_ops.settings.credentials import Allowance

log = logging.getLogger("smartcar_ops.smartcar")


@dataclass(frozen=True)
class BucketState:
    """How many units a bucket held, and when (seconds since the epoch); below nothing where units are owed.

    Nothing is taken before ``held_until``: Smartcar itself asked for a pause.
    """

    units: float
    at: float
    held_until: float = 0.0


LOGGED = 1.0
"""Seconds: shorter waits are not in the log."""

LONGEST = 86_400.0
"""Seconds: nothing is held for longer than a day. What an older kit kept, or a clock far ahead, is not believed."""

StateUpdate = Callable[[BucketState | None, float], BucketState | None]
"""Given the kept level (None: never used) and the keeper's time: the level to keep, None to leave it."""


class StateStore(Protocol):
    """Where a bucket's level is kept; ``exchange`` lets one caller after the other change it."""

    def exchange(self, change: StateUpdate) -> None:
        """Applies the change while nobody else can."""


class OwnStateStore:
    """Keeps a level for the threads of this process."""

    def __init__(self, level: BucketState | None = None, clock: Callable[[], float] = time.time) -> None:
        self._level, self._clock = level, clock
        self._lock = threading.Lock()

    def exchange(self, change: StateUpdate) -> None:
        """Applies the change under a lock."""
        with self._lock:
            self._level = change(self._level, self._clock()) or self._level


class TokenBucket:
    """A token bucket in units; ``take`` reserves them at once and returns when their time has come.

    Reserving first keeps many waiting threads and processes in order at one exchange a call. An unlimited
    allowance never waits and keeps nothing.
    """

    def __init__(
        self, allowance: Allowance, keeper: StateStore | None = None, *, sleep: Callable[[float], None] | None = None
    ) -> None:
        self._allowance, self._keeper = allowance, keeper or OwnStateStore()
        self._ended = threading.Event()
        self._sleep = sleep or self._ended.wait

    @property
    def limited(self) -> bool:
        """False where no allowance binds (the embedded sandbox)."""
        return self._allowance.limited

    def level(self) -> BucketState:
        """What the bucket holds now, by its keeper's clock."""
        found: list[BucketState] = []
        self._keeper.exchange(lambda kept, now: found.append(self._refilled(kept, now)))
        return found[0]

    def seconds_for(self, units: int) -> float:
        """How long so many units take from now: 0 where the bucket holds them all, or nothing binds."""
        if not self.limited:
            return 0.0
        return max(0.0, (units - self.level().units) * 60 / self._allowance.per_minute)

    def take(self, units: int, until: float) -> None:
        """Takes units, waiting for refills; AllowanceSpentError where they can't come before ``until``.

        ``until`` is in seconds since the epoch. More units than the bucket can ever hold are taken as debt
        from a full bucket, so that a large batch is slow and not impossible.
        """
        if not self.limited:
            return
        wait = self._reserve(units, until)
        while wait > 0:
            if self._ended.is_set():
                self._give_back(units)
                raise AllowanceSpentError("allowance: the act was ended while a call waited for its units.")
            slice_ = min(wait, 1.0)
            self._sleep(slice_)
            wait -= slice_

    def hold(self, seconds: float) -> None:
        """Nothing is taken for so many seconds: Smartcar answered that the application asks too much."""
        if self.limited:
            wait = min(seconds, LONGEST)
            self._keeper.exchange(lambda kept, now: self._held(self._refilled(kept, now), now + wait))
            log.info("Smartcar asked for a pause: nothing is sent for %s", duration(wait))

    def paused(self) -> float:
        """For how many seconds Smartcar asked that nothing be sent; 0 where it did not."""
        held: list[float] = []
        self._keeper.exchange(lambda kept, now: held.append(self._refilled(kept, now).held_until - now))
        return max(0.0, held[0])

    def release(self) -> None:
        """Ends a pause that Smartcar asked for: it has answered since."""
        self._keeper.exchange(lambda kept, now: replace(self._refilled(kept, now), held_until=0.0))

    def begin(self) -> None:
        """Lets callers wait for refills, also after an act that was ended."""
        self._ended.clear()

    def end(self) -> None:
        """Lets nobody wait any longer: the act is being ended."""
        self._ended.set()

    def _reserve(self, units: int, until: float) -> float:
        """Seconds until the units' time comes; they are taken off the level already."""
        waits: list[float] = []
        why: list[str] = []
        refused: list[str] = []

        def change(kept: BucketState | None, now: float) -> BucketState | None:
            level = self._refilled(kept, now)
            missing = min(units, self._allowance.burst) - level.units
            refill, pause = missing * 60 / self._allowance.per_minute, level.held_until - now
            wait = max(refill, pause, 0.0)
            if wait and now + wait > until:
                refused.append(f"{units} units wanted, {max(level.units, 0):.0f} left; the next come in {wait:.0f} s")
                return None
            waits.append(wait)
            why.append("Smartcar asked for a pause" if pause > refill else "the allowance is used up")
            return replace(level, units=level.units - units)

        self._keeper.exchange(change)
        if refused:
            raise AllowanceSpentError(
                f"allowance: {refused[0]}, later than this run may wait. Run again later, or raise max_minutes."
            )
        if waits[0] >= LOGGED:
            log.info("a call of %d units waits %s: %s", units, duration(waits[0]), why[0])
        return waits[0]

    def _give_back(self, units: int) -> None:
        def change(kept: BucketState | None, now: float) -> BucketState:
            level = self._refilled(kept, now)
            return replace(level, units=min(self._allowance.burst, level.units + units))

        self._keeper.exchange(change)

    def _refilled(self, kept: BucketState | None, now: float) -> BucketState:
        """The level now; a clock that was set back gives nothing and takes nothing."""
        if kept is None:
            return BucketState(self._allowance.burst, now)
        at, held_until = (0.0 if moment > now + LONGEST else moment for moment in (kept.at, kept.held_until))
        gained = max(0.0, now - (at or now)) * self._allowance.per_minute / 60
        return BucketState(min(self._allowance.burst, kept.units + gained), max(now, at), held_until)

    @staticmethod
    def _held(level: BucketState, until: float) -> BucketState:
        return replace(level, held_until=max(level.held_until, until))


class Budget:
    """What one act may spend: at most ``max_calls`` units (0: what the bucket gives), for ``max_minutes``."""

    def __init__(self, bucket: TokenBucket, *, max_calls: int = 0, max_minutes: float = 10) -> None:
        self.bucket = bucket
        self._left = max_calls if max_calls > 0 else None
        self.until = bucket.level().at + max_minutes * 60
        """When nobody waits for refills any longer, by the keeper's clock (seconds since the epoch)."""
        self._lock = threading.Lock()

    @property
    def left(self) -> int | None:
        """The units that may still be spent; None where the bucket alone binds."""
        return self._left

    def take(self, units: int) -> None:
        """Takes units from the budget and the bucket; AllowanceSpentError where either is empty."""
        self.set_aside(units)
        try:
            self.bucket.take(units, self.until)
        except AllowanceSpentError:
            self.give_back(units)
            raise

    def set_aside(self, units: int) -> None:
        """Takes units for somebody who asks the bucket as they spend them; AllowanceSpentError where none are left."""
        with self._lock:
            if self._left is not None:
                if self._left < units:
                    raise AllowanceSpentError("allowance: max_calls is spent; run again to go on from here.")
                self._left -= units

    def give_back(self, units: int) -> None:
        """Returns units that were set aside and not spent."""
        with self._lock:
            if self._left is not None:
                self._left += units


@dataclass(frozen=True)
class Cost:
    """What an act would cost, in units, by source; an upper bound where the number is not known yet.

    ``seconds`` is how long the allowance makes that last: 0 where the bucket holds it all, or nothing binds.
    """

    units: dict[str, int]
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What else there is to know, in words."""

    @property
    def total(self) -> int:
        """All sources together."""
        return sum(self.units.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{source} {units:,}" for source, units in self.units.items())
        lasting = f"; the allowance makes that last {duration(self.seconds)}" if self.seconds else ""
        return "; ".join((f"at most {self.total:,} units ({parts or 'nothing to ask'}){lasting}", *self.notes))


def duration(seconds: float) -> str:
    """A time in the largest unit that leaves at least two of it, rounded up."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{-(-seconds // size):,.0f} {unit}"
    return f"{-(-seconds // 1):.0f} seconds"


def units_to_come(allowance: Allowance, now: datetime, until: datetime) -> int:
    """Units of the allowance between two moments: a full bucket and its refills."""
    minutes = max(0.0, (until - now) / timedelta(minutes=1))
    return int(allowance.burst + minutes * allowance.per_minute) if minutes else 0
