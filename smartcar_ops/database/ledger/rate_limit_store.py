"""The allowance's level in the ledger: shared by every process and host on the same database."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import LEVEL, Ledger


class SharedStateStore:
    """Keeps one service's level as a row of the ledger; one transaction an exchange, by the database's clock.

    ``level`` makes what is kept from (units, at, held_until): the shape is the caller's.
    """

    def __init__(self, ledger: Ledger, level: Callable[[float, float, float], Any]) -> None:
        self._ledger, self._level = ledger, level
        self._name = f"{LEVEL}:{ledger.scope.service}"
        self._row = t.meta.c.name == self._name
        self._made = False

    @property
    def is_used(self) -> bool:
        """Whether a level was ever kept; reads only."""
        return bool(self._ledger.fact(self._name))

    def exchange(self, change: Callable[[Any, float], Any]) -> None:
        """Applies the change while nobody else can; DatabaseError where the ledger can't be written."""
        with engines.failures(self._ledger.engine, "sharing the allowance"):
            if not self._made:
                self._make()
            with self._ledger.begin() as connection:
                locked = sa.select(t.meta.c.value).where(self._row).with_for_update()
                text = connection.execute(locked).scalar_one()
                kept = _read(text)
                new = change(self._level(*kept) if kept else None, engines.clock(connection))
                if new is not None:
                    written = f"{new.units:.6f}@{new.at:.6f}@{new.held_until:.6f}"
                    connection.execute(sa.update(t.meta).where(self._row).values(value=written))

    def _make(self) -> None:
        """Makes the service's row, empty, where it is missing: a row that is not there can't be locked."""
        if self._ledger.fact(self._name) is None:
            with suppress(IntegrityError), self._ledger.begin() as connection:
                connection.execute(sa.insert(t.meta), [{"name": self._name, "value": ""}])
        self._made = True


class _Kept(NamedTuple):
    units: float
    at: float
    held_until: float


def _read(text: str) -> _Kept | None:
    """The numbers of a kept level; one written before there were holds has none. None: never used, or unreadable."""
    try:
        units, at, *held = (float(part) for part in text.split("@"))
    except ValueError:
        return None
    until = held[0] if held and math.isfinite(held[0]) else 0.0
    return _Kept(units, at, until) if math.isfinite(units) and math.isfinite(at) else None
