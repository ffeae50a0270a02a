"""A run from outside: checks first, then papermill, then the folder with its report; exit codes that mean something."""

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

from smartcar_ops import errors, interrupts
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.locks import lock
from smartcar_ops.database.ledger.runs import Run, Runs, RunStatus, act_of
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, NotebookError, ParameterError, SmartcarOpsError, StoppedError
from smartcar_ops.reports import endings, kernels, parameters
from smartcar_ops.reports.endings import Ending
from smartcar_ops.reports.kernels import Kernel
from smartcar_ops.settings import environment, files, startup
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.home import home
from smartcar_ops.settings.logs import DEFAULT, seconds_since
from smartcar_ops.smartcar.http import journal
from smartcar_ops.smartcar.http.journal import RUN_FOLDER
from smartcar_ops.storage import run_folder, run_log
from smartcar_ops.storage.run_log import StepProgress
from smartcar_ops.text import nearest

NO_FOLDER = (4, 5)
"""Exit codes that leave nothing behind."""

ASKING = ("10", "20", "30")
"""Notebooks that draw on the allowance."""

OWN_CHECKS = ("00_start_here",)
"""Notebooks that must run although the database can't be reached: they say so themselves."""

GRACE = 900
"""Seconds a cell may take beyond the run's own max_minutes; a cell that hangs is ended."""

APPLYING = 24 * 3600
"""Seconds an apply may take: it may be paused by an operator, and is safe to go on with."""

SAY_EVERY = 60.0
"""Seconds after which a run says that it is still at work, and what it has spent."""

HEAR_EVERY = 0.25
"""Seconds between two looks at what the notebook tells while a cell runs."""

SENTENCE = re.compile(r"<p>(?:(?!<p>|<table).)*</p>", re.DOTALL)
"""An output that is one sentence."""

log = logging.getLogger("smartcar_ops.reports")

Announce = Callable[[str], object]

OnProgress = Callable[[StepProgress | None], object]
"""Given how far a step is; None where the next one begins."""

Check = Callable[[str, Mapping[str, Any], Settings], None]
"""Given a notebook, its values and the settings: raises an error of exit code 5 for values that make no sense."""

Advise = Callable[[Runs, Run, Path], str]
"""Given a run that ended before its end, and the folder of reports: what to do about it, as sentences."""


