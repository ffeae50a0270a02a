"""What comparing a fleet came to: tables on disk, their counts, and what the gate says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from smartcar_ops.compare.judging.verdicts import JUDGED, LOST
from smartcar_ops.settings.layout import Gate, Waiver
from smartcar_ops.storage.parquet import ParquetTable

BOTH_REFUSED = "not_permitted_by_both"
"""In a table of verdicts, those ``not_permitted`` that V2 is not permitted either: no loss on V3."""


@dataclass(frozen=True)
class Comparison:
    """The judged fields and vehicles as tables on disk, their counts, and the gate's strata.

    ``counts`` has a row a make, powertrain, field and verdict: how many, and how many of them the gate counts;
    ``lost`` are the first differences, ``seconds`` how long V2's and V3's calls took; ``batches`` says how many V2
    batches of so many paths were answered.
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
    """Vehicles of which V2 was asked only a part: what [limits] allows them ended first."""

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"

    @property
    def complete(self) -> bool:
        """False where the allowance, or a vehicle's own limit, ended before every chosen vehicle was read whole."""
        return not (self.not_read or self.in_part)

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """Fields by verdict, the most frequent first."""
        return _verdicts(self.counts)

    @property
    def scored(self) -> int:
        """Fields that count."""
        return int(self._scored["fields"].sum())

    @property
    def judged(self) -> int:
        """Fields that count and were judged."""
        return int(self._scored.loc[self._scored["verdict"].isin(JUDGED), "fields"].sum())

    @property
    def lost_fields(self) -> int:
        """Fields that differ or are lost on V3."""
        return int(self.counts["lost"].sum())

    @property
    def refused(self) -> list[str]:
        """The strata that the gate refuses, in words."""
        return [f"{row.make} {row.powertrain} ({row.why})" for row in self.strata.itertuples() if row.why]

    @property
    def exit_code(self) -> int:
        """0; 1 where the gate says no."""
        return int(bool(self.refused))

    @property
    def verdict(self) -> str:
        """The comparison in one sentence."""
        judged = int((self.strata["vehicles"] > 0).sum())
        says = (
            f"the gate says no for {len(self.refused)} of {judged} strata"
            if self.refused
            else f"the gate is open for all {judged} strata"
        )
        vehicles = "1 vehicle" if self.read == 1 else f"{self.read:,} vehicles"
        return (
            f"{vehicles} read on both versions: {self.lost_fields:,} of {self.scored:,} scored fields "
            f"differ or are lost on V3; {says}.{self._in_part()}"
        )

    def _in_part(self) -> str:
        if not self.in_part:
            return ""
        many = "1 vehicle was" if self.in_part == 1 else f"{self.in_part:,} vehicles were"
        return f" {many} read in part, for [limits] allows no more a day; the rest is read on another."

    def by_field(self) -> pd.DataFrame:
        """Counts: a row a field in the map's order, a column a verdict."""
        return _by_field(self.counts, self.order)

    def scored_by_field(self) -> pd.DataFrame:
        """The same for the fields that count, what is lost and what is not told apart (`with_both_refused`)."""
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
        """make and powertrain -> field -> how many differ or are lost; only where some do."""
        cells: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self.counts[self.counts["lost"] > 0].itertuples():
            cell = cells[f"{row.make} {row.powertrain}"]
            cell[str(row.field)] = cell.get(str(row.field), 0) + int(row.lost)
        return dict(cells)

    def summary(self) -> dict[str, Any]:
        """The contract's keys of summary.json."""
        return {
            "vehicles": self.read,
            "verdicts": self.verdicts,
            "scored_verdicts": self.scored_verdicts,
            "lost_fields": self.lost_fields,
            "scored": self.scored,
            "judged": self.judged,
            "by_field": json.loads(self.by_field().to_json(orient="index")),
            "refused": self.refused,
        }


def with_both_refused(by_field: pd.DataFrame, lost: Mapping[str, int]) -> pd.DataFrame:
    """A table of verdicts by field that says what is lost: its columns of `LOST` sum to ``lost`` in each field.

    Of ``not_permitted``, what V2 is not permitted either goes to a column of its own, `BOTH_REFUSED`.
    """
    table = by_field.reindex(columns=[*dict.fromkeys([*by_field.columns, *LOST])], fill_value=0)
    told = table[list(LOST)].sum(axis=1)
    both = told - pd.Series(dict(lost), dtype="int64").reindex(table.index, fill_value=0)
    return table.assign(not_permitted=table["not_permitted"] - both, **{BOTH_REFUSED: both})


def _by_field(counts: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    table = counts.pivot_table(
        index="field", columns="verdict", values="fields", aggfunc="sum", fill_value=0, observed=True
    )
    return table.loc[[name for name in order if name in table.index]].astype(int)


def _verdicts(counts: pd.DataFrame) -> dict[str, int]:
    """Fields by verdict, the most frequent first."""
    counted = counts.groupby("verdict")["fields"].sum().sort_values(ascending=False, kind="stable")
    return {str(name): int(count) for name, count in counted.items()}
