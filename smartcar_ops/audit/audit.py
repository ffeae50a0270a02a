"""The audit as its notebook drives it: cost, ask, judge, finish."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pandas as pd

from smartcar_ops.audit import decision_sheet, resolver
from smartcar_ops.audit.result import AuditResult, judge_users
from smartcar_ops.audit.snapshot import leave_snapshot
from smartcar_ops.audit.sources import AuditProgress, SourceReport, parse_sources
from smartcar_ops.errors import StoppedError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost


class Audit:
    """Finds out who lacks a Smartcar user id, and why.

    Writes nothing to the company's tables, except new V2 tokens if ``[vehicles] refresh`` is true. ``confirm=False``
    makes no API call. ``sources`` is ``auto`` or some of the sources; ParameterError if one is unknown.
    """

    def __init__(
        self,
        session: Session,
        *,
        confirm: bool = True,
        sources: str = "auto",
        max_calls: int = 0,
        max_minutes: float = 10,
        relist: bool = False,
        accept_list: bool = False,
    ) -> None:
        self.session = session
        self.sources = parse_sources(sources) if confirm else ()
        self._given_sources, self._max_calls, self._max_minutes = sources, max_calls, max_minutes
        self._relist, self._accept_list = relist, accept_list
        self._at_end: list[Callable[[], None]] = []
        self.asked = SourceReport()
        self._stopped = False
        self._result: AuditResult | None = None
        self._began: datetime | None = None

    def again(self, session: Session) -> Audit:
        """Return an audit with the same parameters that acts in another session and queries Smartcar."""
        return Audit(
            session,
            sources=self._given_sources,
            max_calls=self._max_calls,
            max_minutes=self._max_minutes,
            relist=self._relist,
            accept_list=self._accept_list,
        )

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when `finish` has left the day's snapshot and has ended the session."""
        self._at_end.append(call)

    def cost(self) -> Cost:
        """Return the most that `ask` will cost."""
        return resolver.cost(self.session, self.sources, relist=self._relist)

    def ask(self, progress: AuditProgress | None = None) -> SourceReport:
        """Query the sources within the budget; their answers are stored in the ledger.

        If ``progress`` raises StoppedError, the answers so far are kept, and the audit is not complete.
        """
        self._began = self._began or self.session.now
        try:
            self.asked = resolver.ask(
                self.session,
                self.sources,
                max_calls=self._max_calls,
                max_minutes=self._max_minutes,
                relist=self._relist,
                accept_list=self._accept_list,
                progress=progress,
            )
        except StoppedError:
            self._stopped = True
            raise
        return self.asked

    @property
    def complete(self) -> bool:
        """False if the questions were stopped, or if one of them is left without an answer."""
        return self.asked.complete and not self._stopped

    def judge(self) -> AuditResult:
        """Put every user in one bucket, from the database and the ledger; makes no API call."""
        session = self.session
        self._began = self._began or session.now
        self._result = judge_users(session.company, session.ledger, session.now)
        return self._result

    @property
    def result(self) -> AuditResult:
        """The result of `judge`, which is called if it has not been yet."""
        return self._result or self.judge()

    def unanswered(self) -> pd.DataFrame:
        """Return one row per question without an answer."""
        return self.asked.listed()

    def buckets(self) -> pd.DataFrame:
        """Return one row per bucket: its users, what it means, and what to do next."""
        return self.result.table()

    def people(self) -> pd.DataFrame:
        """Return the users that a person must look at, with a command for each possible choice."""
        return self.result.people()

    def decisions(self) -> pd.DataFrame:
        """Return the same users with their evidence, as the sheet that a person fills in."""
        return decision_sheet.frame(self.result)

    def orphans(self) -> pd.DataFrame:
        """Return one row per connection that none of the company's users has."""
        return self.result.orphans

    def finish(self) -> Outcome:
        """Save the tables, the sheet for decisions and the day's snapshot, and end the session.

        Exit code 1 if a person must look at a user.
        """
        result = self.result
        self.session.save(**result.tables())
        decision_sheet.write(result, self.session.folder, {"csv", *self.session.settings.tables})
        leave_snapshot(self.session, result, began=self._began or self.session.now, complete=self.complete)
        outcome = self.session.finish(
            result.verdict,
            exit_code=result.exit_code,
            complete=self.complete,
            **self.asked.summary(),
            **result.summary(),
        )
        for call in self._at_end:
            call()
        return outcome
