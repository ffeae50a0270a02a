"""Results of earlier audits, one snapshot per UTC day, from the ledger's runs; makes no calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.runs import Act, Run


@dataclass(frozen=True)
class Snapshot:
    """Users by bucket according to one audit; ``complete`` is true if the audit reached everything.

    ``at`` is when the audit began: later changes may be missing.
    """

    at: datetime
    counts: dict[str, int]
    complete: bool

    @property
    def day(self) -> date:
        """The UTC day of the audit."""
        return self.at.date()


def audits(runs: Iterable[Run]) -> list[Snapshot]:
    """Return one snapshot per audit, in the order of the runs; audits without counts are left out."""
    counted = [run for run in runs if run.act == Act.AUDIT and "buckets" in run.summary]
    return [_snapshot(began(run), run.summary) for run in counted]


def daily(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the last snapshot of each day that has an audit, oldest first.

    An incomplete audit never replaces a complete one of the same day.
    """
    by_day: dict[date, Snapshot] = {}
    for snapshot in snapshots:
        before = by_day.get(snapshot.day)
        if before is None or snapshot.complete or not before.complete:
            by_day[snapshot.day] = snapshot
    return [by_day[day] for day in sorted(by_day)]


def _snapshot(at: datetime, summary: Mapping[str, Any]) -> Snapshot:
    return Snapshot(at, buckets.complete(summary["buckets"]), bool(summary.get("complete", True)))


def began(run: Run) -> datetime:
    """Return when a run began, in UTC."""
    return run.started.replace(tzinfo=UTC)
