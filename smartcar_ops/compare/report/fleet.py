"""The report of a fleet: make and powertrain groups, differences, one-sided fields, changes since the last run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML

from smartcar_ops.compare.judging.field_row import field_rows
from smartcar_ops.compare.report import charts, values
from smartcar_ops.compare.report.report import Report, Shown, quantile_in_ms
from smartcar_ops.display import tables
from smartcar_ops.settings.layout import Waiver
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.compare.judging.comparison import Comparison

WORST, DIFFERENCES = 10, 30
"""How many of the worst strata, and of the lost or different fields, are listed."""

NARROW = 18
"""Characters of a value in a table."""


class FleetReport(Report):
    """The sections of a comparison of many vehicles."""

    def verdicts(self) -> Shown:
        """Return the verdicts of every field that counts, one bar per field."""
        table = self.compare.result.scored_by_field()
        return charts.verdicts_by_field(table) if len(table) else tables.sentence("No vehicle was read")

    def not_counted(self) -> Shown:
        """Return the verdicts of the fields that the gate does not count; the picture leaves them out."""
        result = self.compare.result
        rest = {name: count - result.scored_verdicts.get(name, 0) for name, count in result.verdicts.items()}
        verdicts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in rest.items() if count)
        if not verdicts:
            return None
        total = sum(rest.values())
        return tables.sentence(
            f"{thousands(total, 'more readings')} {'does' if total == 1 else 'do'} not count, because only one version "
            f"has the field or it is shown for information only: {verdicts}"
        )

    def losses(self) -> Shown:
        """Return the heat map of losses by field and make."""
        result = self.compare.result
        return (
            charts.loss_by_make(result.counts, result.order)
            if result.scored
            else tables.sentence("No vehicle was read")
        )

    def gate(self) -> Shown:
        """Return every stratum that was read, with its shares and whether it is ready to switch."""
        return tables.whole(_shares(_read(self.compare.result)))

    def worst_strata(self) -> Shown:
        """Return the strata with the largest share of losses, each with vehicles to look at."""
        read = _read(self.compare.result)
        worst = read[read["lost"] > 0].sort_values("lost", ascending=False, kind="stable").head(WORST)
        if worst.empty:
            return tables.sentence("No make and powertrain group has a lost or different field")
        examples = [tuple(tables.vehicle(id) for id in ids.split(", ") if id) for ids in worst["examples"]]
        return tables.whole(_shares(worst).drop(columns="judged").assign(**{"for example": examples}))

    def open_strata(self) -> Shown:
        """Return the strata that need more vehicles: their bounds at 95%, and how many vehicles and units."""
        strata = self.compare.result.strata
        open_ = strata[(strata["state"] == "open") & (strata["linked"] > 0)]
        if strata.empty or open_.empty:
            return tables.sentence(
                "Enough vehicles of every make and powertrain were compared to be 95% sure whether fewer than 1% of "
                "them lose something"
                if len(strata)
                else "No vehicle is linked"
            )
        rows = [
            _open_row(row, self.compare.units_per_vehicle((row["make"], row["powertrain"]))) for row in _records(open_)
        ]
        units = sum(row["units"] or 0 for row in rows)
        first = rows[0]
        groups = (
            f"{first['make']} {first['powertrain']}" if len(rows) == 1 else f"{len(rows):,} make and powertrain groups"
        )
        sentence = (
            f"{groups}: compare {thousands(int(open_['missing'].sum()), 'more vehicles')}"
            f"{f' (at most {units:,} units)' if units else ''} to be 95% sure whether fewer than 1% of a group's "
            "vehicles lose something. That is enough if none of them does"
        )
        return tables.together(tables.sentence(sentence), tables.first(pd.DataFrame(rows).convert_dtypes(), 50))

    def differences(self) -> Shown:
        """Return the first lost or different fields: the vehicle (Smartcar's id and yours), both values, the reason."""
        result = self.compare.result
        position = {name: number for number, name in enumerate(result.order)}
        rows = sorted(field_rows(result.lost), key=lambda row: (position[row.field], row.make, row.vehicle_id))
        table = [
            {
                "field": row.field,
                "vehicle": (tables.vehicle(row.vehicle_id), f"{row.make}, your id {row.local_vehicle_id}"),
                "verdict": row.verdict.replace("_", " "),
                "V2": values.shown_value(row, "v2", NARROW),
                "V3": values.shown_value(row, "v3", NARROW),
                "reason": row.reason,
            }
            for row in rows
        ]
        return tables.together(
            tables.first(pd.DataFrame(table), DIFFERENCES),
            tables.sentence(f"{thousands(result.lost_fields, 'lost or different fields')} in total")
            if result.lost_fields > len(table)
            else None,
        )

    def one_sided(self) -> Shown:
        """Return the fields that only one version has: how many vehicles have them, and one value unless private."""
        counts = self.compare.result.counts
        one_sided = counts[~counts["scored"] & counts["verdict"].isin(["v2_only", "v3_only"])]
        if one_sided.empty:
            return tables.sentence("No field is on one version only")
        vehicles = one_sided.groupby(["field", "verdict"])["fields"].sum()
        examples = _examples(self.compare.result, set(vehicles.index))
        order = {name: position for position, name in enumerate(self.compare.result.order)}
        rows = [
            {
                "only on": verdict[:2].upper(),
                "field": field,
                "vehicles": int(count),
                "for example": examples[field, verdict],
            }
            for (field, verdict), count in sorted(vehicles.items(), key=lambda one: (one[0][1], order[one[0][0]]))
        ]
        return tables.whole(pd.DataFrame(rows))

    def since_last_run(self) -> Shown:
        """Return what broke and what was fixed since the last comparison of the fleet, and expired waivers."""
        expired = [tables.sentence(_expired(waiver)) for waiver in self.compare.result.expired]
        if self.compare.before is None:
            return tables.together(tables.sentence("There is no earlier comparison"), *expired)
        read = {f"{row['make']} {row['powertrain']}" for row in _records(_read(self.compare.result))}
        changes = changed(self.compare.before, self.compare.result.lost_cells(), read)
        counted = changes["since then"].value_counts()
        sentence = (
            f"{thousands(int(counted.get('newly broken', 0)), 'fields')} newly broken and "
            f"{int(counted.get('fixed', 0)):,} fixed, by make and powertrain; this includes vehicles read since then"
        )
        return tables.together(tables.sentence(sentence), tables.first(changes, 50) if len(changes) else None, *expired)

    def _speed(self) -> HTML:
        timed = [
            {
                "call": call,
                "timed": len(seconds),
                "median, ms": quantile_in_ms(seconds, 0.5),
                "95th percentile, ms": quantile_in_ms(seconds, 0.95),
            }
            for call, seconds in (
                ("V2 batch", self.compare.result.seconds["v2"]),
                ("V3 signals", self.compare.result.seconds["v3"]),
            )
            if len(seconds)
        ]
        return tables.whole(pd.DataFrame(timed))


def _read(result: Comparison) -> pd.DataFrame:
    return result.strata[result.strata["vehicles"] > 0]


def _shares(strata: pd.DataFrame) -> pd.DataFrame:
    rows = _records(strata)
    return pd.DataFrame(
        [
            {
                "make": row["make"],
                "powertrain": row["powertrain"],
                "vehicles": row["vehicles"],
                "lost": f"{row['lost']:.1%}",
                "judged": f"{row['judged']:.0%}",
                "ready to switch": f"no: {row['why']}" if row["why"] else "yes",
            }
            for row in rows
        ],
        columns=["make", "powertrain", "vehicles", "lost", "judged", "ready to switch"],
    )


def _open_row(row: Mapping[str, Any], units: float | None) -> dict[str, Any]:
    return {
        "make": row["make"],
        "powertrain": row["powertrain"],
        "linked": row["linked"],
        "read": row["vehicles"],
        "with a loss": row["with_loss"],
        "at least": row["least"],
        "at most": row["most"],
        "more vehicles": row["missing"],
        "units": None if units is None else round(units * row["missing"]),
    }


def _examples(result: Comparison, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return one short value for each (field, verdict); stops reading once each has one."""
    examples: dict[tuple[str, str], str] = {}
    verdicts = {verdict for _, verdict in wanted}
    for part in result.fields.parts():
        for row in field_rows(part[part["verdict"].isin(verdicts)].drop_duplicates(["field", "verdict"])):
            key = row.field, row.verdict
            if key in wanted and key not in examples:
                examples[key] = values.shown_value(row, "v2" if row.verdict == "v2_only" else "v3")
        if len(examples) == len(wanted):
            break
    return examples


def changed(
    before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]], read: Iterable[str]
) -> pd.DataFrame:
    """Return the (stratum, field) cells with losses only now or only before.

    ``read`` names the strata that were read: a field of any other stratum is never called fixed.
    """
    lost_before = {(stratum, field): count for stratum, cells in before.items() for field, count in cells.items()}
    lost_now = {(stratum, field): count for stratum, cells in now.items() for field, count in cells.items()}
    broken = [(*cell, 0, count, "newly broken") for cell, count in lost_now.items() if not lost_before.get(cell)]
    known = set(read)
    fixed = [
        (*cell, count, 0, "fixed")
        for cell, count in lost_before.items()
        if count and cell not in lost_now and cell[0] in known
    ]
    columns = ["make and powertrain", "field", "lost before", "lost now", "since then"]
    return pd.DataFrame([*broken, *fixed], columns=columns)


def _expired(waiver: Waiver) -> str:
    make = f" ({waiver.make})" if waiver.make else ""
    return (
        f"The waiver for {waiver.field}{make} expired on {waiver.expires} (owner: {waiver.owner}; reason: "
        f"{waiver.reason}); its differences count again"
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
