"""A fleet by stratum (make and powertrain): fields lost and judged, the gate's decision, and what is still unknown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import pandas as pd

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


LIMIT = 0.01
"""The question for each stratum: do fewer than this share of its vehicles have a loss?"""

CONFIDENCE = 0.95
"""The confidence of each bound on its own."""

RARE = 1 - CONFIDENCE + 1e-9
"""The largest probability that counts as rare; the small extra is for rounding of the logarithms."""


@dataclass(frozen=True)
class Sample:
    """A sample of a stratum: of ``population`` vehicles ``read`` were read, and ``bad`` of these have a loss."""

    population: int
    read: int
    bad: int

    @property
    def most(self) -> int:
        """The upper bound of bad vehicles in the stratum, at 95%."""
        return most_bad(self.population, self.read, self.bad)

    @property
    def least(self) -> int:
        """The lower bound of bad vehicles in the stratum, at 95%."""
        return least_bad(self.population, self.read, self.bad)

    @property
    def state(self) -> Literal["under", "over", "open"]:
        """``under``: fewer than 1% of the stratum are bad, at 95%; ``over``: 1% or more; ``open``: not known yet."""
        if self.population and self.most / self.population < LIMIT:
            return "under"
        return "over" if self.population and self.least / self.population >= LIMIT else "open"

    @property
    def missing(self) -> int:
        """How many more vehicles close the stratum if none of them is bad; 0 if it is closed."""
        if self.state != "open":
            return 0
        few, many = 1, self.population - self.read
        while few < many:
            middle = (few + many) // 2
            if Sample(self.population, self.read + middle, self.bad).state != "open":
                many = middle
            else:
                few = middle + 1
        return few


@lru_cache(maxsize=4096)
def most_bad(population: int, read: int, bad: int) -> int:
    """Return the largest number of bad vehicles for which over 5% of samples have at most ``bad`` bad ones."""
    few, many = bad, population - read + bad
    while few < many:
        middle = (few + many + 1) // 2
        if _at_most(bad, population, middle, read) > RARE:
            few = middle
        else:
            many = middle - 1
    return few


@lru_cache(maxsize=4096)
def least_bad(population: int, read: int, bad: int) -> int:
    """Return the smallest number of bad vehicles for which over 5% of samples have at least ``bad`` bad ones."""
    few, many = bad, population - read + bad
    while few < many:
        middle = (few + many) // 2
        if 1 - _at_most(bad - 1, population, middle, read) > RARE:
            many = middle
        else:
            few = middle + 1
    return few


def _at_most(bad: int, population: int, all_bad: int, read: int) -> float:
    """Return the probability of at most ``bad`` bad ones in a sample of ``read``, if ``all_bad`` are bad in total."""
    all_samples = _log_choose(population, read)
    lowest, highest = max(0, read - (population - all_bad)), min(bad, all_bad, read)
    terms = (
        _log_choose(all_bad, seen) + _log_choose(population - all_bad, read - seen) - all_samples
        for seen in range(lowest, highest + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)
