"""When a sample of a stratum is enough: bounds by the hypergeometric distribution, for a stratum of known size.

A stratum that was read whole is closed, however small it is; no normal approximation is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

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
