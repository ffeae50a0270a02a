"""Files with settings: their owner, their text, and the names in a `.env` file."""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from smartcar_ops.errors import SettingsError

ENV, TOML = ".env", "smartcar_ops.toml"
PREFIX = "SMARTCAR_"

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

NAME = re.compile(r"[A-Za-z_]\w*")

OWN_CODE = Path(__file__)


@dataclass(frozen=True)
class EnvFile:
    """A `.env` file: the kit's names with their values, and its first line that is not blank or a comment (0: none)."""

    path: Path
    values: dict[str, str] = field(repr=False)
    first_line: int = 0


def is_there(path: Path) -> bool:
    """True if the path exists and is not a folder (such as a virtual environment `.env`), readable or not."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return path.is_symlink()  # a broken symlink was meant to lead to a file


def refuse_foreign(path: Path) -> None:
    """Raise SettingsError if the file or its folder belongs to another user than this one or root.

    The owner of the kit's own code is trusted too (a clone mounted into a container), because its code runs anyway.
    """
    if os.name != "posix":
        return
    trusted = (0, os.geteuid(), OWN_CODE.stat().st_uid)
    for place in (path.parent, path):
        owner = place.stat().st_uid
        if owner not in trusted:
            raise SettingsError(
                f"settings: {place} belongs to another user (uid {owner}), who could change it; it must belong to "
                "you or root. Change its owner, or work in a folder of your own."
            )


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; otherwise SettingsError."""
    try:
        refuse_foreign(path)
        if not path.is_file():
            raise SettingsError(f"settings: {path} is not a regular file; expected one that can be read twice.")
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"settings: {path} can't be read ({error.strerror}); make it readable, or remove it."
        ) from None
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"settings: {path}: line {line} is not in UTF-8; save the file as UTF-8.") from None
    if "\0" in text:
        raise SettingsError(
            f"settings: {path} contains NUL characters, perhaps UTF-16 without a byte order mark; save it as UTF-8."
        )
    return text


def read_env(path: Path) -> EnvFile:
    """Read the kit's names from a `.env` file; ``${…}`` is not expanded. SettingsError names a line it can't parse.

    Lines of other programs may have any form.
    """
    values: dict[str, str] = {}
    first_line = 0
    for binding in parse_stream(io.StringIO(read_text(path))):
        if not (binding.error or binding.key):
            continue  # a comment, or blank
        line = _line(binding)
        first_line = first_line or line
        if not _is_understood(binding, values):
            raise SettingsError(
                f"settings: {path}: line {line} can't be parsed; expected NAME=value, such as "
                "SMARTCAR_CLIENT_ID=client_…."
            )
        if binding.key and binding.key.startswith(PREFIX) and binding.value is not None:
            values[binding.key] = binding.value
    return EnvFile(path, values, first_line)


def _line(binding: Binding) -> int:
    """Return the line that a statement begins on; the parser includes the blank lines before it."""
    text = binding.original.string
    return int(binding.original.line) + len(text[: len(text) - len(text.lstrip())].splitlines())


def _is_understood(binding: Binding, known: dict[str, str]) -> bool:
    """False if a statement hides a setting of the kit: misspelled, or inside an open quote."""
    text = binding.original.string.strip()
    if PREFIX not in text.upper():
        return True
    if binding.error or not binding.key or not NAME.fullmatch(binding.key):
        return False
    if any(NAME.match(line.strip()) and PREFIX in line for line in text.splitlines()[1:]):
        return False
    if not binding.key.upper().startswith(PREFIX):
        return True
    is_exported = binding.value is None and binding.key in known  # `export NAME` after its value
    return binding.key.isupper() and (binding.value is not None or is_exported)
