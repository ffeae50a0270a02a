"""The folders of runs: their names, their JSON files, the folders that killed runs left, and the link `latest`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from smartcar_ops import __version__
from smartcar_ops.errors import SettingsError, SmartcarOpsError
from smartcar_ops.settings import environment
from smartcar_ops.settings.environment import Settings
from smartcar_ops.storage import journal, run_log

if TYPE_CHECKING:
    import pandas as pd

    from smartcar_ops.storage.parquet import ParquetTable

OUTCOME = ".outcome.json"
"""The file in which a notebook passes exit code, summary and calls to the process that runs it."""

RUN, SUMMARY = "run.json", "summary.json"

GOOD = (0, 1, 3)
"""Exit codes of successful runs. `latest` may point to these, unless they show an earlier day (`as_of`)."""

NO_FOLDER = (4, 5)
"""Exit codes of runs that leave no folder."""

MEANINGS = "columns.json"
"""The file that says what the columns of a run's tables mean."""

STAMP = "%Y%m%dT%H%M%SZ"
"""The format of the start time in a run's name (UTC)."""

ABANDONED = 24 * 3600
"""Seconds after which an unfinished folder counts as abandoned."""

LOCK = ".lock"

TEMPORARY = (OUTCOME, journal.FILE, run_log.FILE)
"""Files that a run's folder has until it is complete: the outcome, the journal of its calls, its log."""


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Reserve a folder for this process while the block runs; yield False if another process has it.

    The folder need not exist yet. The lock is a file beside it, which the system releases when the process ends, for
    whatever reason.
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
        Path(lock.lock_file).unlink(missing_ok=True)  # before the release: another process would take the unlocked file
        lock.release()


def partial_of(folder: Path) -> Path:
    """Return the temporary path of a run's folder until it is complete."""
    return folder.with_name(f".{folder.name}.partial")


def whole_of(partial: Path) -> Path:
    """Return the final path of a run's folder."""
    return partial.with_name(partial.name.removesuffix(".partial").lstrip("."))


def free_folder(stack: ExitStack, reports: Path, started: datetime, notebook: str) -> Path:
    """Reserve `<UTC start>__<notebook>` until the stack ends; if that name is taken, use a later second."""
    while True:
        folder = reports / f"{started:{STAMP}}__{notebook}"
        if reserved(stack, folder):
            return folder
        started += timedelta(seconds=1)


def reserved(stack: ExitStack, folder: Path) -> bool:
    """Reserve a run's folder until the stack ends; return False if it exists or another process has it."""
    if folder.exists():
        return False
    with ExitStack() as tried:
        if tried.enter_context(claimed(partial_of(folder))) and not partial_of(folder).exists():
            stack.push(tried.pop_all())
            return True
    return False


def begin(partial: Path, notebook: str, parameters: Mapping[str, Any], settings: Settings, **more: object) -> None:
    """Create a run's folder with its first `run.json`, to which ``more`` is added. OSError if it can't be written."""
    partial.mkdir(parents=True)
    facts = {
        "kit_version": __version__,
        "notebook": notebook,
        **more,
        "parameters": dict(parameters),
        "environment": settings.environment,
        "sandbox": settings.sandbox,
        "where": settings.where,
        "tables": list(settings.tables),
        "started": iso(datetime.now(UTC)),
        "status": "running",
    }
    try:
        write_json(partial / RUN, facts)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def complete(
    partial: Path,
    exit_code: int,
    summary: Mapping[str, Any],
    calls: Mapping[str, int],
    oddities: Mapping[str, int],
    *,
    as_of: str = "",
    ended: datetime | None = None,
) -> Path:
    """Write how a run ended, give its folder its final name and return it. OSError if it can't be written.

    `latest` points to it, unless it failed or shows an earlier day (``as_of``).
    """
    facts = read_json(partial / RUN)
    write_json(partial / SUMMARY, summary)
    final_facts = {
        "ended": iso(ended or datetime.now(UTC)),
        "status": "done" if exit_code in GOOD else "failed",
        "exit_code": exit_code,
        "calls": calls,
        "oddities": oddities,
    }
    write_json(partial / RUN, {name: facts[name] for name in facts if name != "status"} | final_facts)
    for name in TEMPORARY:
        (partial / name).unlink(missing_ok=True)
    folder = whole_of(partial)
    partial.rename(folder)
    if exit_code in GOOD and not as_of:
        point_latest(folder.parent, facts["notebook"], folder.name)
    return folder


def has_more_formats(formats: Collection[str]) -> bool:
    """Return whether tables are written in other formats than Parquet, in which every run saves them."""
    return bool({*formats} - {"parquet"})


