"""Tables as an Excel workbook, written row by row, so that memory use does not grow with their number of rows."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from smartcar_ops.storage.cells import CellValue, PlainValue

MAX_ROWS = 1_048_576
"""Rows of an Excel sheet, with its header."""

MAX_CHARACTERS = 32_767
"""Characters of an Excel cell, in UTF-16."""

MAX_DIGITS = 15
"""Digits of a number that Excel does not round."""

FIRST_YEAR = 1900
"""Excel has no earlier dates; they are written as text."""

TITLE_LENGTH = 27
"""Characters of a table's name that its sheet keeps: Excel allows 31, and a number may follow."""

MEASURED_ROWS = 1_000
"""Rows whose longest text sets the width of a column."""

MIN_WIDTH, MAX_WIDTH = 8, 60
"""The narrowest and widest column, in characters."""

CUT = " … (cut: {0:,} characters)"
"""The end of a text that is longer than a cell may be."""

DICTIONARY = "dictionary"
"""The sheet that says what the tables and columns mean."""


@dataclass
class SheetNotes:
    """What became of a table: the names of its sheets, its rows, and how many texts were cut, by column."""

    sheets: list[str] = field(default_factory=list)
    rows: int = 0
    cut: Counter[str] = field(default_factory=Counter)


class ExcelWorkbook:
    """A workbook that grows by whole tables; ``scratch`` is a folder for parts of it while it is written."""

    def __init__(self, path: Path, scratch: str) -> None:
        options = {"constant_memory": True, "tmpdir": scratch, "use_zip64": True}
        self._book = xlsxwriter.Workbook(str(path), options)
        self._bold = self._book.add_format({"bold": True})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})

    def add(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[CellValue]]) -> SheetNotes:
        """Write a table to a sheet of its own; one with more rows than Excel allows continues on ``<name> 2``."""
        notes, left = SheetNotes(), iter(rows)
        row = next(left, None)
        while row is not None or not notes.sheets:
            title = name[:TITLE_LENGTH]
            sheet = f"{title} {len(notes.sheets) + 1}" if notes.sheets else title
            notes.sheets.append(sheet)
            row = self._fill(self._book.add_worksheet(sheet), columns, row, left, notes)
        return notes

    def _fill(
        self,
        sheet: Any,
        columns: Sequence[str],
        row: Sequence[CellValue] | None,
        left: Iterator[Sequence[CellValue]],
        notes: SheetNotes,
    ) -> Sequence[CellValue] | None:
        """Fill one sheet with this row and those that are left; return the first one without room on it."""
        widths = [len(name) for name in columns]
        for place, name in enumerate(columns):
            sheet.write_string(0, place, name, self._bold)
        number = 0
        while row is not None and number + 1 < MAX_ROWS:
            number += 1
            for place, cell in enumerate(row):
                if cell is not None and cell != "":
                    self._write(sheet, number, place, cell, columns[place], notes)
            if number <= MEASURED_ROWS:
                widths = [max(width, _width(cell)) for width, cell in zip(widths, row, strict=True)]
            row = next(left, None)
        notes.rows += number
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, number, len(columns) - 1)
        for place, width in enumerate(widths):
            sheet.set_column(place, place, min(max(width, MIN_WIDTH), MAX_WIDTH) + 2)  # 2 for the filter's button
        return row

    def _write(self, sheet: Any, row: int, place: int, cell: PlainValue, column: str, notes: SheetNotes) -> None:
        if isinstance(cell, str):
            text = _fitting(cell)
            notes.cut[column] += text is not cell
            sheet.write_string(row, place, _not_markup(text))
        elif isinstance(cell, bool):
            sheet.write_boolean(row, place, cell)
        elif isinstance(cell, int | float):
            self._write_number(sheet, row, place, cell)
        elif cell.year < FIRST_YEAR:
            sheet.write_string(row, place, cell.isoformat())
        elif isinstance(cell, datetime):
            sheet.write_datetime(row, place, cell.replace(tzinfo=None), self._time)
        else:
            sheet.write_datetime(row, place, datetime(cell.year, cell.month, cell.day), self._day)

    @staticmethod
    def _write_number(sheet: Any, row: int, place: int, number: float) -> None:
        """Write a number; as text if Excel would round it, or has no such number."""
        is_exact = abs(number) < 10**MAX_DIGITS if isinstance(number, int) else math.isfinite(number)
        if is_exact:
            sheet.write_number(row, place, number)
        else:
            sheet.write_string(row, place, str(number))

    def close(self) -> None:
        """Complete the file. OSError if it can't be written."""
        try:
            self._book.close()
        except FileCreateError as error:
            raise error.args[0] from None


@contextmanager
def open_workbook(path: Path) -> Iterator[ExcelWorkbook]:
    """Open a new workbook and complete it at the end of the block; its parts are in the same folder until then."""
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as scratch:
        book = ExcelWorkbook(path, scratch)
        yield book
        book.close()


def _fitting(text: str) -> str:
    """Return the text, or its beginning with the number of its characters if it is too long for a cell."""
    if len(text) * 2 <= MAX_CHARACTERS:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) // 2 <= MAX_CHARACTERS:
        return text
    end = CUT.format(len(text))
    return units[: (MAX_CHARACTERS - len(end)) * 2].decode("utf-16-le", "ignore") + end


def _not_markup(text: str) -> str:
    """Return the text, with a blank after it if XlsxWriter would take it for markup and write it unescaped."""
    return f"{text} " if text.startswith("<r>") and text.endswith("</r>") else text


def _width(cell: CellValue) -> int:
    if isinstance(cell, str):
        return max(map(len, cell[: MAX_WIDTH * 4].split("\n")))
    return 19 if isinstance(cell, date) else len(str(cell))
