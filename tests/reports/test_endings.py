"""How a run's folder becomes whole, also that of a run that was killed, or whose disk was full."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import SmartcarError
from smartcar_ops.progress import measure
from smartcar_ops.reports import endings
from smartcar_ops.reports.endings import Ending
from smartcar_ops.smartcar.auth import ApplicationToken
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.storage import run_folder
from smartcar_ops.storage.journal import RUN_FOLDER, Journal, read
from tests.support.house import NOTEBOOKS, House

NAME = "20260102T000000Z__20_audit_user_ids"
AUDIT = NOTEBOOKS / "20_audit_user_ids.ipynb"


def begun(house: House, *, calls: int = 3) -> Path:
    """The unfinished folder of an audit that has sent some calls, noted in the ledger."""
    partial = run_folder.partial_of(house.settings.reports / NAME)
    endings.begin(partial, AUDIT, {"max_calls": 0}, house.settings)
    Runs(house.ledger).start(NAME, AUDIT.stem, "audit")
    for _ in range(calls):
        Journal(partial).note("v2", 2)
    Journal(partial).note("iam", 1)
    return partial


def test_a_killed_run_is_told_with_what_it_spent(house: House) -> None:
    """By the next run or `runs`: its folder, its row in the ledger, and the totals; once."""
    begun(house)
    register = Runs(house.ledger)
    (folder,) = endings.conclude_dead(house.settings.reports, house.settings.where, register)
    told = json.loads((folder / "run.json").read_text())
    assert NAME == folder.name
    assert ("failed", 2, {"iam": 1, "v2": 6}) == (told["status"], told["exit_code"], told["calls"])
    assert told["ended"] and told["parameters"] == {"max_calls": 0}
    files = {"report.html", "run.ipynb", "run.json", "summary.json", "columns.json"}
    assert files == {path.name for path in folder.iterdir()}
    assert "was killed" in (folder / "report.html").read_text()
    run = register.one(NAME)
    assert run is not None
    assert ("stopped", {"iam": 1, "v2": 6}) == (run.status, run.calls)
    assert run.ended is not None
    assert {"iam": 1, "v2": 6} == measure._calls([run])
    assert [] == endings.conclude_dead(house.settings.reports, house.settings.where, register)
    assert [] == run_folder.unfinished(house.settings.reports)


def test_a_living_run_and_another_companys_are_left_alone(house: House) -> None:
    """The one is still at work, the other is for a run that knows its ledger; after a day it is made whole, too."""
    partial, register = begun(house), Runs(house.ledger)
    with run_folder.claimed(partial):
        assert [] == endings.conclude_dead(house.settings.reports, house.settings.where, register)
    assert [] == endings.conclude_dead(house.settings.reports, "another company", register)
    assert partial.is_dir()
    run = register.one(NAME)
    assert run is not None and "running" == run.status


def test_a_run_killed_after_its_notebook_had_ended_is_done(house: House) -> None:
    """Only its folder was missing: what the notebook handed on stands."""
    partial = begun(house)
    summary = {"verdict": "All mapped.", "complete": True}
    outcome = {"exit_code": 1, "where": house.settings.where, "summary": summary, "calls": {"v2": 6}, "oddities": {}}
    (partial / ".outcome.json").write_text(json.dumps(outcome))
    (folder,) = endings.conclude_dead(house.settings.reports, house.settings.where, Runs(house.ledger))
    assert summary == json.loads((folder / "summary.json").read_text())
    assert folder == run_folder.latest(house.settings.reports, AUDIT.stem).resolve()  # type: ignore[union-attr]


def test_what_was_killed_before_it_was_anything_is_taken_away(house: House) -> None:
    """An empty folder, and the mark of one that was not made."""
    reports = house.settings.reports
    reports.mkdir(exist_ok=True)
    run_folder.partial_of(reports / NAME).mkdir()
    (reports / f".{NAME}2.partial.lock").touch()
    assert [] == endings.conclude_dead(reports, house.settings.where, None)
    assert [] == run_folder.unfinished(reports)


@pytest.mark.parametrize("left", ["", '{"cells": [', "none"])
def test_a_notebook_that_was_cut_off_is_no_crash(house: House, left: str) -> None:
    """An executed notebook that a kill or a full disk truncated gives way to the notebook as it is."""
    partial = begun(house)
    (partial / "run.ipynb").unlink()
    if left != "none":
        (partial / "run.ipynb").write_text(left)
    folder = endings.conclude(partial, AUDIT, Ending(2, {"verdict": "It failed."}, {}, problem="It failed."))
    assert nbformat.read(folder / "run.ipynb", as_version=4).cells == nbformat.read(AUDIT, as_version=4).cells
    assert "Which users have no Smartcar user id?" in (folder / "report.html").read_text()


def test_two_runs_never_share_a_name(house: House) -> None:
    """Begun in the same second on two databases, the second takes a later one."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    with run_folder.ExitStack() as stack:
        names = [run_folder.free_folder(stack, house.settings.reports, moment, AUDIT.stem).name for _ in range(3)]
    assert [f"20260102T00000{second}Z__{AUDIT.stem}" for second in range(3)] == names


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Units by API; a line that a kill cut off counts nothing, and outside a run nothing is written."""
    Journal(None).note("v3", 1)
    assert {} == read(tmp_path)
    for api, units in (("v3", 1), ("v2", 17), ("v3", 1)):
        Journal(tmp_path).note(api, units)
    with (tmp_path / ".calls").open("a") as file:
        file.write("v3")
    assert {"v2": 17, "v3": 2} == read(tmp_path)
    Journal(tmp_path / "gone").note("v3", 1)  # a disk that is full, or gone, ends no call


def test_what_is_sent_is_noted_before_it_is_answered(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a run each request stands in the journal, answered or not; what workers sent, once they hand it over."""
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    worker, transport = Transport(noted_in=Journal(None)), Transport(attempts=1)
    for one in (worker, transport):
        ApplicationToken(one, house.settings.origins.iam, house.settings.credentials)()
    assert {"iam": 1} == transport.spent == read(tmp_path)
    transport.add(*worker.hand_over())
    assert {"iam": 2} == transport.spent == read(tmp_path)
    with pytest.raises(SmartcarError):
        transport.json(Request("v3", "GET", "http://127.0.0.1:1/v3", "/v3", units=2))
    assert {"iam": 2, "v3": 2} == transport.spent == read(tmp_path)
    for one in (worker, transport):
        one.close()
