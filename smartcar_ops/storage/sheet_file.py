"""Reads a sheet that a person filled in: CSV as spreadsheets write it, or an Excel workbook."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from smartcar_ops.errors import ParameterError
from smartcar_ops.settings.files import BYTE_ORDER_MARKS
from smartcar_ops.storage.cells import unprotected

MAX_BYTES = 64 * 1024**2
"""Bytes of a file that is read."""

MAX_UNPACKED_BYTES = 256 * 1024**2
"""Bytes of all parts of a workbook together, unpacked; Excel packs a sheet to about a tenth."""

MAX_PARTS = 1_000
"""Parts of a workbook."""

MAX_ROWS = 100_000
"""Rows of a sheet that are read, with its header."""

MAX_COLUMNS = 100
"""Columns of a workbook's sheet that are read; a single cell may pretend that there are 16,384."""

SEPARATORS = ",;\t"

SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>.)"?', re.IGNORECASE)
"""The line that Excel writes above a header, with the separator of the cells."""

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""The first bytes of a workbook, and those of an old or encrypted one."""


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet: its first line (of a workbook: its number), and its cells as text."""

    line: int
    cells: Sequence[str]


def read_sheet(path: Path, sheet: str) -> Iterator[SheetRow]:
    """Yield the rows of a file that are not empty; of a workbook, those of this sheet or else of its first one.

    ParameterError, with the line if there is one, if the file is not a table or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise problem(path, f"has {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}. Split it")
        content = path.read_bytes()
    except OSError as error:
        raise problem(path, f"can't be read ({error.strerror}); expected a CSV file or an Excel workbook") from None
    if content.startswith(OLE):
        raise problem(path, "is an old or password-protected workbook; save it as .xlsx without a password, or as CSV")
    rows = _workbook(path, content, sheet) if content.startswith(ZIP) else _csv(path, content)
    for count, row in enumerate((row for row in rows if any(cell.strip() for cell in row.cells)), start=1):
        if count > MAX_ROWS:
            raise problem(path, f"has more than {MAX_ROWS:,} rows; expected fewer. Split it")
        yield row


def problem(path: Path, words: str, line: int = 0, column: str = "") -> ParameterError:
    """Return the error for a file that can't be used, naming its line and its column if there is one."""
    place = "".join((f": line {line}" if line else "", f", column {column}:" if column else ""))
    return ParameterError(f"decide: {path.name}{place} {words}.")


def _csv(path: Path, content: bytes) -> Iterator[SheetRow]:
    text = _decoded(path, content)
    above, header = 0, text.partition("\n")[0]
    named = SEPARATOR_LINE.fullmatch(header.strip(" \r\n"))
    if named:
        above, text = 1, text.partition("\n")[2]
    separator = named["separator"] if named else max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = above + 1
    try:
        for cells in reader:
            yield SheetRow(line, [unprotected(cell) for cell in cells])
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise problem(path, f"can't be read as CSV ({error}); expected a table", line) from None


def _decoded(path: Path, content: bytes) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise problem(path, 'is not in UTF-8; save it as "CSV UTF-8" or as a workbook', line) from None
    if "\0" in text:
        raise problem(path, "is not text; expected a CSV file or an Excel workbook")
    return text


def _workbook(path: Path, content: bytes, sheet: str) -> Iterator[SheetRow]:
    import openpyxl

    broken = "can't be read as an Excel workbook ({}); save it again, or as CSV"
    try:
        _refuse_bomb(path, content)
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        found = book[sheet] if sheet in book.sheetnames else book.worksheets[0]
        numbered = enumerate(found.iter_rows(max_col=MAX_COLUMNS, values_only=True), start=1)
        for number, values in numbered:
            yield SheetRow(number, [_text(value) for value in values])
    except (ParameterError, MemoryError):
        raise
    except Exception as error:  # a damaged workbook may fail in any way, in openpyxl or in the XML parser
        raise problem(path, broken.format(type(error).__name__)) from None


def _refuse_bomb(path: Path, content: bytes) -> None:
    """ParameterError if a workbook's parts are too many, or too large unpacked; reads only the list of them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
    size = sum(part.file_size for part in parts)
    if len(parts) > MAX_PARTS or size > MAX_UNPACKED_BYTES:
        words = f"unpacks to {size:,} bytes in {len(parts):,} parts"
        raise problem(path, f"{words}; expected at most {MAX_UNPACKED_BYTES:,} in {MAX_PARTS:,}")


def _text(value: Any) -> str:
    """Return a workbook's cell as text; a whole number without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
