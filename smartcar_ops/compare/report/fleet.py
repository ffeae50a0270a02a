"""A comparison of many vehicles in words and tables: the strata, what only one side has, what changed, what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML

from smartcar_ops.compare.report import charts, values
from smartcar_ops.compare.report.report import Report, Shown, quantile_in_ms
from smartcar_ops.display import tables
from smartcar_ops.settings.layout import Waiver
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.compare.judging.comparison import Comparison

WORST, DIFFERENCES = 10, 30
"""Strata that are listed as the worst, and fields that are listed as lost or differing."""

NARROW = 18
"""Letters of a value in a table."""


class FleetReport(Report):
    """The sections of a comparison of many vehicles."""

    def verdicts(self) -> Shown:
        """What became of every field that counts, a bar a field."""
        table = self.compare.result.scored_by_field()
        return charts.verdicts_by_field(table) if len(table) else tables.sentence("No vehicle was read")

    def not_counted(self) -> Shown:
        """What became of the fields that the gate does not count; the picture leaves them out."""
        found = self.compare.result
        rest = {name: count - found.scored_verdicts.get(name, 0) for name, count in found.verdicts.items()}
        told = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in rest.items() if count)
        if not told:
            return None
        return tables.sentence(
            f"{thousands(sum(rest.values()), 'more readings')} are of fields that do not count, since only one version "
            f"has them or they are told for information: {told}"
        )

    def losses(self) -> Shown:
        """The heat map, make by field."""
        found = self.compare.result
        return (
            charts.loss_by_make(found.counts, found.order) if found.scored else tables.sentence("No vehicle was read")
        )

    def gate(self) -> Shown:
        """Every stratum that was read: its shares, and what the gate says."""
        return tables.whole(_shares(_read(self.compare.result)))

    def worst_strata(self) -> Shown:
        """The strata that lose most, with vehicles to look at."""
        read = _read(self.compare.result)
        worst = read[read["lost"] > 0].sort_values("lost", ascending=False, kind="stable").head(WORST)
        if worst.empty:
            return tables.sentence("No stratum loses anything")
        examples = [tuple(ids.split(", ")) for ids in worst["examples"]]
        return tables.whole(_shares(worst).drop(columns="judged").assign(**{"for example": examples}))

    def open_strata(self) -> Shown:
        """The strata of which too little is known: the bounds at 95%, and what closing each takes."""
        strata = self.compare.result.strata
        open_ = strata[(strata["state"] == "open") & (strata["linked"] > 0)]
        if strata.empty or open_.empty:
            return tables.sentence(
                "Of every stratum enough is known to say, at 95%, whether under 1% of its vehicles lose something"
                if len(strata)
                else "No vehicle is linked"
            )
        rows = [
            _open_row(row, self.compare.units_per_vehicle((row["make"], row["powertrain"]))) for row in _records(open_)
        ]
        total = sum(row["units"] or 0 for row in rows)
        told = (
            f"{thousands(int(open_['missing'].sum()), 'more vehicles')} without a loss would close "
            f"{thousands(len(open_), 'strata') if len(open_) > 1 else 'the one stratum'} still open"
            f"{f', for at most {total:,} units' if total else ''}. A stratum is closed once it is known, at 95%, "
            "whether under 1% of its vehicles lose something"
        )
        return tables.together(tables.sentence(told), tables.first(pd.DataFrame(rows).convert_dtypes(), 50))

    def differences(self) -> Shown:
        """The first fields that differ or are lost: the vehicle by Smartcar's id and yours, both values, the reason."""
        found = self.compare.result
        place = {name: number for number, name in enumerate(found.order)}
        rows = sorted(_records(found.lost), key=lambda row: (place[row["field"]], row["make"], row["vehicle_id"]))
        table = [
            {
                "field": row["field"],
                "vehicle": (row["vehicle_id"], f"{row['make']}, yours {row['local_vehicle_id']}"),
                "verdict": row["verdict"].replace("_", " "),
                "V2": values.shown_value(row, "v2", NARROW),
                "V3": values.shown_value(row, "v3", NARROW),
                "reason": row["reason"],
            }
            for row in rows
        ]
        return tables.together(
            tables.first(pd.DataFrame(table), DIFFERENCES),
            tables.sentence(f"{thousands(found.lost_fields, 'fields')} in all")
            if found.lost_fields > len(table)
            else None,
        )

    def one_sided(self) -> Shown:
        """The fields that have no counterpart: how many vehicles have them, and one value, unless it is private."""
        counts = self.compare.result.counts
        alone = counts[~counts["scored"] & counts["verdict"].isin(["v2_only", "v3_only"])]
        if alone.empty:
            return tables.sentence("Neither version has a field that the other lacks")
        vehicles = alone.groupby(["field", "verdict"])["fields"].sum()
        examples = _examples(self.compare.result, set(vehicles.index))
        order = {name: place for place, name in enumerate(self.compare.result.order)}
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
        """What is newly broken and what healed since the last comparison of the fleet; waivers that have expired."""
        expired = [tables.sentence(_expired(waiver)) for waiver in self.compare.result.expired]
        if self.compare.before is None:
            return tables.together(tables.sentence("There is no earlier comparison to look back at"), *expired)
        read = {f"{row['make']} {row['powertrain']}" for row in _records(_read(self.compare.result))}
        changes = changed(self.compare.before, self.compare.result.lost_cells(), read)
        counted = changes["since then"].value_counts()
        told = (
            f"{thousands(int(counted.get('newly broken', 0)), 'fields')} newly broken and "
            f"{int(counted.get('healed', 0)):,} healed, by make and powertrain; vehicles read since then count too"
        )
        return tables.together(tables.sentence(told), tables.first(changes, 50) if len(changes) else None, *expired)

    def _speed(self) -> HTML:
        timed = [
            {
                "answers of": words,
                "timed": len(seconds),
                "median, ms": quantile_in_ms(seconds, 0.5),
                "95th percentile, ms": quantile_in_ms(seconds, 0.95),
            }
            for words, seconds in (
                ("a V2 batch", self.compare.result.seconds["v2"]),
                ("V3 signals", self.compare.result.seconds["v3"]),
            )
            if len(seconds)
        ]
        return tables.whole(pd.DataFrame(timed))


