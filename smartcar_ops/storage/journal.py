"""The log of a run's requests, written before each one is sent, so that a killed run's cost is known."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

RUN_FOLDER = "SMARTCAR_OPS_RUN"
"""Environment variable that ``smartcar-ops run`` sets for its notebook: the run's folder."""

FILE = ".calls"


class Journal:
    """Appends one line per request to a file in the run's folder; does nothing outside a run.

    The line is written before its request is sent: if the run is killed in between, the journal counts one request
    too many rather than one too few.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder else None

    def note(self, api: str, units: int) -> None:
        """Record a request that is about to be sent; ignore a full disk, which fails the run later anyway."""
        if self._path is None:
            return
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, f"{api} {units}\n".encode())
            finally:
                os.close(file)


def of_this_run() -> Journal:
    """Return the journal of the run that this process belongs to."""
    folder = os.environ.get(RUN_FOLDER)
    return Journal(Path(folder) if folder else None)


def read(folder: Path) -> dict[str, int]:
    """Return the units by API from the journal in a run's folder; empty if there is no journal."""
    units: Counter[str] = Counter()
    with suppress(OSError):
        for line in (folder / FILE).read_text(encoding="ascii", errors="replace").splitlines():
            api, _, count = line.partition(" ")
            units[api] += int(count) if count.isdigit() else 0
    return dict(sorted(units.items()))
