"""The capture of what arrived, as its notebook drives it."""

from __future__ import annotations

import pandas as pd

from smartcar_ops.capture import files, reading
from smartcar_ops.capture.result import COLUMNS, Captured
from smartcar_ops.session import Session, Verdict


class Capture:
    """Keeps the ids of two files in the ledger; asks nobody, changes no row of the company.

    ParameterError for a file that is missing or can't be read, before anything is kept.
    """

    def __init__(self, session: Session, *, redirects: str = "", webhooks: str = "") -> None:
        self.session = session
        self._redirects, self._webhooks = files.find("redirects", redirects), files.find("webhooks", webhooks)
        self.result = Captured(files=0, counts={}, rows=pd.DataFrame(columns=COLUMNS))

    def read(self) -> Captured:
        """Reads the files, and keeps what names a user."""
        session = self.session
        self.result = reading.capture(
            session.company,
            session.ledger,
            redirects=self._redirects,
            webhooks=self._webhooks,
            management_tokens=session.settings.credentials.management_tokens,
            now=session.now,
        )
        return self.result

    def finish(self) -> Verdict:
        """Ends the session with the verdict: 1 where lines are unroutable or invalid, 3 where there were none."""
        return self.session.finish(self.result.verdict, exit_code=self.result.exit_code, **self.result.summary())
