"""The forecast, tried on pretend migrations whose end is known."""

from __future__ import annotations

import itertools

from tests.support.histories import pretend_migration

SEEDS = range(200)


def test_pretend_migrations_are_whole() -> None:
    """Every trait occurs in many of them, nobody is lost from one day to the next, and all but plateaus end."""
    migrations = [pretend_migration(seed) for seed in SEEDS]
    for trait in ("bursts", "setbacks", "pauses", "growth", "weekends", "gaps", "plateau"):
        assert 20 < sum(trait in migration.traits for migration in migrations) < 180
    for migration in migrations:
        totals = [sum(day.counts.values()) for day in migration.days]
        assert all(before <= after for before, after in itertools.pairwise(totals))
        assert "growth" in migration.traits or totals[0] == totals[-1]
        assert (migration.finished is None) == ("plateau" in migration.traits)
        assert len(migration.seen) >= 8