@dataclass(frozen=True)
class RunResult:
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
    if (given := Path(name).expanduser()).suffix == ".ipynb" and given.is_file():
        files.refuse_foreign(given.absolute())
        return given.absolute()  # not where a link leads: its settings are beside it
    known = notebooks(root)
    stem = name.removesuffix(".ipynb").rpartition("/")[2]
    for path in known:
        if stem in (path.stem, path.stem[:2]):
            files.refuse_foreign(path)
            return path
    names = ", ".join(path.stem for path in known) or "none here or above: go to the kit's own folder"
    near = nearest(stem, (path.stem for path in known))
    raise ParameterError(f"run: there is no notebook {name!r}{near}; there are {names}.")


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
    """Runs a notebook and writes its folder; never raises, but tells the exit code of whatever ended it.

    ``announce`` gets a sentence before anything is done, and one for each step. ``cell_minutes`` is how long a cell
    may take; without it, the run's own ``max_minutes`` and 15 more, a day for an act that writes. ``watch`` gets how
    far a long step is. What the notebook logs from ``log_level`` on comes from this process's own loggers.
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
        return RunResult(stem, 2, "Stopped before anything was done.")
    except Exception as error:
        code, sentence = errors.told(error)
        return RunResult(stem, code, sentence)


def _announcement(notebook: str, values: Mapping[str, Any], chosen: Settings) -> str:
    """Where the run will act, and how long it may wait for calls."""
    waits = chosen.allowance.limited and notebook[:2] in ASKING and not values.get("apply")
    patience = f"; it may wait {values.get('max_minutes', 10)} minutes for calls (max_minutes)" if waits else ""
    return f"Running {notebook} on {chosen.where}{patience}."


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
        self._hearing = threading.Lock()
        self._done: dict[str, Any] = {}
        self._in_mid_cell = False
        self.folder = self.partial = Path()

    def execute(self) -> RunResult:
        """Runs under the lock, and renames the folder when it is whole; once it has ended, nothing interrupts that."""
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
                problem = StoppedError(f"notebook: {self.path.stem} was stopped; run it again, it goes on from there.")
            return self._end(problem, ledger)

    # --- beginning ---------------------------------------------------------------------------------------

    def _claim(self, stack: ExitStack, moment: datetime | None = None) -> None:
        """Takes a name that no other process has; DatabaseError, in words, where the reports can't be written."""
        try:
            self.settings.reports.mkdir(parents=True, exist_ok=True)
            moment = moment or datetime.now(UTC)
            self.folder = run_folder.free_folder(stack, self.settings.reports, moment, self.path.stem)
        except OSError as error:
            raise self._unwritable(error) from None
        self.partial = run_folder.partial_of(self.folder)

    def _lock(self, stack: ExitStack) -> Ledger | None:
        """The ledger, with this notebook's lock taken; None if the notebook does without a database."""
        try:
            company = Company.connect(self.settings.database_url.get_secret_value(), self.settings.layout)
            scope = Scope(self.settings.service, self.settings.mode)
            ledger = Ledger.open(company, scope, self.settings.reports, to_upgrade=self.path.stem == startup.UPGRADES)
        except DatabaseError:
            if self.path.stem in OWN_CHECKS:
                return None
            raise
        register, moment = Runs(ledger), datetime.now(UTC)
        while register.one(self.folder.name):  # another's, from another folder of reports
            moment += timedelta(seconds=1)
            self._claim(stack, moment)
        stack.enter_context(lock(ledger, self.path.stem, self.folder.name))
        return ledger

    def _begin(self, ledger: Ledger | None) -> None:
        """Makes whole what runs left that were killed, then this run's own folder."""
        register = Runs(ledger) if ledger else None
        for whole in endings.conclude_dead(self.settings.reports, self.settings.where, register):
            self._announce(f"{whole.name} was killed; its folder says what it had spent.")
        self._make_folder()
        if register is not None:
            register.start(self.folder.name, self.path.stem, act_of(self.path.stem))

    def _make_folder(self) -> None:
        try:
            endings.begin(self.partial, self.path, self._all_values(), self.settings, datetime.now(UTC))
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> SmartcarOpsError:
        """The reports can't be written: a full disk, a missing right."""
        return SmartcarOpsError(
            f"reports: {self.settings.reports} can't be written ({error.strerror or type(error).__name__}); "
            "see SMARTCAR_OPS_REPORTS."
        )

    # --- running -----------------------------------------------------------------------------------------

    def _papermill(self, kernel: Kernel) -> SmartcarOpsError | None:
        """Executes the notebook; the error it ended with, or None."""
        try:
            with _environment(self._names | kernel.environment), _quiet(), self._saying():
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
                f"notebook: {self.path.stem} stopped answering: a cell took longer than {self._allowed:,} s; run it "
                f"again, or set a longer time (--cell-minutes, {environment.CELL_MINUTES})."
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
        """What the notebook has to know: its folder, and whose settings it acts by."""
        return {
            RUN_FOLDER: str(self.partial),
            environment.ROOT: str(self.settings.root),
            environment.LOG_LEVEL: self._log_level,
        }

    def _execute(self, kernel: Kernel) -> None:
        threading.Thread(target=_load_page, daemon=True).start()
        papermill.execute_notebook(
            str(self.path),
            str(self.partial / endings.NOTEBOOK),
            parameters=self.values,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=self._allowed,
            shutdown_kernel="immediate",  # every cell has ended, and the session closed what it held
            cwd=str(Path.cwd()),  # the kernel must find the same settings as this process
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # an idle kernel that is ended says so as an error
            on_cell_start=self._say_step,
            on_cell_executed=self._say_sentence,
            **kernel.options,
        )

    @property
    def _allowed(self) -> int:
        """Seconds that a cell may take."""
        if self._cell_minutes:
            return self._cell_minutes * 60
        return APPLYING if self.values.get("apply") else int(self.values.get("max_minutes", 10)) * 60 + GRACE

    def _not_run(self, kernel: Kernel, error: Exception) -> SmartcarOpsError:
        """Why papermill could not carry the notebook out: the system's own words, else the kernel's last ones."""
        if isinstance(error, OSError) and error.errno:
            return NotebookError(f"notebook: {self.path.stem} could not be run: {errors.in_words(error)}.")
        kernel.end()
        if words := kernel.last_words:
            started = f"its kernel ({kernels.interpreter()}) can't start: {words.rstrip('.')}"
            return NotebookError(f"notebook: {self.path.stem} could not be run: {started}.")
        return NotebookError(f"notebook: {self.path.stem} could not be run: {errors.in_words(error)}.")

    # --- saying what it does -----------------------------------------------------------------------------

    def _say_step(self, cell: Mapping[str, Any], **_: Any) -> None:
        """Says the heading of what comes next; before each cell, an interrupt that was swallowed is heard."""
        interrupts.check()
        self._watch(None)
        if cell["cell_type"] == "markdown" and cell["source"].startswith("#"):
            self._announce(cell["source"].splitlines()[0].lstrip("# "))

    def _say_sentence(self, cell: Mapping[str, Any], **_: Any) -> None:
        """Passes a cell's own sentence on, after its log: where it acts, what it costs, what came of it."""
        self._hear()
        for output in cell.get("outputs", ()):
            shown = str(output.get("data", {}).get("text/html", ""))
            if SENTENCE.fullmatch(shown):
                self._announce(html.unescape(re.sub(r"<[^>]+>", "", shown)))

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """While the block runs, passes on what the notebook tells, and says every minute what was spent."""
        done, began = threading.Event(), time.monotonic()
        self._listener = run_log.Listener(self.partial)

        def attend() -> None:
            minutes = 0
            while not done.wait(HEAR_EVERY):
                self._hear()
                if time.monotonic() - began >= (minutes + 1) * SAY_EVERY:
                    minutes += 1
                    spent = sum(journal.read(self.partial).values())
                    self._announce(f"At work for {minutes:,} min; {spent:,} units spent so far.")

        thread = threading.Thread(target=attend, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._hear()
            self._watch(None)

    def _hear(self) -> None:
        """Passes on what the notebook has told since: its log by the loggers of the same names in this process."""
        with self._hearing:
            for heard in self._listener.heard():
                if isinstance(heard, StepProgress):
                    self._watch(heard)
                elif (logger := logging.getLogger(heard.name)).isEnabledFor(heard.levelno):
                    logger.handle(heard)

    # --- ending ------------------------------------------------------------------------------------------

    def _end(self, problem: SmartcarOpsError | None, ledger: Ledger | None) -> RunResult:
        """Notes the end in the ledger and writes the folder; where the disk is full, what it can of both."""
        outcome = run_folder.read_json(self.partial / run_folder.OUTCOME) if self.folder.name else {}
        if outcome and isinstance(problem, StoppedError):
            problem = None  # the notebook had come to its end before
        problem = problem or self._odd_outcome(outcome)
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
        started = time.perf_counter()
        try:
            if not is_begun:
                self._make_folder()
            folder = endings.conclude(self.partial, self.path, ending)
            log.info("%s: page written in %.1f s", folder.name, seconds_since(started))
            return self._result(ending, folder)
        except (OSError, SmartcarOpsError) as error:
            # No folder rather than half of one; and what is taken away may be the room that the ledger lacked.
            shutil.rmtree(self.partial, ignore_errors=True)
            self._note(ledger, problem, ending)
            sentence = str(self._unwritable(error) if isinstance(error, OSError) else error)
            return self._result(Ending(2, {"verdict": sentence}, ending.calls))
        except Exception as error:  # the tables are whole, and stay
            sentence = f"notebook: the page of {self.path.stem} could not be made: {errors.in_words(error)}."
            failed = ending.failed(sentence)
            return self._result(failed, endings.conclude(self.partial, self.path, failed))

    def _leaves_a_folder(self, problem: SmartcarOpsError | None) -> bool:
        """Whether a run that failed before its folder was made has one: not one that was stopped, or has no place."""
        return bool(self.folder.name) and not isinstance(problem, StoppedError)

    def _odd_outcome(self, outcome: Mapping[str, Any]) -> SmartcarOpsError | None:
        """What is wrong with a notebook that ended without an error."""
        if not outcome:
            return NotebookError(f"notebook: {self.path.stem} ended without an outcome; its last cell must finish.")
        if outcome.get("where") != self.settings.where:
            return NotebookError(
                f"notebook: {self.path.stem} acted on {outcome.get('where')}, not on {self.settings.where}; "
                "settings changed while it started. Run it again."
            )
        return None

    def _with_advice(self, ledger: Ledger, problem: SmartcarOpsError) -> SmartcarOpsError:
        """The same problem, and how the act is continued that it ended: an act that writes, and was killed."""
        register = Runs(ledger)
        run = register.one(self.folder.name)
        if run is None or not run.writes:
            return problem
        run = register.seen(run)
        self._done = {"applied": run.written, "skipped": run.skipped, "failed": run.failed}
        told = self._advise(register, run, self.settings.reports)
        return type(problem)(f"{problem} {told}") if told and isinstance(problem, NotebookError) else problem

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
        """A run that failed is noted as such, with what it spent; one that was known wrong never was."""
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
        """The given values, and the defaults of the others as the notebook writes them."""
        names = parameters.declared(self.path)
        return {name: self.values.get(name, _literal(known.default)) for name, known in names.items()}


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
    """Below the kit's own words, no library's: a kernel that is ended in mid-cell leaves tracebacks in their logs.

    After an interrupt for good: what was under way then is told when it is collected, whenever that is.
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


def _load_page() -> None:
    """Load what makes the page while the kernel works: it is needed as soon as that has ended."""
    from smartcar_ops.reports import page

    page.warm_up()
