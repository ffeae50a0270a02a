"""Files that no run of the kit left: refused by their size and their foot, before they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from smartcar_ops.backfill.plan import PLAN_COLUMNS, Plan
from smartcar_ops.compare.reading.replay import Replay, write_recordings
from smartcar_ops.errors import PlanError, SettingsError
from smartcar_ops.storage import parquet

DOCUMENT = {"vehicle_id": "v", "again": None}


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A folder with a plan and recordings of 5 GiB, which no disk holds."""
    for name in ("plan", "recordings"):
        with (tmp_path / f"{name}.parquet").open("wb") as file:
            file.write(b"PAR1")
            file.truncate(5 * 1024**3)
    return tmp_path


def test_a_file_of_gigabytes_is_not_read(sparse: Path) -> None:
    """A plan or recordings beyond the limit are refused in one sentence that names both sizes."""
    with pytest.raises(PlanError, match=r"has 5,368,709,120 bytes; expected at most 4,294,967,296"):
        Plan.load(sparse / "plan.parquet", b"key")
    with pytest.raises(SettingsError, match=r"has 5,368,709,120 bytes; expected at most 4,294,967,296"):
        Replay(sparse)


def test_a_small_file_that_unpacks_to_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that stand together and unpack to more than the limit are refused by the file's foot."""
    monkeypatch.setattr(parquet, "LARGEST_PART", 1_000_000)
    rows = pd.DataFrame({name: [f"{'x' * 200} {number}" for number in range(10_000)] for name in PLAN_COLUMNS})
    rows.to_parquet(tmp_path / "plan.parquet", compression="zstd")
    assert (tmp_path / "plan.parquet").stat().st_size < 1_000_000
    with pytest.raises(PlanError, match=r"unpacks to [0-9,]+ bytes at once; expected at most 1,000,000"):
        Plan.load(tmp_path / "plan.parquet", b"key")
    rows.to_parquet(tmp_path / "recordings.parquet", compression="zstd")
    with pytest.raises(SettingsError, match="unpacks to"):
        Replay(tmp_path)


@pytest.mark.parametrize("depth", [70, 100_000])
def test_a_recording_that_is_nested_too_deep_is_refused(tmp_path: Path, depth: int) -> None:
    """It can't be read, in one sentence."""
    write_recordings([], tmp_path / "recordings.parquet")
    rows = pd.read_parquet(tmp_path / "recordings.parquet")
    deep = json.dumps(DOCUMENT)[:-1] + ', "v2": ' + "[" * depth + "]" * depth + "}"
    row = {"vehicle_id": "v", "local_vehicle_id": "1", "recorded_at": pd.Timestamp.now("UTC"), "answered": True}
    rows.loc[0] = {**row, "document": deep}
    rows.to_parquet(tmp_path / "recordings.parquet")
    with pytest.raises(SettingsError, match="can't be read; check whether"):
        list(Replay(tmp_path).recordings())
