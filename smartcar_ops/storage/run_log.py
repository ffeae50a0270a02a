"""What a run's notebook tells the process that started it, while it works: its log, and how far it is.

A file in the run's folder, a line of JSON each, which goes when the folder is whole: nothing of it is on the page or in
the notebook, it works on every system, and what a killed kernel had told is still read.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from smartcar_ops.settings.logs import DEFAULT, KIT, LEVELS

FILE = ".log"

SHOWN_EVERY = 0.2
"""Seconds between two tellings of how far an act is, for a bar."""

LOGGED_EVERY = 10.0
"""Seconds after which the log says again how far a long act is."""


@dataclass(frozen=True)
class StepProgress:
    """How far an act is: so many of so many are done."""

    what: str
    done: int
    of: int


class Sender(logging.Handler):
    """Appends what is told to the run's file; on a full disk it is lost, and the run's own end tells."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / FILE

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record with its words, not what they were made from."""
        words = record.getMessage()
        self.send({"name": record.name, "levelno": record.levelno, "created": record.created, "msg": words})

    def send(self, told: dict[str, object]) -> None:
        """Appends a line; several threads may do so at once."""
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, json.dumps(told).encode() + b"\n")
            finally:
                os.close(file)


def begin(folder: Path, level: str) -> None:
    """From now on, whoever started this notebook's run hears the kit's log from this level on, and how far it is."""
    for handler in [handler for handler in KIT.handlers if isinstance(handler, Sender)]:
        KIT.removeHandler(handler)
    KIT.addHandler(Sender(folder))
    KIT.setLevel((level if level in LEVELS else DEFAULT).upper())


class Listener:
    """Reads what the notebook of a run has told; one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._path, self._read = folder / FILE, 0

    def heard(self) -> Iterator[logging.LogRecord | StepProgress]:
        """What was told since the last time, in order."""
        told = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            told = file.read()
        whole = told[: told.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from filter(None, map(_heard, whole.splitlines()))


def _heard(line: bytes) -> logging.LogRecord | StepProgress | None:
    """What a line tells; None where a full disk has cut it off."""
    with suppress(ValueError, TypeError, KeyError):
        known = json.loads(line)
        if "what" in known:
            return StepProgress(**known)
        return logging.makeLogRecord({**known, "levelname": logging.getLevelName(known["levelno"])})
    return None


class Milestones:
    """Tells how far an act is: at once to whoever shows a bar, and every 10 s to the act's log."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._shown, self._logged = 0.0, time.monotonic()

    def reached(self, done: int, of: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if done >= of or now - self._shown >= SHOWN_EVERY:
            self._shown = now
            _send(StepProgress(self._what, done, of))
        if now - self._logged >= LOGGED_EVERY:
            self._logged = now
            self._log.info("%s: %s of %s so far", self._what, f"{done:,}", f"{of:,}")


def _send(far: StepProgress) -> None:
    for handler in KIT.handlers:
        if isinstance(handler, Sender):
            handler.send(asdict(far))
