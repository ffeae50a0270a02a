"""Passes a notebook's log and progress to the process that started its run, while it works.

Uses a file of JSON lines in the run's folder, which is deleted when the folder is complete. So nothing of it is in the
page or the notebook, it works on every system, and what a killed kernel has logged is still read.
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
"""Seconds between two updates of the progress bar."""

LOGGED_EVERY = 10.0
"""Seconds between two log messages about the progress of a long step."""


@dataclass(frozen=True)
class StepProgress:
    """The progress of a step: ``done`` items out of ``of``."""

    what: str
    done: int
    of: int


class Sender(logging.Handler):
    """Appends log records and progress to the run's file. On a full disk they are lost; the run reports that."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / FILE

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record with its formatted message."""
        words = record.getMessage()
        self.send({"name": record.name, "levelno": record.levelno, "created": record.created, "msg": words})

    def send(self, message: dict[str, object]) -> None:
        """Append one line; safe for several threads."""
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, json.dumps(message).encode() + b"\n")
            finally:
                os.close(file)


def begin(folder: Path, level: str) -> None:
    """From now on, send the kit's log (this level or above) and its progress to the process that started the run."""
    for handler in [handler for handler in KIT.handlers if isinstance(handler, Sender)]:
        KIT.removeHandler(handler)
    KIT.addHandler(Sender(folder))
    KIT.setLevel((level if level in LEVELS else DEFAULT).upper())


class Listener:
    """Reads what the notebook of a run has sent. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._path, self._read = folder / FILE, 0

    def heard(self) -> Iterator[logging.LogRecord | StepProgress]:
        """Yield what was sent since the last call, in order."""
        content = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._read += len(complete)
        yield from filter(None, map(_parse, complete.splitlines()))


def _parse(line: bytes) -> logging.LogRecord | StepProgress | None:
    """Return the message of a line; None if the line is truncated (disk full)."""
    with suppress(ValueError, TypeError, KeyError):
        message = json.loads(line)
        if "what" in message:
            return StepProgress(**message)
        return logging.makeLogRecord({**message, "levelname": logging.getLevelName(message["levelno"])})
    return None


class Milestones:
    """Reports the progress of a step: to the progress bar, and every 10 s to the log."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._shown, self._logged = 0.0, time.monotonic()

    def reached(self, done: int, of: int) -> None:
        """Report that ``done`` items out of ``of`` are done."""
        now = time.monotonic()
        if done >= of or now - self._shown >= SHOWN_EVERY:
            self._shown = now
            _send(StepProgress(self._what, done, of))
        if now - self._logged >= LOGGED_EVERY:
            self._logged = now
            self._log.info("%s: %s of %s so far", self._what, f"{done:,}", f"{of:,}")


def _send(progress: StepProgress) -> None:
    for handler in KIT.handlers:
        if isinstance(handler, Sender):
            handler.send(asdict(progress))
