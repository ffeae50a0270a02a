"""Lists in doubt, kept aside: one per source, until it is confirmed, accepted, or a better one comes."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger


@dataclass(frozen=True)
class Suspect:
    """A list that was not believed: when it came, how many rows were known, how many it lost, how many were dropped."""

    listed_at: datetime
    known: int
    lost: int
    dropped: int
    rows: list[dict[str, Any]] = field(repr=False)


class Suspects:
    """The list in doubt of one source."""

    def __init__(self, ledger: Ledger, source: str) -> None:
        self._ledger, self._source = ledger, source
        self._mine = sa.and_(ledger.scope.of(t.suspects), t.suspects.c.source == source)

    def get(self) -> Suspect | None:
        """The list that is kept aside; None if there is none."""
        with engines.failures(self._ledger.engine, "reading the ledger"), self._ledger.reading.connect() as connection:
            row = connection.execute(sa.select(t.suspects).where(self._mine)).mappings().first()
        if row is None:
            return None
        rows: list[dict[str, Any]] = json.loads(zlib.decompress(row["document"]))
        return Suspect(row["listed_at"], row["known"], row["lost"], row["dropped"], rows)

    def keep(self, suspect: Suspect) -> None:
        """Keeps a list aside, in place of an earlier one."""
        document = zlib.compress(json.dumps(suspect.rows, separators=(",", ":")).encode())
        numbers = {name: getattr(suspect, name) for name in ("listed_at", "known", "lost", "dropped")}
        self._ledger.record(t.suspects, [{"source": self._source, "document": document, **numbers}])

    def clear(self) -> None:
        """Forgets the list: another is believed."""
        with engines.failures(self._ledger.engine, "writing the ledger"), self._ledger.begin() as connection:
            connection.execute(sa.delete(t.suspects).where(self._mine))
