"""How a run's folder becomes whole: its page, its JSON files, its name; for runs that were killed, too."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from smartcar_ops import __version__
from smartcar_ops.database.ledger.runs import Runs, RunStatus
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.http import journal
from smartcar_ops.storage import run_folder, run_log

GOOD = (0, 1, 3)
"""Exit codes of whole runs, which `latest` may point to, unless they look back to an earlier day."""

if TYPE_CHECKING:
    from smartcar_ops.reports import page

STATES: dict[int, page.State] = {0: "done", 1: "gate", 3: "nothing"}
NOTEBOOK, RUN, SUMMARY, PAGE = "run.ipynb", "run.json", "summary.json", "report.html"


@dataclass(frozen=True)
class Ending:
    """How a run ended; ``problem`` is the sentence of one that failed.

    ``as_of`` is the day that a run looks back to, if it does: then it is nobody's newest.
    """

    exit_code: int
    summary: Mapping[str, Any]
    calls: Mapping[str, int]
    oddities: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    as_of: str = ""
    in_mid_cell: bool = False
    """Whether the kernel died, or was ended, while a cell ran."""

    @property
    def verdict(self) -> str:
        """The run in one sentence."""
        return str(self.summary["verdict"])

    def failed(self, problem: str) -> Ending:
        """The same, but that it failed in the end."""
        return Ending(2, {**self.summary, "verdict": problem, "complete": False}, self.calls, self.oddities, problem)


def begin(partial: Path, notebook: Path, parameters: Mapping[str, Any], settings: Settings, started: datetime) -> None:
    """Makes a run's folder, with the notebook as it is and what is known of the run now: `run.json`.

    OSError, and no folder, if it can't be written.
    """
    partial.mkdir(parents=True)
    facts = {
        "kit_version": __version__,
        "notebook": notebook.stem,
        "notebook_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "parameters": dict(parameters),
        "environment": settings.environment,
        "sandbox": settings.sandbox,
        "where": settings.where,
        "started": iso(started),
        "status": "running",
    }
    try:
        run_folder.write_json(partial / RUN, facts)
        shutil.copyfile(notebook, partial / NOTEBOOK)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def conclude(partial: Path, source: Path | None, ending: Ending) -> Path:
    """Writes what a run's folder still lacks, and gives it its name; OSError if it can't be written.

    ``source`` takes the place of an executed notebook that was cut off.
    """
    ended, facts = datetime.now(UTC), run_folder.read_json(partial / RUN)
    notebook = _notebook(partial / NOTEBOOK, source)
    from smartcar_ops.reports import page

    header = page.Header(
        title=_title(notebook, facts["notebook"]) + (f", as of {ending.as_of}" if ending.as_of else ""),
        verdict=ending.verdict,
        state=STATES.get(ending.exit_code, "failed"),
        where=facts["where"],
        environment=facts["environment"],
        started=facts["started"],
        ended=ended,
        calls=ending.calls,
        parameters=facts["parameters"],
        kit_version=facts["kit_version"],
    )
    if ending.problem:
        html = page.failure(header, ending.problem, _failed_cell(notebook, in_mid_cell=ending.in_mid_cell))
    else:
        html = page.render(notebook, header)
    (partial / PAGE).write_text(html, encoding="utf-8")
    run_folder.write_json(partial / SUMMARY, ending.summary)
    told = {
        "ended": iso(ended),
        "status": "done" if ending.exit_code in GOOD else "failed",
        "exit_code": ending.exit_code,
        "calls": ending.calls,
        "oddities": ending.oddities,
    }
    run_folder.write_json(partial / RUN, {name: facts[name] for name in facts if name != "status"} | told)
    for left in (run_folder.OUTCOME, journal.FILE, run_log.FILE):
        (partial / left).unlink(missing_ok=True)
    folder = run_folder.whole_of(partial)
    partial.rename(folder)
    if ending.exit_code in GOOD and not ending.as_of:
        run_folder.point_latest(folder.parent, facts["notebook"], folder.name)
    return folder


def conclude_dead(reports: Path, where: str, register: Runs | None) -> list[Path]:
    """Makes the folders of this company's runs whole that were killed, and notes in the ledger what they had spent.

    Those of other companies in the same reports are left for a day, for their own next run. Gives the folders that
    were made whole; what was killed before it was anything is taken away.
    """
    whole = []
    for partial in run_folder.dead(reports):
        facts = run_folder.read_json(partial / RUN)
        mine, old = facts.get("where") == where, run_folder.is_old(partial)
        if facts and (mine or old):
            try:
                whole.append(_conclude_dead(partial, str(facts["notebook"]), register if mine else None))
            except Exception:  # what can't be made whole is not in the way of the next run
                if old:
                    shutil.rmtree(partial, ignore_errors=True)
        elif not facts and (old or not (partial / NOTEBOOK).exists()):
            shutil.rmtree(partial, ignore_errors=True)
    return whole


def _conclude_dead(partial: Path, notebook: str, register: Runs | None) -> Path:
    """Killed while it ran, or after its notebook had ended: then only the folder was missing."""
    outcome, calls = run_folder.read_json(partial / run_folder.OUTCOME), journal.read(partial)
    if outcome:
        return conclude(partial, None, of_outcome(outcome))
    problem = f"notebook: {notebook} was killed; run it again, it goes on from there."
    summary = {"verdict": problem, "complete": False}
    if register is not None:
        note(register, run_folder.whole_of(partial).name, RunStatus.STOPPED, summary, calls)
    return conclude(partial, None, Ending(2, summary, calls, problem=problem, in_mid_cell=True))


def of_outcome(outcome: Mapping[str, Any]) -> Ending:
    """The ending that a notebook handed on."""
    return Ending(
        int(outcome["exit_code"]),
        outcome["summary"],
        outcome.get("calls", {}),
        outcome.get("oddities", {}),
        as_of=outcome.get("as_of", ""),
    )


def note(register: Runs, run_id: str, status: RunStatus, summary: Mapping[str, Any], calls: Mapping[str, int]) -> None:
    """Notes the end of a run that could not note it itself.

    Not of an act that writes: the next one does, under the writer's lock.
    """
    run = register.one(run_id)
    if run is not None and run.is_running and not run.writes:
        register.finish(run_id, status, summary, calls)


def iso(moment: datetime) -> str:
    """A moment as `run.json` has it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _notebook(executed: Path, source: Path | None) -> nbformat.NotebookNode:
    """The notebook as it ran; as it is, where a full disk or a kill cut that off; without any, an empty one."""
    for path in filter(None, (executed, source)):
        with suppress(Exception):
            notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
            if path != executed:
                shutil.copyfile(path, executed)
            return notebook
    empty: nbformat.NotebookNode = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    return empty


def _title(notebook: nbformat.NotebookNode, stem: str) -> str:
    first = notebook.cells[0].source.splitlines()[:1] if notebook.cells else []
    return "".join(first).removeprefix("# ").strip() or stem


def _failed_cell(notebook: nbformat.NotebookNode, *, in_mid_cell: bool) -> str | None:
    """The cell that raised; where the kernel died or was ended, which leaves no error, the last one that had begun."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return str(cell.source)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    return str(begun[-1].source) if begun and in_mid_cell else None
