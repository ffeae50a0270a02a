"""The folders of runs: their names, what the killed left, and where `latest` points."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from smartcar_ops.errors import SettingsError
from smartcar_ops.settings import environment

if TYPE_CHECKING:
    import pandas as pd

    from smartcar_ops.storage.parquet import ParquetTable

OUTCOME = ".outcome.json"
"""The file in which a notebook passes exit code, summary and calls to the process that runs it."""

STAMP = "%Y%m%dT%H%M%SZ"
"""How a run's start is written in its name (UTC)."""

ABANDONED = 24 * 3600
"""Seconds after which an unfinished folder is taken away that nobody can tell anything of."""

LOCK = ".lock"


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone has this folder, which need not be there yet, until the end of the block.

    Told by a file beside it that is locked: the system frees it when its process ends, however that is.
    """
    lock = FileLock(path.with_name(path.name + LOCK), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # first: whoever finds it unlocked would take it
        lock.release()


def partial_of(folder: Path) -> Path:
    """Where a run's folder is until it is whole."""
    return folder.with_name(f".{folder.name}.partial")


def whole_of(partial: Path) -> Path:
    """What the folder of a run is called once it is whole."""
    return partial.with_name(partial.name.removesuffix(".partial").lstrip("."))


def free_folder(stack: ExitStack, reports: Path, started: datetime, notebook: str) -> Path:
    """`<UTC start>__<notebook>`, claimed until the stack's end; a later second where that name is taken."""
    while True:
        folder = reports / f"{started:{STAMP}}__{notebook}"
        if not folder.exists():
            with ExitStack() as tried:
                if tried.enter_context(claimed(partial_of(folder))) and not partial_of(folder).exists():
                    stack.push(tried.pop_all())
                    return folder
        started += timedelta(seconds=1)


def unfinished(reports: Path) -> list[str]:
    """The names of folders that are not whole, of runs that live or were killed."""
    return sorted({found.name.removesuffix(LOCK) for found in reports.glob(".*__*.partial*")})


def dead(reports: Path) -> Iterator[Path]:
    """The unfinished folders of runs whose process has ended, each claimed while it is looked at."""
    for name in unfinished(reports):
        with suppress(OSError), claimed(reports / name) as mine:
            if mine and (reports / name).is_dir():
                yield reports / name


def is_old(partial: Path) -> bool:
    """Whether nothing was written into an unfinished folder for a day."""
    return time.time() - partial.stat().st_mtime > ABANDONED


def latest(reports: Path, notebook: str) -> Path | None:
    """The newest whole run of a notebook; None where there is none."""
    link = reports / "latest" / notebook
    if link.is_file():
        return reports / link.read_text(encoding="utf-8").strip()
    return link if link.is_dir() else None


def point_latest(reports: Path, notebook: str, name: str) -> None:
    """Makes `latest/<notebook>` point to this run: a symlink, or a text file where there are none."""
    folder = reports / "latest"
    folder.mkdir(exist_ok=True)
    temporary, link = folder / f".{notebook}.partial", folder / notebook
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(Path("..") / name, target_is_directory=True)
    except OSError:
        temporary.write_text(name + "\n", encoding="utf-8")
    temporary.replace(link)


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


def write_table(folder: Path, name: str, table: pd.DataFrame | ParquetTable) -> None:
    """Writes one table of a run; one that is on disk already is copied, not read."""
    path = folder / f"{name}.parquet"
    from smartcar_ops.storage.parquet import ParquetTable

    if not isinstance(table, ParquetTable):
        table.to_parquet(path, index=False)
    elif table.path != path:
        shutil.copyfile(table.path, path)


class Bundle(Mapping[str, "pd.DataFrame"]):
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
            import pandas as pd

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
