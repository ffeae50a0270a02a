"""The comparison: reading against the guide's own way, judging against parsing, memory, and the verdicts themselves."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from smartcar_ops.compare.compare import open_comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.judging.verdicts import LOST
from smartcar_ops.compare.recording import read_recording
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.fields.field_map import FieldMap, field_map
from smartcar_ops.sandbox.truth import tell_truth
from smartcar_ops.session import Session
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.layout import Layout
from tests.benchmarks import compare_memory, one_by_one
from tests.benchmarks.millions import WIDTH, seconds, target, times
from tests.benchmarks.sandboxes import NOTEBOOK, linked

VEHICLES, SAMPLE = 200, 10
"""Vehicles that are compared at 100 ms a call; so many of them in the plain way too."""

FASTER = 40
PAIRS, FIELDS = 10_000, 25
PARSINGS = 4
"""Judging, its parsing and its tables together may take so many times as long as parsing the same bodies."""

FEW, MANY = 1_000, 20_000
PART = 100
"""Recordings written at a time."""

GROWTH_MIB = 30
"""By how much memory may differ between few and many vehicles."""

PLANTED = 2_000
"""Vehicles whose verdicts are held against what the sandbox planted."""

LINKED_SHARE = 0.5
"""Of the sandbox's users, fewer than have a vehicle that can be read."""

Row = tuple[str, ...]


def measure() -> None:
    """Prints a row a measurement, then the planted kinds of difference beside the verdicts found."""
    table = Table("measured", "size", "seconds", "ratio", "target", title="comparing V2 with V3", box=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, rows in enumerate((reading, judging)):
            (folder / str(number)).mkdir()
            for row in rows(folder / str(number)):
                table.add_row(*row)
        Console(width=WIDTH).print(table)
        (folder / "planted").mkdir()
        Console(width=WIDTH).print(confusion(folder / "planted"))


# --- reading ---------------------------------------------------------------------------------------------


def reading(folder: Path) -> Iterator[Row]:
    """Comparing a small fleet at 100 ms a call, against one request after the other."""
    with linked(folder, int(VEHICLES / LINKED_SHARE), "slow") as (settings, _):
        compare = open_comparison(Session(NOTEBOOK, settings), vehicles=VEHICLES)
        start = time.perf_counter()
        compare.read()
        ours, read = time.perf_counter() - start, compare.result.read
        yield "compare, 100 ms a call", f"{read} vehicles, {len(compare.session.transport.calls)} calls", seconds(ours)
        start = time.perf_counter()
        calls = one_by_one.read(settings, compare.chosen[:SAMPLE], field_map())
        plain = time.perf_counter() - start
        yield "one request after the other", f"{SAMPLE} vehicles, {calls} calls", seconds(plain)
        ratio = plain / SAMPLE * read / ours
        reckoned = f"the same, reckoned from {SAMPLE} vehicles"
        yield reckoned, f"{read} vehicles", seconds(plain / SAMPLE * read), times(ratio), target(ratio, least=FASTER)


# --- judging and memory ----------------------------------------------------------------------------------


def judging(folder: Path) -> Iterator[Row]:
    """Judging kept recordings against parsing them, and what few and many of them take of memory."""
    with linked(folder, 60) as (settings, _):
        found = recorded(settings)
    documents = list(islice(repeated(found), PAIRS))
    fields = some_fields(FIELDS)
    start = time.process_time()
    for text in documents:
        json.loads(text)
    parsed = time.process_time()
    frame = judged(documents, fields)
    parsing, ours = parsed - start, time.process_time() - parsed
    yield "json.loads, CPU", f"{PAIRS:,} recordings", seconds(parsing)
    size = f"{PAIRS:,} pairs x {len(fields.fields)} fields"
    assert PAIRS * len(fields.fields) == len(frame)
    yield "parse, judge, frame, CPU", size, seconds(ours), times(ours / parsing), target(ours / parsing, most=PARSINGS)
    grown = [memory(folder / f"{count}.parquet", found, count) for count in (FEW, MANY)]
    for count, mib in zip((FEW, MANY), grown, strict=True):
        yield "replay, memory added", f"{count:,} vehicles", "", f"{mib:,.0f} MiB"
    difference = grown[1] - grown[0]
    yield "the difference", "", "", f"{difference:,.0f} MiB", target(difference, most=GROWTH_MIB)


def recorded(settings: Settings) -> list[dict[str, Any]]:
    """The documents of every vehicle that can be read."""
    session = Session(NOTEBOOK, settings)
    open_comparison(session, vehicles=0).read()
    recordings = Recordings(session.ledger)
    return [kept.document for kept in recordings.stream(recordings.index())]


def repeated(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The documents again and again, as JSON, each of another vehicle."""
    for number, document in enumerate(cycle(documents)):
        ids = {"local_vehicle_id": str(number), "vehicle_id": f"{number:08x}-0000-4000-8000-000000000000"}
        yield json.dumps({**document, **ids}, ensure_ascii=False)


def some_fields(count: int) -> FieldMap:
    """The first rows of the map that are scored."""
    fields = field_map()
    return replace(fields, fields=tuple(row for row in fields.fields if row.scored)[:count])


def judged(documents: Sequence[str], fields: FieldMap) -> pd.DataFrame:
    """Every field of every document, judged, with reasons, as a DataFrame."""
    judging = Judge(fields, Layout(), datetime.now(UTC))
    for text in documents:
        judging.add(read_recording(json.loads(text)))
    return judging.done().fields.frame()


def memory(path: Path, found: Sequence[dict[str, Any]], count: int) -> float:
    """MiB that judging so many vehicles from a file of recordings adds."""
    documents, schema = repeated(found), pa.schema({"document": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(count // PART):
            writer.write_table(pa.table({"document": list(islice(documents, PART))}, schema))
    return compare_memory.measured(path)


# --- the verdicts ----------------------------------------------------------------------------------------


def confusion(folder: Path) -> Table:
    """Planted kinds of difference and the verdicts found, and what was found where nothing was planted."""
    with linked(folder, int(PLANTED / LINKED_SHARE)) as (settings, address):
        compare = open_comparison(Session(NOTEBOOK, settings), vehicles=PLANTED)
        compare.read()
        truth = tell_truth(address.world())
    frame = compare.result.fields.frame()
    frame = frame[frame["scored"]]
    planted = {(row["local_vehicle_id"], row["field"]): row for row in truth["differences"]}
    told = zip(frame["local_vehicle_id"], frame["field"], frame["verdict"], strict=True)
    return _shown(Counter(_kind(planted.get((car, field)), field, verdict) for car, field, verdict in told))


def _kind(row: dict[str, Any] | None, field: str, verdict: str) -> tuple[str, str, str]:
    """(what was planted, what must be found, what was found); a loss that nobody planted is told by its field."""
    if row:
        return row["kind"], row["expected"], verdict
    return f"nothing{f' in {field}' if verdict in LOST else ''}", "", verdict


def _shown(counts: Counter[tuple[str, str, str]]) -> Table:
    wrong = sum(count for (_, expected, found), count in counts.items() if expected not in ("", found))
    title = f"planted and found: {wrong:,} of {sum(count for key, count in counts.items() if key[1]):,} amiss"
    table = Table("planted", "expected", "found", "fields", title=title, box=None)
    for (kind, expected, found), count in sorted(counts.items()):
        table.add_row(kind, expected, found, f"{count:,}")
    return table


if __name__ == "__main__":
    measure()
