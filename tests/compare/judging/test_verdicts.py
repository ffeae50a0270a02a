"""The verdict on one field: every branch of the contract's order, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.compare.judging.verdicts import judge, wants_another_read
from smartcar_ops.fields.field_map import Field, Place
from smartcar_ops.fields.reading import Reading, ReadingState

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLACE = Place("here", "value", "km")
VOLATILE = Field("percent", PLACE, PLACE, "number", "volatile", "high", absolute=1)
SLOW = replace(VOLATILE, id="pressure", change="slow")
STABLE = replace(VOLATILE, id="capacity", change="stable", absolute=0.0)
GROWS = replace(VOLATILE, id="odometer", grows=True)
TEXT = replace(STABLE, id="vin", rule="text")
FLAG = replace(VOLATILE, id="plugged", rule="boolean", absolute=0.0)
ONLY_V2, ONLY_V3 = replace(VOLATILE, v3=None), replace(VOLATILE, v2=None)


def value(of: Any, after: float | None = 0, *, unit: str | None = "km", converted: bool = False) -> Reading:
    """A reading so many seconds after a moment; None for no maker's time."""
    at = None if after is None else AT + timedelta(seconds=after)
    return Reading("value", of, of, unit, converted, at)


def none(state: ReadingState) -> Reading:
    """No value, for a reason."""
    return Reading(state, reason=f"says {state}")


HOUR = 3600.0
TABLE = [
    # 1 a side that gave no answer counts before everything else
    ("failed", False, VOLATILE, none("failed"), value(1.0), None),
    ("failed", False, VOLATILE, value(1.0), none("failed"), None),
    ("failed", False, VOLATILE, none("not_capable"), none("failed"), None),
    ("failed", False, ONLY_V3, none("failed"), value(1.0), None),
    # 2 no counterpart in the map
    ("v2_only", False, ONLY_V2, value(1.0), none("no_value"), None),
    ("v3_only", False, ONLY_V3, none("no_value"), value(1.0), None),
    # 4 no value on either side
    ("not_capable", False, VOLATILE, none("not_capable"), none("not_permitted"), None),
    ("not_capable", False, VOLATILE, none("not_permitted"), none("not_capable"), None),
    ("not_permitted", False, VOLATILE, none("not_permitted"), none("no_value"), None),
    ("not_permitted", False, VOLATILE, none("no_value"), none("not_permitted"), None),
    ("unavailable", False, VOLATILE, none("no_value"), none("no_value"), None),
    ("unavailable", False, VOLATILE, none("no_value"), none("cached_error"), None),
    # 5 a value on one side
    ("v3_only", False, VOLATILE, none("not_capable"), value(1.0), None),
    ("v3_only", False, VOLATILE, none("not_permitted"), value(1.0), None),
    ("not_permitted", True, VOLATILE, value(1.0), none("not_permitted"), None),
    ("cached_error", False, VOLATILE, value(1.0), none("cached_error"), None),
    ("v2_only", True, VOLATILE, value(1.0), none("not_capable"), None),
    ("unavailable", False, VOLATILE, value(1.0), none("no_value"), None),
    # 6 both have one, and they agree, at whatever times
    ("equal", False, VOLATILE, value(50.0), value(50.0, 9 * HOUR), None),
    ("equal", False, TEXT, value("X", None), value("X", None), None),
    ("equal", False, FLAG, value(False), value(False), None),
    ("equal", False, VOLATILE, value(0.0), value(0.0), None),
    ("converted", False, VOLATILE, value(50.0, converted=True), value(50.00001), None),
    ("converted", False, VOLATILE, value(50.0), value(50.0, converted=True), None),
    ("within_tolerance", False, VOLATILE, value(50.0), value(51.0, 9 * HOUR), None),
    ("within_tolerance", False, VOLATILE, value(50.0, None), value(49.0), None),
    ("within_tolerance", False, replace(VOLATILE, absolute=0, relative=0.1), value(100.0), value(109.0), None),
    # 7 they differ
    ("mismatch", True, STABLE, value(60.0, None), value(61.0, None), None),
    ("mismatch", True, STABLE, value(60.0), value(61.0, 900 * HOUR), None),
    ("mismatch", True, TEXT, value("X"), value("Y"), None),
    ("mismatch", True, GROWS, value(1000.0), value(900.0, 9 * HOUR), None),
    ("mismatch", True, GROWS, value(900.0, 9 * HOUR), value(1000.0), None),
    ("stale", False, GROWS, value(900.0), value(1000.0, 9 * HOUR), None),
    ("mismatch", True, GROWS, value(1000.0), value(900.0, 9 * HOUR), value(800.0, 10 * HOUR)),
    # a maker's time cut off to the second doesn't tell that the reading was the earlier one
    ("moved", False, GROWS, value(1000.0, 0.4), value(1003.0, 0), value(1006.0, 1)),
    ("mismatch", True, GROWS, value(1000.0, 1), value(1003.0, 0), value(1006.0, 3)),
    ("moved", False, VOLATILE, value(50.0), value(60.0), value(62.0, 5)),
    ("mismatch", True, VOLATILE, value(50.0), value(60.0), value(60.0, 5)),
    ("stale", False, VOLATILE, value(50.0), value(60.0, None), None),
    ("stale", False, VOLATILE, value(50.0, None), value(60.0), None),
    ("stale", False, VOLATILE, value(50.0), value(60.0, 61), None),
    ("mismatch", True, VOLATILE, value(50.0), value(60.0, 60), None),
    ("mismatch", True, VOLATILE, value(50.0), value(60.0, -60), None),
    ("stale", False, SLOW, value(50.0), value(60.0, 24 * HOUR + 1), None),
    ("mismatch", True, SLOW, value(50.0), value(60.0, 24 * HOUR), None),
    ("mismatch", True, FLAG, value(True), value(False), None),
    ("mismatch", True, VOLATILE, value(50.0), value(50.0, unit="mi"), None),
    # the second read of V3, nearer in time, is the one that is kept
    ("equal", False, VOLATILE, value(50.0, 30), value(60.0), value(50.0, 30)),
    # a second read without a value changes nothing
    ("mismatch", True, VOLATILE, value(50.0), value(60.0), none("no_value")),
]


