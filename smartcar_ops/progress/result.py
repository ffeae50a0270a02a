"""How far the migration has progressed, from the ledger and the database; makes no calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot, StratumParity
from smartcar_ops.progress.blockers import blockers
from smartcar_ops.progress.days import start_of
from smartcar_ops.progress.forecast import Forecast, forecast, forecast_in_words
from smartcar_ops.progress.pace import DailyPace, pace
from smartcar_ops.progress.since import Since
from smartcar_ops.text import thousands

STALE = timedelta(hours=24)
"""An audit older than this is reported as old wherever its numbers are shown."""

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
        return (start_of(self.deadline) - self.moment) / timedelta(days=1)

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


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _ago(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    if hours < 1:
        return "within the last hour"
    return f"{thousands(round(hours), 'hours')} ago" if hours < 48 else f"{thousands(round(hours / 24), 'days')} ago"
