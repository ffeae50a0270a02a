"""The recordings in the ledger: the answers of both API versions for each car."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger

OPEN_SLICE = "slice"
"""``slice:<service>:<mode>:<layout>`` is the name under which the ledger stores the unfinished selection."""

LEVEL = 3
"""Compression level: it gives a tenth of the size in a tenth of the default's time."""

AT_ONCE = 200
"""Number of documents fetched per query."""


@dataclass(frozen=True)
class StoredRecording:
    """One car's recording: its document, its selection, whether both sides answered, and how many paths are open."""

    local_vehicle_id: str
    vehicle_id: str
    slice: str
    answered: bool
    recorded_at: datetime
    document: Mapping[str, object] = field(repr=False)
    open_paths: int = 0


class OpenSlice(TypedDict):
    """A selection that is not read to its end: its unique name, and the parameters that it was made with."""

    name: str
    wish: Mapping[str, object]


class Recordings:
    """The recordings of one ledger's scope; at most one per car, the newest one with an answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def keep(self, recording: StoredRecording) -> None:
        """Store a recording; one without both answers never replaces one that has them."""
        if not recording.answered and self._answered(recording):
            return
        row = {
            "local_vehicle_id": recording.local_vehicle_id,
            "vehicle_id": recording.vehicle_id,
            "slice": recording.slice,
            "answered": recording.answered,
            "recorded_at": recording.recorded_at,
            "document": packed(recording.document),
            "open_paths": recording.open_paths,
        }
        self._ledger.record(t.recordings, [row])

    def index(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """Return (local vehicle, Smartcar's vehicle) -> (selection, whether both sides answered)."""
        row = t.recordings.c
        query = sa.select(row.local_vehicle_id, row.vehicle_id, row.slice, row.answered)
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            rows = connection.execute(query.where(self._ledger.scope.of(t.recordings)))
            return {(local, vehicle): (slice_, bool(answered)) for local, vehicle, slice_, answered in rows}

    def of_vehicle(self, vehicle_id: str) -> set[tuple[str, str]]:
        """Return (local vehicle, Smartcar's vehicle) of the recordings of one of Smartcar's vehicles."""
        row = t.recordings.c
        query = sa.select(row.local_vehicle_id, row.vehicle_id)
        query = query.where(self._ledger.scope.of(t.recordings), row.vehicle_id == vehicle_id)
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            return {(local, vehicle) for local, vehicle in connection.execute(query)}

    def unfinished(self) -> set[tuple[str, str]]:
        """Return the cars with V2 paths that are still to be read."""
        row = t.recordings.c
        query = sa.select(row.local_vehicle_id, row.vehicle_id)
        query = query.where(self._ledger.scope.of(t.recordings), row.open_paths > 0)
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            return {(local, vehicle) for local, vehicle in connection.execute(query)}

    def unfinished_one(self, key: tuple[str, str]) -> dict[str, object] | None:
        """Return the document of a car with V2 paths that are still to be read; None for any other car."""
        row = t.recordings.c
        mine = (row.local_vehicle_id == key[0], row.vehicle_id == key[1], row.open_paths > 0)
        query = sa.select(row.document).where(self._ledger.scope.of(t.recordings), *mine)
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            stored = connection.execute(query).scalar_one_or_none()
        return None if stored is None else unpacked(stored)

    def among(self, slice_: str, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those of these cars with a complete recording of this selection; for a few hundred cars per call."""
        row, wanted = t.recordings.c, set(keys)
        locals_ = sorted({local for local, _ in wanted})
        query = sa.select(row.local_vehicle_id, row.vehicle_id).where(
            self._ledger.scope.of(t.recordings),
            row.slice == slice_,
            row.open_paths == 0,
            row.local_vehicle_id.in_(locals_),
        )
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            return {(local, vehicle) for local, vehicle in connection.execute(query)} & wanted

    def stream(self, keys: Collection[tuple[str, str]]) -> Iterator[StoredRecording]:
        """Return these cars' recordings in the order of their keys; read in batches."""
        row, wanted = t.recordings.c, sorted(keys)
        columns = (row.local_vehicle_id, row.vehicle_id, row.slice, row.answered, row.recorded_at, row.document)
        for start in range(0, len(wanted), AT_ONCE):
            some = set(wanted[start : start + AT_ONCE])
            query = sa.select(*columns).where(
                self._ledger.scope.of(t.recordings), row.local_vehicle_id.in_(sorted({local for local, _ in some}))
            )
            with (
                engines.failures(self._ledger.engine, "reading the recordings"),
                self._ledger.reading.connect() as connection,
            ):
                rows = [values for values in connection.execute(query) if (values[0], values[1]) in some]
            for values in sorted(rows, key=lambda one: (one[0], one[1])):
                yield StoredRecording(*values[:3], bool(values[3]), values[4], unpacked(values[5]))

    def open_slice(self) -> OpenSlice | None:
        """Return the unfinished selection; None if the last one is complete."""
        stored = self._ledger.fact(self._name)
        return json.loads(stored) if stored else None

    def remember_slice(self, selection: OpenSlice | None) -> None:
        """Store the selection that begins; None if it is complete."""
        self._ledger.remember(self._name, json.dumps(selection) if selection else "")

    @property
    def _name(self) -> str:
        scope = self._ledger.scope
        return f"{OPEN_SLICE}:{scope.service}:{scope.mode}:{scope.layout}"

    def _answered(self, recording: StoredRecording) -> bool:
        row = t.recordings.c
        same = sa.and_(row.local_vehicle_id == recording.local_vehicle_id, row.vehicle_id == recording.vehicle_id)
        query = sa.select(row.answered).where(self._ledger.scope.of(t.recordings), same)
        with (
            engines.failures(self._ledger.engine, "reading the recordings"),
            self._ledger.reading.connect() as connection,
        ):
            return bool(connection.execute(query).scalar_one_or_none())


def packed(document: Mapping[str, object]) -> bytes:
    """Compress a document for the ledger."""
    return zlib.compress(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(), LEVEL)


def unpacked(stored: bytes) -> dict[str, object]:
    """Decompress a document from the ledger."""
    document: dict[str, object] = json.loads(zlib.decompress(stored))
    return document
