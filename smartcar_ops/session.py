"""The session of a notebook: where it acts, its clients, what it spent, and the outcome that it leaves."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from smartcar_ops.clients import Clients, shared_bucket
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Runs, RunStatus, act_of
from smartcar_ops.database.ledger.vehicle_units import VehicleUnits
from smartcar_ops.errors import SmartcarOpsError, StoppedError, outcome_of
from smartcar_ops.settings import injected_parameters, startup
from smartcar_ops.settings.bounds import at_least
from smartcar_ops.settings.environment import LOG_LEVEL, ROOT, Settings
from smartcar_ops.settings.home import home
from smartcar_ops.settings.startup import UPGRADES
from smartcar_ops.smartcar.http.rate_limit import Budget, Cost
from smartcar_ops.storage import exports, run_log
from smartcar_ops.storage.journal import RUN_FOLDER, Journal
from smartcar_ops.storage.own_folder import OwnFolder
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.storage.run_folder import NO_FOLDER, OUTCOME, write_json, write_table

THREADS = 16


class Session:
    """Everything that one act of a notebook needs: settings, database, ledger, clients. Displays where it acts.

    ``folder`` is where its tables go. ``smartcar-ops run`` makes and completes it; in JupyterLab the session does so
    itself, when the folder is first needed and at ``finish``.
    """

    def __init__(self, notebook: str, settings: Settings, run_id: str = "") -> None:
        self.notebook, self.settings = notebook, settings
        self._given_folder = run_folder()
        clients = Clients(settings, to_upgrade=notebook == UPGRADES)
        self.company, self.ledger, self.bucket = clients.company, clients.ledger, clients.bucket
        self.runs = Runs(self.ledger)
        self.transport, self.v2, self.v3 = clients.transport, clients.v2, clients.v3
        self.meter = clients.meter
        self.smartcar = clients.smartcar
        self._own_folder = OwnFolder(notebook, settings, lambda name: self.runs.one(name) is not None, run_id)
        self._registered = False

    def __repr__(self) -> str:
        return f"Acting on {self.where}."

    def _repr_html_(self) -> str:
        return f"<p><strong>Acting on</strong> {html.escape(self.where)}.</p>"

    @property
    def folder(self) -> Path:
        """The folder of this run's tables; SmartcarOpsError if it can't be made."""
        if self._given_folder:
            return self._given_folder
        if not self._own_folder.is_begun:
            folder = self._own_folder.begin(started_by(), injected_parameters.values())
            self.transport.journal = Journal(folder)
        return self._own_folder.path

    @property
    def run_id(self) -> str:
        """The id of this run, which is also the final name of its folder."""
        return run_id(self.folder)

    @property
    def now(self) -> datetime:
        """The current time (a session may stay open for hours, but tokens expire)."""
        return datetime.now(UTC)

    @property
    def where(self) -> str:
        """The Smartcar service, the database and the environment, in one line."""
        environment = f" [{self.settings.environment}]" if self.settings.environment else ""
        return self.settings.where + environment

    def priced(self, units: dict[str, int]) -> Cost:
        """Return the cost of these units per API, with the time that the allowance makes it take."""
        return Cost(units, self.bucket.seconds_for(sum(units.values())))

    @contextmanager
    def spending(self, max_calls: int, max_minutes: float) -> Iterator[Budget]:
        """While the block runs, charge every call to the allowance and to this run's own budget; yield the budget."""
        for name, value in (("max_calls", max_calls), ("max_minutes", max_minutes)):
            at_least(name, value, 0)
        assert self.folder  # its journal has what is spent, even if this process is killed
        budget = Budget(self.bucket, max_calls=max_calls, max_minutes=max_minutes)
        with self.transport.spending(budget):
            yield budget

    @contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Yield an executor for parallel calls; any other `concurrent.futures.Executor` would also work."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="smartcar") as executor:
            try:
                yield executor
            except BaseException:
                self.transport.end()  # otherwise leaving the block would wait for calls that wait for the allowance
                raise

    def save(self, **tables: pd.DataFrame | ParquetTable) -> None:
        """Write tables to the run's folder."""
        for name, frame in tables.items():
            write_table(self.folder, name, frame)

    def finish(
        self,
        verdict: str,
        *,
        exit_code: int = 0,
        complete: bool = True,
        status: RunStatus = RunStatus.DONE,
        as_of: str = "",
        **summary: Any,
    ) -> Outcome:
        """End the session: record the run in the ledger, pass on the outcome or complete the folder, close the clients.

        ``as_of`` is the earlier day that the run shows, if any: the page names it, and the run never becomes `latest`.
        """
        if not complete:
            verdict = f"{verdict} This run is not complete; run it again to continue."
        verdict = " ".join(filter(None, (verdict, v2_state.sentence(self.ledger))))
        content = {"verdict": verdict, "complete": complete, **summary}
        calls = self.transport.spent
        self.register()
        self.runs.finish(self.run_id, status, content, calls)
        if self.transport.calls:
            self.save(calls=pd.DataFrame([asdict(call) for call in self.transport.calls]))
        oddities = self.transport.oddities.counts
        if self._given_folder:
            exports.describe_tables(self._given_folder)
            hand_on(self.settings.where, exit_code, content, calls, oddities, as_of)
        else:
            self._own_folder.complete(exit_code, content, calls, oddities, as_of)
        self.close()
        return Outcome(verdict, exit_code)

    def fail(self, problem: str, exit_code: int, status: RunStatus) -> None:
        """End the session of an act that failed or was stopped, with what it spent.

        With exit code 4 or 5 nothing was done, and nothing is left of it. A run that writes to the company's tables
        stays as it is in the ledger: the next such run ends it.
        """
        run = self.runs.one(self.run_id)
        if exit_code in NO_FOLDER:
            self._own_folder.discard()
            if run is not None and not run.writes:
                self.runs.forget(run.run_id)
            self.close()
        elif run is not None and run.writes:
            content = {"verdict": problem, "complete": False}
            self._own_folder.complete(exit_code, content, self.transport.spent, self.transport.oddities.counts, "")
            self.close()
        else:
            self.finish(problem, exit_code=exit_code, complete=False, status=status)

    def close(self) -> None:
        """Close all connections; the kernel is ended at once after a run, and nothing of a file may be left open."""
        self.transport.close()
        for engine in (self.company.engine, self.ledger.engine):
            engine.dispose()

    def reopen_ledger(self) -> None:
        """Open the ledger again after a schema change: it may have moved into the database."""
        scope = self.ledger.scope
        self.ledger = Ledger.open(self.company, scope, self.settings.reports)
        self.runs = Runs(self.ledger)
        self.bucket = shared_bucket(self.settings, self.ledger)
        self.meter = self.transport.meter = VehicleUnits(self.ledger, self.settings.layout.limits)
        self._registered = self._registered and self.runs.one(self.run_id) is not None

    def register(self) -> None:
        """Record in the ledger that this run has begun, unless it is already recorded."""
        if not self._registered:
            self.runs.start(self.run_id, self.notebook, act_of(self.notebook))
            self._registered = True


