"""Rows of the table of fields."""

from __future__ import annotations

from datetime import UTC, datetime

from smartcar_ops.compare.judging.field_row import FIELD_TYPES, FieldRow, VersionValue, field_rows
from smartcar_ops.storage.parquet import ParquetTable

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def row(v3: VersionValue) -> FieldRow:
    """A field with a number on V2, and this on V3."""
    value, number, unit, at = v3
    return FieldRow(
        *("vehicle", "7", "KIA", "BEV", "odometer", True, "12.5", 12.5, "km", value, number, unit),
        *("same", "", NOW, at, False),
    )


def test_a_row_has_the_columns_of_the_table_in_their_order() -> None:
    """Rows are appended by place, so that both must have one order."""
    assert FieldRow._fields == tuple(FIELD_TYPES)


def test_what_a_version_does_not_have_is_none_once_read_back() -> None:
    """A row comes back from the table as it went in; pandas' own missing values become None."""
    rows = [row(VersionValue('"12"', None, None, NOW)), row(VersionValue(None, None, None, None))]
    table = ParquetTable(FIELD_TYPES)
    table.append_rows(rows)
    read = list(field_rows(table.close().frame()))
    assert rows == read
    assert VersionValue(None, None, None, None) == read[1].on("v3")
    assert VersionValue("12.5", 12.5, "km", NOW) == read[1].on("v2")
