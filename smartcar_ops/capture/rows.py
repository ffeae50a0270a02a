"""Rows of a file in whatever form people kept it: CSV, JSON Lines, one JSON document or several, plain lines.

A file is never held in memory; what can't be read is a row with a ``problem``, and ends nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from smartcar_ops.errors import ParameterError
from smartcar_ops.settings.files import BYTE_ORDER_MARKS
from smartcar_ops.smartcar import json_values

LONGEST = 8_000_000
"""Characters of a line, or of one JSON document, that are read."""

PIECE = 65_536
"""Characters read at first of a document that is written over many lines."""

SEPARATORS = ",;\t|"

EXCEL = re.compile(r'"?sep=(?P<separator>.)"?', re.IGNORECASE)
"""The line that Excel writes above a header, and reads: what separates the cells."""

GZIP = b"\x1f\x8b"

OTHERS = {
    b"PK": "a ZIP archive or an Excel workbook; save it as CSV",
    b"SQLite format 3": "a SQLite database; export the table as CSV",
    b"PAR1": "a Parquet file; write it as CSV or JSON Lines",
    b"%PDF": "a PDF",
}
"""How files begin that hold rows, but no text."""

NO_OBJECT = "the line is no JSON object"


@dataclass(frozen=True)
class FileRow:
    """What stands on a line: named values, or a text; ``line`` is where it ends in CSV, else where it begins."""

    line: int
    named: dict[str, Any] | None = field(default=None, repr=False)
    text: str = field(default="", repr=False)
    problem: str = ""


def refuse_strange(name: str, path: Path) -> None:
    """ParameterError, by the parameter's name, where a file holds no text; OSError where it can't be read."""
    with path.open("rb") as file:
        start = file.read(1000)
    if start.startswith(GZIP):
        with gzip.open(path) as unpacked:
            start = _start_of(name, path, unpacked)
    if any(start.startswith(mark) for mark, _ in BYTE_ORDER_MARKS):
        return
    found = next((what for mark, what in OTHERS.items() if start.startswith(mark)), None)
    if found or b"\0" in start:
        why = f"but {found}" if found else "; expected lines in UTF-8"
        raise ParameterError(f"parameters: {name} is {str(path)!r}, which is no text {why}.".replace(" ;", ";"))


def _start_of(name: str, path: Path, unpacked: gzip.GzipFile) -> bytes:
    try:
        return unpacked.read(1000)
    except (EOFError, gzip.BadGzipFile, OSError):
        raise ParameterError(f"parameters: {name} is {str(path)!r}, whose gzip is broken; fetch it again.") from None


def read(path: Path, columns: Collection[str]) -> Iterator[FileRow]:
    """Every row of a file that is not blank; a header of CSV is known by one of these columns."""
    last = 1
    try:
        with _opened(path) as file:
            for row in _rows(file, columns):
                last = row.line
                yield row
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield FileRow(last, problem="the file ends here: it was not packed, or fetched, to its end")


def _rows(file: IO[str], columns: Collection[str]) -> Iterator[FileRow]:
    lines = _lines(file)
    start = next(lines, None)
    if start is None:
        return
    number, line = start
    told = EXCEL.fullmatch(line.strip(" \r\n"))
    if told and (below := next(lines, None)):
        yield from _csv(lines, below[0], _cells(below[1], told["separator"]), told["separator"])
    elif header := _header(line, columns):
        yield from _csv(lines, number, *header)
    elif line.lstrip()[:1] in ("{", "[") and _parsed(line) is None:
        file.seek(0)
        yield from _documents(file)
    else:
        yield from _read_line(number, line)
        for number, line in lines:
            yield from _read_line(number, line)


def _opened(path: Path) -> IO[str]:
    """The file's text, unpacked where it is packed; what is not of its encoding is replaced."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    binary: Any = gzip.GzipFile(path) if packed else io.BufferedReader(io.FileIO(path))
    start = binary.peek(4)[:4]
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8-sig")
    return io.TextIOWrapper(binary, encoding=encoding, errors="replace")


