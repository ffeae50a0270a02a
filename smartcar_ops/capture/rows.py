"""Streams the rows of a file of CSV, JSON Lines, one or more JSON documents, or plain lines.

A file is never loaded whole; what can't be read is a row with a ``problem``, and the rows after it are still read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from smartcar_ops.errors import ParameterError
from smartcar_ops.settings.files import BYTE_ORDER_MARKS
from smartcar_ops.smartcar import json_values
from smartcar_ops.storage.sheet_file import SEPARATOR_LINE

LONGEST = 8_000_000
"""Characters of a line, or of one JSON document, that are read."""

PIECE = 65_536
"""Characters read first of a JSON document that spans several lines."""

SEPARATORS = ",;\t|"

GZIP = b"\x1f\x8b"

OTHERS = {
    b"PK": "a ZIP archive or an Excel workbook; save it as CSV",
    b"SQLite format 3": "a SQLite database; export the table as CSV",
    b"PAR1": "a Parquet file; write it as CSV or JSON Lines",
    b"%PDF": "a PDF",
}
"""The first bytes of files that are not text, and what they are."""

NO_OBJECT = "the line is not a JSON object"


@dataclass(frozen=True)
class FileRow:
    """A row of a file: named values or a text. ``line`` is its last line in CSV, otherwise its first."""

    line: int
    named: dict[str, Any] | None = field(default=None, repr=False)
    text: str = field(default="", repr=False)
    problem: str = ""


def refuse_strange(name: str, path: Path) -> None:
    """ParameterError, with the parameter's name, if a file is not text; OSError if it can't be read."""
    with path.open("rb") as file:
        start = file.read(1000)
    if start.startswith(GZIP):
        with gzip.open(path) as unpacked:
            start = _start_of(name, path, unpacked)
    if any(start.startswith(mark) for mark, _ in BYTE_ORDER_MARKS):
        return
    kind = next((what for mark, what in OTHERS.items() if start.startswith(mark)), None)
    if kind or b"\0" in start:
        why = f" but {kind}" if kind else "; expected lines in UTF-8"
        raise ParameterError(f"parameters: {name} is {str(path)!r}, which is not text{why}.")


def _start_of(name: str, path: Path, unpacked: gzip.GzipFile) -> bytes:
    try:
        return unpacked.read(1000)
    except (EOFError, gzip.BadGzipFile, OSError):
        raise ParameterError(
            f"parameters: {name} is {str(path)!r}, which is a broken gzip file; download it again."
        ) from None


def read(path: Path, columns: Collection[str]) -> Iterator[FileRow]:
    """Yield the rows of a file that are not blank; a CSV header is recognized by one of these columns."""
    last = 1
    try:
        with _opened(path) as file:
            for row in _rows(file, columns):
                last = row.line
                yield row
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield FileRow(last, problem="the file ends here: it was not fully compressed or downloaded")


def _rows(file: IO[str], columns: Collection[str]) -> Iterator[FileRow]:
    lines = _lines(file)
    start = next(lines, None)
    if start is None:
        return
    number, line = start
    excel = SEPARATOR_LINE.fullmatch(line.strip(" \r\n"))
    if excel and (below := next(lines, None)):
        yield from _csv(lines, below[0], _cells(below[1], excel["separator"]), excel["separator"])
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
    """Open the file as text, decompressed if needed; bytes that are invalid in its encoding are replaced."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    binary: Any = gzip.GzipFile(path) if packed else io.BufferedReader(io.FileIO(path))
    start = binary.peek(4)[:4]
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8-sig")
    return io.TextIOWrapper(binary, encoding=encoding, errors="replace")


def _lines(file: IO[str]) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of the lines that are not blank; a line that is too long is cut off."""
    number, fresh = 0, True
    while line := file.readline(LONGEST):
        number += fresh
        if fresh and line.strip():
            yield number, line.rstrip("\r\n")
        fresh = line.endswith("\n")


def _read_line(number: int, line: str) -> Iterator[FileRow]:
    """Yield the rows of a line: a JSON object, a JSON string, or a list of these; otherwise the line as it is."""
    if line.lstrip()[:1] not in ("{", "[", '"'):
        yield FileRow(number, text=line)
        return
    value = _parsed(line)
    is_rows = isinstance(value, list) and (not value or any(isinstance(one, dict | str) for one in value))
    for one in value if is_rows else [value]:
        yield _row(number, one)


def _row(number: int, value: Any) -> FileRow:
    if isinstance(value, dict):
        return FileRow(number, named=value)
    return (
        FileRow(number, text=value) if isinstance(value, str) and value.strip() else FileRow(number, problem=NO_OBJECT)
    )


def _parsed(line: str) -> Any:
    try:
        return json_values.loads(line)
    except ValueError:
        return None


def _header(line: str, columns: Collection[str]) -> tuple[list[str], str] | None:
    """Return (columns, separator) if the line is a header with one of the wanted columns; otherwise None."""
    for separator in SEPARATORS:
        cells = _cells(line, separator)
        if set(columns) & set(cells):
            return cells, separator
    return None


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=separator), [])]


def _csv(lines: Iterator[tuple[int, str]], number: int, columns: list[str], separator: str) -> Iterator[FileRow]:
    """Yield the rows below the header, each with the number of its last line."""
    reached = [number]

    def following() -> Iterator[str]:
        for reached[0], line in lines:
            yield line + "\n"  # a cell may span several lines

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
    """The part of a file that is being parsed, and the number of its first line."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self.text, self.line = file, "", 1

    def grow(self) -> bool:
        """Double the text, so that a long document is parsed only a few times; return False at the end."""
        more = self._file.read(max(PIECE, len(self.text))) if len(self.text) < LONGEST else ""
        self.text += more
        return bool(more)

    def drop(self, characters: int) -> None:
        """Drop this number of characters from the start."""
        self.line += self.text.count("\n", 0, characters)
        self.text = self.text[characters:]

    def skip(self, characters: str) -> bool:
        """Drop these characters from the start; return False at the end of the file."""
        while True:
            self.drop(len(self.text) - len(self.text.lstrip(characters)))
            if self.text:
                return True
            if not self.grow():
                return False

    def resume(self) -> bool:
        """Move to the next line that begins with an object; return False if there is none."""
        while True:
            place = self.text.find("\n{", 1)
            if place >= 0:
                self.drop(place + 1)
                return True
            self.drop(max(len(self.text) - 1, 0))
            if not self.grow():
                return False


def _documents(file: IO[str]) -> Iterator[FileRow]:
    """Yield objects that span several lines: one after the other, or as the elements of a list."""
    buffer, decoder = _Buffer(file), json.JSONDecoder()
    while buffer.skip(" \t\r\n,[]"):
        try:
            value, end = decoder.raw_decode(buffer.text)
        except (ValueError, RecursionError) as error:
            cut_off = isinstance(error, json.JSONDecodeError) and not _is_broken(error, buffer.text)
            if cut_off and buffer.grow():
                continue
            yield FileRow(buffer.line, problem=NO_OBJECT)
            if not buffer.resume():
                return
            continue
        yield FileRow(buffer.line, problem=NO_OBJECT) if json_values.is_deep(value) else _row(buffer.line, value)
        buffer.drop(end)


def _is_broken(error: json.JSONDecodeError, text: str) -> bool:
    """Return whether more text would not help: the error is well before the end, and not an unclosed string."""
    return error.pos < len(text) - 20 and not error.msg.startswith("Unterminated string")
