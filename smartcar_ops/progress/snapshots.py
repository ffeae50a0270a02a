"""The audits' snapshots as the progress report and analysts read them: one per UTC day with an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.database.ledger.ledger import Ledger


def snapshots(ledger: Ledger, until: date | None = None) -> list[Snapshot]:
    """Return the snapshots with a count for every bucket, oldest first; with ``until``, none of a later day."""
    return [replace(day, counts=buckets.complete(day.counts)) for day in History(ledger).all(until)]


def table(days: Sequence[Snapshot]) -> pd.DataFrame:
    """Return one row per day: (as_of, users by bucket, total, complete, left, decisions_open, calls).

    ``as_of`` is a UTC day as ISO text. ``calls`` are all units spent up to that audit.
    """
    rows = [
        {
            "as_of": day.day.isoformat(),
            **day.counts,
            "total": sum(day.counts.values()),
            "complete": day.complete,
            "left": buckets.left(day.counts),
            "decisions_open": buckets.for_people(day.counts),
            "calls": sum(day.calls.values()),
        }
        for day in days
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(COLUMNS)


COLUMNS = {
    "as_of": "str",
    **dict.fromkeys(buckets.NAMES, "int64"),
    "total": "int64",
    "complete": "bool",
    "left": "int64",
    "decisions_open": "int64",
    "calls": "int64",
}
"""The columns of ``history`` with their types."""
