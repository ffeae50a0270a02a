"""Leaves the day's snapshot in the ledger: what the audit found, the last comparison, and the units spent so far."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime

from smartcar_ops.audit.result import AuditResult
from smartcar_ops.database.ledger.history.days import History, Snapshot, StratumParity
from smartcar_ops.database.ledger.runs import Act, Run
from smartcar_ops.session import Session

log = logging.getLogger("smartcar_ops.audit")


def leave_snapshot(session: Session, result: AuditResult, *, began: datetime, complete: bool) -> bool:
    """Store the audit as the snapshot of the day on which it began; False if a complete one of that day remains.

    Makes no call. DatabaseError if the ledger can't be written.
    """
    session.register()
    runs = session.runs.all()
    snapshot = Snapshot(
        at=began,
        counts=result.counts,
        complete=complete,
        makes=result.by_make,
        strata=last_comparison(runs),
        calls=_spent(runs, session.transport.spent),
        run_id=session.run_id,
    )
    stored = History(session.ledger).record(snapshot, result.stored["users"])
    log.info("the snapshot of %s is %s", snapshot.day, "stored" if stored else "a complete audit's, which remains")
    return stored


def _spent(runs: list[Run], now: dict[str, int]) -> dict[str, int]:
    """Return all units spent so far by API, including those of this run."""
    units = Counter(now)
    for run in runs:
        units.update({api: int(number) for api, number in run.calls.items()})
    return dict(sorted(units.items()))


def last_comparison(runs: list[Run]) -> tuple[StratumParity, ...]:
    """Return the groups of the last comparison of the fleet."""
    summaries = [run.summary for run in runs if run.act == Act.COMPARE and "lost" in run.summary]
    return tuple(StratumParity(**row) for row in summaries[-1].get("strata", ())) if summaries else ()
