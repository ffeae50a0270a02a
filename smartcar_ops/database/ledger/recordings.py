"""What both versions answered about each car, as the ledger keeps it: written one by one, read back as a stream."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger

OPEN_SLICE = "slice"
"""Under ``slice:<service>:<mode>:<layout>`` the ledger keeps the slice that is not read to its end."""

LEVEL = 3
"""Of compression: a tenth of the size in a tenth of the time that the default takes."""

AT_ONCE = 200
"""Documents fetched at a time."""


@dataclass(frozen=True)
class Kept:
    """One car's document, the slice it belongs to, whether both sides answered, how many paths are left to ask."""

    local_vehicle_id: str
    vehicle_id: str
    slice: str
    answered: bool
    recorded_at: datetime
    document: dict[str, Any] = field(repr=False)
    open_paths: int = 0


class Recordings:
    """The recordings of one ledger's scope; at most one a car, the newest that says something."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def keep(self, kept: Kept) -> None:
        """Keeps a recording at once; one without an answer never takes the place of one that has both."""
        if not kept.answered and self._answered(kept):
            return
        row = {
            "local_vehicle_id": kept.local_vehicle_id,
            "vehicle_id": kept.vehicle_id,
            "slice": kept.slice,
            "answered": kept.answered,
            "recorded_at": kept.recorded_at,
            "document": packed(kept.document),
            "open_paths": kept.open_paths,
        }
        self._ledger.record(t.recordings, [row])

    def index(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """(local vehicle, Smartcar's vehicle) -> (slice, whether both sides answered)."""
        row = t.recordings.c
        query = sa.select(row.local_vehicle_id, row.vehicle_id, row.slice, row.answered)
        with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as found:
            rows = found.execute(query.where(self._ledger.scope.of(t.recordings)))
            return {(local, vehicle): (slice_, bool(answered)) for local, vehicle, slice_, answered in rows}

    def unfinished(self) -> set[tuple[str, str]]:
        """The cars of which V2 has only been asked a part."""
        row = t.recordings.c
        query = sa.select(row.local_vehicle_id, row.vehicle_id)
        query = query.where(self._ledger.scope.of(t.recordings), row.open_paths > 0)
        with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as found:
            return {(local, vehicle) for local, vehicle in found.execute(query)}

    def unfinished_one(self, key: tuple[str, str]) -> dict[str, Any] | None:
        """The document of a car of which V2 has only been asked a part; None for any other."""
        row = t.recordings.c
        mine = (row.local_vehicle_id == key[0], row.vehicle_id == key[1], row.open_paths > 0)
        query = sa.select(row.document).where(self._ledger.scope.of(t.recordings), *mine)
        with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as found:
            stored = found.execute(query).scalar_one_or_none()
        return None if stored is None else unpacked(stored)

    def among(self, slice_: str, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these cars whose recording of this slice is kept whole; for a few hundred at a time."""
        row, wanted = t.recordings.c, set(keys)
        locals_ = sorted({local for local, _ in wanted})
        query = sa.select(row.local_vehicle_id, row.vehicle_id).where(
            self._ledger.scope.of(t.recordings),
            row.slice == slice_,
            row.open_paths == 0,
            row.local_vehicle_id.in_(locals_),
        )
        with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as found:
            return {(local, vehicle) for local, vehicle in found.execute(query)} & wanted

    def stream(self, keys: Collection[tuple[str, str]]) -> Iterator[Kept]:
        """These cars' recordings, in the order of their keys, so many at a time."""
        row, wanted = t.recordings.c, sorted(keys)
        columns = (row.local_vehicle_id, row.vehicle_id, row.slice, row.answered, row.recorded_at, row.document)
        for start in range(0, len(wanted), AT_ONCE):
            some = set(wanted[start : start + AT_ONCE])
            query = sa.select(*columns).where(
                self._ledger.scope.of(t.recordings), row.local_vehicle_id.in_(sorted({local for local, _ in some}))
            )
            with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as at:
                rows = [found for found in at.execute(query) if (found[0], found[1]) in some]
            for found in sorted(rows, key=lambda one: (one[0], one[1])):
                yield Kept(*found[:3], bool(found[3]), found[4], unpacked(found[5]))

    def open_slice(self) -> dict[str, Any] | None:
        """What the last slice was to read, where it was not read to its end."""
        told = self._ledger.fact(self._name)
        return json.loads(told) if told else None

    def remember_slice(self, told: dict[str, Any] | None) -> None:
        """Notes a slice that begins; None: it is read to its end."""
        self._ledger.remember(self._name, json.dumps(told) if told else "")

    @property
    def _name(self) -> str:
        scope = self._ledger.scope
        return f"{OPEN_SLICE}:{scope.service}:{scope.mode}:{scope.layout}"

    def _answered(self, kept: Kept) -> bool:
        row = t.recordings.c
        same = sa.and_(row.local_vehicle_id == kept.local_vehicle_id, row.vehicle_id == kept.vehicle_id)
        query = sa.select(row.answered).where(self._ledger.scope.of(t.recordings), same)
        with engines.failures(self._ledger.engine, "reading the recordings"), self._ledger.reading.connect() as found:
            return bool(found.execute(query).scalar_one_or_none())


def packed(document: dict[str, Any]) -> bytes:
    """A document as the ledger keeps it."""
    return zlib.compress(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(), LEVEL)


def unpacked(stored: bytes) -> dict[str, Any]:
    """A document from the ledger."""
    found: dict[str, Any] = json.loads(zlib.decompress(stored))
    return found
