"""A run's folder as data: its tables written as Parquet, and read back as DataFrames."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import environment
from smartcar_ops.storage.parquet import Spool


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON for people: indented, in the order given; whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where the file is missing or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_table(folder: Path, name: str, table: pd.DataFrame | Spool) -> None:
    """Writes one table of a run; one that is on disk already is copied, not read."""
    path = folder / f"{name}.parquet"
    if isinstance(table, pd.DataFrame):
        table.to_parquet(path, index=False)
    elif table.path != path:
        shutil.copyfile(table.path, path)


class Bundle(Mapping[str, pd.DataFrame]):
    """A run's tables by name, read when first asked for; ``summary`` and ``run`` are its JSON files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, pd.DataFrame] = {}

    @property
    def summary(self) -> dict[str, Any]:
        """The verdict and the counts: `summary.json`."""
        return read_json(self.folder / "summary.json")

    @property
    def run(self) -> dict[str, Any]:
        """When, with which parameters, how it ended: `run.json`."""
        return read_json(self.folder / "run.json")

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._read:
            path = self.folder / f"{name}.parquet"
            if not path.is_file():
                raise KeyError(f"{self.folder.name} has no table {name!r}; it has {', '.join(self) or 'none'}")
            self._read[name] = pd.read_parquet(path)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self.folder.glob("*.parquet")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<Bundle {self.folder.name}: {', '.join(self) or 'no tables'}>"


def load(folder: str | os.PathLike[str]) -> Bundle:
    """The tables of a run: by its folder, or, from any folder, by its name or its notebook's under the reports.

    SettingsError where there is no run.
    """
    for place in _places(Path(folder).expanduser()):
        # Where there are no symlinks, `latest/<notebook>` is a text file with the folder's name.
        path = place.parent.parent / place.read_text(encoding="utf-8").strip() if place.is_file() else place
        if (path / "run.json").is_file():
            return Bundle(path.resolve())
    raise SettingsError(
        f"load: {str(folder)!r} is no run's folder (it has no run.json); expected one, a run's name, or a notebook's "
        "for its latest run; see reports/."
    )


def _places(path: Path) -> Iterator[Path]:
    """Where a run may be that is told so: as it stands, then among the reports, then beside `notebooks/`."""
    yield path
    given = environment.source()
    for reports in (environment.reports_folder(given), given.root / "reports"):  # where a demo's are, whatever is set
        yield from (reports / path, reports / "latest" / path)
    yield given.root / path
