"""Files of what arrived at the company: Connect's redirects and Smartcar's webhooks, read line by line.

A file is never held in memory; a line that can't be read is an arrival with a ``problem``, and ends nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartcar_ops.errors import ParameterError
from smartcar_ops.smartcar.failures import mapping, text

LONGEST_LINE = 8_000_000
"""Characters of a line that are read; what is cut off there is no JSON any more."""

YES = ("true", "yes", "1")
"""What `state_checked` may say."""

LONGEST_ADDRESS = 100_000
"""Characters of a redirect's address."""

ADDRESS = ("url", "query")
"""The columns or members that hold a redirect's address, the first that is filled."""


@dataclass(frozen=True)
class SentBack:
    """A redirect as the company stored it; ``user_id`` is its own id of whom it had sent to Connect.

    ``checked``: the company says, by ``state_checked``, that the state was the one it had sent this user with.
    """

    line: int
    address: str = field(default="", repr=False)
    user_id: str | None = None
    problem: str = ""
    checked: bool = False


@dataclass(frozen=True)
class Delivery:
    """A webhook as the company stored it: the raw body, and the ``SC-Signature`` that came with it.

    ``parsed``: the body was stored as an object, so that it may not be written as it came.
    """

    line: int
    body: str = field(default="", repr=False)
    signature: str | None = field(default=None, repr=False)
    problem: str = ""
    parsed: bool = False


def find(name: str, given: str) -> Path | None:
    """The file that a parameter names, None where it names none; ParameterError where it can't be read."""
    if not given.strip():
        return None
    if any(mark in given for mark in ("://", "?", "{", "user_id=", "code=")):
        # The content itself may hold a code or a place: not repeated.
        raise ParameterError(f"parameters: {name} holds an address or a body; expected the path of a file of them.")
    path = Path(given.strip()).expanduser()
    try:
        if not path.is_file():
            raise ParameterError(f"parameters: {name} is {given!r}; there is no such file, give the path of one.")
        with path.open("rb") as file:
            if b"\0" in file.read(1000):
                raise ParameterError(f"parameters: {name} is {given!r}, which is no text; expected lines in UTF-8.")
    except OSError as error:
        raise ParameterError(
            f"parameters: {name} is {given!r}, which can't be read ({error.strerror}); give a file that can be."
        ) from None
    return path


def redirects(path: Path) -> Iterator[SentBack]:
    """Every redirect of a file, in CSV with a header, in JSON Lines, or an address a line; ParameterError for none."""
    lines = _lines(path)
    start = next(lines, None)
    if start is None:
        return
    number, line = start
    header = _header(line)
    if header:
        yield from _from_csv(lines, number, *header)
        return
    if not line.lstrip().startswith("{") and "=" not in line and "://" not in line:
        raise ParameterError(
            "parameters: redirects names a file whose first line is no redirect and no header with the column url or "
            "query; expected CSV with such a header, JSON Lines, or an address a line."
        )
    yield _sent_back(number, line)
    for number, line in lines:
        yield _sent_back(number, line)


def webhooks(path: Path) -> Iterator[Delivery]:
    """Every webhook of a file of JSON Lines: an event's body, or an object with ``body`` and ``signature``."""
    for number, line in _lines(path):
        yield _delivery(number, line)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not blank; what is no UTF-8 is replaced."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        number, fresh = 0, True
        while line := file.readline(LONGEST_LINE):
            number += fresh
            if fresh and line.strip():
                yield number, line.rstrip("\r\n")
            fresh = line.endswith("\n")  # else a piece of a line that was too long: the rest of it is left


def _header(line: str) -> tuple[list[str], str] | None:
    """(columns, what separates them) where the line is a header that names an address."""
    for separator in ",;\t":
        columns = [column.strip().lower() for column in next(csv.reader([line], delimiter=separator), [])]
        if set(ADDRESS) & set(columns):
            return columns, separator
    return None


def _from_csv(lines: Iterator[tuple[int, str]], number: int, columns: list[str], separator: str) -> Iterator[SentBack]:
    """The rows below the header; a row is known by the line it ends on."""
    reached = [number]

    def following() -> Iterator[str]:
        for reached[0], line in lines:
            yield line

    rows = csv.reader(following(), delimiter=separator)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield SentBack(reached[0], problem="the row can't be read as CSV")
            continue
        if any(cell.strip() for cell in cells):
            yield _read_row(reached[0], dict(zip(columns, cells, strict=False)))


def _sent_back(number: int, line: str) -> SentBack:
    if not line.lstrip().startswith("{"):
        return _read_row(number, {"url": line})
    row = _json(line)
    return SentBack(number, problem="the line is no JSON object") if row is None else _read_row(number, row)


def _read_row(number: int, row: Mapping[str, Any]) -> SentBack:
    address = next((found.strip() for name in ADDRESS if (found := text(row.get(name)))), "")
    if not address:
        return SentBack(number, problem="the row has no address")
    if len(address) > LONGEST_ADDRESS:
        return SentBack(number, problem="the address is too long to be one")
    checked = str(row.get("state_checked", "")).strip().lower() in YES
    return SentBack(number, address, (text(row.get("user_id")) or "").strip() or None, checked=checked)


def _delivery(number: int, line: str) -> Delivery:
    row = _json(line)
    if row is None:
        return Delivery(number, problem="the line is no JSON object")
    stored = _named(row)
    if "body" not in stored or "eventtype" in stored or "eventname" in stored:
        return Delivery(number, line)
    body = stored["body"]
    parsed = isinstance(body, dict)
    if parsed:  # parsed before it was stored: written as Smartcar's own SDKs write it to check it
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(body, str) or not body:
        return Delivery(number, problem="the line has no body")
    headers = _named(mapping(stored.get("headers")))
    candidates = (stored.get("signature"), stored.get("sc-signature"), headers.get("sc-signature"))
    signature = next((found for value in candidates if (found := _single(value))), None)
    return Delivery(number, body, signature, parsed=parsed)


def _json(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """The members by name, in whatever case and with whichever dash they were stored."""
    return {name.lower().replace("_", "-"): value for name, value in row.items()}


def _single(value: Any) -> str | None:
    """A header's value: some frameworks keep a list of them."""
    return text(value[0]) if isinstance(value, list) and value else text(value)