@pytest.mark.parametrize(("verdict", "lost", "field", "v2", "v3", "again"), TABLE)
def test_the_first_that_holds(
    verdict: str, lost: bool, field: Field, v2: Reading, v3: Reading, again: Reading | None
) -> None:
    """Each case gets the contract's verdict, and counts as lost exactly where the gate counts it."""
    judged = judge(field, v2, v3, again)
    assert (verdict, lost) == (judged.verdict, judged.lost)
    assert judged.reason


@pytest.mark.parametrize(
    ("wanted", "field", "v2", "v3"),
    [
        (True, VOLATILE, value(50.0), value(60.0, 60)),
        (False, VOLATILE, value(50.0), value(60.0, 61)),
        (False, VOLATILE, value(50.0), value(50.5)),
        (False, VOLATILE, value(50.0), value(60.0, None)),
        (False, SLOW, value(50.0), value(60.0)),
        (False, STABLE, value(50.0), value(60.0)),
        (False, VOLATILE, value(50.0), none("not_capable")),
    ],
)
def test_a_second_read_is_wanted_only_for_volatile_fields_at_the_same_time(
    wanted: bool, field: Field, v2: Reading, v3: Reading
) -> None:
    """Another unit is spent only where it can tell a moving car from a mismatch."""
    assert wanted == wants_another_read(field, v2, v3)


def test_the_nearer_reading_is_kept() -> None:
    """Of two V3 readings, the judgement keeps the one nearer in time to V2's."""
    v2, first, second = value(50.0, 40), value(60.0), value(70.0, 50)
    assert second is judge(VOLATILE, v2, first, second).v3
    assert first is judge(VOLATILE, value(50.0, 10), first, second).v3


@pytest.mark.parametrize(
    ("unit", "v2", "v3", "words"),
    [
        ("percent", 80.0, 50.0, ""),  # 1.6, as miles are to kilometres
        ("percent", 0.5, 50.0, "a fraction sent as a percentage?"),
        ("km", 160.9344, 100.0, "miles sent as km?"),
        ("km", 5000.0, 50.0, ""),
        ("km/h", 160.9344, 100.0, "mph sent as km/h?"),
        ("kPa", 6.9, 1.0, "psi sent as kPa?"),
        ("kPa", 160.0, 100.0, ""),
        ("liters", 37.85, 10.0, "gallons sent as liters?"),
        ("liters", 160.9, 100.0, ""),
        ("watts", 11.0, 11000.0, "kW sent as W?"),
        ("kWh", 6.9, 1.0, ""),
        (None, 160.9344, 100.0, ""),
        ("count", 100.0, 1.0, ""),
    ],
)
def test_a_scale_is_guessed_only_of_a_unit_that_can_have_it(unit: str | None, v2: float, v3: float, words: str) -> None:
    """80% against 50% is no number of miles: what a ratio makes one suspect depends on what is counted."""
    field = replace(STABLE, absolute=0.0)
    reason = judge(field, value(v2, unit=unit), value(v3, unit=unit)).reason
    assert words in reason
    assert bool(words) == ("?" in reason)


def test_a_difference_shows_both_numbers_unless_they_are_private() -> None:
    """A reason names both values and how far apart they are; a private field's reason only how far."""
    v2, v3 = value(80.0, unit="percent"), value(50.0, unit="percent")
    shown = judge(replace(STABLE, absolute=0.0), v2, v3).reason
    assert shown.startswith("80% on V2, 50% on V3: 30 points apart")
    hidden = judge(replace(STABLE, absolute=0.0, private=True), v2, v3).reason
    assert hidden.startswith("30 points apart") and "80" not in hidden


def test_an_impossible_share_of_v2_is_no_loss_of_v3() -> None:
    """What V2 tells wrongly is not counted against V3, which has a value: `v3_only`, with V2's slip as the reason."""
    judged = judge(VOLATILE, Reading("no_value", 73, reason="V2 gives 7,300%"), value(73.0, unit="percent"))
    assert ("v3_only", False, "V2 gives 7,300%") == (judged.verdict, judged.lost, judged.reason)
