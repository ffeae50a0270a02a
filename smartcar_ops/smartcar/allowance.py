"""The application's bucket of requests, and the budget one act may spend of it.

Smartcar's documented default: 120 requests, refilled at 2 a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from smartcar_ops.access import Allowance
from smartcar_ops.errors import AllowanceSpentError


@dataclass(frozen=True)
class Level:
    """How many units a bucket held, and when (seconds since the epoch)."""

    units: float
    at: float


class Bucket:
    """A token bucket in units, shared by threads; ``take`` waits for refills.

    ``level`` is what an earlier process left; a full bucket without one. An unlimited allowance never waits.
    """

    def __init__(
        self,
        allowance: Allowance,
        level: Level | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._allowance = allowance
        self._clock, self._sleep = clock, sleep
        self._level = level or Level(allowance.burst, clock())
        self._lock = threading.Lock()

    @property
    def limited(self) -> bool:
        """False where no allowance binds (the embedded sandbox)."""
        return self._allowance.limited

    def level(self) -> Level:
        """What the bucket holds now."""
        with self._lock:
            return self._refilled()

    def take(self, units: int, until: float) -> None:
        """Takes units, waiting for refills; AllowanceSpentError where they can't come before ``until``.

        ``until`` is in seconds since the epoch. More units than the bucket can ever hold are taken as debt
        from a full bucket, so that a large batch is slow and not impossible.
        """
        if not self.limited:
            return
        while True:
            with self._lock:
                now = self._refilled()
                wanted = min(units, self._allowance.burst)
                if now.units >= wanted:
                    self._level = Level(now.units - units, now.at)
                    return
                wait = (wanted - now.units) * 60 / self._allowance.per_minute
                if now.at + wait > until:
                    raise AllowanceSpentError(
                        f"allowance: {units} units wanted, {max(now.units, 0):.0f} left; the next come in "
                        f"{wait:.0f} s, later than this run may wait. Run again later, or raise max_minutes."
                    )
            self._sleep(min(wait, 1.0))

    def _refilled(self) -> Level:
        now = self._clock()
        gained = max(0.0, now - self._level.at) * self._allowance.per_minute / 60
        return Level(min(self._allowance.burst, self._level.units + gained), now)


class Budget:
    """What one act may spend: at most ``max_calls`` units (0: what the bucket gives), for ``max_minutes``."""

    def __init__(self, bucket: Bucket, *, max_calls: int = 0, max_minutes: float = 10) -> None:
        self._bucket = bucket
        self._left = max_calls if max_calls > 0 else None
        self._until = bucket.level().at + max_minutes * 60
        self._lock = threading.Lock()

    def take(self, units: int) -> None:
        """Takes units from the budget and the bucket; AllowanceSpentError where either is empty."""
        with self._lock:
            if self._left is not None:
                if self._left < units:
                    raise AllowanceSpentError("allowance: max_calls is spent; run again to go on from here.")
                self._left -= units
        try:
            self._bucket.take(units, self._until)
        except AllowanceSpentError:
            with self._lock:
                if self._left is not None:
                    self._left += units
            raise
