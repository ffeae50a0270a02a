"""Tables as CSV files that spreadsheets open: UTF-8 with a byte order mark, commas, ISO times in UTC."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from smartcar_ops.storage.cells import CellValue, protected


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[CellValue]]) -> None:
    """Write rows to a CSV file, one at a time. OSError if it can't be written."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([protected(name) for name in columns])
        writer.writerows([_text(cell) for cell in row] for row in rows)


def _text(cell: CellValue) -> str:
    if isinstance(cell, str):
        return protected(cell)
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return cell.isoformat().replace("+00:00", "Z")
    return str(cell)
