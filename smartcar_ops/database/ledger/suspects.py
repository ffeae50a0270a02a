"""Suspect lists: at most one per source, stored until it is confirmed, accepted or replaced by a better one."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger_rows import Link

LinkT = TypeVar("LinkT", bound=Link)
"""The rows of one source's list."""


@dataclass(frozen=True)
class Suspect(Generic[LinkT]):
    """A list that was not used because too many known rows were missing from it.

    ``known`` is the number of rows known before, ``lost`` how many of them it lacks, ``dropped`` how many of its own
    rows could not be read.
    """

    listed_at: datetime
    known: int
    lost: int
    dropped: int
    rows: list[LinkT] = field(repr=False)


class Suspects(Generic[LinkT]):
    """The suspect list of one source."""

    def __init__(self, ledger: Ledger, source: str) -> None:
        self._ledger, self._source = ledger, source
        self._mine = sa.and_(ledger.scope.of(t.suspects), t.suspects.c.source == source)

    def get(self) -> Suspect[LinkT] | None:
        """Return the suspect list; None if there is none."""
        with engines.failures(self._ledger.engine, "reading the ledger"), self._ledger.reading.connect() as connection:
            row = connection.execute(sa.select(t.suspects).where(self._mine)).mappings().first()
        if row is None:
            return None
        rows: list[LinkT] = json.loads(zlib.decompress(row["document"]))
        return Suspect(row["listed_at"], row["known"], row["lost"], row["dropped"], rows)

    def keep(self, suspect: Suspect[LinkT]) -> None:
        """Store a suspect list; it replaces an earlier one."""
        document = zlib.compress(json.dumps(suspect.rows, separators=(",", ":")).encode())
        numbers = {name: getattr(suspect, name) for name in ("listed_at", "known", "lost", "dropped")}
        self._ledger.record(t.suspects, [{"source": self._source, "document": document, **numbers}])

    def clear(self) -> None:
        """Delete the suspect list, because another list was accepted."""
        with engines.failures(self._ledger.engine, "writing the ledger"), self._ledger.begin() as connection:
            connection.execute(sa.delete(t.suspects).where(self._mine))
