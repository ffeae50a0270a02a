"""Times in every way Smartcar writes them, and units in one of their kind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smartcar_ops.fields.units import CANONICAL, IMPERIAL, convert
from smartcar_ops.smartcar.json_values import parse

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-04T05:06:07Z",
        "2026-03-04T05:06:07.000Z",
        "2026-03-04T05:06:07+00:00",
        "2026-03-04T06:06:07+01:00",
        "2026-03-04T05:06:07",
        SECONDS,
        float(SECONDS),
        SECONDS * 1000,
    ],
)
def test_one_moment_in_every_form(written):
    """ISO text with and without zone, epoch seconds and milliseconds are the same moment in UTC."""
    read = parse(written)
    assert (MOMENT, UTC) == (read, read.tzinfo)


def test_milliseconds_are_kept():
    """Fractions of a second survive in both forms."""
    assert (
        datetime(2026, 3, 4, 5, 6, 7, 345000, UTC) == parse("2026-03-04T05:06:07.345Z") == parse(SECONDS * 1000 + 345)
    )


def test_where_seconds_end_and_milliseconds_begin():
    """From 1e11 a number is milliseconds, from 1e9 seconds, below it is no time."""
    assert (1973, 5138, 2001, None) == (
        parse(1e11).year,
        parse(1e11 - 1).year,
        parse(1e9).year,
        parse(1e9 - 1),
    )


@pytest.mark.parametrize(
    "written",
    [None, "", "soon", "2026-13-01T00:00:00Z", 0, -1, True, [], {}, 1e20, 10**400, float("nan"), float("inf")],
)
def test_what_is_no_time(written):
    """Nought, nonsense and numbers beyond every calendar are no time, and no traceback."""
    assert parse(written) is None


def test_a_moment_before_the_calendar():
    """A zone that would lead before year 1 is no time."""
    assert parse("0001-01-01T00:00:00+23:00") is None


@pytest.mark.parametrize(
    ("number", "unit", "expected"),
    [
        (10, "km", (10, "km", False)),
        (10, "kilometers", (10, "km", False)),
        (10, " Kilometres ", (10, "km", False)),
        (10, "miles", (16.09344, "km", True)),
        (10, "MI", (16.09344, "km", True)),
        (0.68, "fraction", (68.0, "percent", True)),
        (68, "percent", (68, "percent", False)),
        (68, "percentage", (68, "percent", False)),
        (68, "%", (68, "percent", False)),
        (7, "parsec", (7, "parsec", False)),
        (7, "", (7, "", False)),
    ],
)
def test_units_of_a_kind_are_one(number, unit, expected):
    """Words of one unit are the same, another unit is converted and says so, an unknown one stays."""
    assert expected == convert(number, unit)


def test_a_conversion_leaves_no_binary_dust():
    """0.29 of a battery is 29 percent exactly."""
    assert 29.0 == convert(0.29, "fraction")[0]


def test_what_a_unit_becomes_is_a_unit_itself():
    """Every unit compared in is known with factor 1, and so is every imperial counterpart."""
    assert {(name, 1) for name, _ in CANONICAL.values()} == {CANONICAL[name.lower()] for name, _ in CANONICAL.values()}
    assert set(IMPERIAL.values()) <= set(CANONICAL)
