"""Recordings out of a run's folder: the only proof there is once V2 has stopped, and free to judge again."""

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
from smartcar_ops.database.ledger.recordings import Kept
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
"""Recordings that are held at a time."""


def write_recordings(kept: Iterable[Kept], path: Path | None = None) -> ParquetTable:
    """The ledger's recordings as a table that a folder keeps, in the order given."""
    spool, rows = ParquetTable(RECORDING_TYPES, path), list[tuple[Any, ...]]()
    for one in kept:
        text = json.dumps(one.document, ensure_ascii=False, separators=(",", ":"))
        at = one.recorded_at.replace(tzinfo=UTC)
        rows.append((one.vehicle_id, one.local_vehicle_id, at, one.answered, text))
        if len(rows) >= DOCUMENTS:
            spool.append_rows(rows)
            rows = []
    if rows:
        spool.append_rows(rows)
    return spool.close()


class Replay:
    """A folder's recordings, in the order they were judged in; SettingsError where it has none."""

    def __init__(self, folder: Path) -> None:
        path = folder / "recordings.parquet"
        try:
            refuse_huge(path)
            self._spool = ParquetTable.opened(path)
        except TooLargeError as error:
            raise SettingsError(
                f"parameters: replay names {folder.name!r}, whose recordings can't be this kit's: the file {error}."
            ) from None
        except (OSError, pa.ArrowException):
            self._spool = None  # type: ignore[assignment]
        if self._spool is None or not set(RECORDING_TYPES) <= set(self._spool.schema.names):
            raise SettingsError(
                f"parameters: replay names {folder.name!r}, which has no recordings; expected the folder of a whole "
                "run of 10_compare_v2_v3, such as latest."
            )
        self._folder = folder

    def __len__(self) -> int:
        return len(self._spool)

    @property
    def table(self) -> ParquetTable:
        """The recordings as they are kept."""
        return self._spool

    def recordings(self) -> Iterator[Recording]:
        """Each recording; SettingsError for one that can't be read."""
        for table in self._spool.tables(rows=DOCUMENTS):
            for text in table.column("document").to_pylist():
                try:
                    yield read_recording(json_values.loads(text))
                except (ValueError, KeyError, TypeError):
                    raise SettingsError(
                        f"parameters: a recording in {self._folder.name!r} can't be read; was the file edited?"
                    ) from None

    def linked(self) -> dict[Stratum, int]:
        """How many vehicles were linked then, by stratum; empty where the folder does not tell."""
        try:
            refuse_huge(self._folder / "strata.parquet")
            rows: list[dict[str, Any]] = pd.read_parquet(self._folder / "strata.parquet").to_dict("records")
            return dict(Counter({(row["make"], row["powertrain"]): int(row["linked"]) for row in rows}))
        except (OSError, KeyError, ValueError, pa.ArrowException, TooLargeError):
            return {}
