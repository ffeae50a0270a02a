"""The application's token bucket of requests, and the budget that one run may take from it.

Smartcar's documented default is 120 requests, refilled at 2 per minute. A state store keeps the bucket's state: in
this process, or in the ledger for all processes and hosts that share one database.
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
from smartcar_ops.text import thousands

log = logging.getLogger("smartcar_ops.smartcar")


@dataclass(frozen=True)
class BucketState:
    """How many units a bucket held at a time (seconds since the epoch); negative if units are owed.

    No units are taken before ``held_until``, the end of a pause that Smartcar asked for.
    """

    units: float
    at: float
    held_until: float = 0.0


LOGGED = 1.0
"""Minimum wait, in seconds, that is logged."""

LONGEST = 86_400.0
"""Maximum pause in seconds (one day); later times, from an older kit or a wrong clock, are ignored."""

StateUpdate = Callable[[BucketState | None, float], BucketState | None]
"""Takes the stored state (None: never used) and the store's time; returns the new state, or None for no change."""


class StateStore(Protocol):
    """Keeps a bucket's state; ``update`` lets one caller at a time change it."""

    def update(self, change: StateUpdate) -> None:
        """Apply the change while no other caller can."""


class OwnStateStore:
    """Keeps a bucket's state for the threads of this process."""

    def __init__(self, state: BucketState | None = None, clock: Callable[[], float] = time.time) -> None:
        self._state, self._clock = state, clock
        self._lock = threading.Lock()

    def update(self, change: StateUpdate) -> None:
        """Apply the change under a lock."""
        with self._lock:
            self._state = change(self._state, self._clock()) or self._state


class TokenBucket:
    """A token bucket in units; ``take`` reserves units at once and returns when they are due.

    Reserving first keeps many waiting threads and processes in order with one update per call. An unlimited
    allowance never waits and stores nothing.
    """

    def __init__(
        self, allowance: Allowance, store: StateStore | None = None, *, sleep: Callable[[float], None] | None = None
    ) -> None:
        self._allowance, self._store = allowance, store or OwnStateStore()
        self._ended = threading.Event()
        self._sleep = sleep or self._ended.wait

    @property
    def limited(self) -> bool:
        """False if there is no limit (the embedded sandbox)."""
        return self._allowance.limited

    def level(self) -> BucketState:
        """Return the bucket's state now, by the store's clock."""
        states: list[BucketState] = []
        self._store.update(lambda stored, now: states.append(self._refilled(stored, now)))
        return states[0]

    def seconds_for(self, units: int) -> float:
        """Return how long this number of units takes from now: 0 if the bucket holds them all or there is no limit."""
        if not self.limited:
            return 0.0
        return max(0.0, (units - self.level().units) * 60 / self._allowance.per_minute)

    def take(self, units: int, until: float) -> None:
        """Take units, waiting for refills; AllowanceSpentError if they are not due before ``until``.

        ``until`` is in seconds since the epoch. More units than the bucket can hold are taken from a full bucket
        as debt, so that a large batch is slow but possible.
        """
        if not self.limited:
            return
        wait = self._reserve(units, until)
        while wait > 0:
            if self._ended.is_set():
                self._give_back(units)
                raise AllowanceSpentError("allowance: the run was ended while a call waited for its units.")
            step = min(wait, 1.0)
            self._sleep(step)
            wait -= step

    def hold(self, seconds: float) -> None:
        """Pause the bucket for this many seconds, because Smartcar answered that there were too many requests."""
        if self.limited:
            wait = min(seconds, LONGEST)
            self._store.update(lambda stored, now: self._held(self._refilled(stored, now), now + wait))
            log.info("Smartcar asked for a pause: nothing is sent for %s", duration(wait))

    def paused(self) -> float:
        """Return how many seconds remain of a pause that Smartcar asked for; 0 if there is none."""
        seconds: list[float] = []
        self._store.update(lambda stored, now: seconds.append(self._refilled(stored, now).held_until - now))
        return max(0.0, seconds[0])

    def release(self) -> None:
        """End a pause that Smartcar asked for, because it has answered since."""
        self._store.update(lambda stored, now: replace(self._refilled(stored, now), held_until=0.0))

    def begin(self) -> None:
        """Allow callers to wait for refills (again), also after ``end``."""
        self._ended.clear()

    def end(self) -> None:
        """Stop all callers from waiting, because the run is being ended."""
        self._ended.set()

    def _reserve(self, units: int, until: float) -> float:
        """Take the units now, and return the seconds until they are due."""
        waits: list[float] = []
        why: list[str] = []
        refused: list[str] = []

        def change(stored: BucketState | None, now: float) -> BucketState | None:
            state = self._refilled(stored, now)
            missing = min(units, self._allowance.burst) - state.units
            refill, pause = missing * 60 / self._allowance.per_minute, state.held_until - now
            wait = max(refill, pause, 0.0)
            if wait and now + wait > until:
                left = max(state.units, 0)
                refused.append(f"{thousands(units, 'units')} needed, {left:.0f} left; available in {wait:.0f} s")
                return None
            waits.append(wait)
            why.append("Smartcar asked for a pause" if pause > refill else "the allowance is used up")
            return replace(state, units=state.units - units)

        self._store.update(change)
        if refused:
            raise AllowanceSpentError(
                f"allowance: {refused[0]}, longer than this run may wait. Run again later, or raise max_minutes."
            )
        if waits[0] >= LOGGED:
            log.info("a call of %s waits %s: %s", thousands(units, "units"), duration(waits[0]), why[0])
        return waits[0]

    def _give_back(self, units: int) -> None:
        def change(stored: BucketState | None, now: float) -> BucketState:
            state = self._refilled(stored, now)
            return replace(state, units=min(self._allowance.burst, state.units + units))

        self._store.update(change)

    def _refilled(self, stored: BucketState | None, now: float) -> BucketState:
        """Return the state now; a clock that was set back neither adds nor removes units."""
        if stored is None:
            return BucketState(self._allowance.burst, now)
        at, held_until = (0.0 if moment > now + LONGEST else moment for moment in (stored.at, stored.held_until))
        gained = max(0.0, now - (at or now)) * self._allowance.per_minute / 60
        return BucketState(min(self._allowance.burst, stored.units + gained), max(now, at), held_until)

    @staticmethod
    def _held(state: BucketState, until: float) -> BucketState:
        return replace(state, held_until=max(state.held_until, until))


