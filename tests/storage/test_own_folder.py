"""What is done in JupyterLab leaves the folder of a run, as a run from the command line does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import smartcar_ops
from smartcar_ops.audit.audit import Audit
from smartcar_ops.backfill.backfill import Backfill, find_plan
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import LockedError, SmartcarOpsError, StoppedError
from smartcar_ops.reports import endings
from smartcar_ops.session import Session, acting
from smartcar_ops.storage import run_folder
from tests.support.house import NOTEBOOKS, House

AUDIT, BACKFILL = "20_audit_user_ids", "30_backfill_user_ids"


@pytest.fixture
def reports(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The house's reports, which `load` reads."""
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    yield house.settings.reports


def names(reports: Path) -> list[str]:
    """The folders among the reports, unfinished ones too, but for the link to the latest."""
    return sorted(path.name for path in reports.iterdir() if path.is_dir() and path.name != "latest")


def test_opening_a_notebook_leaves_nothing(house: House, reports: Path) -> None:
    """A session that did nothing makes no folder."""
    opened = Session(AUDIT, house.settings)
    assert repr(opened).startswith("Acting on ")
    opened.close()
    assert [] == names(reports)


def test_an_audit_leaves_its_tables_and_is_the_latest(house: House, reports: Path) -> None:
    """`run.json` says who it was by, the tables are there, and `load` and `latest` find them; no page, no notebook."""
    house.ask()
    with acting(AUDIT, house.settings) as session:
        audit = Audit(session, confirm=False)
        audit.judge()
        audit.finish()
    bundle = smartcar_ops.load(AUDIT)
    assert {"users", "orphans"} <= set(bundle)
    assert (session.run_id, 60) == (bundle.folder.name, len(bundle["users"]))
    assert ("python", "done", {}) == tuple(bundle.run[name] for name in ("by", "status", "parameters"))
    assert audit.result.verdict in bundle.summary["verdict"]
    files = {path.name for path in bundle.folder.iterdir()}
    assert {"run.json", "summary.json", "columns.json", "decisions.csv"} <= files
    assert not files & {"report.html", "run.ipynb", ".calls", ".log", ".outcome.json"}
    assert [] == run_folder.unfinished(reports)
    assert session.run_id == Runs(house.ledger).all("audit")[-1].run_id


def test_a_plan_made_so_is_the_latest_and_can_be_applied(house: House, reports: Path) -> None:
    """`plan latest` finds it, and what is applied is undone by the folder's name."""
    with acting(BACKFILL, house.settings) as session:
        Backfill(session).prepare().finish()
    with acting(BACKFILL, house.settings) as applying:
        assert find_plan(applying, "latest").table.path == reports / session.run_id / "plan.parquet"
        act = Backfill(applying, apply=True, plan="latest").prepare()
        act.execute()
        act.finish()
    written = house.rows("smartcar_ops_changes")
    assert {applying.run_id} == {row["run_id"] for row in written}
    assert len(written) == len(smartcar_ops.load(BACKFILL)["changes"])
    assert [session.run_id, applying.run_id] == names(reports)


@pytest.mark.parametrize(
    ("error", "status"), [(SmartcarOpsError("it broke."), "failed"), (StoppedError("stopped."), "stopped")]
)
def test_an_act_that_fails_says_so(house: House, reports: Path, error: SmartcarOpsError, status: str) -> None:
    """With what it spent, in its folder and in the ledger; `latest` does not point to it."""
    with pytest.raises(SmartcarOpsError), acting(AUDIT, house.settings) as session:
        Audit(session, sources="connections").ask()
        raise error
    bundle = smartcar_ops.load(session.run_id)
    assert ("failed", 2) == (bundle.run["status"], bundle.run["exit_code"])
    (run,) = Runs(house.ledger).all("audit")
    assert (status, bundle.run["calls"]) == (run.status, dict(run.calls))
    assert 0 < run.calls["v3"]
    assert run_folder.latest(reports, AUDIT) is None


def test_an_act_that_finds_another_leaves_nothing(house: House, reports: Path) -> None:
    """Exit codes 4 and 5 leave no folder and no run."""
    with pytest.raises(LockedError), acting(AUDIT, house.settings) as session:
        assert session.folder.is_dir()
        session.register()
        raise LockedError("locked: somebody else.")
    assert [] == names(reports)
    assert [] == Runs(house.ledger).all("audit")


def test_reports_that_cannot_be_written_are_one_sentence(house: House, tmp_path: Path) -> None:
    """A file in the folder's place: the sentence names the setting, before anything is asked."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings = house.read_settings(SMARTCAR_OPS_REPORTS=str(blocked / "reports"))
    said = r"reports: .* can't be written .*SMARTCAR_OPS_REPORTS"
    with pytest.raises(SmartcarOpsError, match=said), acting(AUDIT, settings) as session:
        Audit(session).ask()
    assert [] == session.transport.calls


def executed(house: House, name: str, change: Callable[[str], str] = str, *, last: bool = True) -> None:
    """Runs a notebook as JupyterLab does, its parameters changed, all cells or all but the last."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells[1].source = change(notebook.cells[1].source)
    if not last:
        notebook.cells = [cell for cell in notebook.cells if "finish()" not in cell.source]
    kernel = {"env": {**house.process_environment()}, "cwd": str(house.root)}
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(**kernel)


def test_a_notebook_run_by_hand_names_its_parameters(house: House, reports: Path) -> None:
    """As they stand in its cell; ended before its last cell, the next run says so, with what it spent."""
    house.ask()
    executed(house, AUDIT, lambda source: source.replace("max_calls: int = 0", "max_calls: int = 7"))
    bundle = smartcar_ops.load(AUDIT)
    assert "jupyterlab" == bundle.run["by"]
    assert (True, "auto", 7) == tuple(bundle.run["parameters"][name] for name in ("confirm", "sources", "max_calls"))
    executed(house, AUDIT, last=False)
    (partial,) = run_folder.dead(reports)
    (ended,) = endings.conclude_dead(reports, house.settings.where, Runs(house.ledger))
    assert ended == run_folder.whole_of(partial)
    told = json.loads((ended / "run.json").read_text())
    assert ("failed", "jupyterlab") == (told["status"], told["by"])
    assert "ended in JupyterLab before its last cell" in json.loads((ended / "summary.json").read_text())["verdict"]
    run = Runs(house.ledger).one(ended.name)
    assert run and (told["calls"], "stopped") == (dict(run.calls), run.status)
    assert not (ended / "report.html").exists()
