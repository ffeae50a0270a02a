"""A run from outside: checks first, then papermill, then the folder with its report; exit codes that mean something."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from smartcar_ops import __version__, connecting, errors, setting_files
from smartcar_ops.company.ledger import Ledger, Scope
from smartcar_ops.company.locks import lock
from smartcar_ops.company.runs import Runs
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import DatabaseError, NotebookError, ParameterError, SmartcarOpsError
from smartcar_ops.home import home
from smartcar_ops.migration import acts
from smartcar_ops.reporting import bundles, folders, page, parameters
from smartcar_ops.reporting.backfill import what_next
from smartcar_ops.session import OUTCOME, RUN_FOLDER, UPGRADES, run_id
from smartcar_ops.settings import Settings

NO_FOLDER = (4, 5)
"""Exit codes that leave nothing behind."""

GOOD = (0, 1, 3)
"""Exit codes of whole runs, which `latest` may point to, unless they look back to an earlier day."""

ASKING = ("10", "20", "30")
"""Notebooks that draw on the allowance."""

OWN_CHECKS = ("00_start_here",)
"""Notebooks that must run although the database can't be reached: they say so themselves."""

GRACE = 900
"""Seconds a cell may take beyond the run's own max_minutes; a cell that hangs is ended."""

APPLYING = 24 * 3600
"""Seconds an apply may take: it may be paused by an operator, and is safe to go on with."""

KERNEL = Config({"KernelManager": {"transport": "ipc"}} if os.name == "posix" else {})
"""A kernel talks over sockets of its own user where there are such, not over TCP that others could listen to."""

COUNTED = {"applied": "written", "skipped": "skipped", "failed": "failed"}
"""What a summary says of an act that writes, and where the ledger has it."""

STATES: dict[int, page.State] = {0: "done", 1: "gate", 3: "nothing"}


@dataclass(frozen=True)
class Result:
    """How a run ended. ``folder`` is None where nothing was written (exit codes 4 and 5)."""

    notebook: str
    exit_code: int
    verdict: str
    where: str = ""
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def report(self) -> Path | None:
        """The page to open."""
        return self.folder / "report.html" if self.folder else None


def notebooks(root: Path | None = None) -> list[Path]:
    """The kit's notebooks, in the order of their numbers."""
    folder = (root or home()) / "notebooks"
    return sorted(path for path in folder.glob("*.ipynb") if path.stem[:2].isdigit())


def find(name: str, root: Path | None = None) -> Path:
    """The notebook of this name, number or path; ParameterError where there is none."""
    known = notebooks(root)
    stem = name.removesuffix(".ipynb").rpartition("/")[2]
    for path in known:
        if stem in (path.stem, path.stem[:2]):
            setting_files.refuse_foreign(path)
            return path
    names = ", ".join(path.stem for path in known) or "none here or above: go to the kit's own folder"
    raise ParameterError(f"run: there is no notebook {name!r}; there are {names}.")


def run(
    name: str, given: Iterable[tuple[str, str]] = (), announce: Callable[[str], object] = lambda words: None
) -> Result:
    """Runs a notebook and writes its folder; never raises an error of the kit's tree, but tells its exit code.

    ``announce`` gets a sentence before anything is done.
    """
    try:
        path = find(name)
        values = parameters.read(path, given)
        chosen = connecting.settle()
    except SmartcarOpsError as error:
        return Result(name, error.exit_code, str(error))
    announce(_announcement(path.stem, values, chosen))
    return _Run(path, values, chosen).execute()


def _announcement(notebook: str, values: Mapping[str, Any], chosen: Settings) -> str:
    """Where the run will act, and how long it may wait for calls."""
    waits = chosen.allowance.limited and notebook[:2] in ASKING and not values.get("apply")
    patience = f"; it may wait {values.get('max_minutes', 10)} minutes for calls (max_minutes)" if waits else ""
    return f"Running {notebook} on {chosen.where}{patience}."


