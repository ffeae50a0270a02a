"""Judge the recordings of a fleet one by one, in memory that does not grow with the fleet."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from smartcar_ops.compare.judging import gate as gates
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.field_row import FIELD_TYPES, FieldRow
from smartcar_ops.compare.judging.gate import Tally
from smartcar_ops.compare.judging.verdicts import JUDGED, WAIVABLE, Judgement, judge
from smartcar_ops.compare.recording import Recording
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum
from smartcar_ops.fields.field_map import TOKEN_PATHS, Field, FieldMap
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.fields.reading import Reading
from smartcar_ops.settings.layout import Layout, Waiver
from smartcar_ops.smartcar.documents import Document
from smartcar_ops.smartcar.v2 import BatchAnswer
from smartcar_ops.storage.parquet import ParquetTable

VEHICLE_TYPES = {
    **dict.fromkeys(("vehicle_id", "local_vehicle_id", "make", "powertrain", "state", "reason"), "str"),
    "recorded_at": "datetime64[us, UTC]",
    **dict.fromkeys(("scored", "lost", "judged", "requests"), "Int64"),
    **dict.fromkeys(("v2_seconds", "v3_seconds"), "float64"),
}
"""The column types of the table of vehicles, fixed whatever the rows are."""

COUNTED = ["make", "powertrain", "field", "scored", "verdict"]
FIELD_COLUMNS = list(FieldRow._fields)
ROWS = 10_000
"""Rows held in memory before they are written to the file."""

SHOWN = 500
"""Differences held in memory for the page; the table of fields has all of them."""

AGEING = frozenset({"stale", "moved", "mismatch", "cached_error"})
"""Verdicts that old data may explain."""

JSON = json.JSONEncoder(ensure_ascii=False).encode
WRITERS: dict[type, Callable[[Any], str]] = {
    bool: lambda raw: "true" if raw else "false",
    int: int.__repr__,
    float: lambda raw: float.__repr__(raw) if math.isfinite(raw) else JSON(raw),
}
"""The most frequent types, written as JSON writes them in a fifth of the time."""

NO_SUBSCRIPTION = "this vehicle has no webhook subscription"
"""The reason for an empty list of V3 signals, or 404 instead, without a subscription."""

HIDDEN = '"…"'
"""Replaces a private value."""


class Judge:
    """Judges recordings one by one; ``done`` returns the comparison. Makes no calls.

    VINs and places are masked unless ``show_private``. The tables are written to ``folder``, by default a temporary
    one.
    """

    def __init__(
        self, fields: FieldMap, layout: Layout, now: datetime, *, show_private: bool = False, folder: Path | None = None
    ) -> None:
        self._fields, self._gate, self._show_private = fields, layout.gate, show_private
        today = now.astimezone(UTC).date()
        self._waivers = [waiver for waiver in layout.waiver if waiver.expires >= today]
        self._expired = tuple(waiver for waiver in layout.waiver if waiver.expires < today)
        self._of_make: dict[str, tuple[Field, ...]] = {}
        self._counts: list[pd.DataFrame] = []
        self.tallies: dict[Stratum, Tally] = defaultdict(Tally)
        self._seconds = {"v2": array("d"), "v3": array("d")}
        self._requests = self._not_read = self._open = 0
        self.pages = 1
        """The most requests that V3's signals took for one vehicle."""
        self._batches: Counter[int] = Counter()
        self._tables = {
            "fields": _Table(FIELD_TYPES, folder and folder / "fields.parquet", self._count),
            "vehicles": _Table(VEHICLE_TYPES, folder and folder / "vehicles.parquet"),
        }
        self._lost: list[pd.DataFrame] = []

    def add(self, recording: Recording) -> None:
        """Judge every field of one vehicle; paths that a limit left for another day do not count yet."""
        vehicle, rows = recording.pair, []
        open_paths = recording.open_paths
        self._open += len(open_paths) > 0
        v2, v3, later = recording.batch, recording.signals, recording.signals_again
        scored = lost = judged = 0
        for field in self._fields_for(vehicle.make):
            if recording.earlier and field.v2:
                part = recording.part_of(field.v2.source)
                v2, v3, later = part.batch, part.signals, part.signals_again
            on_v2 = read_v2(field, v2)
            again = read_v3(field, later) if later is not None and field.compared else None
            judgement = judge(field, on_v2, read_v3(field, v3), again)
            if self._waivers and judgement.verdict in WAIVABLE:
                judgement = _waived(field, vehicle, judgement, self._waivers)
            counts = field.scored and not (open_paths and field.v2 and field.v2.source in open_paths)
            if counts:
                scored, lost = scored + 1, lost + judgement.lost
                judged += judgement.verdict in JUDGED
            rows.append(self._row(field, recording, on_v2, judgement, scored=counts))
        self._tables["fields"].extend(rows)
        self.tallies[vehicle.stratum].add(
            vehicle.vehicle_id, scored=scored, lost=lost, judged=judged, answered=recording.answered
        )
        self._add_vehicle(recording, scored, lost, judged)

    def skip(self, pairs: Iterable[LinkedVehicle], reason: str = "the allowance ran out before this vehicle") -> None:
        """List vehicles that were chosen and not read, with the reason."""
        rows = [
            (pair.vehicle_id, pair.local_vehicle_id, *pair.stratum, "not_read", reason, *[None] * 7) for pair in pairs
        ]
        self._not_read += len(rows)
        self._tables["vehicles"].extend(rows)

    def closed(self, linked: Mapping[Stratum, int]) -> set[Stratum]:
        """Return the strata of which enough is known: at 95%, whether under 1% of their vehicles have a loss."""
        return {name for name, tally in self.tallies.items() if tally.sample(linked.get(name, 0)).state != "open"}

    def done(self, linked: Mapping[Stratum, int] | None = None) -> Comparison:
        """Return the comparison of everything judged; ``linked`` is the number of linked vehicles by stratum."""
        tables = {name: table.done() for name, table in self._tables.items()}
        return Comparison(
            **tables,
            counts=self._counted(),
            strata=gates.frame(self.tallies, linked or {}, self._gate),
            lost=pd.concat(self._lost)[:SHOWN] if self._lost else pd.DataFrame(columns=FIELD_COLUMNS),
            seconds=self._seconds,
            batches=self._batches,
            requests=self._requests,
            read=sum(tally.read for tally in self.tallies.values()),
            not_read=self._not_read,
            in_part=self._open,
            order=tuple(dict.fromkeys(row.id for row in self._fields.fields)),
            gate=self._gate,
            expired=self._expired,
        )

    def _count(self, table: pa.Table) -> None:
        """Count rows of fields as they are written to the file, and hold the first differences."""
        grouped = table.group_by(COUNTED).aggregate([("field", "count"), ("lost", "sum")])
        self._counts.append(grouped.to_pandas())
        if sum(map(len, self._lost)) < SHOWN and pc.any(table["lost"]).as_py():
            self._lost.append(table.filter(table["lost"])[:SHOWN].to_pandas())

    def _counted(self) -> pd.DataFrame:
        names = {"field_count": "fields", "lost_sum": "lost"}
        if not self._counts:
            return pd.DataFrame(columns=[*COUNTED, *names.values()]).astype(dict.fromkeys(names.values(), "int64"))
        counted = pd.concat(self._counts).groupby(COUNTED, sort=False, observed=True)[list(names)].sum()
        return counted.rename(columns=names).reset_index().astype(dict.fromkeys(names.values(), "int64"))

    def _fields_for(self, make: str) -> tuple[Field, ...]:
        if make not in self._of_make:
            self._of_make[make] = self._fields.of(make)
        return self._of_make[make]

    def _row(
        self, field: Field, recording: Recording, v2: Reading, judgement: Judgement, *, scored: bool
    ) -> tuple[object, ...]:
        """Return the values of a `FieldRow`; a plain tuple, because there may be many millions of them."""
        vehicle, v3, hide = recording.pair, judgement.v3, field.private and not self._show_private
        return (
            vehicle.vehicle_id, vehicle.local_vehicle_id, vehicle.make, vehicle.powertrain, field.id, scored,
            _json(v2, hide), _number(v2), v2.unit, _json(v3, hide), _number(v3), v3.unit,
            judgement.verdict, _reason(judgement, recording), v2.at, v3.at, scored and judgement.lost,
        )  # fmt: skip

    def _add_vehicle(self, recording: Recording, scored: int, lost: int, judged: int) -> None:
        vehicle, seconds = recording.pair, list[float | None]()
        if isinstance(recording.batch, BatchAnswer):
            self._batches[sum(path not in TOKEN_PATHS for path in recording.batch.items)] += 1
        for name, answer in (("v2", recording.v2), ("v3", recording.v3)):
            seconds.append(answer.seconds if isinstance(answer, Document) else None)
            if isinstance(answer, Document):
                self._seconds[name].append(answer.seconds)
        requests = recording.requests
        self._requests += requests
        self.pages = max(self.pages, recording.pages)
        failed = next((answer for answer in (recording.v2, recording.v3) if not isinstance(answer, Document)), "")
        reason = NO_SUBSCRIPTION if recording.is_unsubscribed else str(failed)
        names = (vehicle.vehicle_id, vehicle.local_vehicle_id, *vehicle.stratum)
        counts = (scored, lost, judged, requests)
        self._tables["vehicles"].extend([(*names, "read", reason, recording.at, *counts, *seconds)])


