"""What a sample of vehicles says about all of a stratum: at 95%, the most and the least vehicles with a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

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
