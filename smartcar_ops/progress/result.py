"""How far the migration has progressed, from the ledger and the database; makes no calls."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.result import count_users
from smartcar_ops.audit.snapshot import last_comparison
from smartcar_ops.compare.judging.comparison import with_both_refused
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.history.days import Snapshot, StratumParity
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Act, Run, Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.progress.blockers import blockers
from smartcar_ops.progress.forecast import Forecast, forecast, forecast_in_words
from smartcar_ops.progress.needed import units_needed
from smartcar_ops.progress.pace import DailyPace, pace
from smartcar_ops.progress.since import Since, since
from smartcar_ops.progress.snapshots import snapshots
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import units_to_come
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.text import thousands

log = logging.getLogger("smartcar_ops.progress")

STALE = timedelta(hours=24)
"""An audit older than this is reported as old wherever its numbers are shown."""

NOTEBOOK = "90_progress_report"

AUDIT_AGAIN = "audit again (20_audit_user_ids)"


@dataclass(frozen=True)
class ProgressResult:
    """The migration at one point in time: users by bucket before and now, the last comparison, units spent and needed.

    ``snapshot`` is the last audit, ``strata`` are the groups of the last comparison. If rows were written or undone
    since the audit (``written_since``), ``now`` counts every user judged again from the database and the ledger. A
    report for a past ``day`` uses nothing later: ``now`` is as the audit left it, and ``needed`` is None.
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
    history: Sequence[Snapshot] = ()
    """One snapshot per day with an audit, oldest first; if the users were judged again, the last one is of now."""
    strata: Sequence[StratumParity] = ()
    since: Since = field(default_factory=Since)

    @property
    def total(self) -> int:
        """All users."""
        return sum(self.now.values())

    @property
    def mapped(self) -> int:
        """Users whose stored id is confirmed by a connection."""
        return self.now.get("mapped", 0)

    @property
    def share(self) -> float:
        """The share of mapped users, 0 to 1."""
        return self.mapped / self.total if self.total else 0.0

    @property
    def left(self) -> int:
        """Users who are not finished."""
        return buckets.left(self.now)

    @property
    def decisions_open(self) -> int:
        """Users who need a person's decision."""
        return buckets.for_people(self.now)

    @property
    def units(self) -> int:
        """Units spent so far on all APIs."""
        return sum(self.calls.values())

    @property
    def days_left(self) -> float:
        """Days until the deadline's day begins (UTC); negative after it."""
        return (_start_of(self.deadline) - self.moment) / timedelta(days=1)

    @property
    def exit_code(self) -> int:
        """3 without an audit; 1 if the forecast is after the deadline, or that has passed with users left; else 0."""
        if self.snapshot is None:
            return 3
        is_late = self.forecast.median is not None and self.forecast.median > self.deadline
        return int(self.left > 0 and (is_late or self.days_left < 0))

    @cached_property
    def forecast(self) -> Forecast:
        """When nobody will be left, from the history."""
        return forecast(self.history)

    @cached_property
    def pace(self) -> DailyPace:
        """Users done per day so far, and those needed per day from now on."""
        return pace(self.history, self.deadline, self.days_left)

    @property
    def makes(self) -> dict[str, int]:
        """Users by the make of their vehicles, at the last audit."""
        makes = self.snapshot.makes if self.snapshot else {}
        return {make: sum(counts.values()) for make, counts in makes.items()}

    @property
    def as_of(self) -> str:
        """The day of the report as ISO text; empty for the current time."""
        return self.day.isoformat() if self.day else ""

    @property
    def looks_back(self) -> bool:
        """True if the report is for a past day."""
        return self.needed is None

    @property
    def is_stale(self) -> bool:
        """True if the audit is older than a day."""
        return self.snapshot is not None and self.moment - self.snapshot.at > STALE

    @property
    def age(self) -> str:
        """How old the audit is, in words."""
        when = f"as of {self.as_of}: " if self.day else ""
        if self.snapshot is None:
            return f"{when}there was no audit {'until then' if self.day else 'yet'}{self._written_without_audit()}"
        return f"{when}audited {_ago(self.moment - self.snapshot.at)}"

    @property
    def verdict(self) -> str:
        """The progress in one sentence, followed by the remarks."""
        if self.snapshot is None:
            up_to = f" up to {self.as_of}" if self.day else ""
            return f"There is no audit{up_to} to report on{self._written_without_audit()}; run 20_audit_user_ids first."
        day = self.deadline.isoformat()
        deadline = (
            f"{thousands(round(self.days_left), 'days')} left until {day}"
            if self.days_left >= 0
            else f"the deadline, {day}, has passed"
        )
        progress = (
            f"{f'As of {self.as_of}: ' if self.day else ''}{self.mapped:,} of {thousands(self.total, 'users')} "
            f"({self.share:.0%}) {'is' if self.mapped == 1 else 'are'} mapped, {self.left:,} left to do "
            f"({self.decisions_open:,} for a person to decide), audited {_ago(self.moment - self.snapshot.at)}; "
            f"{deadline}."
        )
        return " ".join(filter(None, [progress, self.outlook, *self.remarks]))

    @property
    def outlook(self) -> str:
        """The forecast in words; empty if nobody is left or there is no audit."""
        if self.snapshot is None or not self.left:
            return ""
        median = self.forecast.median
        if median is None and not self.forecast.stuck:
            return ""  # too little is known; the section of the forecast says why
        if median is None or median <= self.deadline:
            return forecast_in_words(self.forecast)
        late = thousands((median - self.deadline).days, "days")
        return f"{forecast_in_words(self.forecast).removesuffix('.')}, {late} after the deadline."

    @property
    def remarks(self) -> list[str]:
        """What you should know about the numbers, as sentences; none if they are from a complete audit of the day."""
        if self.snapshot is None:
            return []
        remarks = []
        if self.written_since:
            counted = "not in these numbers" if self.looks_back else "these users were judged again, without calls"
            remarks.append(f"{thousands(self.written_since, 'values')} written or undone since the audit: {counted}.")
        if self.is_stale:
            remarks.append(f"The audit is old ({_ago(self.moment - self.snapshot.at)}): {AUDIT_AGAIN}.")
        if not self.snapshot.complete:
            remarks.append(f"The audit did not reach everything: {AUDIT_AGAIN}.")
        return remarks

    def _written_without_audit(self) -> str:
        written = thousands(self.written_since, "values")
        return f", although {written} were written or undone" if self.written_since else ""

    def blockers(self) -> pd.DataFrame:
        """Return what is in the way, the most urgent first, with the commands that remove it."""
        again = self.snapshot is None or self.is_stale or not self.snapshot.complete
        return blockers(self.now, self.strata, audit_again=again)

    def calls_table(self) -> pd.DataFrame:
        """Return the units spent, one row per API, and their total."""
        rows = [*self.calls.items(), ("total", self.units)]
        return pd.DataFrame(rows, columns=["api", "units"])

    def summary(self) -> dict[str, Any]:
        """Return the contract's keys of summary.json, and the other numbers on the page."""
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
            "forecast": _iso(self.forecast.median),
            "forecast_low": _iso(self.forecast.low),
            "forecast_high": _iso(self.forecast.high),
        }


