"""What a run sends, noted as it is sent: so that it is known, whatever ends the run."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

RUN_FOLDER = "SMARTCAR_OPS_RUN"
"""Set by ``smartcar-ops run`` for its notebook: the folder that the run fills."""

FILE = ".calls"


class Journal:
    """Appends a line a request to a file in the run's folder; keeps nothing outside a run.

    A line is written before its request is sent: of a run that is killed in between, a unit too many is known rather
    than one too few.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder else None

    def note(self, api: str, units: int) -> None:
        """Notes a request that is about to be sent; on a full disk nothing is noted, and the run's own end tells."""
        if self._path is None:
            return
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, f"{api} {units}\n".encode())
            finally:
                os.close(file)


def of_this_run() -> Journal:
    """The journal of the run that this process belongs to."""
    folder = os.environ.get(RUN_FOLDER)
    return Journal(Path(folder) if folder else None)


def read(folder: Path) -> dict[str, int]:
    """Units by API, as far as the journal of a run's folder tells; empty without one."""
    units: Counter[str] = Counter()
    with suppress(OSError):
        for line in (folder / FILE).read_text(encoding="ascii", errors="replace").splitlines():
            api, _, count = line.partition(" ")
            units[api] += int(count) if count.isdigit() else 0
    return dict(sorted(units.items()))
