"""V2 beside V3 over a fleet: the verdict on every field, and what the gate says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from smartcar_ops.errors import SettingsError
from smartcar_ops.layout import Gate, Layout, Waiver
from smartcar_ops.migration.pairing import Pair
from smartcar_ops.migration.recording import Recording
from smartcar_ops.migration.verdicts import JUDGED, WAIVABLE, Judgement, judge
from smartcar_ops.smartcar.fields import Field, FieldMap, field_map
from smartcar_ops.smartcar.readings import Reading, read_v2, read_v3

FIELD_COLUMNS = [
    "vehicle_id",
    "local_vehicle_id",
    "make",
    "powertrain",
    "field",
    "scored",
    "v2_value",
    "v2_number",
    "v2_unit",
    "v3_value",
    "v3_number",
    "v3_unit",
    "verdict",
    "reason",
    "v2_at",
    "v3_at",
    "lost",
]
FIELD_TYPES = {
    "scored": "bool",
    "lost": "bool",
    "v2_number": "float64",
    "v3_number": "float64",
    "v2_at": "datetime64[us, UTC]",
    "v3_at": "datetime64[us, UTC]",
}
"""What a column holds whatever the rows are, and when there is none."""
VEHICLE_COLUMNS = ["vehicle_id", "local_vehicle_id", "make", "powertrain", "state", "reason"]
AGEING = frozenset({"stale", "moved", "mismatch", "cached_error"})
"""Verdicts that old data can explain."""
MASKED = frozenset({"vin"})
"""Fields whose values are shown only when asked for."""


@dataclass(frozen=True)
class Comparison:
    """The judged fields, a row a vehicle read or not, and the gate's strata."""

    fields: pd.DataFrame
    vehicles: pd.DataFrame
    strata: pd.DataFrame
    gate: Gate
    expired: tuple[Waiver, ...] = ()

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"

    @property
    def read(self) -> int:
        """Vehicles that were read."""
        return int((self.vehicles["state"] == "read").sum())

    @property
    def complete(self) -> bool:
        """False where the allowance ended before every chosen vehicle was read."""
        return not bool((self.vehicles["state"] == "not_read").any())

    @property
    def verdicts(self) -> dict[str, int]:
        """Fields by verdict, the most frequent first."""
        return {str(name): int(count) for name, count in self.fields["verdict"].value_counts().items()}

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
        scored = self.fields[self.fields["scored"]]
        lost = int(scored["lost"].sum())
        says = (
            f"the gate says no for {len(self.refused)} of {len(self.strata)} strata"
            if self.refused
            else f"the gate is open for all {len(self.strata)} strata"
        )
        return (
            f"{self.read:,} vehicles read on both versions: {lost:,} of {len(scored):,} scored fields differ or are "
            f"lost on V3; {says}."
        )

    def by_field(self) -> pd.DataFrame:
        """Counts: a row a field in the map's order, a column a verdict."""
        counts = pd.crosstab(self.fields["field"], self.fields["verdict"])
        order = [row.id for row in field_map().fields if row.id in counts.index]
        return counts.loc[order]

    def strata_table(self) -> pd.DataFrame:
        """The strata for people: shares in percent, and what the gate says."""
        shown = self.strata.copy()
        for name in ("lost", "judged"):
            shown[name] = [f"{share:.0%}" for share in shown[name]]
        shown["why"] = [why or "open" for why in shown["why"]]
        return shown.rename(columns={"why": "gate"}).set_index(["make", "powertrain"])

    def differences(self) -> pd.DataFrame:
        """The fields that differ or are lost on V3, with both values and the reason."""
        columns = ["field", "make", "verdict", "v2_value", "v3_value", "reason", "vehicle_id"]
        lost = self.fields[self.fields["lost"] & (self.fields["verdict"] != "waived")]
        return lost.sort_values(["field", "make"])[columns].reset_index(drop=True)

    def summary(self) -> dict[str, Any]:
        """The contract's keys of summary.json."""
        scored = self.fields[self.fields["scored"]]
        return {
            "vehicles": self.read,
            "verdicts": self.verdicts,
            "scored": len(scored),
            "judged": int(scored["verdict"].isin(JUDGED).sum()),
            "by_field": json.loads(self.by_field().to_json(orient="index")),
            "refused": self.refused,
        }


def tolerated(fields: FieldMap, layout: Layout) -> FieldMap:
    """The map with the company's own tolerances in place of the kit's."""
    unknown = set(layout.tolerance) - {row.id for row in fields.fields}
    if unknown:
        raise SettingsError(
            f"settings: [tolerance] names the field {sorted(unknown)[0]!r}, which the map does not have."
        )
    rows = []
    for row in fields.fields:
        own = layout.tolerance.get(row.id)
        absolute = row.absolute if own is None or own.absolute is None else own.absolute
        relative = row.relative if own is None or own.relative is None else own.relative
        rows.append(replace(row, absolute=absolute, relative=relative))
    return FieldMap(fields.version, tuple(rows))