def _read(found: Comparison) -> pd.DataFrame:
    return found.strata[found.strata["vehicles"] > 0]


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
                "the gate": f"refuses: {row['why']}" if row["why"] else "is open",
            }
            for row in rows
        ],
        columns=["make", "powertrain", "vehicles", "lost", "judged", "the gate"],
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


def _examples(found: Comparison, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A value for each (field, verdict), in a few words; reads on only until each has one."""
    told: dict[tuple[str, str], str] = {}
    for part in found.fields.parts():
        for row in part.drop_duplicates(["field", "verdict"]).itertuples():
            key = str(row.field), str(row.verdict)
            if key in wanted and key not in told:
                told[key] = values.shown_value(row._asdict(), "v2" if row.verdict == "v2_only" else "v3")
        if len(told) == len(wanted):
            break
    return told


def changed(
    before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]], read: Iterable[str]
) -> pd.DataFrame:
    """The cells that lose something only now, or did only before; a stratum that was not read heals nothing."""
    were = {(stratum, field): count for stratum, cells in before.items() for field, count in cells.items()}
    are = {(stratum, field): count for stratum, cells in now.items() for field, count in cells.items()}
    broken = [(*cell, were.get(cell, 0), count, "newly broken") for cell, count in are.items() if not were.get(cell)]
    known = set(read)
    healed = [
        (*cell, count, 0, "healed") for cell, count in were.items() if count and cell not in are and cell[0] in known
    ]
    columns = ["make and powertrain", "field", "lost before", "lost now", "since then"]
    return pd.DataFrame([*broken, *healed], columns=columns)


def _expired(waiver: Waiver) -> str:
    of = f" of {waiver.make}" if waiver.make else ""
    return (
        f"The waiver of {waiver.field}{of} by {waiver.owner} has expired ({waiver.expires}: {waiver.reason}); "
        "its differences count again"
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
