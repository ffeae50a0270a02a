"""The progress report's cells, where there is nothing to draw."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
from bs4 import BeautifulSoup

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot
from smartcar_ops.progress.report import ProgressReport
from smartcar_ops.progress.result import ProgressResult

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
COUNTS = buckets.complete({"mapped": 3, "ready": 1, "no_vehicles": 1})


def report(**changed: Any) -> ProgressResult:
    """A report of four users that looks back to a day."""
    given: dict[str, Any] = {
        "before": COUNTS,
        "now": COUNTS,
        "snapshot": Snapshot(NOON, COUNTS, complete=True),
        "written_since": 0,
        "moment": NOON,
        "day": date(2026, 11, 23),
        "deadline": date(2026, 12, 1),
        "compared": pd.DataFrame(),
        "lost_fields": 0,
        "calls": {},
        "needed": None,
        "to_come": 0,
    }
    return ProgressResult(**{**given, **changed})


def text(shown: Any) -> str:
    """What people read of an output."""
    return BeautifulSoup(shown.data, "html.parser").get_text(" ", strip=True)


def test_without_an_audit_no_picture_of_nobody_is_drawn() -> None:
    """That there was no audit is said in place of the pictures of users, and of what was compared likewise."""
    nothing = report(snapshot=None, now=buckets.complete({}), written_since=7)
    told = "No audit yet: run 20_audit_user_ids."
    assert told == text(ProgressReport(nothing).migrated()) == text(ProgressReport(nothing).by_bucket())
    assert "there was no audit until then, although 7 values were written" in text(ProgressReport(nothing).standing())
    assert "No comparison yet: run 10_compare_v2_v3." == text(ProgressReport(nothing).verdicts())


def test_what_a_past_day_needed_is_not_made_up() -> None:
    """Units that were still needed on a past day are not known, and no later number stands in their place."""
    assert "The units still needed are not known for a past day." == text(ProgressReport(report()).allowance())
    assert "Smartcar calls until the deadline" == ProgressReport(report(needed={"linking": 1})).allowance().title


def test_pictures_tell_what_is_left() -> None:
    """The share's picture and that of the buckets have the numbers of the verdict."""
    told = report()
    assert "3 of 5 users (60%) are mapped, 1 left to do" in told.verdict
    assert "1 left to do, 1 with nothing to map" in ProgressReport(told).migrated().description
    assert "1 left to do" in ProgressReport(told).by_bucket().title