class _Run:
    """One run of one notebook: its folder, its lock, its outcome."""

    def __init__(self, path: Path, values: Mapping[str, Any], chosen: Settings) -> None:
        self.path, self.values, self.settings = path, dict(values), chosen
        self.started = datetime.now(UTC)
        self._done: dict[str, Any] = {}
        self._was_ended = False
        self._as_of = ""
        self._name_folder(self.started)

    def _name_folder(self, moment: datetime) -> None:
        self.folder = folders.free_folder(self.settings.reports, moment, self.path.stem)
        self.partial = self.folder.with_name(f".{self.folder.name}.partial")

    def execute(self) -> Result:
        """Runs under the lock, and renames the folder when it is whole."""
        with ExitStack() as stack:
            try:
                ledger = self._lock(stack)
                folders.sweep(self.settings.reports, self.path.stem)
                self.partial.mkdir(parents=True)
            except OSError as error:
                sentence = (
                    f"reports: {self.settings.reports} can't be written ({error.strerror}); see SMARTCAR_OPS_REPORTS."
                )
                return self._nothing(2, sentence)
            except SmartcarOpsError as error:
                return self._failed_early(error)
            problem = self._papermill()
            if problem is not None and ledger is not None:
                with suppress(SmartcarOpsError):
                    problem = self._note(ledger, problem)
        try:
            return self._conclude(problem)
        except OSError as error:
            sentence = (
                f"reports: {self.settings.reports} can't be written ({error.strerror}); the run's folder is not whole."
            )
            return self._nothing(2, sentence)

    def _note(self, ledger: Ledger, problem: SmartcarOpsError) -> SmartcarOpsError:
        """A run that failed is noted as such; one that was known wrong never was.

        An act that writes notes its own end, or was killed: then the next act notes what it did, and the error that is
        returned says how the act is continued.
        """
        name, register = run_id(self.partial), Runs(ledger)
        run = register.one(name)
        if run is None or not acts.writes(run):
            if problem.exit_code in NO_FOLDER:
                register.forget(name)
            else:
                register.finish(name, "failed", {"verdict": str(problem)})
            return problem
        run = register.seen(run)
        self._done = {word: run[outcome] for word, outcome in COUNTED.items()}
        told = what_next(register, run, self.settings.reports)
        return NotebookError(f"{problem} {told}") if told and problem.exit_code == NotebookError.exit_code else problem

    def _lock(self, stack: ExitStack) -> Ledger | None:
        try:
            company = Company.connect(self.settings.database_url.get_secret_value(), self.settings.layout)
            scope = Scope(self.settings.service, self.settings.mode)
            ledger = Ledger.open(company, scope, self.settings.reports, to_upgrade=self.path.stem == UPGRADES)
        except DatabaseError:
            if self.path.stem in OWN_CHECKS:
                return None
            raise
        moment, register = self.started, Runs(ledger)
        while register.one(run_id(self.folder)):  # another's, from another folder of reports
            moment += timedelta(seconds=1)
            self._name_folder(moment)
        stack.enter_context(lock(ledger, self.path.stem, run_id(self.folder)))
        return ledger

    def _papermill(self) -> SmartcarOpsError | None:
        """Executes the notebook; the error it ended with, or None."""
        minutes = int(self.values.get("max_minutes", 10))
        allowed = APPLYING if self.values.get("apply") else minutes * 60 + GRACE
        try:
            with _environment({RUN_FOLDER: str(self.partial)}), _quiet():
                papermill.execute_notebook(
                    str(self.path),
                    str(self.partial / "run.ipynb"),
                    parameters=self.values,
                    kernel_name="python3",
                    progress_bar=False,
                    execution_timeout=allowed,
                    cwd=str(Path.cwd()),  # the kernel must find the same settings as this process
                    extra_arguments=[
                        "--IPKernelApp.log_level=CRITICAL"
                    ],  # an idle kernel that is ended says so as an error
                    config=KERNEL,
                )
        except PapermillExecutionError as error:
            known = errors.by_name(error.ename)
            if known:
                return known(error.evalue)
            return NotebookError(f"notebook: cell {error.exec_count} of {self.path.stem} failed with {error.ename}.")
        except KeyboardInterrupt:
            self._was_ended = True
            return NotebookError(f"notebook: {self.path.stem} was interrupted; run it again, it goes on from there.")
        except (CellTimeoutError, DeadKernelError) as error:
            self._was_ended = True
            return NotebookError(
                f"notebook: {self.path.stem} stopped answering ({type(error).__name__}); run it again."
            )
        except (OSError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            return NotebookError(f"notebook: {self.path.stem} could not be run ({why}); is the disk full?")
        return None

    def _conclude(self, problem: SmartcarOpsError | None) -> Result:
        outcome = bundles.read_json(self.partial / OUTCOME)
        if problem is None and outcome and outcome.get("where") != self.settings.where:
            problem = NotebookError(
                f"notebook: {self.path.stem} acted on {outcome.get('where')}, not on {self.settings.where}; "
                "settings changed while it started. Run it again."
            )
        if problem is None and not outcome:
            problem = NotebookError(f"notebook: {self.path.stem} ended without an outcome; its last cell must finish.")
        if problem is not None and problem.exit_code in NO_FOLDER:
            shutil.rmtree(self.partial)
            return self._nothing(problem.exit_code, str(problem))
        self._as_of = str(outcome.get("as_of", ""))
        exit_code = problem.exit_code if problem else int(outcome["exit_code"])
        summary = outcome.get("summary") or {"verdict": str(problem), "complete": False}
        if problem is not None:
            summary = {**self._done, **summary, "verdict": str(problem), "complete": False}
        return self._write(exit_code, summary, outcome.get("calls", {}), outcome.get("oddities", {}), problem)

    def _write(
        self,
        exit_code: int,
        summary: dict[str, Any],
        calls: dict[str, int],
        oddities: dict[str, int],
        problem: SmartcarOpsError | None,
    ) -> Result:
        """Writes the JSON files and the page, then gives the folder its name."""
        ended = datetime.now(UTC)
        if not (self.partial / "run.ipynb").is_file():
            shutil.copyfile(self.path, self.partial / "run.ipynb")
        notebook: nbformat.NotebookNode = nbformat.read(self.partial / "run.ipynb", as_version=4)  # type: ignore[no-untyped-call]
        header = page.Header(
            title=_title(notebook, self.path.stem) + (f", as of {self._as_of}" if self._as_of else ""),
            verdict=str(summary["verdict"]),
            state=STATES.get(exit_code, "failed"),
            where=self.settings.where,
            environment=self.settings.environment,
            started=self.started,
            ended=ended,
            calls=calls,
            parameters=self._all_values(),
            kit_version=__version__,
        )
        cell = _failed_cell(notebook, was_ended=self._was_ended)
        html = page.failure(header, str(problem), cell) if problem else page.render(notebook, header)
        (self.partial / "report.html").write_text(html, encoding="utf-8")
        bundles.write_json(self.partial / "summary.json", summary)
        bundles.write_json(self.partial / "run.json", self._run_json(exit_code, ended, calls, oddities))
        (self.partial / OUTCOME).unlink(missing_ok=True)
        self.partial.rename(self.folder)
        if exit_code in GOOD and not self._as_of:
            folders.point_latest(self.settings.reports, self.path.stem, self.folder.name)
        return Result(
            self.path.stem, exit_code, str(summary["verdict"]), self.settings.where, self.folder, summary, calls
        )

    def _run_json(
        self, exit_code: int, ended: datetime, calls: dict[str, int], oddities: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "kit_version": __version__,
            "notebook": self.path.stem,
            "notebook_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "parameters": self._all_values(),
            "environment": self.settings.environment,
            "sandbox": self.settings.sandbox,
            "where": self.settings.where,
            "started": _iso(self.started),
            "ended": _iso(ended),
            "status": "done" if exit_code in GOOD else "failed",
            "exit_code": exit_code,
            "calls": calls,
            "oddities": oddities,
        }

    def _all_values(self) -> dict[str, Any]:
        """The given values, and the defaults of the others as the notebook writes them."""
        names = parameters.declared(self.path)
        return {name: self.values.get(name, _literal(known.default)) for name, known in names.items()}

    def _failed_early(self, error: SmartcarOpsError) -> Result:
        """The world failed before the first cell: a folder with the notebook as it is and the page that says so."""
        if error.exit_code in NO_FOLDER:
            return self._nothing(error.exit_code, str(error))
        self.partial.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path, self.partial / "run.ipynb")
        return self._conclude(error)

    def _nothing(self, exit_code: int, sentence: str) -> Result:
        return Result(self.path.stem, exit_code, sentence, self.settings.where)


@contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """These names set in this process, for the kernel to inherit."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Below the kit's own words, no library's: a kernel that is ended in mid-cell leaves tracebacks in their logs."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "nbclient", "papermill", "traitlets")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _title(notebook: nbformat.NotebookNode, stem: str) -> str:
    first = notebook.cells[0].source.splitlines()[0] if notebook.cells else ""
    return first.removeprefix("# ").strip() or stem


def _failed_cell(notebook: nbformat.NotebookNode, *, was_ended: bool) -> str | None:
    """The cell that raised; where the kernel died or was ended, which leaves no error, the last one that had begun."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return str(cell.source)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    return str(begun[-1].source) if begun and was_ended else None


def _literal(default: str) -> Any:
    known = {"True": True, "False": False}
    if default in known:
        return known[default]
    return int(default) if default.lstrip("-").isdigit() else default.strip("\"'")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