def unwritable(reports: Path, error: OSError) -> SmartcarOpsError:
    """Return the error for a reports folder that can't be written (disk full, no permission)."""
    return SmartcarOpsError(
        f"reports: {reports} can't be written ({error.strerror or type(error).__name__}); "
        "check the folder, or set SMARTCAR_OPS_REPORTS to another one."
    )


def iso(moment: datetime) -> str:
    """Return a moment in the format of `run.json`."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def unfinished(reports: Path) -> list[str]:
    """Return the names of incomplete folders, of runs in progress and of killed runs."""
    return sorted({path.name.removesuffix(LOCK) for path in reports.glob(".*__*.partial*")})


def dead(reports: Path) -> Iterator[Path]:
    """Yield the incomplete folders of runs whose process has ended, each reserved while the caller uses it."""
    for name in unfinished(reports):
        with suppress(OSError), claimed(reports / name) as mine:
            if mine and (reports / name).is_dir():
                yield reports / name


def is_old(partial: Path) -> bool:
    """True if nothing was written to an incomplete folder for a day."""
    return time.time() - partial.stat().st_mtime > ABANDONED


def latest(reports: Path, notebook: str) -> Path | None:
    """Return the folder of a notebook's latest run; None if there is none."""
    link = reports / "latest" / notebook
    if link.is_file():
        return reports / link.read_text(encoding="utf-8").strip()
    return link if link.is_dir() else None


def point_latest(reports: Path, notebook: str, name: str) -> None:
    """Point `latest/<notebook>` to this run, with a symlink or, if the system has none, a text file."""
    folder = reports / "latest"
    folder.mkdir(exist_ok=True)
    with _replacing(folder / notebook) as temporary:
        try:
            temporary.symlink_to(Path("..") / name, target_is_directory=True)
        except OSError:
            temporary.write_text(name + "\n", encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON (indented, in the order given), completely or not at all."""
    with _replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces this one at the end; after an error nothing of it is left."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; empty if the file is missing or contains something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_table(folder: Path, name: str, table: pd.DataFrame | ParquetTable) -> None:
    """Write one table of a run; a table that is already in a file is copied without reading it."""
    path = folder / f"{name}.parquet"
    from smartcar_ops.storage.parquet import ParquetTable

    if not isinstance(table, ParquetTable):
        table.to_parquet(path, index=False)
    elif table.path != path:
        shutil.copyfile(table.path, path)


class Bundle(Mapping[str, "pd.DataFrame"]):
    """The tables of a run by name, read at first access; ``summary`` and ``run`` are its JSON files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, pd.DataFrame] = {}

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: the verdict and the counts."""
        return read_json(self.folder / SUMMARY)

    @property
    def run(self) -> dict[str, Any]:
        """The content of `run.json`: the times, the parameters and how the run ended."""
        return read_json(self.folder / RUN)

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._read:
            path = self.folder / f"{name}.parquet"
            if not path.is_file():
                raise KeyError(f"{self.folder.name} has no table {name!r}; it has {', '.join(self) or 'none'}")
            self._read[name] = self._table(path)
        return self._read[name]

    def _table(self, path: Path) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(path)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self.folder.glob("*.parquet")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<Bundle {self.folder.name}: {', '.join(self) or 'no tables'}>"


def load(folder: str | os.PathLike[str], *, pseudonyms: bool = False) -> Bundle:
    """Return the tables of a run, given its folder, its name, or a notebook's name for its latest run.

    With ``pseudonyms``, every id of a person or a vehicle is replaced by its pseudonym, and free text is left out.
    SettingsError if there is no such run.
    """
    for place in _places(Path(folder).expanduser()):
        # Where there are no symlinks, `latest/<notebook>` is a text file with the folder's name.
        path = place.parent.parent / place.read_text(encoding="utf-8").strip() if place.is_file() else place
        if (path / RUN).is_file():
            return _pseudonymous(path.resolve()) if pseudonyms else Bundle(path.resolve())
    raise SettingsError(
        f"load: {str(folder)!r} is not a run's folder (it has no run.json); expected a folder, a run's name, or "
        "a notebook's name for its latest run; see reports/."
    )


def _pseudonymous(folder: Path) -> Bundle:
    from smartcar_ops.storage.pseudonyms import PseudonymousBundle, beside

    return PseudonymousBundle(folder, beside(folder.parent))


def _places(path: Path) -> Iterator[Path]:
    """Yield where a run may be: the path itself, then in the reports folders, then beside `notebooks/`."""
    yield path
    source = environment.source()
    for reports in (environment.reports_folder(source), source.root / "reports"):  # the latter has a demo's runs
        yield from (reports / path, reports / "latest" / path)
    yield source.root / path
