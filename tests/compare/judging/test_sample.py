"""Bounds of a sample, against counting every case there is."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartcar_ops.compare.judging.sample import CONFIDENCE, LIMIT, Sample


def chance(population: int, all_bad: int, read: int, at_most: int) -> Fraction:
    """The chance of at most so many bad ones, counted out."""
    ways = sum(comb(all_bad, seen) * comb(population - all_bad, read - seen) for seen in range(at_most + 1))
    return Fraction(ways, comb(population, read))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A sample of a small stratum."""
    population = draw(st.integers(1, 60))
    read = draw(st.integers(0, population))
    return Sample(population, read, draw(st.integers(0, read)))


@given(samples())
def test_bounds_are_those_that_counting_gives(sample: Sample) -> None:
    """At most: the largest number that so few bad ones leave likely; at least: the smallest that so many do."""
    rare = Fraction(1) - Fraction(str(CONFIDENCE))
    possible = range(sample.bad, sample.population - sample.read + sample.bad + 1)
    likely = [n for n in possible if chance(sample.population, n, sample.read, sample.bad) > rare]
    assert max(likely) == sample.most
    enough = [n for n in possible if 1 - chance(sample.population, n, sample.read, sample.bad - 1) > rare]
    assert min(enough) == sample.least


@given(samples())
def test_what_was_read_whole_is_known(sample: Sample) -> None:
    """A stratum read to its end is closed, however small it is, and both bounds are what was seen."""
    whole = Sample(sample.population, sample.population, sample.bad)
    assert whole.bad == whole.most == whole.least
    assert ("under" if whole.bad / whole.population < LIMIT else "over") == whole.state
    assert 0 == whole.missing


@given(samples())
def test_missing_is_just_enough(sample: Sample) -> None:
    """Reading so many more without a loss closes the stratum; one fewer would not."""
    if sample.state == "open":
        assert "open" != Sample(sample.population, sample.read + sample.missing, sample.bad).state
        assert "open" == Sample(sample.population, sample.read + sample.missing - 1, sample.bad).state


@pytest.mark.parametrize(
    ("state", "missing", "sample"),
    [
        ("open", 95, Sample(100, 0, 0)),
        ("open", 10, Sample(10, 0, 0)),
        ("under", 0, Sample(10, 10, 0)),
        ("over", 0, Sample(10, 1, 1)),
        ("over", 0, Sample(20_000, 300, 30)),
        ("under", 0, Sample(20_000, 300, 0)),
        ("open", 6, Sample(20_000, 290, 0)),
        ("under", 0, Sample(20_000, 19_000, 50)),
    ],
)
def test_known_cases(state: str, missing: int, sample: Sample) -> None:
    """A small stratum wants nearly all of its vehicles, a large one about three hundred without a loss."""
    assert (state, missing) == (sample.state, sample.missing)
