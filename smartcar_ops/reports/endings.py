"""Complete a run's folder: its page, its JSON files and its final name. Also for runs that were killed."""

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

from smartcar_ops.database.ledger.runs import Runs, RunStatus, act_of
from smartcar_ops.settings.environment import Settings
from smartcar_ops.storage import journal, run_folder
from smartcar_ops.storage.run_folder import RUN

if TYPE_CHECKING:
    from smartcar_ops.reports import page

STATES: dict[int, page.State] = {0: "done", 1: "gate", 3: "nothing"}
NOTEBOOK, PAGE = "run.ipynb", "report.html"


@dataclass(frozen=True)
class Ending:
    """How a run ended. ``problem`` is the error sentence of a failed run, otherwise empty.

    ``as_of`` is the earlier day that the run shows, otherwise empty. Such a run never becomes `latest`.
    """

    exit_code: int
    summary: Mapping[str, Any]
    calls: Mapping[str, int]
    oddities: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    as_of: str = ""
    in_mid_cell: bool = False
    """True if the kernel died or was ended while a cell was running."""

    @property
    def verdict(self) -> str:
        """The run in one sentence."""
        return str(self.summary["verdict"])

    def failed(self, problem: str) -> Ending:
        """Return a copy of this ending, marked as failed with this sentence."""
        return Ending(2, {**self.summary, "verdict": problem, "complete": False}, self.calls, self.oddities, problem)


def begin(partial: Path, notebook: Path, parameters: Mapping[str, Any], settings: Settings) -> None:
    """Create a run's folder with a copy of the notebook and a first `run.json`.

    OSError if it can't be written; no folder remains then.
    """
    digest = hashlib.sha256(notebook.read_bytes()).hexdigest()
    run_folder.begin(partial, notebook.stem, parameters, settings, notebook_sha256=digest)
    try:
        shutil.copyfile(notebook, partial / NOTEBOOK)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def export_tables(partial: Path) -> None:
    """Write the tables of a run's folder in the formats that its `run.json` names. OSError if they can't be written.

    What their columns mean is already there if the notebook came to its end; nothing more is loaded or written then.
    """
    formats = run_folder.read_json(partial / RUN).get("tables", ())
    if run_folder.has_more_formats(formats) or not (partial / run_folder.MEANINGS).exists():
        from smartcar_ops.storage.exports import export

        export(partial, formats)


def conclude(partial: Path, source: Path | None, ending: Ending) -> Path:
    """Complete a run's folder, give it its final name, and return it. OSError if it can't be written.

    ``source`` is the original notebook. It is used if the executed one is missing or truncated.
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
        others=_others(run_folder.whole_of(partial)),
    )
    if ending.problem:
        html = page.failure(header, ending.problem, _failed_cell(notebook, in_mid_cell=ending.in_mid_cell))
    else:
        html = page.render(notebook, header)
    (partial / PAGE).write_text(html, encoding="utf-8")
    return _complete(partial, ending, ended)


def _complete(partial: Path, ending: Ending, ended: datetime) -> Path:
    return run_folder.complete(
        partial,
        ending.exit_code,
        ending.summary,
        ending.calls,
        ending.oddities,
        as_of=ending.as_of,
        ended=ended,
    )


def _others(folder: Path) -> list[tuple[str, str]]:
    """Return the complete runs of this run's day that began before it: notebook and time, and the path of the page."""
    day, _, _ = folder.name.partition("T")
    pages = sorted(path for path in folder.parent.glob(f"{day}T*__*/{PAGE}") if path.parent.name < folder.name)
    names = [path.parent.name for path in pages]
    return [(f"{name[17:].lstrip('_')} ({name[9:11]}:{name[11:13]})", f"../{name}/{PAGE}") for name in names]


def conclude_dead(reports: Path, where: str, register: Runs | None) -> list[Path]:
    """Complete the folders of this company's killed runs, record in the ledger what they spent, and return them.

    Folders of other companies among the same reports are left for a day, so that their own next run can complete
    them. Folders of runs that were killed before they wrote anything are removed.
    """
    completed = []
    for partial in run_folder.dead(reports):
        facts = run_folder.read_json(partial / RUN)
        mine, old = facts.get("where") == where, run_folder.is_old(partial)
        if facts and (mine or old):
            try:
                completed.append(_conclude_dead(partial, str(facts["notebook"]), register if mine else None))
            except Exception:  # a folder that can't be completed must not block the next run
                if old:
                    shutil.rmtree(partial, ignore_errors=True)
        elif not facts and (old or not (partial / NOTEBOOK).exists()):
            shutil.rmtree(partial, ignore_errors=True)
    return completed


def _conclude_dead(partial: Path, notebook: str, register: Runs | None) -> Path:
    """Complete one folder. If its notebook had already ended, only the folder was missing: the run counts as done."""
    outcome, calls = run_folder.read_json(partial / run_folder.OUTCOME), journal.read(partial)
    outside = run_folder.read_json(partial / RUN).get("by") is None  # otherwise its own kernel would have completed it
    export_tables(partial)
    if outcome:
        return conclude(partial, None, of_outcome(outcome))
    how = "was killed" if outside else "ended in JupyterLab before its last cell"
    problem = f"notebook: {notebook} {how}; run it again to continue."
    summary = {"verdict": problem, "complete": False}
    if register is not None:
        name = run_folder.whole_of(partial).name
        if not outside and register.one(name) is None:
            register.start(name, notebook, act_of(notebook))
        note(register, name, RunStatus.STOPPED, summary, calls)
    ending = Ending(2, summary, calls, problem=problem, in_mid_cell=True)
    return conclude(partial, None, ending) if outside else _complete(partial, ending, datetime.now(UTC))


def of_outcome(outcome: Mapping[str, Any]) -> Ending:
    """Return the ending that the notebook recorded in its outcome."""
    return Ending(
        int(outcome["exit_code"]),
        outcome["summary"],
        outcome.get("calls", {}),
        outcome.get("oddities", {}),
        as_of=outcome.get("as_of", ""),
    )


def note(register: Runs, run_id: str, status: RunStatus, summary: Mapping[str, Any], calls: Mapping[str, int]) -> None:
    """Record in the ledger the end of a run that could not do so itself.

    Skips a run that writes to the company's tables: the next such run does it, under the writer lock.
    """
    run = register.one(run_id)
    if run is not None and run.is_running and not run.writes:
        register.finish(run_id, status, summary, calls)


def _notebook(executed: Path, source: Path | None) -> nbformat.NotebookNode:
    """Return the executed notebook; if it is truncated or missing, the original; if there is none, an empty one."""
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
    """Return the cell that raised an error; if the kernel died or was ended (no error output), the last one started."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return str(cell.source)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    begun = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    return str(begun[-1].source) if begun and in_mid_cell else None
