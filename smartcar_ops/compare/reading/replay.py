"""Recordings in a run's folder: the only evidence once V2 has stopped, and free to judge again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from smartcar_ops.compare.recording import Recording, read_recording
from smartcar_ops.compare.vehicles import Stratum
from smartcar_ops.database.ledger.recordings import StoredRecording
from smartcar_ops.errors import SettingsError
from smartcar_ops.smartcar import json_values
from smartcar_ops.storage.parquet import ParquetTable, TooLargeError, refuse_huge

RECORDING_TYPES = {
    **dict.fromkeys(("vehicle_id", "local_vehicle_id"), "str"),
    "recorded_at": "datetime64[us, UTC]",
    "answered": "bool",
    "document": "str",
}
DOCUMENTS = 100
"""Recordings held in memory at a time."""


def write_recordings(recordings: Iterable[StoredRecording], path: Path | None = None) -> ParquetTable:
    """Write the ledger's recordings to a table, in the given order, and return it."""
    parquet, rows = ParquetTable(RECORDING_TYPES, path), list[tuple[Any, ...]]()
    for stored in recordings:
        text = json.dumps(stored.document, ensure_ascii=False, separators=(",", ":"))
        at = stored.recorded_at.replace(tzinfo=UTC)
        rows.append((stored.vehicle_id, stored.local_vehicle_id, at, stored.answered, text))
        if len(rows) >= DOCUMENTS:
            parquet.append_rows(rows)
            rows = []
    if rows:
        parquet.append_rows(rows)
    return parquet.close()


class Replay:
    """A folder's recordings, in the order in which they were judged; SettingsError if it has none."""

    def __init__(self, folder: Path) -> None:
        path = folder / "recordings.parquet"
        try:
            refuse_huge(path)
            self._parquet = ParquetTable.opened(path)
        except TooLargeError as error:
            raise SettingsError(
                f"parameters: replay is {folder.name!r}, but its recordings were not written by this kit: the file "
                f"{error}."
            ) from None
        except (OSError, pa.ArrowException):
            self._parquet = None  # type: ignore[assignment]
        if self._parquet is None or not set(RECORDING_TYPES) <= set(self._parquet.schema.names):
            raise SettingsError(
                f"parameters: replay is {folder.name!r}, which has no recordings; expected the folder of a complete "
                "run of 10_compare_v2_v3, or latest."
            )
        self._folder = folder

    def __len__(self) -> int:
        return len(self._parquet)

    @property
    def table(self) -> ParquetTable:
        """The recordings as stored."""
        return self._parquet

    def recordings(self) -> Iterator[Recording]:
        """Yield each recording; SettingsError for one that can't be read."""
        for table in self._parquet.tables(rows=DOCUMENTS):
            for text in table.column("document").to_pylist():
                try:
                    yield read_recording(json_values.loads(text))
                except (ValueError, KeyError, TypeError):
                    raise SettingsError(
                        f"parameters: a recording in {self._folder.name!r} can't be read; check whether the file was "
                        "edited."
                    ) from None

    def linked(self) -> dict[Stratum, int]:
        """Return how many vehicles were linked at that time, by stratum; empty if the folder has no strata."""
        try:
            refuse_huge(self._folder / "strata.parquet")
            rows: list[dict[str, Any]] = pd.read_parquet(self._folder / "strata.parquet").to_dict("records")
            return dict(Counter({(row["make"], row["powertrain"]): int(row["linked"]) for row in rows}))
        except (OSError, KeyError, ValueError, pa.ArrowException, TooLargeError):
            return {}
