"""Run a notebook from outside: check its parameters, execute it with papermill, and write its folder and report."""

from __future__ import annotations

import html
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from smartcar_ops import errors
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.locks import lock
from smartcar_ops.database.ledger.runs import Run, Runs, RunStatus, act_of
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, NotebookError, ParameterError, SmartcarOpsError, StoppedError
from smartcar_ops.reports import endings, interrupts, kernels, parameters
from smartcar_ops.reports.endings import Ending
from smartcar_ops.reports.kernels import Kernel
from smartcar_ops.settings import environment, files, startup
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.home import home
from smartcar_ops.settings.logs import DEFAULT, seconds_since
from smartcar_ops.storage import journal, run_folder, run_log
from smartcar_ops.storage.journal import RUN_FOLDER
from smartcar_ops.storage.run_folder import NO_FOLDER
from smartcar_ops.storage.run_log import StepProgress
from smartcar_ops.text import nearest, thousands

QUERYING = ("10", "20", "30")
"""Numbers of the notebooks that spend the allowance."""

OWN_CHECKS = ("00_start_here",)
"""Notebooks that run even if the database can't be reached, and report it themselves."""

GRACE = 900
"""Seconds that a cell may take in addition to the run's max_minutes, before it is ended."""

APPLYING = 24 * 3600
"""Seconds that an apply may take: an operator may pause it, and it can always be continued."""

SAY_EVERY = 60.0
"""Seconds between two messages that a run is still working, and what it has spent."""

POLL_EVERY = 0.25
"""Seconds between two reads of the notebook's log while a cell runs."""

SENTENCE = re.compile(r"<p>(?:(?!<p>|<table).)*</p>", re.DOTALL)
"""Matches an output that is one sentence."""

log = logging.getLogger("smartcar_ops.reports")

Announce = Callable[[str], object]

OnProgress = Callable[[StepProgress | None], object]
"""Called with the progress of a step; with None when the next step begins."""

Check = Callable[[str, Mapping[str, Any], Settings], None]
"""Called with a notebook, its parameter values and the settings; raises an error of exit code 5 if they are invalid."""

Advise = Callable[[Runs, Run, Path], str]
"""Called with an interrupted run and the reports folder; returns sentences that say what to do next."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended. ``folder`` is None if nothing was written (exit codes 4 and 5)."""

    notebook: str
    exit_code: int
    verdict: str
    where: str = ""
    folder: Path | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def report(self) -> Path | None:
        """The path of the report page; None if there is no folder."""
        return self.folder / "report.html" if self.folder else None


def notebooks(root: Path | None = None) -> list[Path]:
    """Return the paths of the kit's notebooks, by number."""
    folder = (root or home()) / "notebooks"
    return sorted(path for path in folder.glob("*.ipynb") if path.stem[:2].isdigit())


def find(name: str, root: Path | None = None) -> Path:
    """Return the path of the notebook with this name, number or path. ParameterError if there is none."""
    if (given := Path(name).expanduser()).suffix == ".ipynb" and given.is_file():
        files.refuse_foreign(given.absolute())
        return given.absolute()  # a symlink is not resolved: the settings are beside the link
    known = notebooks(root)
    stem = name.removesuffix(".ipynb").rpartition("/")[2]
    for path in known:
        if stem in (path.stem, path.stem[:2]):
            files.refuse_foreign(path)
            return path
    names = ", ".join(path.stem for path in known) or "none in this folder or above it; go to the kit's own folder"
    near = nearest(stem, (path.stem for path in known))
    raise ParameterError(f"run: there is no notebook {name!r}{near}; available: {names}.")


