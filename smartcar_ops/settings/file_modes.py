"""Who may read what this process writes: files that hold ids are their owner's, unless the settings say otherwise."""

from __future__ import annotations

import os
import re
from pathlib import Path

from smartcar_ops.errors import SettingsError

NAME = "SMARTCAR_OPS_FILE_MODE"
PRIVATE = 0o600

_in_force = PRIVATE


def read(given: str) -> int:
    """A mode from octal digits, 0600 where none is given; SettingsError for one that no file of a run can have."""
    if not given:
        return PRIVATE
    mode = int(given, 8) if re.fullmatch(r"0?[0-7]{3}", given) else 0
    if mode & PRIVATE != PRIVATE or mode & ~0o666:
        raise SettingsError(
            f"settings: {NAME} is {given!r}; expected 0600, 0640, 0660 or another mode of files that their owner may "
            "read and write."
        )
    return mode


def enforce(mode: int) -> None:
    """From now on, every file this process makes has this mode, whatever it was started with; folders likewise.

    By the process's own mask, since files are made by libraries and databases too.
    """
    global _in_force
    _in_force = mode
    readers = (mode & 0o444) >> 2  # whoever may read a file may enter its folder
    os.umask(0o777 & ~(mode | readers))


def apply(path: Path) -> None:
    """Gives one file the mode in force; OSError where it is another's."""
    path.chmod(_in_force)
