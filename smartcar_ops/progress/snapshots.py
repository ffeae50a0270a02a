"""What the audits of the past left: one snapshot a UTC day, from the ledger's runs; asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from smartcar_ops.database.evidence import buckets
from smartcar_ops.database.ledger.runs import Act, Run


@dataclass(frozen=True)
class Snapshot:
    """Users by bucket as one audit found them; ``complete`` says that the audit reached everything.

    ``at`` is when the audit began: what was written later may not be in it.
    """

    at: datetime
    counts: dict[str, int]
    complete: bool

    @property
    def day(self) -> date:
        """The UTC day it is of."""
        return self.at.date()


def audits(runs: Iterable[Run]) -> list[Snapshot]:
    """What each audit found, in the order of the runs; one that left no counts is none."""
    told = [run for run in runs if run.act == Act.AUDIT and "buckets" in run.summary]
    return [_snapshot(began(run), run.summary) for run in told]


def daily(found: Iterable[Snapshot]) -> list[Snapshot]:
    """One for each day that has an audit, oldest first: the day's last one.

    An incomplete audit never replaces a complete one of the same day.
    """
    kept: dict[date, Snapshot] = {}
    for one in found:
        before = kept.get(one.day)
        if before is None or one.complete or not before.complete:
            kept[one.day] = one
    return [kept[day] for day in sorted(kept)]


def _snapshot(at: datetime, summary: Mapping[str, Any]) -> Snapshot:
    return Snapshot(at, buckets.complete(summary["buckets"]), bool(summary.get("complete", True)))


def began(run: Run) -> datetime:
    """When a run began, in UTC."""
    return run.started.replace(tzinfo=UTC)
