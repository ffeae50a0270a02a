"""The tables of a run's folder for analysts: what their columns mean, and the tables as Excel and CSV."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from smartcar_ops.storage import cells, columns
from smartcar_ops.storage.cells import CellValue
from smartcar_ops.storage.columns import TableMeaning, describe
from smartcar_ops.storage.run_folder import MEANINGS, write_json
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.storage.workbook import SheetNotes

WORKBOOK = "tables.xlsx"
TEMPORARY = ".tables.partial"
"""The folder, in the run's own, in which the files are written before they get their names."""

ROWS = 5_000
"""Rows held in memory at a time."""

HEADER = ("table", "column", "type", "means", "remarks")
"""The columns of the dictionary."""

UTC_ONLY = "UTC; Excel has no time zones."


@dataclass(frozen=True)
class SavedTable:
    """A table in a run's folder: its name, its file, and what its columns mean."""

    name: str
    path: Path
    meaning: TableMeaning

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.meaning.columns)

    def rows(self) -> Iterator[Sequence[CellValue]]:
        """Yield the rows as plain values, read in batches."""
        meanings = list(self.meaning.columns.values())
        with pq.ParquetFile(self.path, pre_buffer=False) as file:  # otherwise everything that was read stays in memory
            for batch in file.iter_batches(ROWS):
                yield from cells.rows(pa.Table.from_batches([batch]), meanings)


def export(folder: Path, formats: Collection[str]) -> None:
    """Write what the columns mean and, if wanted, the tables as ``xlsx`` and ``csv`` to a run's folder.

    All files are complete before the first one gets its name. OSError if one can't be written.
    """
    tables = list(_tables(folder))
    temporary = folder / TEMPORARY
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir()
    try:
        write_json(temporary / MEANINGS, _all_meanings(folder, tables))
        if tables and "xlsx" in formats:
            _write_workbook(temporary, tables)
        if "csv" in formats:
            from smartcar_ops.storage.csv_file import write_csv

            for table in tables:
                write_csv(temporary / f"{table.name}.csv", table.columns, table.rows())
        for path in sorted(temporary.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def describe_tables(folder: Path) -> None:
    """Write only what the columns of the run's tables mean. OSError if it can't be written."""
    write_json(folder / MEANINGS, _all_meanings(folder, list(_tables(folder))))


def _all_meanings(folder: Path, tables: Sequence[SavedTable]) -> dict[str, dict[str, dict[str, str]]]:
    """Return what the columns of the tables, and of the sheets to fill in, mean: table -> column -> type and words."""
    meanings = {table.name: table.meaning for table in tables}
    others = {path.stem for path in folder.glob("*.csv")} - meanings.keys()
    meanings |= {name: known for name, known in columns.tables().items() if name in others}
    return {name: _meanings(meaning) for name, meaning in meanings.items()}


def _tables(folder: Path) -> Iterator[SavedTable]:
    """Yield the complete tables in a folder; a run that was killed may leave others."""
    for path in sorted(folder.glob("*.parquet")):
        with suppress(pa.ArrowException):
            yield SavedTable(path.stem, path, describe(path.stem, pq.read_schema(path)))


def _meanings(table: TableMeaning) -> dict[str, dict[str, str]]:
    return {name: {"type": of.type, "means": of.means} for name, of in table.columns.items()}


def _write_workbook(temporary: Path, tables: Sequence[SavedTable]) -> None:
    """Write the tables and their dictionary to one workbook."""
    from smartcar_ops.storage.workbook import DICTIONARY, open_workbook

    with open_workbook(temporary / WORKBOOK) as book:
        entries: list[tuple[str, ...]] = []
        for table in tables:
            notes = book.add(table.name, table.columns, table.rows())
            entries += dictionary(table.name, table.meaning, notes)
        book.add(DICTIONARY, HEADER, entries)


def dictionary(name: str, meaning: TableMeaning, notes: SheetNotes) -> Iterator[tuple[str, ...]]:
    """Yield the dictionary's rows of a table: its own, then one for each column."""
    from smartcar_ops.storage.workbook import MAX_CHARACTERS, MAX_ROWS

    remark = f"{thousands(notes.rows, 'rows')}."
    if len(notes.sheets) > 1:
        sheets = ", ".join(notes.sheets)
        remark += f" A sheet has at most {MAX_ROWS:,} rows, so they are on {len(notes.sheets)} sheets: {sheets}."
    yield name, "", "", meaning.means, remark
    for column, of in meaning.columns.items():
        remarks = [UTC_ONLY] if of.type == "time" else []
        if cut := notes.cut[column]:
            remarks.append(
                f"{thousands(cut, 'texts')} cut: a cell has at most {MAX_CHARACTERS:,} characters; "
                f"{name}.parquet has everything."
            )
        yield name, column, of.type, of.means, " ".join(remarks)
