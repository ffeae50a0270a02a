"""The gate: for each stratum (make and powertrain) the fields lost and judged, and why the gate says no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from smartcar_ops.compare.judging.sample import Sample
from smartcar_ops.compare.vehicles import Stratum
from smartcar_ops.settings.layout import Gate

COLUMNS = [
    *("make", "powertrain", "vehicles", "scored", "lost", "judged", "why"),
    *("linked", "with_loss", "least", "most", "state", "missing", "examples"),
]
EXAMPLES = 3
"""Vehicles with a loss that are listed for each stratum."""


@dataclass
class Tally:
    """The counts of one stratum so far: its fields, its vehicles that answered, and those with a loss (``bad``)."""

    scored: int = 0
    lost: int = 0
    judged: int = 0
    read: int = 0
    answered: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, vehicle_id: str, *, scored: int, lost: int, judged: int, answered: bool) -> None:
        """Count one more vehicle."""
        self.scored, self.lost, self.judged = self.scored + scored, self.lost + lost, self.judged + judged
        self.read += 1
        self.answered += answered
        self.bad += bool(lost and answered)
        if lost and len(self.examples) < EXAMPLES:
            self.examples.append(vehicle_id)

    def refusal(self, gate: Gate) -> str:
        """Return why the gate says no to this stratum; empty if it does not."""
        lost, judged, why = self.lost / self.scored, self.judged / self.scored, []
        if lost > gate.lost_share:
            why.append(f"{lost:.1%} of fields lost or different, {gate.lost_share:.1%} allowed")
        if judged < gate.min_judged:
            why.append(f"{judged:.0%} of fields judged, {gate.min_judged:.0%} needed")
        return "; ".join(why)

    def sample(self, linked: int) -> Sample:
        """Return the vehicles that answered, as a sample of all linked ones."""
        return Sample(max(linked, self.answered), self.answered, self.bad)


def frame(tallies: Mapping[Stratum, Tally], linked: Mapping[Stratum, int], gate: Gate) -> pd.DataFrame:
    """Return one row per stratum, sorted by name: shares, the gate's refusal, bounds, vehicles still needed."""
    rows = [_row(name, tallies.get(name, Tally()), linked.get(name, 0), gate) for name in sorted({*tallies, *linked})]
    return pd.DataFrame(rows, columns=COLUMNS)


def population(linked: Iterable[Stratum]) -> dict[Stratum, int]:
    """Return the number of vehicles by stratum."""
    return dict(Counter(linked))


def _row(name: Stratum, tally: Tally, linked: int, gate: Gate) -> dict[str, object]:
    sample = tally.sample(linked)
    return {
        "make": name[0],
        "powertrain": name[1],
        "vehicles": tally.read,
        "scored": tally.scored,
        "lost": tally.lost / tally.scored if tally.scored else 0.0,
        "judged": tally.judged / tally.scored if tally.scored else 0.0,
        "why": tally.refusal(gate) if tally.scored else "",
        "linked": sample.population,
        "with_loss": tally.bad,
        "least": sample.least,
        "most": sample.most,
        "state": sample.state,
        "missing": sample.missing,
        "examples": ", ".join(tally.examples),
    }