def _lines(file: IO[str]) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not blank; what is cut off a line that is too long is left."""
    number, fresh = 0, True
    while line := file.readline(LONGEST):
        number += fresh
        if fresh and line.strip():
            yield number, line.rstrip("\r\n")
        fresh = line.endswith("\n")


def _read_line(number: int, line: str) -> Iterator[FileRow]:
    """The rows of a line: of JSON an object, a text or a list of them; else the line as it is."""
    if line.lstrip()[:1] not in ("{", "[", '"'):
        yield FileRow(number, text=line)
        return
    found = _parsed(line)
    is_rows = isinstance(found, list) and (not found or any(isinstance(one, dict | str) for one in found))
    for one in found if is_rows else [found]:
        yield _row(number, one)


def _row(number: int, found: Any) -> FileRow:
    if isinstance(found, dict):
        return FileRow(number, named=found)
    return (
        FileRow(number, text=found) if isinstance(found, str) and found.strip() else FileRow(number, problem=NO_OBJECT)
    )


def _parsed(line: str) -> Any:
    try:
        return json_values.loads(line)
    except ValueError:
        return None


def _header(line: str, columns: Collection[str]) -> tuple[list[str], str] | None:
    """(columns, what separates them) where the line is a header that names one of those wanted."""
    for separator in SEPARATORS:
        cells = _cells(line, separator)
        if set(columns) & set(cells):
            return cells, separator
    return None


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=separator), [])]


def _csv(lines: Iterator[tuple[int, str]], number: int, columns: list[str], separator: str) -> Iterator[FileRow]:
    """The rows below the header; a row is known by the line it ends on."""
    reached = [number]

    def following() -> Iterator[str]:
        for reached[0], line in lines:
            yield line + "\n"  # a cell may be of several lines

    rows = csv.reader(following(), delimiter=separator)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield FileRow(reached[0], problem="the row can't be read as CSV")
            continue
        if any(cell.strip() for cell in cells):
            yield FileRow(reached[0], named=dict(zip(columns, cells, strict=False)))


class _Buffer:
    """The part of a file that is being looked at, and the line it begins on."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self.text, self.line = file, "", 1

    def grow(self) -> bool:
        """Reads as much again as there is, so that a long document is parsed a few times only; False at the end."""
        more = self._file.read(max(PIECE, len(self.text))) if len(self.text) < LONGEST else ""
        self.text += more
        return bool(more)

    def drop(self, characters: int) -> None:
        """Leaves so many characters behind."""
        self.line += self.text.count("\n", 0, characters)
        self.text = self.text[characters:]

    def skip(self, characters: str) -> bool:
        """Leaves these behind; False at the end of the file."""
        while True:
            self.drop(len(self.text) - len(self.text.lstrip(characters)))
            if self.text:
                return True
            if not self.grow():
                return False

    def resume(self) -> bool:
        """Goes to the next line that begins an object; False where there is none."""
        while True:
            found = self.text.find("\n{", 1)
            if found >= 0:
                self.drop(found + 1)
                return True
            self.drop(max(len(self.text) - 1, 0))
            if not self.grow():
                return False


def _documents(file: IO[str]) -> Iterator[FileRow]:
    """Objects written over many lines: one after the other, or as the elements of a list."""
    buffer, decoder = _Buffer(file), json.JSONDecoder()
    while buffer.skip(" \t\r\n,[]"):
        try:
            found, end = decoder.raw_decode(buffer.text)
        except (ValueError, RecursionError) as error:
            cut_off = isinstance(error, json.JSONDecodeError) and not _is_broken(error, buffer.text)
            if cut_off and buffer.grow():
                continue
            yield FileRow(buffer.line, problem=NO_OBJECT)
            if not buffer.resume():
                return
            continue
        yield FileRow(buffer.line, problem=NO_OBJECT) if json_values.is_deep(found) else _row(buffer.line, found)
        buffer.drop(end)


def _is_broken(error: json.JSONDecodeError, text: str) -> bool:
    """Whether more text would not help: the error is before the end, and not that of a text that is not closed yet."""
    return error.pos < len(text) - 20 and not error.msg.startswith("Unterminated string")