@contextmanager
def acting(notebook: str, settings: Settings) -> Iterator[Session]:
    """Open a session for one act of a panel or of the front door, which has a run and a folder of its own.

    If the act fails or is stopped, what it spent and why it ended is recorded, too.
    """
    session = Session(notebook, settings)
    try:
        yield session
    except BaseException as error:
        exit_code, sentence = outcome_of(error)
        with suppress(SmartcarOpsError):
            stopped = isinstance(error, StoppedError | KeyboardInterrupt)
            session.fail(sentence, exit_code, RunStatus.STOPPED if stopped else RunStatus.FAILED)
        raise


class Outcome:
    """How a notebook ended; displayed as its last output."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        self.sentence, self.exit_code = sentence, exit_code

    def __repr__(self) -> str:
        return f"{self.sentence} (exit code {self.exit_code})"


def run_folder() -> Path | None:
    """Return the folder that ``smartcar-ops run`` gave this kernel; None if something else started it."""
    return Path(os.environ[RUN_FOLDER]) if os.environ.get(RUN_FOLDER) else None


def hand_on(
    where: str,
    exit_code: int,
    summary: dict[str, Any],
    calls: dict[str, int],
    oddities: dict[str, int] | None = None,
    as_of: str = "",
) -> None:
    """Write the outcome for the process that runs the notebook; do nothing in JupyterLab."""
    folder = run_folder()
    if folder:
        outcome = {
            "exit_code": exit_code,
            "where": where,
            "summary": summary,
            "calls": calls,
            "oddities": oddities or {},
            "as_of": as_of,
        }
        write_json(folder / OUTCOME, outcome)


def started_by() -> str:
    """Return what started this process if ``smartcar-ops run`` did not, as `run.json` names it."""
    return "jupyterlab" if injected_parameters.in_kernel() else "python"


def run_id(folder: Path) -> str:
    """Return a run's id: the final name of its folder."""
    return folder.name.removesuffix(".partial").lstrip(".")


def open_session(notebook: str) -> Session:
    """Open the session of a notebook. From now on the kit's errors are shown as one sentence.

    SettingsError, DatabaseError or SmartcarOpsError if it can't be opened.
    """
    session = Session(notebook, open_settings())
    if run_folder():
        session.register()
    return session


def open_settings() -> Settings:
    """Return only the settings, for a notebook that must run even if the database can't be reached.

    If the notebook was not started by ``smartcar-ops run``, this checks its parameters and reads the settings that
    belong to its folder. ParameterError or SettingsError if something is wrong.
    """
    show_errors_plainly()
    if folder := run_folder():
        run_log.begin(folder, os.environ.get(LOG_LEVEL, ""))
        root = os.environ.get(ROOT)
        return startup.settle(root=Path(root) if root else None)
    injected_parameters.refuse_unknown()
    return startup.settle(root=home(notebook=injected_parameters.notebook(), in_notebook=True))


def show_errors_plainly() -> None:
    """Show the kit's errors in this kernel as their message from now on; do nothing outside a kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((SmartcarOpsError,), _show_sentence)


def _show_sentence(shell: Any, kind: type[BaseException], error: BaseException, _traceback: Any, **_: Any) -> list[str]:
    """Output the error as its one sentence; the cell still counts as failed."""
    lines = [f"\x1b[31m{error}\x1b[0m"]
    shell._showtraceback(kind, error, lines)
    return lines
