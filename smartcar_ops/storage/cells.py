"""The cells of a table for spreadsheets: plain values of the right type, and text that no spreadsheet runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

from smartcar_ops.storage.columns import ColumnMeaning
from smartcar_ops.text import SHAPE

PlainValue = str | int | float | bool | datetime | date
CellValue = PlainValue | None

UNCHANGED_BY_SPREADSHEETS = re.compile(rf"[1-9]\d{{0,14}}|{SHAPE}", re.IGNORECASE)
"""An id that a spreadsheet keeps as it is; it changes `00123`, `1e5`, long numbers and what looks like a date."""

RUN_BY_SPREADSHEETS = re.compile(r"[\s']*[\t\r\n=+\-@＝＋－＠]")
"""The beginning of a text that a spreadsheet may take for a formula, also one that already has a quote in front."""


def rows(table: pa.Table, columns: Sequence[ColumnMeaning]) -> Iterator[tuple[CellValue, ...]]:
    """Yield a table's rows as plain values; times have the zone UTC, and what is missing is None."""
    values = [_values(table.column(place), meaning.type) for place, meaning in enumerate(columns)]
    return zip(*values, strict=True)


def _values(column: pa.ChunkedArray, type: str) -> list[CellValue]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind):
        return [_utc(moment) for moment in column.cast(pa.timestamp("us", kind.tz), safe=False).to_pylist()]
    values: list[CellValue] = column.to_pylist()
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_date(kind):
        return values
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return [_number(value, whole=type == "integer") for value in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [_day(value) for value in column.to_pylist()] if type == "day" else values
    return [None if value is None else str(value) for value in values]


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _number(value: float | Decimal | None, *, whole: bool) -> int | float | None:
    """Return a number; a whole one as an integer if its column has only those. None if it is not a number."""
    if value is None or value != value:
        return None
    return int(value) if whole and value == value // 1 else float(value)


def _day(text: str | None) -> CellValue:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return text


def protected(text: str) -> str:
    """Return the text for a CSV file: with a quote in front if a spreadsheet might take it for a formula."""
    return f"'{text}" if RUN_BY_SPREADSHEETS.match(text) else text


def unprotected(text: str) -> str:
    """Return the original of a text that `protected` returned."""
    return text[1:] if text.startswith("'") and RUN_BY_SPREADSHEETS.match(text[1:]) else text


def protected_id(id: str) -> str:
    """Return the id for a CSV file that comes back from a spreadsheet, with a quote in front if it might be changed."""
    return id if UNCHANGED_BY_SPREADSHEETS.fullmatch(id) else f"'{id}"


def unprotected_id(id: str) -> str:
    """Return the original of an id that `protected_id` returned."""
    return id.removeprefix("'")
