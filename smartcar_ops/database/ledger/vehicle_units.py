"""Counts the kit's reads of each vehicle per hour, and limits them per day (by make) and per month."""

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
from smartcar_ops.text import thousands

DAY, MONTH = timedelta(hours=24), timedelta(days=31)
"""The periods of the limits: any 24 hours, and any 31 days."""

LEAST = 2
"""Minimum units to read a vehicle on both versions: V3 once and one path of V2."""


class VehicleUnits:
    """Counts reads of vehicles that have a limit, for all processes and hosts that share one ledger."""

    def __init__(
        self, ledger: Ledger, limits: Limits, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ledger, self._limits, self._clock = ledger, limits, clock
        self._make_of = lru_cache(maxsize=4096)(self._read_make)
        self._lock = threading.Lock()
        self._pruned = False

    def cap(self, make: str) -> int | None:
        """Return the maximum units per 24 hours for a vehicle of this make; None if there is no limit."""
        caps = [cap for cap in (self._limits.day(make), self._limits.per_vehicle_month) if cap]
        return min(caps, default=None)

    def left(self, vehicle_id: str) -> int | None:
        """Return the units that the vehicle has left now; None if there is no limit."""
        day, month = self._caps(vehicle_id)
        if not (day or month):
            return None
        with engines.failures(self._ledger.engine, "counting calls"), self._ledger.reading.connect() as connection:
            return self._left(connection, vehicle_id, day, month)

    def used_up(self) -> set[str]:
        """Return the vehicles with too few units left to read both versions."""
        row = t.vehicle_units.c
        since = self._since(MONTH if self._limits.per_vehicle_month else DAY)
        query = sa.select(row.vehicle_id).where(self._ledger.scope.of(t.vehicle_units), row.hour >= since).distinct()
        with engines.failures(self._ledger.engine, "counting calls"), self._ledger.reading.connect() as connection:
            counted = list(connection.execute(query).scalars())
        return {vehicle_id for vehicle_id in counted if (left := self.left(vehicle_id)) is not None and left < LEAST}

    def take(self, vehicle_id: str, units: int) -> None:
        """Count units that are about to be spent; VehicleLimitError, with none counted, if they exceed the limit."""
        day, month = self._caps(vehicle_id)
        if not (day or month):
            return
        self._prune()
        with self._lock, engines.failures(self._ledger.engine, "counting calls"):
            with self._ledger.begin() as connection:
                left = self._left(connection, vehicle_id, day, month)
                if left < units:
                    raise VehicleLimitError(
                        f"limits: {thousands(units, 'units')} needed for one {self._make_of(vehicle_id)} vehicle, "
                        f"{max(0, left)} left of its limit in smartcar_ops.toml, [limits]; run again tomorrow."
                    )
                added = self._add(connection, vehicle_id, units)
            if not added:
                self._insert(vehicle_id, units)

    def give_back(self, vehicle_id: str, units: int) -> None:
        """Subtract units that were counted but not spent."""
        if any(self._caps(vehicle_id)):
            with engines.failures(self._ledger.engine, "counting calls"), self._ledger.begin() as connection:
                self._add(connection, vehicle_id, -units)

    def _caps(self, vehicle_id: str) -> tuple[int, int]:
        """Return (units per day, units per month), 0 for no limit."""
        by_make = self._limits.by_make
        return self._limits.day(self._make_of(vehicle_id)) if by_make else 0, self._limits.per_vehicle_month

    def _left(self, connection: sa.Connection, vehicle_id: str, day: int, month: int) -> int:
        row = t.vehicle_units.c
        remaining = []
        for cap, span in ((day, DAY), (month, MONTH)):
            if cap:
                spent = sa.select(sa.func.coalesce(sa.func.sum(row.units), 0)).where(
                    self._ledger.scope.of(t.vehicle_units), row.vehicle_id == vehicle_id, row.hour >= self._since(span)
                )
                remaining.append(cap - int(connection.execute(spent).scalar_one()))
        return min(remaining)

    def _add(self, connection: sa.Connection, vehicle_id: str, units: int) -> bool:
        """Add to this hour's row; return False if there is none yet."""
        row = t.vehicle_units.c
        mine = (self._ledger.scope.of(t.vehicle_units), row.vehicle_id == vehicle_id, row.hour == self._hour())
        update = sa.update(t.vehicle_units).where(*mine).values(units=row.units + units)
        return bool(connection.execute(update).rowcount)

    def _insert(self, vehicle_id: str, units: int) -> None:
        """Insert this hour's row, or add to the one that another process inserted meanwhile."""
        row = self._ledger.scope.row(t.vehicle_units, vehicle_id=vehicle_id, hour=self._hour(), units=units)
        try:
            with self._ledger.begin() as connection:
                connection.execute(sa.insert(t.vehicle_units), [row])
        except IntegrityError:
            with self._ledger.begin() as connection:
                self._add(connection, vehicle_id, units)

    def _prune(self) -> None:
        """Delete rows that are older than any limit's period; once per process."""
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
        """Return the hour in which the period begins; the whole hour counts."""
        return self._hour() - span