def run(
    name: str,
    given: Iterable[tuple[str, str]] = (),
    announce: Announce = lambda words: None,
    *,
    check: Check,
    advise: Advise,
    cell_minutes: int | None = None,
    watch: OnProgress = lambda far: None,
    log_level: str = DEFAULT,
) -> RunResult:
    """Run a notebook, write its folder and return how it ended. Never raises: errors become exit codes.

    ``announce`` is called with a sentence before the run starts and with one for each step. ``watch`` is called with
    the progress of a long step. ``cell_minutes`` limits the time of each cell; the default is the run's
    ``max_minutes`` plus 15, or a day with ``apply=True``. What the notebook logs at ``log_level`` or above is passed
    to the loggers of the same names in this process.
    """
    stem = name
    try:
        path = find(name)
        stem = path.stem
        values = parameters.read(path, given)
        chosen = startup.settle(root=home(notebook=path))
        check(stem, values, chosen)
        announce(_announcement(stem, values, chosen))
        interrupts.check()
        minutes = cell_minutes or chosen.cell_minutes
        return _Run(path, values, chosen, announce, advise, minutes, watch, log_level).execute()
    except KeyboardInterrupt:
        interrupts.end()
        return RunResult(stem, 2, "Stopped before the run started.")
    except Exception as error:
        code, sentence = errors.outcome_of(error)
        return RunResult(stem, code, sentence)


def _announcement(notebook: str, values: Mapping[str, Any], chosen: Settings) -> str:
    """Return a sentence: where the run acts, and how long it may wait for the allowance."""
    waits = chosen.allowance.limited and notebook[:2] in QUERYING and not values.get("apply")
    minutes = values.get("max_minutes", 10)
    waiting = f"; it may wait up to {minutes} min for the allowance (max_minutes)" if waits else ""
    return f"Running {notebook} on {chosen.where}{waiting}."


