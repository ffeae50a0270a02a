"""Measures how far the migration has progressed, from the ledger and the database; makes no calls."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.result import count_users
from smartcar_ops.audit.snapshot import last_comparison
from smartcar_ops.compare.judging.comparison import with_both_refused
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.history.days import Snapshot
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Act, Run, Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.progress.days import start_of
from smartcar_ops.progress.needed import units_needed
from smartcar_ops.progress.result import ProgressResult
from smartcar_ops.progress.since import since
from smartcar_ops.progress.snapshots import snapshots
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import units_to_come
from smartcar_ops.smartcar.v2 import V2

log = logging.getLogger("smartcar_ops.progress")


def measure(
    company: Company,
    ledger: Ledger,
    resolver: IdentityResolver,
    v2: V2,
    allowance: Allowance,
    *,
    now: datetime,
    deadline: date,
    day: date | None = None,
) -> ProgressResult:
    """Return the migration's state after the last audit and the backfills since; makes no calls.

    With a ``day``, everything is as of the end of that day.
    """
    end = start_of(day + timedelta(days=1)) if day else now
    looks_back, moment = end < now, min(end, now)
    runs = [run for run in Runs(ledger).all() if not run.is_running and not (looks_back and run.began >= end)]
    history = snapshots(ledger, day)
    snapshot = history[-1] if history else None
    written = change_log.count_written(ledger, snapshot.at if snapshot else None, end if looks_back else None)
    now_counts = _counts(company, ledger, snapshot, now, judge=bool(written) and not looks_back)
    shown = _with_now(history, now_counts, moment) if written and not looks_back else history
    compared, lost = _compared(company, runs)
    counts = f"{len(runs):,}", f"{len(history):,}", f"{written:,}"
    log.info("reports from %s runs and %s days of history; %s values written since the last audit", *counts)
    return ProgressResult(
        before=_before(runs),
        now=now_counts,
        snapshot=snapshot,
        written_since=written,
        moment=moment,
        day=day,
        deadline=deadline,
        compared=compared,
        lost_fields=lost,
        calls=_calls(runs),
        needed=None if looks_back else units_needed(company, ledger, resolver, v2, now),
        to_come=units_to_come(allowance, moment, start_of(deadline)),
        history=shown,
        strata=last_comparison(runs),
        since=since(ledger, history, [run for run in runs if run.notebook == NOTEBOOK]),
    )


NOTEBOOK = "90_progress_report"


def _calls(runs: Sequence[Run]) -> dict[str, int]:
    spent: Counter[str] = Counter()
    for run in runs:
        spent.update({api: int(units) for api, units in run.calls.items()})
    return dict(sorted(spent.items()))


def _compared(company: Company, runs: Sequence[Run]) -> tuple[pd.DataFrame, int]:
    """Return (verdicts by field, number of lost or different fields) of the last comparison of the fleet."""
    summaries = [run.summary for run in runs if run.act == Act.COMPARE and "lost" in run.summary]
    if not summaries:
        return pd.DataFrame(), 0
    lost: Counter[str] = Counter()
    for cells in summaries[-1]["lost"].values():
        lost.update(cells)
    frame = pd.DataFrame.from_dict(summaries[-1]["by_field"], orient="index").fillna(0).astype(int)
    known = field_map().extended(company.layout.field).fields
    order = dict.fromkeys(row.id for row in known if row.scored and row.id in frame.index)
    return with_both_refused(frame.loc[list(order)], lost), lost.total()


def _before(runs: Sequence[Run]) -> dict[str, int]:
    """Return the counts of the last audit before the first applied backfill, or of the first audit if there is none."""
    applied = next((run.began for run in runs if run.act == Act.APPLY), None)
    audits = [run for run in runs if run.act == Act.AUDIT and "buckets" in run.summary]
    earlier = [run for run in audits if applied and run.began < applied]
    whole = [run for run in earlier if run.summary.get("complete", True)]
    first = (whole or earlier or [*reversed(audits)])[-1:]
    return buckets.complete(first[0].summary["buckets"] if first else {})


def _counts(
    company: Company, ledger: Ledger, snapshot: Snapshot | None, now: datetime, *, judge: bool
) -> dict[str, int]:
    """Return users by bucket: as the audit left them, or with ``judge`` according to the database and ledger now."""
    if snapshot is None:
        return buckets.complete({})
    return count_users(company, ledger, now) if judge else snapshot.counts


def _with_now(history: Sequence[Snapshot], counts: dict[str, int], moment: datetime) -> list[Snapshot]:
    """Return the history with the users as they are now in place of what an audit of today found."""
    last = history[-1:]
    earlier = [day for day in history if day.day < moment.date()]
    return [*earlier, replace(last[0], at=moment, counts=counts, has_states=False)] if last else []
