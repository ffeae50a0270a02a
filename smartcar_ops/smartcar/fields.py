"""The field map: what V2 calls one thing and V3 another, read from `fields.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Change = Literal["stable", "slow", "volatile"]


@dataclass(frozen=True)
class Place:
    """Where a version keeps a field: V2 path or V3 signal code, the member of its body, its unit."""

    source: str
    member: str
    unit: str | None = None


@dataclass(frozen=True)
class Field:
    """One row of the map; ``v2`` or ``v3`` is None where that version has no counterpart."""

    id: str
    v2: Place | None
    v3: Place | None
    rule: Literal["number", "integer", "text", "enum", "boolean"]
    change: Change
    confidence: str
    fold: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    absolute: float = 0.0
    relative: float = 0.0
    grows: bool = False

    @property
    def scored(self) -> bool:
        """True where both versions have the field."""
        return self.v2 is not None and self.v3 is not None


@dataclass(frozen=True)
class FieldMap:
    """All rows, in the order people read them, and the map's version."""

    version: str
    fields: tuple[Field, ...]

    @property
    def v2_paths(self) -> tuple[str, ...]:
        """The paths one V2 batch needs."""
        return tuple(dict.fromkeys(row.v2.source for row in self.fields if row.v2))


@cache
def field_map() -> FieldMap:
    """The kit's own map."""
    document = tomllib.loads((files("smartcar_ops.smartcar") / "fields.toml").read_text(encoding="utf-8"))
    return FieldMap(document["version"], tuple(_row(row) for row in document["field"]))


def _row(row: dict[str, Any]) -> Field:
    tolerance = row.get("tolerance", {})
    v2, v3 = row.get("v2"), row.get("v3")
    return Field(
        id=row["id"],
        v2=Place(v2["path"], v2["member"], v2.get("unit")) if v2 else None,
        v3=Place(v3["code"], v3["member"], v3.get("unit")) if v3 else None,
        rule=row["rule"],
        change=row["change"],
        confidence=row["confidence"],
        fold=tuple(row.get("fold", ())),
        aliases=row.get("aliases", {}),
        absolute=tolerance.get("absolute", 0.0),
        relative=tolerance.get("relative", 0.0),
        grows=row.get("grows", False),
    )
