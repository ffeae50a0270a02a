"""The field map: where V2 and V3 keep each field, read from `fields.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal, get_args

from smartcar_ops.errors import SettingsError
from smartcar_ops.fields.paths import getter
from smartcar_ops.settings.layout import Layout
from smartcar_ops.smartcar.v2 import Lacks

Changeability = Literal["stable", "slow", "volatile"]
ValueRule = Literal[
    "number", "pressure", "integer", "count", "text", "id", "enum",
    "boolean", "open", "place", "time", "set", "multiset", "listed",
]  # fmt: skip
PartsKind = Literal["", "places", "systems", "records"]

VEHICLE, CONNECTION = "vehicle", "connection"
"""Sources in the map that are no signals: the vehicle's own attributes, and its connection (the user's consent)."""

TOKEN_PATHS = ("/user", "/vehicles")
"""V2 paths that are requested once per token, not once per vehicle."""

LEFT_OUT_REASONS: dict[Lacks, str] = {
    "powertrain": "not requested: this powertrain does not have it",
    "permission": "not requested: the user has not granted the permission",
    "limit": "not requested yet: this vehicle's [limits] are used up, so it is requested on another day",
}
"""Why a path was left out of a batch, in words."""


@dataclass(frozen=True)
class Place:
    """Where a version keeps a field: V2 path or V3 signal code, the path into its body, its unit.

    ``keys`` are the members of a list's entries that are compared; ``true_is`` is the word that means true; ``codes``
    are signals that are listed but not compared; ``others`` are alternative places, any of which may agree.
    """

    source: str
    member: str = ""
    unit: str | None = None
    keys: tuple[str, ...] = ()
    true_is: str | None = None
    codes: tuple[str, ...] = ()
    others: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Field:
    """One row of the map; ``v2`` or ``v3`` is None where that version has no counterpart.

    ``apart`` is the absolute tolerance if the makers' times are more than a minute apart; ``make`` limits one of the
    company's own rows to one make.
    """

    id: str
    v2: Place | None
    v3: Place | None
    rule: ValueRule
    change: Changeability
    confidence: str
    fold: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    absolute: float = 0.0
    relative: float = 0.0
    apart: float | None = None
    grows: bool = False
    private: bool = False
    report_only: bool = False
    parts: PartsKind = ""
    lacking: Literal["", "differs"] = ""
    v3_may_add: bool = False
    make: str = ""

    @cached_property
    def compared(self) -> bool:
        """True if both versions have the field."""
        return self.v2 is not None and self.v3 is not None

    @cached_property
    def scored(self) -> bool:
        """True if both versions have the field and it counts."""
        return self.compared and not self.report_only


@dataclass(frozen=True)
class Needs:
    """What a V2 path needs: the scope that grants it, and the powertrains that have it (empty: any)."""

    permission: str
    powertrains: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldMap:
    """All rows, in display order, and the map's version."""

    version: str
    fields: tuple[Field, ...]
    systems: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Needs] = field(default_factory=dict)

    def of(self, make: str) -> tuple[Field, ...]:
        """Return the rows that apply to a make."""
        return tuple(row for row in self.fields if not row.make or row.make == make)

    @property
    def v2_paths(self) -> tuple[str, ...]:
        """The V2 paths that are requested for every make."""
        return self._paths(self.of(""))

    def paths_for(
        self, make: str, powertrain: str, permissions: Collection[str]
    ) -> tuple[tuple[str, ...], dict[str, Lacks]]:
        """Return (the paths to request for such a vehicle, the other paths with the reason).

        If the powertrain or the permissions are not known (empty), they exclude no path.
        """
        left_out: dict[str, Lacks] = {}
        for path in self._paths(self.of(make)):
            needs = self.needs.get(path, Needs(""))
            if needs.powertrains and powertrain and powertrain not in needs.powertrains:
                left_out[path] = "powertrain"
            elif needs.permission and permissions and needs.permission not in permissions:
                left_out[path] = "permission"
        return tuple(path for path in self._paths(self.of(make)) if path not in left_out), left_out

    def extended(self, rows: Sequence[Mapping[str, Any]]) -> FieldMap:
        """Return the map with the company's own rows added; a row with the id of one of the kit's replaces it.

        SettingsError for a row that can't be read.
        """
        own = [_checked(row) for row in rows]
        ids = {(row.id, row.make) for row in own}
        others = [row for row in self.fields if (row.id, "") not in ids]
        return replace(self, fields=(*others, *own))

    @staticmethod
    def _paths(rows: Sequence[Field]) -> tuple[str, ...]:
        sources = (row.v2.source for row in rows if row.v2)
        return tuple(path for path in dict.fromkeys(sources) if path not in TOKEN_PATHS)


