"""How far the migration is, from what the ledger holds; asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from smartcar_ops.access import Allowance
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.recordings import Recordings
from smartcar_ops.company.runs import Runs
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.migration import buckets, pairing, recording
from smartcar_ops.migration.linking import Linker
from smartcar_ops.migration.sources import AUTO
from smartcar_ops.migration.token_owners import TokenOwners
from smartcar_ops.smartcar.fields import field_map
from smartcar_ops.smartcar.v2 import V2

NEXT_STEPS = {
    "invalid": "Look at {n:,} malformed ids: what wrote them? (20_audit_user_ids, bucket invalid)",
    "conflict": "Decide {n:,} contradictions, evidence side by side. (30_backfill_user_ids, conflicts)",
    "shared": "Decide whose id it is for {n:,} users who share one. (20_audit_user_ids, bucket shared)",
    "ready": "Backfill {n:,} users. (30_backfill_user_ids, plan, then apply)",
    "unasked": "Ask again for {n:,} users a source has not answered for. (20_audit_user_ids)",
    "unconfirmed": "Check {n:,} stored ids that no connection of the user's cars names.",
    "reconnect": "Send {n:,} users through Connect again; no source speaks for them.",
}
"""What to do for each open bucket."""


@dataclass(frozen=True)
class Progress:
    """The migration as of one audit: before and now by bucket, what was compared, what it cost, what fits."""

    before: dict[str, int]
    now: dict[str, int]
    audited_at: datetime | None
    as_of: datetime
    deadline: date
    by_field: pd.DataFrame
    calls: dict[str, int]
    needed: dict[str, int]
    to_come: int

    @property
    def total(self) -> int:
        """All users."""
        return sum(self.now.values())

    @property
    def mapped(self) -> int:
        """Users whose stored id a connection confirms."""
        return self.now.get("mapped", 0)

    @property
    def share(self) -> float:
        """Mapped of all, 0 to 1."""
        return self.mapped / self.total if self.total else 0.0

    @property
    def open(self) -> int:
        """Users for whom something is still to do."""
        return sum(self.now.get(name, 0) for name in NEXT_STEPS)

    @property
    def days_left(self) -> float:
        """Days until the deadline's day begins (UTC); negative after it."""
        end = datetime(self.deadline.year, self.deadline.month, self.deadline.day, tzinfo=UTC)
        return (end - self.as_of) / timedelta(days=1)

    @property
    def exit_code(self) -> int:
        """3 without an audit; 1 where the deadline has passed with users open; else 0."""
        if self.audited_at is None:
            return 3
        return int(self.days_left < 0 and self.open > 0)

    @property
    def age(self) -> str:
        """How old the last audit is, in words."""
        if self.audited_at is None:
            return "there was no audit yet"
        hours = (self.as_of - self.audited_at) / timedelta(hours=1)
        if hours < 1:
            return "audited within the last hour"
        return f"audited {hours:.0f} hours ago" if hours < 48 else f"audited {hours / 24:.0f} days ago"

    @property
    def verdict(self) -> str:
        """The progress in one sentence."""
        if self.audited_at is None:
            return "There is no audit to report on; run 20_audit_user_ids first."
        day = self.deadline.isoformat()
        days = f"{self.days_left:.0f} days left to {day}" if self.days_left >= 0 else f"the deadline, {day}, has passed"
        return f"{self.mapped:,} of {self.total:,} users ({self.share:.0%}) are mapped, {self.open:,} are open; {days}."

    def next_steps(self) -> list[str]:
        """What to do next, the first thing first."""
        order = ("ready", "conflict", "shared", "invalid", "unasked", "reconnect", "unconfirmed")
        return [NEXT_STEPS[name].format(n=self.now[name]) for name in order if self.now.get(name)]

    def calls_table(self) -> pd.DataFrame:
        """Units spent, a row an API."""
        return pd.DataFrame({"api": list(self.calls), "units": list(self.calls.values())})

    def summary(self) -> dict[str, Any]:
        """The contract's keys of summary.json."""
        return {"total": self.total, "mapped": self.mapped, "share": round(self.share, 6), "forecast": None}


def parse_day(name: str, text: str) -> date:
    """A day from a parameter such as 2026-12-01; ParameterError for anything else."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(f"parameters: {name} is {text!r}; expected a day such as 2026-12-01.") from None


def progress(
    company: Company,
    ledger: Ledger,
    linker: Linker,
    v2: V2,
    allowance: Allowance,
    *,
    now: datetime,
    deadline: str,
    as_of: str = "",
) -> Progress:
    """The migration as the last audit left it (with ``as_of``: the last one up to that day's end); asks nobody."""
    end = now if not as_of else _end_of(parse_day("as_of", as_of))
    runs = [run for run in Runs(ledger).all() if _utc(run["started"]) <= end and run["status"] != "running"]
    audits = [run for run in runs if run["act"] == "audit" and "buckets" in run["summary"]]
    compared = [run for run in runs if run["act"] == "compare" and "lost" in run["summary"]]
    day = parse_day("deadline", deadline)
    return Progress(
        before=_before(audits, runs),
        now=buckets.complete(audits[-1]["summary"]["buckets"]) if audits else buckets.complete({}),
        audited_at=_utc(audits[-1]["started"]) if audits else None,
        as_of=end,
        deadline=day,
        by_field=_by_field(compared),
        calls=_calls(runs),
        needed=_needed(company, ledger, linker, v2, now),
        to_come=units_to_come(allowance, now, day),
    )


def units_to_come(allowance: Allowance, now: datetime, deadline: date) -> int:
    """Units of the allowance from now until the deadline's day begins: a full bucket and its refills."""
    end = datetime(deadline.year, deadline.month, deadline.day, tzinfo=UTC)
    minutes = max(0.0, (end - now) / timedelta(minutes=1))
    return int(allowance.burst + minutes * allowance.per_minute) if minutes else 0


def _before(audits: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The last audit before the first applied backfill; the first audit where none was applied."""
    if not audits:
        return buckets.complete({})
    applied = [run["started"] for run in runs if run["act"] == "apply"]
    earlier = [run for run in audits if not applied or run["started"] < applied[0]]
    chosen = earlier[-1] if applied and earlier else audits[0]
    return buckets.complete(chosen["summary"]["buckets"])


def _by_field(compared: Sequence[dict[str, Any]]) -> pd.DataFrame:
    if not compared:
        return pd.DataFrame()
    frame = pd.DataFrame.from_dict(compared[-1]["summary"]["by_field"], orient="index").fillna(0).astype(int)
    order = [row.id for row in field_map().fields if row.scored and row.id in frame.index]
    return frame.loc[order]


def _calls(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    spent: Counter[str] = Counter()
    for run in runs:
        spent.update({api: int(units) for api, units in run["calls"].items()})
    return dict(sorted(spent.items()))


def _needed(company: Company, ledger: Ledger, linker: Linker, v2: V2, now: datetime) -> dict[str, int]:
    """Units that linking the unlinked and recording the unrecorded would still cost."""
    recorded = {key for key, (_, answered) in Recordings(ledger).index().items() if answered}
    waiting = [pair for pair in pairing.pairs(company, ledger, now) if pair.key not in recorded]
    cost = recording.cost(waiting, v2, TokenOwners(ledger, v2, now), field_map())
    return {"linking": linker.cost(AUTO).total, "recording": sum(cost.values())}


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
