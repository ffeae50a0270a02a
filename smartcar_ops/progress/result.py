"""How far the migration is, from what the ledger holds; asks nobody."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd

from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.result import count_users
from smartcar_ops.audit.sources import AUTO
from smartcar_ops.audit.token_owners import TokenOwners
from smartcar_ops.compare import recording, vehicles
from smartcar_ops.compare.judging.comparison import with_both_refused
from smartcar_ops.database.evidence import buckets
from smartcar_ops.database.ledger import change_log, v2_state
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.database.ledger.runs import Act, Run, Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.progress import snapshots
from smartcar_ops.progress.snapshots import Snapshot, began
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import units_to_come
from smartcar_ops.smartcar.v2 import V2

log = logging.getLogger("smartcar_ops.progress")

NEXT_STEPS = {
    "ready": "Backfill {n:,} users. (30_backfill_user_ids, plan, then apply)",
    "conflict": "Decide {n:,} contradictions, evidence side by side. (30_backfill_user_ids, conflicts)",
    "shared": "Decide whose id it is for {n:,} users who share one. (30_backfill_user_ids, conflicts)",
    "invalid": "Look at {n:,} malformed ids: what wrote them? (20_audit_user_ids, bucket invalid)",
    "unasked": "Ask again for {n:,} users a source has not answered for. (20_audit_user_ids)",
    "reconnect": "Send {n:,} users through Connect again; no source speaks for them.",
    "unconfirmed": "Check {n:,} stored ids that no connection of the user's cars names.",
}
"""What to do for each bucket that is left to do, the first thing first."""

STALE = timedelta(hours=24)
"""An audit older than this is said to be old wherever its numbers stand."""

AUDIT_AGAIN = "audit again (20_audit_user_ids)"


@dataclass(frozen=True)
class ProgressResult:
    """The migration at one moment: before and now by bucket, what was compared, what it cost, what fits.

    ``snapshot`` is the audit that it rests on. Where rows were written or undone since (``written_since``), ``now`` is
    every user judged again by what the database and the ledger hold. A report that looks back at a ``day`` that is over
    knows nothing later: there ``now`` is as the audit left it, and what was ``needed`` is not known.
    """

    before: dict[str, int]
    now: dict[str, int]
    snapshot: Snapshot | None
    written_since: int
    moment: datetime
    day: date | None
    deadline: date
    compared: pd.DataFrame
    lost_fields: int
    calls: dict[str, int]
    needed: dict[str, int] | None
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
    def left(self) -> int:
        """Users for whom something is still to do."""
        return buckets.left(self.now)

    @property
    def decisions_open(self) -> int:
        """Users whom a person must decide on."""
        return buckets.for_people(self.now)

    @property
    def units(self) -> int:
        """Units spent so far, of every API."""
        return sum(self.calls.values())

    @property
    def days_left(self) -> float:
        """Days until the deadline's day begins (UTC); negative after it."""
        return (_start_of(self.deadline) - self.moment) / timedelta(days=1)

    @property
    def exit_code(self) -> int:
        """3 without an audit; 1 where the deadline has passed with users left; else 0."""
        if self.snapshot is None:
            return 3
        return int(self.days_left < 0 and self.left > 0)

    @property
    def as_of(self) -> str:
        """The day it looks back to, as ISO text; empty for a report of this moment."""
        return self.day.isoformat() if self.day else ""

    @property
    def looks_back(self) -> bool:
        """Whether it is of a day that was over when it was made."""
        return self.needed is None

    @property
    def is_stale(self) -> bool:
        """Whether the audit is older than a day."""
        return self.snapshot is not None and self.moment - self.snapshot.at > STALE

    @property
    def age(self) -> str:
        """How old the audit is, in words."""
        when = f"as of {self.as_of}: " if self.day else ""
        if self.snapshot is None:
            return f"{when}there was no audit {'until then' if self.day else 'yet'}{self._beside_no_audit()}"
        return f"{when}audited {_ago(self.moment - self.snapshot.at)}"

    @property
    def verdict(self) -> str:
        """The progress in one sentence, and a second one where its numbers are not of a whole audit of the day."""
        if self.snapshot is None:
            up_to = f" up to {self.as_of}" if self.day else ""
            return f"There is no audit{up_to} to report on{self._beside_no_audit()}; run 20_audit_user_ids first."
        day = self.deadline.isoformat()
        days = f"{_many(round(self.days_left), 'day')} left to {day}"
        days = days if self.days_left >= 0 else f"the deadline, {day}, has passed"
        told = (
            f"{f'As of {self.as_of}: ' if self.day else ''}{self.mapped:,} of {self.total:,} users ({self.share:.0%}) "
            f"are mapped, {self.left:,} are left to do ({self.decisions_open:,} for a person to decide); {days}."
        )
        return " ".join([told, *self.remarks])

    @property
    def remarks(self) -> list[str]:
        """What is to be known of the numbers where they are not of a whole audit of the day, as sentences."""
        if self.snapshot is None:
            return []
        found = []
        if self.written_since:
            counted = "not in these numbers" if self.looks_back else "judged again, nobody asked"
            found.append(f"{_many(self.written_since, 'value')} written or undone since the audit: {counted}.")
        if self.is_stale:
            found.append(f"The audit is old ({_ago(self.moment - self.snapshot.at)}): {AUDIT_AGAIN}.")
        if not self.snapshot.complete:
            found.append(f"The audit did not reach everything: {AUDIT_AGAIN}.")
        return found

    def _beside_no_audit(self) -> str:
        return f", though {_many(self.written_since, 'value')} written or undone" if self.written_since else ""

    def next_steps(self) -> list[str]:
        """What to do next, the first thing first."""
        again = self.is_stale or (self.snapshot is not None and not self.snapshot.complete)
        first = ["Audit again: what follows rests on an audit that is old or incomplete. (20_audit_user_ids)"]
        steps = [step.format(n=self.now[name]) for name, step in NEXT_STEPS.items() if self.now.get(name)]
        return first * again + steps

    def calls_table(self) -> pd.DataFrame:
        """Units spent, a row an API, and their sum."""
        rows = [*self.calls.items(), ("in all", self.units)]
        return pd.DataFrame(rows, columns=["api", "units"])

    def summary(self) -> dict[str, Any]:
        """The contract's keys of summary.json, and the other numbers of the page."""
        return {
            "total": self.total,
            "mapped": self.mapped,
            "share": round(self.share, 6),
            "left": self.left,
            "decisions_open": self.decisions_open,
            "written_since": self.written_since,
            "buckets": self.now,
            "lost_fields": self.lost_fields,
            "calls": self.units,
            "forecast": None,
        }