@cache
def field_map() -> FieldMap:
    """Return the kit's own map."""
    document = tomllib.loads((files("smartcar_ops.fields") / "fields.toml").read_text(encoding="utf-8"))
    needs = {
        path: Needs(row["permission"], tuple(row.get("powertrains", ()))) for path, row in document["path"].items()
    }
    rows = tuple(read_row(row) for row in document["field"])
    return FieldMap(document["version"], rows, document["systems"], needs)


V2_KEYS = frozenset({"path", "member", "unit", "keys", "true_is"})
V3_KEYS = frozenset({"code", "codes", "member", "unit", "keys", "or"})
TOLERANCE_KEYS = frozenset({"absolute", "relative", "apart"})
PLAIN_KEYS = frozenset({"change", "confidence", "grows", "private", "report_only", "parts", "lacking", "v3_may_add"})
LISTS = frozenset({"fold", "known"})
ROW_KEYS = frozenset({"id", "v2", "v3", "rule", "aliases", "tolerance", "make", *PLAIN_KEYS, *LISTS})


def read_row(row: Mapping[str, Any]) -> Field:
    """Return a row from its TOML; ValueError for an unknown key or rule, or an invalid path."""
    _only(row, ROW_KEYS, "the row")
    tolerance = row.get("tolerance", {})
    _only(tolerance, TOLERANCE_KEYS, "tolerance")
    v2, v3 = row.get("v2"), row.get("v3")
    if not row.get("id") or not (v2 or v3):
        raise ValueError("it needs an id, and v2 or v3")
    for key, allowed in (("rule", get_args(ValueRule)), ("change", get_args(Changeability))):
        if row.get(key) not in allowed:
            raise ValueError(f"{key} is {row.get(key)!r}; expected one of {', '.join(allowed)}")
    options: dict[str, Any] = {key: value for key, value in row.items() if key in PLAIN_KEYS}
    options |= {key: tuple(row.get(key, ())) for key in LISTS} | dict(tolerance)
    return Field(
        id=str(row["id"]),
        v2=_v2_place(v2) if v2 else None,
        v3=_v3_place(v3) if v3 else None,
        rule=row["rule"],
        aliases=row.get("aliases", {}),
        make=str(row.get("make", "")).upper(),
        **{"confidence": "low", **options},
    )


def _checked(row: Mapping[str, Any]) -> Field:
    try:
        return read_row(row)
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"settings: [[field]] {str(row.get('id', ''))!r} can't be used: {error}.") from None


def _v2_place(table: Mapping[str, Any]) -> Place:
    _only(table, V2_KEYS, "v2")
    if not str(table.get("path", "")).startswith("/"):
        raise ValueError("v2 needs a path that begins with /")
    getter(table.get("member", ""))
    return Place(
        table["path"], table.get("member", ""), table.get("unit"), tuple(table.get("keys", ())), table.get("true_is")
    )


def _v3_place(table: Mapping[str, Any]) -> Place:
    """Return a place of V3; each entry of ``or`` inherits what it does not set itself."""
    _only(table, V3_KEYS, "v3")
    codes = tuple(table.get("codes", ()))
    if not table.get("code") and not codes:
        raise ValueError("v3 needs a code, or codes")
    getter(table.get("member", ""))
    first = {key: value for key, value in table.items() if key != "or"}
    others = tuple(_v3_place({**first, **other}) for other in table.get("or", ()))
    return Place(
        table.get("code") or codes[0],
        table.get("member", ""),
        table.get("unit"),
        tuple(table.get("keys", ())),
        None,
        codes,
        others,
    )


def _only(table: Mapping[str, Any], known: Collection[str], what: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{what} has no key {key!r}; it has {', '.join(sorted(known))}")


def company_fields(layout: Layout) -> FieldMap:
    """Return the kit's map with the company's own rows and tolerances; SettingsError if one can't be used."""
    extended = field_map().extended(layout.field)
    names = {row.id for row in extended.fields}
    for section, used in (("tolerance", layout.tolerance), ("waiver", [waiver.field for waiver in layout.waiver])):
        unknown = sorted(set(used) - names)
        if unknown:
            raise SettingsError(f"settings: [{section}] has the field {unknown[0]!r}, which is not in the field map.")
    return replace(extended, fields=tuple(_tolerated(row, layout) for row in extended.fields))


def _tolerated(row: Field, layout: Layout) -> Field:
    own = layout.tolerance.get(row.id)
    if own is None:
        return row
    absolute = row.absolute if own.absolute is None else own.absolute
    relative = row.relative if own.relative is None else own.relative
    return replace(row, absolute=absolute, relative=relative, apart=row.apart if own.absolute is None else None)