def parse_day(name: str, text: str) -> date:
    """Return the day of a parameter such as 2026-12-01; ParameterError for anything else."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(f"parameters: {name} is {text!r}; expected a day such as 2026-12-01.") from None


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
    end = _start_of(day + timedelta(days=1)) if day else now
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
        to_come=units_to_come(allowance, moment, _start_of(deadline)),
        history=shown,
        strata=last_comparison(runs),
        since=since(ledger, history, [run for run in runs if run.notebook == NOTEBOOK]),
    )


def _with_now(history: Sequence[Snapshot], counts: dict[str, int], moment: datetime) -> list[Snapshot]:
    """Return the history with the users as they are now in place of what an audit of today found."""
    last = history[-1:]
    earlier = [day for day in history if day.day < moment.date()]
    return [*earlier, replace(last[0], at=moment, counts=counts, has_states=False)] if last else []


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def day_to_look_back_to(as_of: str, now: datetime) -> date | None:
    """Return the day of a report; None for the current time. ParameterError for a day in the future."""
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
    """Return users by bucket: as the audit left them, or with ``judge`` according to the database and ledger now."""
    if snapshot is None:
        return buckets.complete({})
    return count_users(company, ledger, now) if judge else snapshot.counts


def _before(runs: Sequence[Run]) -> dict[str, int]:
    """Return the counts of the last audit before the first applied backfill, or of the first audit if there is none."""
    applied = next((run.began for run in runs if run.act == Act.APPLY), None)
    audits = [run for run in runs if run.act == Act.AUDIT and "buckets" in run.summary]
    earlier = [run for run in audits if applied and run.began < applied]
    whole = [run for run in earlier if run.summary.get("complete", True)]
    first = (whole or earlier or [*reversed(audits)])[-1:]
    return buckets.complete(first[0].summary["buckets"] if first else {})


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


def _calls(runs: Sequence[Run]) -> dict[str, int]:
    spent: Counter[str] = Counter()
    for run in runs:
        spent.update({api: int(units) for api, units in run.calls.items()})
    return dict(sorted(spent.items()))


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _ago(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    if hours < 1:
        return "within the last hour"
    return f"{thousands(round(hours), 'hours')} ago" if hours < 48 else f"{thousands(round(hours / 24), 'days')} ago"
