"""Files that hold ids are their owner's alone, whatever umask a process was started with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from smartcar_ops.backfill import backfill
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import file_modes, startup
from smartcar_ops.storage import run_folder
from smartcar_ops.storage.parquet import ParquetTable
from tests.support.house import House

IDS = pd.DataFrame({"user_id": ["4711"]})


def write(house: House, reports: Path) -> None:
    """A run's files in every way they are written, a plan that is kept, and the ledger's file, one made long ago."""
    run = reports / "20261128T070000Z__20_audit_user_ids"
    run.mkdir(parents=True)
    run_folder.write_table(run, "users", IDS)
    spool = ParquetTable({"user_id": "str"}, run / "recordings.parquet")
    spool.append(IDS)
    run_folder.write_table(run, "plan", spool.close())
    run_folder.write_json(run / "summary.json", {})
    run_folder.point_latest(reports, "20_audit_user_ids", run.name)
    assert backfill.keep_plan(reports, house.plan())
    ledger = Ledger.file(house.company, house.ledger.scope, reports)
    ledger.engine.dispose()
    old = next(path for path in reports.iterdir() if path.suffix == ".sqlite")
    old.chmod(0o666)
    Ledger.file(house.company, house.ledger.scope, reports).engine.dispose()


@pytest.mark.parametrize("umask", [0o000, 0o277])
@pytest.mark.parametrize(("given", "file", "folder"), [(None, 0o600, 0o700), ("660", 0o660, 0o770)])
def test_a_runs_files_are_private(
    make_house: Callable[..., House], tmp_path: Path, umask: int, given: str | None, file: int, folder: int
) -> None:
    """0600 in folders of 0700, or what the settings say; umasks say nothing."""
    house = make_house(users=6)
    os.umask(umask)
    startup.settle({**house.environment, **({file_modes.NAME: given} if given else {})}, house.root)
    write(house, tmp_path / "reports")
    modes = {path: path.lstat().st_mode for path in (tmp_path / "reports").rglob("*") if not path.is_symlink()}
    assert {file} == {mode & 0o777 for path, mode in modes.items() if path.is_file()}
    assert {folder} == {mode & 0o777 for path, mode in modes.items() if path.is_dir()}
    assert 6 <= len(modes)


@pytest.mark.parametrize("given", ["abc", "0", "0400", "0777", "0o600", "600 ", "02600", "-600", "0680"])
def test_a_mode_that_is_none_is_refused(given: str) -> None:
    """The owner must read and write, nobody executes; exit 5 with what was expected."""
    with pytest.raises(SettingsError, match=f"SMARTCAR_OPS_FILE_MODE is {given!r}; expected 0600, 0640"):
        file_modes.read(given)
