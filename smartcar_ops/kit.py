"""The front door for your own notebooks: ``kit = smartcar_ops.connect()``, then ask about users, vehicles, progress.

Every method says which of your ids or Smartcar's it takes, by keyword, so that two ids can't be swapped. What makes
API calls prints its cost first.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime

import pandas as pd

from smartcar_ops import doctor, session
from smartcar_ops.audit.audit import Audit
from smartcar_ops.audit.result import AuditResult
from smartcar_ops.backfill.user_story import UserStory, read_story
from smartcar_ops.clients import Clients
from smartcar_ops.compare.compare import NOTEBOOK
from smartcar_ops.compare.live import VehicleComparison
from smartcar_ops.compare.replayed import StoredVehicle
from smartcar_ops.compare.report.vehicle import VehicleReport
from smartcar_ops.doctor import Checkup
from smartcar_ops.errors import ParameterError
from smartcar_ops.progress.progress import Progress
from smartcar_ops.progress.report import ProgressReport
from smartcar_ops.session import Session, acting
from smartcar_ops.settings import startup
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.start.overview import Overview, overview
from smartcar_ops.text import thousands

CONNECTION_COLUMNS = ("vehicle_id", "user_id", "mode", "make", "model", "year", "powertrain", "external_id")


class Kit:
    """Your company's database and Smartcar, by the settings in force; nothing is opened until you ask.

    Writes nothing to your tables.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __repr__(self) -> str:
        return f"Acting on {self.settings.where}."

    def _repr_html_(self) -> str:
        return f"<p><strong>Acting on</strong> {html.escape(self.settings.where)}.</p>"

    def overview(self) -> Overview:
        """Return the last run of each step of the migration, and what to do next; no call."""
        return overview(self.settings)

    def doctor(self) -> Checkup:
        """Check whether everything is set up, with at most 5 calls; the ledger records what it spent."""
        print(f"Cost: {doctor.CALLS}.")
        found = doctor.checkup(self.settings)
        doctor.note(self.settings, found.verdict, found.calls)
        return found

    def audit(self, *, ask: bool = False, max_calls: int = 0, max_minutes: float = 10) -> AuditResult:
        """Put every user in one bucket; ``.users`` is the table.

        Without ``ask`` it makes no call and uses what the ledger knows. With ``ask`` it queries Smartcar first, within
        ``max_calls`` units (0: what the allowance holds) and ``max_minutes`` of waiting.
        """
        with acting("20_audit_user_ids", self.settings) as opened:
            act = Audit(opened, confirm=ask, max_calls=max_calls, max_minutes=max_minutes)
            if ask:
                _say(act.cost())
                act.ask()
            result = act.judge()
            act.finish()
        return result

    def user(self, *, id: str | int) -> UserStory:
        """Return all that is known about one of your users (your own id), and what a backfill would do; no call."""
        with self._clients() as clients:
            return read_story(clients.company, clients.ledger, str(id), datetime.now(UTC))

    def compare(self, *, vehicle_id: str) -> VehicleReport:
        """Read one vehicle (Smartcar's vehicle id) on V2 and V3 now, and judge each field; the vehicle must be linked.

        Makes up to 6 calls, within the allowance.
        """
        wanted = _smartcar_id("vehicle_id", vehicle_id)
        with acting(NOTEBOOK, self.settings) as opened:
            act = VehicleComparison(opened, wanted)
            _say(act.cost())
            act.read()
            act.finish()
        return VehicleReport(act)

    def vehicle(self, *, id: str) -> VehicleReport:
        """Return what was last read of one vehicle (Smartcar's vehicle id) on V2 and V3, field by field; no call.

        `compare` reads it now.
        """
        wanted = _smartcar_id("id", id)
        act = StoredVehicle(Session("vehicle", self.settings), wanted)
        act.read()
        act.session.close()
        return VehicleReport(act)

    def connections(self, *, user_id: str) -> pd.DataFrame:
        """Return V3's connections of one Smartcar user (Smartcar's user id): one row per vehicle; one unit per page.

        NotSmartcarError if Smartcar answers with somebody else's connections; nothing of such an answer is returned.
        """
        wanted = _smartcar_id("user_id", user_id)
        with acting("connections", self.settings) as opened:
            _say(opened.priced({"v3": 1}))
            with opened.spending(0, 1):
                found = opened.v3.connections_of(self.settings.mode, user_id=wanted)
            opened.finish(f"{thousands(len(found), 'connections')} of one Smartcar user.")
        rows = [{name: asdict(one)[name] for name in CONNECTION_COLUMNS} for one in found]
        return pd.DataFrame(rows, columns=list(CONNECTION_COLUMNS))

    def progress(self, *, deadline: str | date = "2026-12-01") -> ProgressReport:
        """Return where the migration stands, by the last audit and comparison; no call. ``.result`` has the numbers."""
        with acting("90_progress_report", self.settings) as opened:
            act = Progress(opened, deadline=deadline)
            report = act.report()
            act.finish()
        return report

    @contextmanager
    def _clients(self) -> Iterator[Clients]:
        clients = Clients(self.settings)
        try:
            yield clients
        finally:
            clients.close()


def connect() -> Kit:
    """Return the kit by the settings in force; with nothing set, the sandbox. Works in any notebook and folder.

    From now on, the kit's errors are shown in this notebook as one sentence. SettingsError if the settings are wrong.
    """
    session.show_errors_plainly()
    return Kit(startup.settle())


def _say(cost: Cost) -> None:
    print(f"Cost: {str(cost).rstrip('.')}.")


def _smartcar_id(name: str, given: str) -> str:
    """Return a Smartcar id in lower case; ParameterError if it is none."""
    found = smartcar_id(str(given))
    if found is None:
        raise ParameterError(f"{name}: {str(given)[:40]!r} is not a Smartcar id; expected a UUID.")
    return found
