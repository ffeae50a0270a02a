"""The rules in force: the kit's map with the company's own rows, tolerances and waivers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smartcar_ops.compare.judging.verdicts import Judgement
from smartcar_ops.compare.vehicles import Pair
from smartcar_ops.errors import SettingsError
from smartcar_ops.fields.field_map import Field, FieldMap
from smartcar_ops.settings.layout import Layout, Waiver


def rules(fields: FieldMap, layout: Layout) -> FieldMap:
    """The map with the company's own rows and tolerances; SettingsError where one can't be used."""
    extended = fields.extended(layout.field)
    names = {row.id for row in extended.fields}
    for section, used in (("tolerance", layout.tolerance), ("waiver", [waiver.field for waiver in layout.waiver])):
        unknown = sorted(set(used) - names)
        if unknown:
            raise SettingsError(f"settings: [{section}] names the field {unknown[0]!r}, which the map does not have.")
    return replace(extended, fields=tuple(_tolerated(row, layout) for row in extended.fields))


def _tolerated(row: Field, layout: Layout) -> Field:
    own = layout.tolerance.get(row.id)
    if own is None:
        return row
    absolute = row.absolute if own.absolute is None else own.absolute
    relative = row.relative if own.relative is None else own.relative
    return replace(row, absolute=absolute, relative=relative, apart=row.apart if own.absolute is None else None)


def waived(row: Field, pair: Pair, judgement: Judgement, waivers: Sequence[Waiver]) -> Judgement:
    """The judgement, turned into `waived` where a waiver in force covers its field and make."""
    for waiver in waivers:
        if waiver.field == row.id and waiver.make.upper() in ("", pair.make):
            reason = f"{judgement.reason}; waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            return Judgement("waived", reason, judgement.v3)
    return judgement