class Budget:
    """What one run may spend: at most ``max_calls`` units (0: no limit but the bucket's), for ``max_minutes``."""

    def __init__(self, bucket: TokenBucket, *, max_calls: int = 0, max_minutes: float = 10) -> None:
        self.bucket = bucket
        self._left = max_calls if max_calls > 0 else None
        self.until = bucket.level().at + max_minutes * 60
        """When callers stop waiting for refills, in seconds since the epoch by the store's clock."""
        self._lock = threading.Lock()

    @property
    def left(self) -> int | None:
        """The units that may still be spent; None if only the bucket limits them."""
        return self._left

    def take(self, units: int) -> None:
        """Take units from the budget and the bucket; AllowanceSpentError if either is empty."""
        self.set_aside(units)
        try:
            self.bucket.take(units, self.until)
        except AllowanceSpentError:
            self.give_back(units)
            raise

    def set_aside(self, units: int) -> None:
        """Take units from the budget only, for a caller that takes them from the bucket later.

        AllowanceSpentError if too few are left.
        """
        with self._lock:
            if self._left is not None:
                if self._left < units:
                    raise AllowanceSpentError("allowance: max_calls is used up; run again to continue from here.")
                self._left -= units

    def give_back(self, units: int) -> None:
        """Give back units that were set aside and not spent."""
        with self._lock:
            if self._left is not None:
                self._left += units


@dataclass(frozen=True)
class Cost:
    """What an act would cost, in units, by source; an upper bound if the number is not known yet.

    ``seconds`` is how long this takes under the allowance: 0 if the bucket holds enough or there is no limit.
    """

    units: dict[str, int]
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """Further remarks for people."""

    @property
    def total(self) -> int:
        """The units of all sources."""
        return sum(self.units.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{source} {units:,}" for source, units in self.units.items())
        wait = f"; at your allowance this takes {duration(self.seconds)}" if self.seconds else ""
        units = thousands(self.total, "units")
        return "; ".join((f"at most {units} ({parts or 'nothing to query'}){wait}", *self.notes))


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which there are at least two, rounded up."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{-(-seconds // size):,.0f} {unit}"
    return thousands(round(-(-seconds // 1)), "seconds")


def units_to_come(allowance: Allowance, now: datetime, until: datetime) -> int:
    """Return the units of the allowance between two times: a full bucket and its refills."""
    minutes = max(0.0, (until - now) / timedelta(minutes=1))
    return int(allowance.burst + minutes * allowance.per_minute) if minutes else 0
