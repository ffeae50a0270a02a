"""The folders of runs: their names, what the killed left, and where `latest` points."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path

from smartcar_ops.company.runs import STAMP

ABANDONED = 24 * 3600
"""Seconds after which a folder that never became whole belongs to a run that was killed."""


def free_folder(reports: Path, started: datetime, notebook: str) -> Path:
    """`<UTC start>__<notebook>`; a later second where that name is taken."""
    while (folder := reports / f"{started:{STAMP}}__{notebook}").exists():
        started += timedelta(seconds=1)
    return folder


def sweep(reports: Path, notebook: str) -> None:
    """Takes away what runs of this notebook left that were killed more than a day ago."""
    for partial in reports.glob(f".*__{notebook}.partial"):
        if time.time() - partial.stat().st_mtime > ABANDONED:
            shutil.rmtree(partial, ignore_errors=True)


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
