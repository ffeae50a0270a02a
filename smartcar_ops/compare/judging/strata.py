"""A fleet by make and powertrain: what was lost, what was judged, what the gate says, and what is still unknown."""

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
"""Vehicles that a stratum names for somebody who wants to look at one."""


@dataclass
class Tally:
    """What was seen of one stratum so far: fields by verdict family, vehicles that answered, those with a loss."""

    scored: int = 0
    lost: int = 0
    judged: int = 0
    read: int = 0
    answered: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, vehicle_id: str, *, scored: int, lost: int, judged: int, answered: bool) -> None:
        """One more vehicle."""
        self.scored, self.lost, self.judged = self.scored + scored, self.lost + lost, self.judged + judged
        self.read += 1
        self.answered += answered
        self.bad += bool(lost and answered)
        if lost and len(self.examples) < EXAMPLES:
            self.examples.append(vehicle_id)

    def refusal(self, gate: Gate) -> str:
        """Why the gate says no to this stratum; empty where it does not."""
        lost, judged, why = self.lost / self.scored, self.judged / self.scored, []
        if lost > gate.lost_share:
            why.append(f"{lost:.1%} lost or differing, {gate.lost_share:.1%} allowed")
        if judged < gate.min_judged:
            why.append(f"{judged:.0%} judged, {gate.min_judged:.0%} needed")
        return "; ".join(why)

    def sample(self, linked: int) -> Sample:
        """The vehicles that answered, as a sample of all that are linked."""
        return Sample(max(linked, self.answered), self.answered, self.bad)


def frame(tallies: Mapping[Stratum, Tally], linked: Mapping[Stratum, int], gate: Gate) -> pd.DataFrame:
    """A row a stratum, by name: shares, the gate's refusal, bounds, what closing it takes."""
    rows = [_row(name, tallies.get(name, Tally()), linked.get(name, 0), gate) for name in sorted({*tallies, *linked})]
    return pd.DataFrame(rows, columns=COLUMNS)


def population(linked: Iterable[Stratum]) -> dict[Stratum, int]:
    """Vehicles by stratum."""
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
"""The share of vehicles with a loss that people call none."""

CONFIDENCE = 0.95
"""Of each bound, taken alone."""

RARE = 1 - CONFIDENCE + 1e-9
"""A chance of no more than this is rare; so much above, since logarithms are not exact."""


@dataclass(frozen=True)
class Sample:
    """Of ``population`` vehicles, ``read`` were read and ``bad`` of these lost something."""

    population: int
    read: int
    bad: int

    @property
    def most(self) -> int:
        """The most bad vehicles that the stratum may hold, at 95%."""
        return most_bad(self.population, self.read, self.bad)

    @property
    def least(self) -> int:
        """The fewest bad vehicles that the stratum may hold, at 95%."""
        return least_bad(self.population, self.read, self.bad)

    @property
    def state(self) -> Literal["under", "over", "open"]:
        """``under``: fewer than 1% of the stratum are bad, at 95%; ``over``: not fewer; else ``open``."""
        if self.population and self.most / self.population < LIMIT:
            return "under"
        return "over" if self.population and self.least / self.population >= LIMIT else "open"

    @property
    def missing(self) -> int:
        """How many more vehicles close the stratum if none of them is bad; 0 where it is closed."""
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
    """The largest number of bad vehicles with which so few bad ones are seen in more than 5% of samples."""
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
    """The smallest number of bad vehicles with which so many bad ones are seen in more than 5% of samples."""
    few, many = bad, population - read + bad
    while few < many:
        middle = (few + many) // 2
        if 1 - _at_most(bad - 1, population, middle, read) > RARE:
            many = middle
        else:
            few = middle + 1
    return few


def _at_most(bad: int, population: int, all_bad: int, read: int) -> float:
    """The chance of at most ``bad`` bad ones among ``read`` of ``population``, of which ``all_bad`` are bad."""
    whole = _log_choose(population, read)
    lowest, highest = max(0, read - (population - all_bad)), min(bad, all_bad, read)
    terms = (
        _log_choose(all_bad, seen) + _log_choose(population - all_bad, read - seen) - whole
        for seen in range(lowest, highest + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)
