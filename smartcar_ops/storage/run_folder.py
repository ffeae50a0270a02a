"""The folders of runs: their names, what the killed left, and where `latest` points."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

STAMP = "%Y%m%dT%H%M%SZ"

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
