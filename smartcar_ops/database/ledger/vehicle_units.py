"""What the kit asks of one vehicle, counted by the hour and capped by its make and by the month."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.errors import VehicleLimitError
from smartcar_ops.settings.layout import Limits

DAY, MONTH = timedelta(hours=24), timedelta(days=31)
"""How far back is counted: a limit of a day holds in any 24 hours, one of a month in any 31 days."""

LEAST = 2
"""Units without which no vehicle is read on both versions: V3 once, and one path of V2."""


class VehicleUnits:
    """Counts what is asked of the vehicles that a limit binds, for every process and host on one ledger."""

    def __init__(
        self, ledger: Ledger, limits: Limits, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ledger, self._limits, self._clock = ledger, limits, clock
        self._make_of = lru_cache(maxsize=4096)(self._read_make)
        self._lock = threading.Lock()
        self._pruned = False

    def cap(self, make: str) -> int | None:
        """The most units that a vehicle of this make may be asked for in 24 hours; None where nothing binds."""
        caps = [cap for cap in (self._limits.day(make), self._limits.per_vehicle_month) if cap]
        return min(caps, default=None)

    def left(self, vehicle_id: str) -> int | None:
        """The units that may still be asked of the vehicle now; None where nothing binds."""
        day, month = self._caps(vehicle_id)
        if not (day or month):
            return None
        with engines.failures(self._ledger.engine, "counting calls"), self._ledger.reading.connect() as connection:
            return self._left(connection, vehicle_id, day, month)

    def used_up(self) -> set[str]:
        """The vehicles for which no reading on both versions is left now."""
        row = t.vehicle_units.c
        since = self._since(MONTH if self._limits.per_vehicle_month else DAY)
        query = sa.select(row.vehicle_id).where(self._ledger.scope.of(t.vehicle_units), row.hour >= since).distinct()
        with engines.failures(self._ledger.engine, "counting calls"), self._ledger.reading.connect() as connection:
            asked = list(connection.execute(query).scalars())
        return {vehicle_id for vehicle_id in asked if (left := self.left(vehicle_id)) is not None and left < LEAST}

    def take(self, vehicle_id: str, units: int) -> None:
        """Counts units that are about to be asked; VehicleLimitError, with nothing counted, where they are too many."""
        day, month = self._caps(vehicle_id)
        if not (day or month):
            return
        self._prune()
        with self._lock, engines.failures(self._ledger.engine, "counting calls"):
            with self._ledger.begin() as connection:
                left = self._left(connection, vehicle_id, day, month)
                if left < units:
                    raise VehicleLimitError(
                        f"limits: {units} more units of one {self._make_of(vehicle_id)} wanted, and {max(0, left)} are "
                        "left of what smartcar_ops.toml, [limits], allows a vehicle; run again tomorrow."
                    )
                added = self._add(connection, vehicle_id, units)
            if not added:
                self._insert(vehicle_id, units)

    def give_back(self, vehicle_id: str, units: int) -> None:
        """Takes back units that were counted and not sent."""
        if any(self._caps(vehicle_id)):
            with engines.failures(self._ledger.engine, "counting calls"), self._ledger.begin() as connection:
                self._add(connection, vehicle_id, -units)

    def _caps(self, vehicle_id: str) -> tuple[int, int]:
        """(units a day, units a month), 0 where that does not bind."""
        by_make = self._limits.by_make
        return self._limits.day(self._make_of(vehicle_id)) if by_make else 0, self._limits.per_vehicle_month

    def _left(self, connection: sa.Connection, vehicle_id: str, day: int, month: int) -> int:
        row = t.vehicle_units.c
        lefts = []
        for cap, span in ((day, DAY), (month, MONTH)):
            if cap:
                spent = sa.select(sa.func.coalesce(sa.func.sum(row.units), 0)).where(
                    self._ledger.scope.of(t.vehicle_units), row.vehicle_id == vehicle_id, row.hour >= self._since(span)
                )
                lefts.append(cap - int(connection.execute(spent).scalar_one()))
        return min(lefts)

    def _add(self, connection: sa.Connection, vehicle_id: str, units: int) -> bool:
        """Adds to this hour's row; False where there is none yet."""
        row = t.vehicle_units.c
        mine = (self._ledger.scope.of(t.vehicle_units), row.vehicle_id == vehicle_id, row.hour == self._hour())
        update = sa.update(t.vehicle_units).where(*mine).values(units=row.units + units)
        return bool(connection.execute(update).rowcount)

    def _insert(self, vehicle_id: str, units: int) -> None:
        """Makes this hour's row, or adds to the one that another process made meanwhile."""
        told = self._ledger.scope.row(t.vehicle_units, vehicle_id=vehicle_id, hour=self._hour(), units=units)
        try:
            with self._ledger.begin() as connection:
                connection.execute(sa.insert(t.vehicle_units), [told])
        except IntegrityError:
            with self._ledger.begin() as connection:
                self._add(connection, vehicle_id, units)

    def _prune(self) -> None:
        """Forgets, once, what no limit looks back to."""
        if self._pruned:
            return
        self._pruned = True
        old = (self._ledger.scope.of(t.vehicle_units), t.vehicle_units.c.hour < self._since(MONTH))
        with engines.failures(self._ledger.engine, "counting calls"), self._ledger.begin() as connection:
            connection.execute(sa.delete(t.vehicle_units).where(*old))

    def _read_make(self, vehicle_id: str) -> str:
        row = t.connections.c
        query = sa.select(row.make).where(self._ledger.scope.of(t.connections), row.vehicle_id == vehicle_id).limit(1)
        with engines.failures(self._ledger.engine, "reading the ledger"), self._ledger.reading.connect() as connection:
            return str(connection.execute(query).scalar_one_or_none() or "")

    def _hour(self) -> datetime:
        return self._clock().astimezone(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)

    def _since(self, span: timedelta) -> datetime:
        """The hour in which the span begins: all that was asked in it counts."""
        return self._hour() - span
