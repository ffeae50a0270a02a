"""The result of a comparison: tables on disk, their counts, and the gate's decision per make and powertrain."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from smartcar_ops.compare.judging.verdicts import JUDGED, LOST
from smartcar_ops.settings.layout import Gate, Waiver
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.text import thousands

BOTH_REFUSED = "not_permitted_by_both"
"""The column, in a table of verdicts, for ``not_permitted`` on both versions: no loss on V3."""

SHOWN_BEHIND = ("vehicle_id", "local_vehicle_id", "powertrain", "verdict", "lost")
BEHIND = (*SHOWN_BEHIND, "make", "field", "scored")
"""The columns of the table of fields that say which vehicles are behind a cell of the heat map."""


@dataclass(frozen=True)
class Comparison:
    """The judged fields and vehicles as tables on disk, their counts, and the strata (make and powertrain groups).

    ``counts`` has one row per make, powertrain, field and verdict: how many fields, and how many of them the gate
    counts as lost. ``lost`` holds the first differences, ``seconds`` the times of V2's and V3's calls, ``batches`` the
    number of answered V2 batches by their number of paths.
    """

    fields: ParquetTable
    vehicles: ParquetTable
    counts: pd.DataFrame
    strata: pd.DataFrame
    lost: pd.DataFrame
    seconds: Mapping[str, Sequence[float]]
    batches: Mapping[int, int]
    requests: int
    read: int
    not_read: int
    order: tuple[str, ...]
    gate: Gate
    expired: tuple[Waiver, ...] = ()
    in_part: int = 0
    """Vehicles for which only a part of V2's paths was requested, because of [limits]."""

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"

    @property
    def complete(self) -> bool:
        """False if the allowance or a vehicle's own limit ran out before every chosen vehicle was read in full."""
        return not (self.not_read or self.in_part)

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """Number of fields by verdict, the most frequent first."""
        return _verdicts(self.counts)

    @property
    def scored(self) -> int:
        """Number of fields that count."""
        return int(self._scored["fields"].sum())

    @property
    def judged(self) -> int:
        """Number of fields that count and were judged."""
        return int(self._scored.loc[self._scored["verdict"].isin(JUDGED), "fields"].sum())

    @property
    def lost_fields(self) -> int:
        """Number of fields that differ or are lost on V3."""
        return int(self.counts["lost"].sum())

    @property
    def refused(self) -> list[str]:
        """The strata that the gate refuses, in words."""
        return [f"{row.make} {row.powertrain} ({row.why})" for row in self.strata.itertuples() if row.why]

    @property
    def exit_code(self) -> int:
        """1 if the gate says no, otherwise 0."""
        return int(bool(self.refused))

    @property
    def verdict(self) -> str:
        """The comparison in one sentence."""
        return (
            f"{thousands(self.read, 'vehicles')} read on both versions: {self.lost_fields:,} of "
            f"{thousands(self.scored, 'scored fields')} differ or are lost on V3; {self._readiness()}.{self._in_part()}"
        )

    def _readiness(self) -> str:
        """Return how many make and powertrain groups are ready to switch, in words."""
        groups, refused = int((self.strata["vehicles"] > 0).sum()), len(self.refused)
        if not groups:
            return "no make and powertrain group was compared"
        if groups == 1:
            return f"its make and powertrain group is {'not ' if refused else ''}ready to switch"
        if not refused:
            return f"all {groups:,} make and powertrain groups are ready to switch"
        verb = "is" if refused == 1 else "are"
        return f"{refused:,} of {groups:,} make and powertrain groups {verb} not ready to switch"

    def _in_part(self) -> str:
        if not self.in_part:
            return ""
        vehicles = "1 vehicle was" if self.in_part == 1 else f"{self.in_part:,} vehicles were"
        return f" {vehicles} read in part because of [limits]; a run on another day reads the rest."

    def by_field(self) -> pd.DataFrame:
        """Return the counts with one row per field, in the map's order, and one column per verdict."""
        return _by_field(self.counts, self.order)

    def scored_by_field(self) -> pd.DataFrame:
        """Return `by_field` of the fields that count, with a column for `BOTH_REFUSED`."""
        scored = self._scored
        table = _by_field(scored, self.order)
        return with_both_refused(table, scored.groupby("field")["lost"].sum().to_dict())

    @property
    def scored_verdicts(self) -> dict[str, int]:
        """`verdicts` of the fields that count."""
        return _verdicts(self._scored)

    @property
    def _scored(self) -> pd.DataFrame:
        return self.counts.loc[self.counts["scored"].astype(bool)]

    def lost_cells(self) -> dict[str, dict[str, int]]:
        """Return make and powertrain -> field -> how many differ or are lost; counts of 0 are left out."""
        cells: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self.counts[self.counts["lost"] > 0].itertuples():
            cell = cells[f"{row.make} {row.powertrain}"]
            cell[str(row.field)] = cell.get(str(row.field), 0) + int(row.lost)
        return dict(cells)

    def vehicles_behind(self, make: str, field: str, most: int) -> pd.DataFrame:
        """Return the first vehicles of a make with a judged or lost reading of a field, those with a loss first.

        ``vehicle_id``, ``local_vehicle_id``, ``powertrain``, ``verdict``, ``lost``; at most ``most`` rows.
        """
        lost, others, rows = list[pd.DataFrame](), list[pd.DataFrame](), 0
        for table in self.fields.tables(BEHIND):
            here = table.filter((pc.field("make") == make) & (pc.field("field") == field) & pc.field("scored"))
            part = here.to_pandas()[[*SHOWN_BEHIND]]
            lost.append(part[part["lost"]])
            rows += len(lost[-1])
            if rows >= most:
                break
            if sum(map(len, others)) < most:
                others.append(part[~part["lost"] & part["verdict"].isin(JUDGED)])
        empty = pd.DataFrame(columns=[*SHOWN_BEHIND])
        return pd.concat([*lost, *others] or [empty], ignore_index=True).head(most)

    def vehicles_with_loss(self, make: str, most: int) -> pd.DataFrame:
        """Return the first vehicles of a make that lose something, with the number of fields lost (``lost``)."""
        found = pd.DataFrame(columns=["vehicle_id", "local_vehicle_id", "powertrain", "lost"])
        for part in self.vehicles.parts():
            here = part[(part["make"] == make) & (part["lost"].fillna(0) > 0)]
            found = pd.concat([found, here[found.columns]], ignore_index=True) if len(here) else found
            if len(found) >= most:
                break
        return found.head(most)

    def summary(self) -> dict[str, Any]:
        """Return the contract's keys of summary.json."""
        return {
            "vehicles": self.read,
            "verdicts": self.verdicts,
            "scored_verdicts": self.scored_verdicts,
            "lost_fields": self.lost_fields,
            "scored": self.scored,
            "judged": self.judged,
            "by_field": json.loads(self.by_field().to_json(orient="index")),
            "refused": self.refused,
            "strata": self._strata_counts(),
        }

    def _strata_counts(self) -> list[dict[str, Any]]:
        """Return the strata that were read, with their counts, for the history."""
        return [
            {
                "make": row.make,
                "powertrain": row.powertrain,
                "vehicles": int(row.vehicles),
                "scored": int(row.scored),
                "lost": round(row.lost * row.scored),
                "judged": round(row.judged * row.scored),
                "refused": bool(row.why),
            }
            for row in self.strata.itertuples()
            if row.vehicles
        ]


def with_both_refused(by_field: pd.DataFrame, lost: Mapping[str, int]) -> pd.DataFrame:
    """Return a table of verdicts by field in which the columns of `LOST` sum to ``lost`` for each field.

    The ``not_permitted`` that V2 is not permitted either moves to a column of its own, `BOTH_REFUSED`.
    """
    table = by_field.reindex(columns=[*dict.fromkeys([*by_field.columns, *LOST])], fill_value=0)
    verdicts = table[list(LOST)].sum(axis=1)
    both = verdicts - pd.Series(dict(lost), dtype="int64").reindex(table.index, fill_value=0)
    return table.assign(not_permitted=table["not_permitted"] - both, **{BOTH_REFUSED: both})


def _by_field(counts: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    table = counts.pivot_table(
        index="field", columns="verdict", values="fields", aggfunc="sum", fill_value=0, observed=True
    )
    return table.loc[[name for name in order if name in table.index]].astype(int)


def _verdicts(counts: pd.DataFrame) -> dict[str, int]:
    counted = counts.groupby("verdict")["fields"].sum().sort_values(ascending=False, kind="stable")
    return {str(name): int(count) for name, count in counted.items()}
