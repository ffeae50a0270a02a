"""One row of the comparison's table of fields: one field of one vehicle on both versions, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import pandas as pd

ApiVersion = Literal["v2", "v3"]

FIELD_TYPES = {
    **dict.fromkeys(("vehicle_id", "local_vehicle_id", "make", "powertrain", "field"), "str"),
    "scored": "bool",
    "v2_value": "str",
    "v2_number": "float64",
    "v2_unit": "str",
    "v3_value": "str",
    "v3_number": "float64",
    "v3_unit": "str",
    "verdict": "str",
    "reason": "str",
    "v2_at": "datetime64[us, UTC]",
    "v3_at": "datetime64[us, UTC]",
    "lost": "bool",
}
"""The column types of the table of fields, fixed whatever the rows are."""


class VersionValue(NamedTuple):
    """A field's value on one version; see `FieldRow`."""

    value: str | None
    number: float | None
    unit: str | None
    at: datetime | None


class FieldRow(NamedTuple):
    """A field of a vehicle; None for what a version does not have.

    ``v2_value`` and ``v3_value`` are the JSON as sent. The numbers are converted to the field's own unit, in which they
    are compared; the units belong to the numbers. ``v2_at`` and ``v3_at`` are the makers' times (UTC). ``scored`` says
    whether the field counts, ``lost`` whether it counts and differs or is missing on V3.
    """

    vehicle_id: str
    local_vehicle_id: str
    make: str
    powertrain: str
    field: str
    scored: bool
    v2_value: str | None
    v2_number: float | None
    v2_unit: str | None
    v3_value: str | None
    v3_number: float | None
    v3_unit: str | None
    verdict: str
    reason: str
    v2_at: datetime | None
    v3_at: datetime | None
    lost: bool

    def on(self, version: ApiVersion) -> VersionValue:
        """Return what one version has."""
        if version == "v2":
            return VersionValue(self.v2_value, self.v2_number, self.v2_unit, self.v2_at)
        return VersionValue(self.v3_value, self.v3_number, self.v3_unit, self.v3_at)


def field_rows(table: pd.DataFrame) -> Iterator[FieldRow]:
    """Return the rows of a table of fields."""
    columns = table[list(FieldRow._fields)]
    for values in columns.astype(object).where(columns.notna(), None).itertuples(index=False, name=None):
        yield FieldRow(*values)