class _Run:
    """One run of one notebook: its folder, its lock, its outcome."""

    def __init__(
        self,
        path: Path,
        values: Mapping[str, Any],
        chosen: Settings,
        announce: Announce,
        advise: Advise,
        cell_minutes: int,
        watch: OnProgress = lambda far: None,
        log_level: str = DEFAULT,
    ) -> None:
        self.path, self.values, self.settings = path, dict(values), chosen
        self._announce, self._advise, self._cell_minutes = announce, advise, cell_minutes
        self._watch, self._log_level = watch, log_level
        self._polling = threading.Lock()
        self._done: dict[str, Any] = {}
        self._in_mid_cell = False
        self.folder = self.partial = Path()

    def execute(self) -> RunResult:
        """Run under the lock and complete the folder; once the notebook has ended, signals no longer interrupt that."""
        with interrupts.finishing() as finish, ExitStack() as stack:
            problem: SmartcarOpsError | None
            ledger: Ledger | None = None
            try:
                try:
                    self._claim(stack)
                    ledger = self._lock(stack)
                    self._begin(ledger)
                    log.info("%s: begun", self.folder.name)
                    interrupts.check()
                    problem = self._papermill(stack.enter_context(kernels.own_kernel(self.settings.reports)))
                except SmartcarOpsError as error:
                    problem = error
                finish()
            except KeyboardInterrupt:
                finish()
                problem = StoppedError(f"notebook: {self.path.stem} was stopped; run it again to continue.")
            return self._end(problem, ledger)

    # --- beginning ---------------------------------------------------------------------------------------

    def _claim(self, stack: ExitStack, moment: datetime | None = None) -> None:
        """Reserve a folder name that no other process has. SmartcarOpsError if the reports folder can't be written."""
        try:
            self.settings.reports.mkdir(parents=True, exist_ok=True)
            moment = moment or datetime.now(UTC)
            self.folder = run_folder.free_folder(stack, self.settings.reports, moment, self.path.stem)
        except OSError as error:
            raise run_folder.unwritable(self.settings.reports, error) from None
        self.partial = run_folder.partial_of(self.folder)

    def _lock(self, stack: ExitStack) -> Ledger | None:
        """Open the ledger and take this notebook's lock; None if the notebook can do without the database."""
        try:
            company = Company.connect(self.settings.database_url.get_secret_value(), self.settings.layout)
            scope = Scope(self.settings.service, self.settings.mode)
            ledger = Ledger.open(company, scope, self.settings.reports, to_upgrade=self.path.stem == startup.UPGRADES)
        except DatabaseError:
            if self.path.stem in OWN_CHECKS:
                return None
            raise
        register, moment = Runs(ledger), datetime.now(UTC)
        while register.one(self.folder.name):  # taken by a run with another reports folder
            moment += timedelta(seconds=1)
            self._claim(stack, moment)
        stack.enter_context(lock(ledger, self.path.stem, self.folder.name))
        return ledger

    def _begin(self, ledger: Ledger | None) -> None:
        """Complete the folders that killed runs left, then create the folder of this run."""
        register = Runs(ledger) if ledger else None
        for killed in endings.conclude_dead(self.settings.reports, self.settings.where, register):
            self._announce(f"{killed.name} was killed; its folder shows what it spent.")
        self._make_folder()
        if register is not None:
            register.start(self.folder.name, self.path.stem, act_of(self.path.stem))

    def _make_folder(self) -> None:
        try:
            endings.begin(self.partial, self.path, self._all_values(), self.settings)
        except OSError as error:
            raise run_folder.unwritable(self.settings.reports, error) from None

    # --- running -----------------------------------------------------------------------------------------

    def _papermill(self, kernel: Kernel) -> SmartcarOpsError | None:
        """Execute the notebook and return the error that it ended with, or None."""
        try:
            with _environment(self._names | kernel.environment), _quiet(), self._reporting():
                self._execute(kernel)
        except PapermillExecutionError as error:
            known = errors.by_name(error.ename)
            if known:
                return known(error.evalue)
            words = errors.of_cell(error.ename, error.evalue)
            return NotebookError(f"notebook: cell {error.exec_count} of {self.path.stem} failed with {words}.")
        except CellTimeoutError:
            self._in_mid_cell = True
            return NotebookError(
                f"notebook: {self.path.stem} timed out: a cell took longer than {self._allowed:,} s; run it "
                f"again, or allow more time (--cell-minutes, {environment.CELL_MINUTES})."
            )
        except DeadKernelError:
            self._in_mid_cell = True
            kernel.end()
            return StoppedError(f"notebook: the kernel of {self.path.stem} ended ({kernel.died}); run it again.")
        except Exception as error:
            return self._not_run(kernel, error)
        return None

    @property
    def _names(self) -> dict[str, str]:
        """Environment variables for the notebook: its folder, the folder of its settings, its log level."""
        return {
            RUN_FOLDER: str(self.partial),
            environment.ROOT: str(self.settings.root),
            environment.LOG_LEVEL: self._log_level,
        }

    def _execute(self, kernel: Kernel) -> None:
        exports = run_folder.has_more_formats(self.settings.tables)
        threading.Thread(target=_load_page, args=(exports,), daemon=True).start()
        papermill.execute_notebook(
            str(self.path),
            str(self.partial / endings.NOTEBOOK),
            parameters=self.values,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=self._allowed,
            shutdown_kernel="immediate",  # every cell has ended, and the session closed what it held
            cwd=str(Path.cwd()),  # so that the kernel finds the same settings as this process
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # an idle kernel logs an error when it is ended
            on_cell_start=self._announce_step,
            on_cell_executed=self._announce_sentences,
            **kernel.options,
        )

    @property
    def _allowed(self) -> int:
        """Seconds that a cell may take before the run is ended."""
        if self._cell_minutes:
            return self._cell_minutes * 60
        return APPLYING if self.values.get("apply") else int(self.values.get("max_minutes", 10)) * 60 + GRACE

    def _not_run(self, kernel: Kernel, error: Exception) -> SmartcarOpsError:
        """Return why papermill could not run the notebook: the system's error, or the last line of the kernel."""
        if isinstance(error, OSError) and error.errno:
            return NotebookError(f"notebook: {self.path.stem} could not run: {errors.in_words(error)}.")
        kernel.end()
        if words := kernel.last_words:
            problem = f"its kernel ({kernels.interpreter()}) could not start: {words.rstrip('.')}"
            return NotebookError(f"notebook: {self.path.stem} could not run: {problem}.")
        return NotebookError(f"notebook: {self.path.stem} could not run: {errors.in_words(error)}.")

    # --- reporting progress ------------------------------------------------------------------------------

    def _announce_step(self, cell: Mapping[str, Any], **_: Any) -> None:
        """Announce a heading; first raise an interrupt that other code has swallowed."""
        interrupts.check()
        self._watch(None)
        if cell["cell_type"] == "markdown" and cell["source"].startswith("#"):
            self._announce(cell["source"].splitlines()[0].lstrip("# "))

    def _announce_sentences(self, cell: Mapping[str, Any], **_: Any) -> None:
        """Announce the sentences that a cell shows (where it acts, its cost, its result), after its log."""
        self._pass_on_log()
        for output in cell.get("outputs", ()):
            shown = str(output.get("data", {}).get("text/html", ""))
            if SENTENCE.fullmatch(shown):
                self._announce(html.unescape(re.sub(r"<[^>]+>", "", shown)))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """While the block runs, pass on the notebook's log and progress, and announce every minute what was spent."""
        done, began = threading.Event(), time.monotonic()
        self._listener = run_log.Listener(self.partial)

        def poll() -> None:
            minutes = 0
            while not done.wait(POLL_EVERY):
                self._pass_on_log()
                if time.monotonic() - began >= (minutes + 1) * SAY_EVERY:
                    minutes += 1
                    spent = sum(journal.read(self.partial).values())
                    self._announce(f"Running for {minutes:,} min; {thousands(spent, 'units')} spent so far.")

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._pass_on_log()
            self._watch(None)

    def _pass_on_log(self) -> None:
        """Pass on the notebook's new log records to the loggers of the same names here, and its progress."""
        with self._polling:
            for message in self._listener.heard():
                if isinstance(message, StepProgress):
                    self._watch(message)
                elif (logger := logging.getLogger(message.name)).isEnabledFor(message.levelno):
                    logger.handle(message)

    # --- ending ------------------------------------------------------------------------------------------

    def _end(self, problem: SmartcarOpsError | None, ledger: Ledger | None) -> RunResult:
        """Record the end in the ledger and complete the folder, as far as possible if the disk is full."""
        outcome = run_folder.read_json(self.partial / run_folder.OUTCOME) if self.folder.name else {}
        if outcome and isinstance(problem, StoppedError):
            problem = None  # the notebook had already finished
        problem = problem or self._outcome_problem(outcome)
        if problem is not None and ledger is not None:
            with suppress(SmartcarOpsError):
                problem = self._with_advice(ledger, problem)
        ending = self._ending(problem, outcome)
        self._note(ledger, problem, ending)
        is_begun = self.folder.name and self.partial.is_dir()
        if ending.exit_code in NO_FOLDER or not (is_begun or self._leaves_a_folder(problem)):
            if is_begun:
                shutil.rmtree(self.partial, ignore_errors=True)
            return self._result(ending)
        started, part = time.perf_counter(), "tables"
        try:
            if not is_begun:
                self._make_folder()
            if formats := self.settings.tables[1:]:
                self._announce(f"Writing the tables as {' and '.join(formats)}.")
            endings.export_tables(self.partial)
            part = "page"
            log.info("%s: tables written in %.1f s", self.folder.name, seconds_since(started))
            folder = endings.conclude(self.partial, self.path, ending)
            log.info("%s: page written in %.1f s", folder.name, seconds_since(started))
            return self._result(ending, folder)
        except (OSError, SmartcarOpsError) as error:
            # No folder rather than half of one. Removing it may also free the space that the ledger needs.
            shutil.rmtree(self.partial, ignore_errors=True)
            self._note(ledger, problem, ending)
            sentence = str(run_folder.unwritable(self.settings.reports, error) if isinstance(error, OSError) else error)
            return self._result(Ending(2, {"verdict": sentence}, ending.calls))
        except Exception as error:  # the tables are complete and are kept
            sentence = f"notebook: the {part} of {self.path.stem} could not be written: {errors.in_words(error)}."
            failed = ending.failed(sentence)
            return self._result(failed, endings.conclude(self.partial, self.path, failed))

    def _leaves_a_folder(self, problem: SmartcarOpsError | None) -> bool:
        """True if a run that failed before its folder was created gets one: if it has a name and was not stopped."""
        return bool(self.folder.name) and not isinstance(problem, StoppedError)

    def _outcome_problem(self, outcome: Mapping[str, Any]) -> SmartcarOpsError | None:
        """Return what is wrong with the outcome of a notebook that ended without an error, or None."""
        if not outcome:
            return NotebookError(f"notebook: {self.path.stem} has no outcome; its last cell must call finish().")
        if outcome.get("where") != self.settings.where:
            return NotebookError(
                f"notebook: {self.path.stem} acted on {outcome.get('where')}, not on {self.settings.where}; "
                "the settings changed while it was starting. Run it again."
            )
        return None

    def _with_advice(self, ledger: Ledger, problem: SmartcarOpsError) -> SmartcarOpsError:
        """Return the problem, with advice on how to continue if it ended a run that writes to the company's tables."""
        register = Runs(ledger)
        run = register.one(self.folder.name)
        if run is None or not run.writes:
            return problem
        run = register.seen(run)
        self._done = {"applied": run.written, "skipped": run.skipped, "failed": run.failed}
        advice = self._advise(register, run, self.settings.reports)
        return type(problem)(f"{problem} {advice}") if advice and isinstance(problem, NotebookError) else problem

    def _ending(self, problem: SmartcarOpsError | None, outcome: Mapping[str, Any]) -> Ending:
        if problem is None:
            return endings.of_outcome(outcome)
        summary = {**self._done, **outcome.get("summary", {}), "verdict": str(problem), "complete": False}
        calls = outcome.get("calls") or journal.read(self.partial)
        in_mid_cell = self._in_mid_cell or isinstance(problem, StoppedError)
        return Ending(
            problem.exit_code, summary, calls, outcome.get("oddities", {}), str(problem), in_mid_cell=in_mid_cell
        )

    def _note(self, ledger: Ledger | None, problem: SmartcarOpsError | None, ending: Ending) -> None:
        """Record a failed run in the ledger with what it spent; remove one with exit code 4 or 5."""
        if problem is None or ledger is None:
            return
        register, name = Runs(ledger), self.folder.name
        with suppress(SmartcarOpsError):
            if ending.exit_code not in NO_FOLDER:
                status = RunStatus.STOPPED if isinstance(problem, StoppedError) else RunStatus.FAILED
                endings.note(register, name, status, {"verdict": str(problem)}, ending.calls)
            elif (run := register.one(name)) is not None and not run.writes:
                register.forget(name)

    def _result(self, ending: Ending, folder: Path | None = None) -> RunResult:
        summary = dict(ending.summary) if folder else {}
        where = self.settings.where
        return RunResult(self.path.stem, ending.exit_code, ending.verdict, where, folder, summary, dict(ending.calls))

    def _all_values(self) -> dict[str, Any]:
        """Return the value of every parameter: the given one, otherwise the notebook's default."""
        names = parameters.declared(self.path)
        return {name: self.values.get(name, _literal(known.default)) for name, known in names.items()}


@contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """Set these environment variables while the block runs, so that the kernel inherits them."""
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
    """Silence the libraries' loggers while the block runs: a kernel ended in mid-cell leaves tracebacks in them.

    After an interrupt they stay silent, because an unfinished task logs an error later, when it is garbage-collected.
    """
    loggers = [logging.getLogger(name) for name in ("asyncio", "nbclient", "papermill", "traitlets")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except KeyboardInterrupt:
        before = [logging.CRITICAL + 1 for _ in before]
        raise
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _literal(default: str) -> Any:
    known = {"True": True, "False": False}
    if default in known:
        return known[default]
    return int(default) if default.lstrip("-").isdigit() else default.strip("\"'")


def _load_page(with_exports: bool) -> None:
    """Load what makes the page (and exports tables) while the kernel works: it is needed as soon as that has ended."""
    from smartcar_ops.reports import page

    if with_exports:
        from smartcar_ops.storage import exports  # noqa: F401 (only loaded)
    page.warm_up()
