"""What the columns of a run's tables mean, read from `columns.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

OTHER = "other"
"""In `IdOwner.kinds`: the kind for every value that is not listed."""


@dataclass(frozen=True)
class IdOwner:
    """Whose ids a column has: ``user`` or ``vehicle`` of the company, or ``smartcar``.

    ``kinds`` gives the kind by the value of ``column`` in the same row; without a column it has only `OTHER`.
    """

    kinds: Mapping[str, str]
    column: str = ""

    def kind(self, value: object) -> str:
        """Return the kind of a row's id, given its value in ``column``; ``id`` if the value is not known."""
        return self.kinds.get(str(value)) or self.kinds.get(OTHER, "id")


@dataclass(frozen=True)
class ColumnMeaning:
    """A column's type, what it means in one sentence, whose ids it has (if any), and whether it may name anybody."""

    type: str
    means: str
    owner: IdOwner | None = None
    free_text: bool = False


@dataclass(frozen=True)
class TableMeaning:
    """What a table's rows are, in one sentence, and its columns."""

    means: str
    columns: Mapping[str, ColumnMeaning]


@cache
def tables() -> Mapping[str, TableMeaning]:
    """Return the meaning of every table that the kit writes, by name."""
    document = tomllib.loads((files("smartcar_ops.storage") / "columns.toml").read_text(encoding="utf-8"))
    return {
        name: TableMeaning(given["means"], {column: _column(of) for column, of in given["columns"].items()})
        for name, given in document.items()
    }


def _column(given: Mapping[str, Any]) -> ColumnMeaning:
    id = given.get("id")
    owner = None
    if id:
        kinds = {OTHER: id} if isinstance(id, str) else {name: kind for name, kind in id.items() if name != "column"}
        owner = IdOwner(kinds, "" if isinstance(id, str) else id["column"])
    return ColumnMeaning(given["type"], given["means"], owner, given.get("free_text", False))


def describe(table: str, schema: pa.Schema) -> TableMeaning:
    """Return the meaning of a table with this schema; a column that the kit does not know has only its type.

    Its text counts as free text.
    """
    known = tables().get(table, TableMeaning("", {}))
    columns = {field.name: known.columns.get(field.name) or _unknown(field.type) for field in schema}
    return TableMeaning(known.means, columns)


def _unknown(kind: pa.DataType) -> ColumnMeaning:
    """Return the meaning of a column of which only the type is known."""
    kinds = (
        ("boolean", pa.types.is_boolean),
        ("integer", pa.types.is_integer),
        ("number", pa.types.is_floating),
        ("number", pa.types.is_decimal),
        ("day", pa.types.is_date),
        ("time", pa.types.is_timestamp),
    )
    type = next((name for name, is_kind in kinds if is_kind(kind)), "text")
    return ColumnMeaning(type, "", free_text=type == "text")
