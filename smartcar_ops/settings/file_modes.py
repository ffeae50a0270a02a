"""The mode of the files that this process writes: only their owner can read them, unless the settings allow more."""

from __future__ import annotations

import os
import re
from pathlib import Path

from smartcar_ops.errors import SettingsError

NAME = "SMARTCAR_OPS_FILE_MODE"
PRIVATE = 0o600

_in_force = PRIVATE


def read(given: str) -> int:
    """Return the mode for octal digits, by default 0600. SettingsError if the files of a run can't have it."""
    if not given:
        return PRIVATE
    mode = int(given, 8) if re.fullmatch(r"0?[0-7]{3}", given) else 0
    if mode & PRIVATE != PRIVATE or mode & ~0o666:
        raise SettingsError(
            f"settings: {NAME} is {given!r}; expected 0600, 0640, 0660 or another mode with which the owner may read "
            "and write."
        )
    return mode


def enforce(mode: int) -> None:
    """From now on, give every file this process creates this mode, and folders the matching one.

    Uses the process's umask, because libraries and databases create files too.
    """
    global _in_force
    _in_force = mode
    readers = (mode & 0o444) >> 2  # readers of a file must be able to enter its folder
    os.umask(0o777 & ~(mode | readers))


def apply(path: Path) -> None:
    """Give one file the current mode. OSError if it belongs to another user."""
    path.chmod(_in_force)
