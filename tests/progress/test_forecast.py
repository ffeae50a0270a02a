"""The forecast, tried on pretend migrations whose end is known, and where there is none."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot
from smartcar_ops.progress.forecast import Forecast, forecast
from tests.support.histories import PretendMigration, pretend_migration

SEEDS = range(200)


@pytest.fixture(scope="module")
def migrations() -> list[PretendMigration]:
    """Two hundred pretend migrations."""
    return [pretend_migration(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def forecasts(migrations: list[PretendMigration]) -> list[Forecast]:
    """What is forecast for each of them, in the middle of it."""
    return [forecast(migration.seen) for migration in migrations]


def days(*counts: dict[str, int], every: int = 1) -> list[Snapshot]:
    """One snapshot per day, or per so many days."""
    start = datetime(2026, 10, 1, 5, tzinfo=UTC)
    return [
        Snapshot(start + timedelta(days=number * every), buckets.complete(count), complete=True)
        for number, count in enumerate(counts)
    ]


def of_ready(numbers: Sequence[int], *, reconnect: int = 0, total: int = 1_000) -> list[dict[str, int]]:
    """The counts of each day, by the users who are still ready to be backfilled."""
    return [{"ready": ready, "reconnect": reconnect, "mapped": total - ready - reconnect} for ready in numbers]


def test_pretend_migrations_are_whole(migrations: list[PretendMigration]) -> None:
    """Every trait occurs in many of them, nobody is lost from one day to the next, and all but plateaus end."""
    for trait in ("bursts", "setbacks", "pauses", "growth", "weekends", "gaps", "plateau"):
        assert 20 < sum(trait in migration.traits for migration in migrations) < 180
    for migration in migrations:
        totals = [sum(day.counts.values()) for day in migration.days]
        assert all(before <= after for before, after in pairwise(totals))
        assert "growth" in migration.traits or totals[0] == totals[-1]
        assert (migration.finished is None) == ("plateau" in migration.traits)
        assert len(migration.seen) >= 8


def test_the_band_holds_the_true_day_as_often_as_it_says(
    migrations: list[PretendMigration], forecasts: list[Forecast]
) -> None:
    """In 70 to 90% of the migrations the band holds the true day, or the users who never finish are named."""
    held, widths = 0, list[float]()
    for migration, foreseen in zip(migrations, forecasts, strict=True):
        if migration.finished is None:
            held += foreseen.stuck == migration.days[-1].counts["reconnect"]
        elif foreseen.low and foreseen.high:
            held += foreseen.low <= migration.finished <= foreseen.high
            widths.append((foreseen.high - foreseen.low) / (migration.finished - migration.today))
    assert 0.7 <= held / len(migrations) <= 0.9
    assert statistics.median(widths) <= 0.4, "the band is too wide to plan with"
    assert len(widths) >= 0.95 * sum(migration.finished is not None for migration in migrations)


def test_only_a_plateau_is_named_as_one(migrations: list[PretendMigration], forecasts: list[Forecast]) -> None:
    """Users who still come back are hardly ever said not to."""
    wrongly = sum(bool(f.stuck) for m, f in zip(migrations, forecasts, strict=True) if m.finished is not None)
    assert wrongly <= 0.03 * len(migrations)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_with_fewer_than_four_days_there_is_none(number: int) -> None:
    """Too little is known, and it says so."""
    foreseen = forecast(days(*of_ready([900, 800, 700][:number])))
    assert foreseen.median is None
    assert f"on 4 days; so far there are audits on {number} {'day' if number == 1 else 'days'}." in foreseen.why


def test_an_even_pace_is_forecast_to_the_day() -> None:
    """Fifty users a day, 500 left: ten days, and no doubt about it."""
    foreseen = forecast(days(*of_ready(range(1_000, 499, -50))))
    assert Forecast(date(2026, 10, 21), date(2026, 10, 21), date(2026, 10, 21)) == foreseen


def test_days_without_an_audit_do_not_slow_the_pace() -> None:
    """The same pace, looked at once a week, ends on the same day."""
    weekly = forecast(days(*of_ready(range(1_750, 699, -350), total=2_000), every=7))
    assert weekly.median == date(2026, 10, 22) + timedelta(days=14)


def test_nobody_left_is_today() -> None:
    """Where nobody is left, the last day is the day."""
    foreseen = forecast(days(*of_ready([60, 40, 20, 0])))
    assert (date(2026, 10, 4), "") == (foreseen.median, foreseen.why)


def test_a_plateau_is_named_and_the_others_forecast() -> None:
    """Users who must reconnect, and none of whom has for two weeks, are named; the others have their day."""
    ending = forecast(days(*of_ready([*range(400, 0, -20), 0], reconnect=38)))
    assert (None, 38) == (ending.median, ending.stuck)
    assert "At this pace the last 38 users never finish: they must reconnect." == ending.why
    going = forecast(days(*of_ready(range(600, 300, -15), reconnect=1)))
    assert (1, date(2026, 10, 20) + timedelta(days=21)) == (going.stuck, going.median)
    assert "At this pace the last user never finishes: they must reconnect." == going.why


def test_a_pace_of_nothing_has_no_day() -> None:
    """If as many are added as are done, there is no day, and it says so."""
    foreseen = forecast(days(*of_ready([500, 480, 500, 520, 500, 510, 500, 500])))
    assert foreseen.median is None
    assert "this never ends" in foreseen.why


def test_the_same_history_has_the_same_forecast() -> None:
    """Nothing in it is left to chance from one run to the next."""
    seen = pretend_migration(3).seen
    assert forecast(seen) == forecast(seen)