def compare(
    recordings: Iterable[Recording],
    unread: Iterable[Pair],
    fields: FieldMap,
    layout: Layout,
    now: datetime,
    *,
    show_private: bool = False,
) -> Comparison:
    """Judges every field of every recording, and the gate over their strata; calls nobody.

    VINs are masked unless ``show_private``.
    """
    today = now.astimezone(UTC).date()
    waivers = [waiver for waiver in layout.waiver if waiver.expires >= today]
    rows, vehicles = [], []
    for recording in recordings:
        vehicles.append(_vehicle_row(recording.pair, "read", ""))
        for row in fields.fields:
            rows.append(_field_row(row, recording, waivers, show_private=show_private))
    vehicles += [_vehicle_row(pair, "not_read", "the allowance ended before this vehicle") for pair in unread]
    frame = pd.DataFrame(rows, columns=FIELD_COLUMNS).astype(FIELD_TYPES)
    return Comparison(
        fields=frame,
        vehicles=pd.DataFrame(vehicles, columns=VEHICLE_COLUMNS),
        strata=strata(frame, layout.gate),
        gate=layout.gate,
        expired=tuple(waiver for waiver in layout.waiver if waiver.expires < today),
    )


def strata(fields: pd.DataFrame, gate: Gate) -> pd.DataFrame:
    """A row a make x powertrain: vehicles, scored, lost and judged shares, and why the gate refuses (or empty)."""
    scored = fields[fields["scored"]]
    rows = []
    for (make, powertrain), group in scored.groupby(["make", "powertrain"], sort=True):
        lost, judged = group["lost"].mean(), group["verdict"].isin(JUDGED).mean()
        why = []
        if lost > gate.lost_share:
            why.append(f"{lost:.1%} lost or differing, {gate.lost_share:.1%} allowed")
        if judged < gate.min_judged:
            why.append(f"{judged:.0%} judged, {gate.min_judged:.0%} needed")
        rows.append(
            {
                "make": make,
                "powertrain": powertrain,
                "vehicles": group["vehicle_id"].nunique(),
                "scored": len(group),
                "lost": lost,
                "judged": judged,
                "why": "; ".join(why),
            }
        )
    return pd.DataFrame(rows, columns=["make", "powertrain", "vehicles", "scored", "lost", "judged", "why"])


def _field_row(row: Field, recording: Recording, waivers: Sequence[Waiver], *, show_private: bool) -> dict[str, Any]:
    v2, v3 = read_v2(row, recording.v2), read_v3(row, recording.v3)
    again = read_v3(row, recording.again) if recording.again is not None else None
    judgement = _waived(row, recording.pair, judge(row, v2, v3, again), waivers)
    kept, masked = judgement.v3, row.id in MASKED and not show_private
    return {
        "vehicle_id": recording.pair.vehicle_id,
        "local_vehicle_id": recording.pair.local_vehicle_id,
        "make": recording.pair.make,
        "powertrain": recording.pair.powertrain,
        "field": row.id,
        "scored": row.scored,
        "v2_value": _json(v2, masked),
        "v2_number": _number(v2),
        "v2_unit": v2.unit,
        "v3_value": _json(kept, masked),
        "v3_number": _number(kept),
        "v3_unit": kept.unit,
        "verdict": judgement.verdict,
        "reason": _reason(judgement, recording.pair),
        "v2_at": v2.at,
        "v3_at": kept.at,
        "lost": row.scored and judgement.lost,
    }


def _reason(judgement: Judgement, pair: Pair) -> str:
    """Why, in words; where the values are apart, also that no webhook feeds the vehicle."""
    if pair.fed is False and judgement.verdict in AGEING:
        return f"{judgement.reason}; no webhook subscription feeds this vehicle, so V3 may be a day old"
    return judgement.reason


def _waived(row: Field, pair: Pair, judgement: Judgement, waivers: Sequence[Waiver]) -> Judgement:
    if judgement.verdict not in WAIVABLE:
        return judgement
    for waiver in waivers:
        if waiver.field == row.id and waiver.make.upper() in ("", pair.make):
            reason = f"{judgement.reason}; waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            return Judgement("waived", reason, judgement.v3)
    return judgement


def _json(reading: Reading, masked: bool) -> str | None:
    if reading.raw is None:
        return None
    return (
        json.dumps("…" + str(reading.raw)[-4:], ensure_ascii=False)
        if masked
        else json.dumps(reading.raw, ensure_ascii=False)
    )


def _number(reading: Reading) -> float | None:
    return (
        float(reading.value) if isinstance(reading.value, int | float) and not isinstance(reading.value, bool) else None
    )


def _vehicle_row(pair: Pair, state: str, reason: str) -> dict[str, Any]:
    return {
        "vehicle_id": pair.vehicle_id,
        "local_vehicle_id": pair.local_vehicle_id,
        "make": pair.make,
        "powertrain": pair.powertrain,
        "state": state,
        "reason": reason,
    }