class _Table:
    """Rows that are written to a file in batches; ``seen`` is called with each batch."""

    def __init__(
        self, types: Mapping[str, str], path: Path | None, seen: Callable[[pa.Table], None] | None = None
    ) -> None:
        self._parquet, self._seen = ParquetTable(types, path), seen
        self._rows: list[tuple[object, ...]] = []

    def extend(self, rows: Iterable[tuple[object, ...]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= ROWS:
            self._flush()

    def done(self) -> ParquetTable:
        self._flush()
        return self._parquet.close()

    def _flush(self) -> None:
        if self._rows:
            table = self._parquet.append_rows(self._rows)
            self._rows = []
            if self._seen:
                self._seen(table)


def _reason(judgement: Judgement, recording: Recording) -> str:
    """Return the reason in words; if a missing webhook subscription may be the cause, it is named."""
    if recording.is_unsubscribed and judgement.verdict == "unavailable":
        return f"{NO_SUBSCRIPTION}, so V3 has no data for it"
    if recording.pair.subscribed is False and judgement.verdict in AGEING:
        return f"{judgement.reason}; {NO_SUBSCRIPTION}, so V3's data may be a day old"
    return judgement.reason


def _json(reading: Reading, hide: bool) -> str | None:
    if reading.raw is None:
        return None
    return HIDDEN if hide else WRITERS.get(type(reading.raw), JSON)(reading.raw)


def _number(reading: Reading) -> float | None:
    value = reading.value
    if isinstance(value, float):
        return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _waived(field: Field, vehicle: LinkedVehicle, judgement: Judgement, waivers: Sequence[Waiver]) -> Judgement:
    """Return the judgement as `waived` if a waiver in force covers its field and make, otherwise unchanged."""
    for waiver in waivers:
        if waiver.field == field.id and waiver.make.upper() in ("", vehicle.make):
            reason = f"{judgement.reason}; waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            return Judgement("waived", reason, judgement.v3)
    return judgement