def parse_day(name: str, text: str) -> date:
    """A day from a parameter such as 2026-12-01; ParameterError for anything else."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(f"parameters: {name} is {text!r}; expected a day such as 2026-12-01.") from None


def measure(
    company: Company,
    ledger: Ledger,
    linker: IdentityResolver,
    v2: V2,
    allowance: Allowance,
    *,
    now: datetime,
    deadline: date,
    day: date | None = None,
) -> ProgressResult:
    """The migration as the last audit left it and backfills changed it since; asks nobody.

    With a ``day`` all is as of that day's end: what came later is not seen.
    """
    end = _start_of(day + timedelta(days=1)) if day else now
    looks_back, moment = end < now, min(end, now)
    runs = [run for run in Runs(ledger).all() if not run.is_running and not (looks_back and began(run) >= end)]
    audits = snapshots.audits(runs)
    snapshot = snapshots.daily(audits)[-1] if audits else None
    written = change_log.count_written(ledger, snapshot.at if snapshot else None, end if looks_back else None)
    compared, lost = _compared(company, runs)
    told = f"{len(runs):,}", f"{len(audits):,}", f"{written:,}"
    log.info("reports from %s runs, %s of them audits; %s values written since the last audit", *told)
    return ProgressResult(
        before=_before(audits, runs),
        now=_counts(company, ledger, snapshot, now, judge=bool(written) and not looks_back),
        snapshot=snapshot,
        written_since=written,
        moment=moment,
        day=day,
        deadline=deadline,
        compared=compared,
        lost_fields=lost,
        calls=_calls(runs),
        needed=None if looks_back else _needed(company, ledger, linker, v2, now),
        to_come=units_to_come(allowance, moment, _start_of(deadline)),
    )


def day_to_look_back_to(as_of: str, now: datetime) -> date | None:
    """The day that a report looks back to; None for one of this moment."""
    if not as_of.strip():
        return None
    day, today = parse_day("as_of", as_of), now.astimezone(UTC).date()
    if day > today:
        raise ParameterError(
            f"parameters: as_of is {as_of!r}, which is in the future; expected {today} (today, UTC) or an earlier day."
        )
    return day


def _counts(
    company: Company, ledger: Ledger, snapshot: Snapshot | None, now: datetime, *, judge: bool
) -> dict[str, int]:
    """Users by bucket as the audit left them, or, with ``judge``, as the database and the ledger have them now."""
    if snapshot is None:
        return buckets.complete({})
    return count_users(company, ledger, now) if judge else snapshot.counts


def _before(audits: Sequence[Snapshot], runs: Sequence[Run]) -> dict[str, int]:
    """The last audit before the first applied backfill; the first audit where none was applied."""
    if not audits:
        return buckets.complete({})
    applied = next((began(run) for run in runs if run.act == Act.APPLY), None)
    earlier = [one for one in audits if applied and one.at < applied]
    return (snapshots.daily(earlier)[-1] if earlier else audits[0]).counts


def _compared(company: Company, runs: Sequence[Run]) -> tuple[pd.DataFrame, int]:
    """(verdicts by field of the last comparison of the fleet, how many fields it found lost or differing)."""
    found = [run.summary for run in runs if run.act == Act.COMPARE and "lost" in run.summary]
    if not found:
        return pd.DataFrame(), 0
    lost: Counter[str] = Counter()
    for cells in found[-1]["lost"].values():
        lost.update(cells)
    frame = pd.DataFrame.from_dict(found[-1]["by_field"], orient="index").fillna(0).astype(int)
    known = field_map().extended(company.layout.field).fields
    order = dict.fromkeys(row.id for row in known if row.scored and row.id in frame.index)
    return with_both_refused(frame.loc[list(order)], lost), lost.total()


def _calls(runs: Sequence[Run]) -> dict[str, int]:
    spent: Counter[str] = Counter()
    for run in runs:
        spent.update({api: int(units) for api, units in run.calls.items()})
    return dict(sorted(spent.items()))


def _needed(company: Company, ledger: Ledger, linker: IdentityResolver, v2: V2, now: datetime) -> dict[str, int]:
    """Units that linking the unlinked and recording the unrecorded would still cost; once V2 has stopped, none are."""
    if v2_state.has_stopped(ledger):
        return {"linking": linker.cost(AUTO).total, "recording": 0}
    recorded = {key for key, (_, answered) in Recordings(ledger).index().items() if answered}
    waiting = [pair for pair in vehicles.linked_vehicles(company, ledger, now) if pair.key not in recorded]
    cost = recording.cost(waiting, v2, TokenOwners(ledger, v2, now), field_map())
    return {"linking": linker.cost(AUTO).total, "recording": sum(cost.values())}


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _ago(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    if hours < 1:
        return "within the last hour"
    return f"{_many(round(hours), 'hour')} ago" if hours < 48 else f"{_many(round(hours / 24), 'day')} ago"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
