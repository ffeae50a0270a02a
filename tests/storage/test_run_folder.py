"""A run's tables, loaded by its folder, its name or its notebook's, from any folder."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pandas as pd
import pytest

import smartcar_ops
from smartcar_ops.errors import SettingsError
from smartcar_ops.storage import run_folder

NOTEBOOK, NAME = "20_audit_user_ids", "20261128T070000Z__20_audit_user_ids"


@pytest.fixture(params=["beside the notebooks", "elsewhere"])
def reports(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports with one run of the audit, and a working folder far below."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(below)
    found = tmp_path / "reports" if request.param == "beside the notebooks" else tmp_path / "far" / "out"
    if request.param == "elsewhere":
        monkeypatch.setenv("SMARTCAR_OPS_REPORTS", str(found))
    run = found / NAME
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"notebook": NOTEBOOK}))
    pd.DataFrame({"bucket": ["ready"]}).to_parquet(run / "users.parquet")
    run_folder.point_latest(found, NOTEBOOK, NAME)
    return found


@pytest.mark.parametrize("told", [NOTEBOOK, f"latest/{NOTEBOOK}", NAME])
def test_a_run_is_loaded_by_name_from_any_folder(reports: Path, told: str) -> None:
    """The notebook's name means its latest run; settings say where the reports are."""
    bundle = smartcar_ops.load(told)
    assert (reports / NAME, ["ready"]) == (bundle.folder, list(bundle["users"]["bucket"]))


def test_a_run_is_loaded_by_its_folder(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative, through `latest`, and through a text file where there are no symlinks."""
    link = reports / "latest" / NOTEBOOK
    for told in (reports / NAME, link, Path(os.path.relpath(link))):
        assert reports / NAME == smartcar_ops.load(told).folder
    link.unlink()
    link.write_text(f"{NAME}\n")
    assert reports / NAME == smartcar_ops.load(link).folder == smartcar_ops.load(NOTEBOOK).folder
    if reports.name == "reports":
        assert reports / NAME == smartcar_ops.load(f"reports/latest/{NOTEBOOK}").folder


@pytest.mark.parametrize("reports", ["beside the notebooks"], indirect=True)
def test_a_demos_runs_are_found(reports: Path, tmp_path: Path) -> None:
    """They are beside the notebooks, whatever is set."""
    (tmp_path / ".env").write_text("SMARTCAR_OPS_REPORTS=nowhere\n")
    assert reports / NAME == smartcar_ops.load(NOTEBOOK).folder


def test_what_is_no_run_is_refused(reports: Path) -> None:
    """One sentence that tells what would be."""
    with pytest.raises(
        SettingsError, match=r"'30' is not a run's folder .*expected a folder, a run's name, or a notebook's"
    ):
        smartcar_ops.load("30")


def test_a_file_that_finds_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before remains, and no half of the new one beside it."""
    path = tmp_path / "outcome.json"
    run_folder.write_json(path, {"exit_code": 0})
    write = Path.write_text

    def fill_the_disk(path: Path, text: str, encoding: str) -> int:
        write(path, text[:10], encoding=encoding)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        run_folder.write_json(path, {"exit_code": 1})
    assert ["outcome.json"] == [file.name for file in tmp_path.iterdir()]
    assert {"exit_code": 0} == run_folder.read_json(path)
