"""The progress report that notebook 90 runs: cost, measure, finish."""

from __future__ import annotations

from datetime import date

import pandas as pd

import smartcar_ops.progress.measure
from smartcar_ops.audit import resolver
from smartcar_ops.progress.days import day_to_look_back_to, parse_day
from smartcar_ops.progress.report import ProgressReport
from smartcar_ops.progress.result import ProgressResult
from smartcar_ops.progress.snapshots import table
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost


class Progress:
    """Measures the migration's progress from the last audit and comparison and what was written since; no calls.

    ``deadline`` and ``as_of`` are days such as 2026-12-01 (UTC). ParameterError for anything else, and for an ``as_of``
    in the future.
    """

    def __init__(self, session: Session, *, deadline: str | date = "2026-12-01", as_of: str = "") -> None:
        self.session = session
        self.deadline = parse_day("deadline", str(deadline))
        self.day = day_to_look_back_to(as_of, session.now)
        self._result: ProgressResult | None = None

    def cost(self) -> Cost:
        """Return a cost of 0 units."""
        return self.session.priced({})

    def measure(self) -> ProgressResult:
        """Count users, calls and units still needed; users are judged again if rows were written since the audit."""
        session = self.session
        self._result = smartcar_ops.progress.measure.measure(
            session.company,
            session.ledger,
            resolver.resolver_for(session),
            session.v2,
            session.settings.allowance,
            now=session.now,
            deadline=self.deadline,
            day=self.day,
        )
        return self._result

    @property
    def result(self) -> ProgressResult:
        """The result of `measure`, which is called if needed."""
        return self._result or self.measure()

    def report(self) -> ProgressReport:
        """Return the sections that the notebook shows."""
        return ProgressReport(self.result)

    def history(self) -> pd.DataFrame:
        """Return one row per day with an audit: users by bucket, what is left, and the units spent until then."""
        return table(self.result.history)

    def calls(self) -> pd.DataFrame:
        """Return the units spent so far, one row per API, and their total."""
        return self.result.calls_table()

    def finish(self) -> Outcome:
        """Save the history and end the session with the verdict.

        Exit code 3 without an audit; 1 if the forecast is after the deadline, or that has passed with users left.
        """
        result = self.result
        self.session.save(history=self.history())
        return self.session.finish(result.verdict, exit_code=result.exit_code, as_of=result.as_of, **result.summary())
