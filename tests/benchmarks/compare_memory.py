"""What judging recordings adds to a process's memory: ``python -m tests.benchmarks.compare_memory FILE``.

In a process of its own, as for `audit_memory`: MiB by which the peak grew from after the imports to after the last
table was written.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.recording import read_recording
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.settings.layout import Layout
from smartcar_ops.storage.parquet import ParquetTable
from tests.benchmarks.audit_memory import peak

PART = 100
"""Recordings read at a time."""


def measured(file: Path) -> float:
    """MiB that judging this file's recordings adds, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.compare_memory", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def judge(file: Path) -> None:
    """Judges every recording of the file, as a replay does."""
    judging = Judge(field_map(), Layout(), datetime.now(UTC))
    for table in ParquetTable.opened(file).tables(rows=PART):
        for text in table.column("document").to_pylist():
            judging.add(read_recording(json.loads(text)))
    judging.done()


if __name__ == "__main__":
    before = peak()
    judge(Path(sys.argv[1]))
    print(f"{peak() - before:.1f}")
