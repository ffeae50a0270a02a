"""The rate limit's bucket in the ledger, shared by all processes and hosts that use one database."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import LEVEL, Ledger


class StateToRead(Protocol):
    """The state of a bucket that the store reads; the caller has a class for it."""

    @property
    def units(self) -> float:
        """The units in the bucket; negative if units are owed."""

    @property
    def at(self) -> float:
        """The time of that level, in seconds since the epoch."""

    @property
    def held_until(self) -> float:
        """The end of a pause, in seconds since the epoch."""


StateT = TypeVar("StateT", bound=StateToRead)


class SharedStateStore(Generic[StateT]):
    """Keeps one service's bucket state in a row of the ledger; each update is one transaction on the database's clock.

    ``state`` builds the caller's state object from (units, at, held_until).
    """

    def __init__(self, ledger: Ledger, state: Callable[[float, float, float], StateT]) -> None:
        self._ledger, self._state = ledger, state
        self._name = f"{LEVEL}:{ledger.scope.service}"
        self._row = t.meta.c.name == self._name
        self._row_exists = False

    @property
    def is_used(self) -> bool:
        """Whether a state was ever stored; only reads."""
        return bool(self._ledger.fact(self._name))

    def update(self, change: Callable[[StateT | None, float], StateT | None]) -> None:
        """Apply the change while no other caller can; DatabaseError if the ledger can't be written."""
        with engines.failures(self._ledger.engine, "sharing the allowance"):
            if not self._row_exists:
                self._create_row()
            with self._ledger.begin() as connection:
                locked = sa.select(t.meta.c.value).where(self._row).with_for_update()
                text = connection.execute(locked).scalar_one()
                stored = _read(text)
                new = change(self._state(*stored) if stored else None, engines.clock(connection))
                if new is not None:
                    value = f"{new.units:.6f}@{new.at:.6f}@{new.held_until:.6f}"
                    connection.execute(sa.update(t.meta).where(self._row).values(value=value))

    def _create_row(self) -> None:
        """Create the service's row, empty, if it is missing, because only an existing row can be locked."""
        if self._ledger.fact(self._name) is None:
            with suppress(IntegrityError), self._ledger.begin() as connection:
                connection.execute(sa.insert(t.meta), [{"name": self._name, "value": ""}])
        self._row_exists = True


class _StoredState(NamedTuple):
    units: float
    at: float
    held_until: float


def _read(text: str) -> _StoredState | None:
    """Parse a stored state; the pause may be missing in old rows. None if it is empty or unreadable."""
    try:
        units, at, *pause = (float(part) for part in text.split("@"))
    except ValueError:
        return None
    until = pause[0] if pause and math.isfinite(pause[0]) else 0.0
    return _StoredState(units, at, until) if math.isfinite(units) and math.isfinite(at) else None
