"""The audit as its notebook drives it: cost, ask, judge, finish."""

from __future__ import annotations

import pandas as pd

from smartcar_ops.audit import resolver
from smartcar_ops.audit.result import AuditResult, judge_users
from smartcar_ops.audit.sources import AuditProgress, SourceReport, parse_sources
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost


class Audit:
    """Finds out who lacks a Smartcar user id, and why; writes nothing to the company's tables.

    The one exception: new V2 tokens, if ``[vehicles] refresh`` is true. ``confirm=False`` queries nobody. ``sources``
    is ``auto`` or some of the sources; ParameterError for one that there is not.
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
        self._max_calls, self._max_minutes = max_calls, max_minutes
        self._relist, self._accept_list = relist, accept_list
        self.asked = SourceReport()
        self._result: AuditResult | None = None

    def cost(self) -> Cost:
        """Return the most that `ask` will cost."""
        return resolver.cost(self.session, self.sources, relist=self._relist)

    def ask(self, progress: AuditProgress | None = None) -> SourceReport:
        """Query the sources within the budget; what they answered is kept in the ledger."""
        self.asked = resolver.ask(
            self.session,
            self.sources,
            max_calls=self._max_calls,
            max_minutes=self._max_minutes,
            relist=self._relist,
            accept_list=self._accept_list,
            progress=progress,
        )
        return self.asked

    def judge(self) -> AuditResult:
        """Put every user in one bucket, by what the database and the ledger hold now; queries nobody."""
        session = self.session
        self._result = judge_users(session.company, session.ledger, session.now)
        return self._result

    @property
    def result(self) -> AuditResult:
        """What `judge` found; judges if that has not been done."""
        return self._result or self.judge()

    def unanswered(self) -> pd.DataFrame:
        """Return the questions without an answer, one per row."""
        return self.asked.listed()

    def buckets(self) -> pd.DataFrame:
        """Return bucket, number of users, meaning and next step, one bucket per row."""
        return self.result.table()

    def people(self) -> pd.DataFrame:
        """Return the users that a person must look at, with a command for each choice."""
        return self.result.people()

    def orphans(self) -> pd.DataFrame:
        """Return the connections that none of the company's users has, one per row."""
        return self.result.orphans

    def finish(self) -> Outcome:
        """Keep the tables in the run's folder and end the session; exit code 1 if a person must decide."""
        found = self.result
        self.session.save(**found.tables())
        return self.session.finish(
            found.verdict,
            exit_code=found.exit_code,
            complete=self.asked.complete,
            **self.asked.summary(),
            **found.summary(),
        )
