"""Files that settings are taken from: whose they are, what they say as text, and the names in a `.env` file."""

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
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

NAME = re.compile(r"[A-Za-z_]\w*")

OWN_CODE = Path(__file__)


@dataclass(frozen=True)
class EnvFile:
    """What a `.env` file says: the kit's names with their values, and its first line that says anything (0: none)."""

    path: Path
    values: dict[str, str] = field(repr=False)
    first_line: int = 0


def is_there(path: Path) -> bool:
    """Whether something that could be a file stands here, readable or not; a folder (a virtual environment) is none."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return path.is_symlink()  # one that leads nowhere was meant to lead somewhere


def refuse_foreign(path: Path) -> None:
    """SettingsError where the file or its folder belongs to somebody else than this user or root.

    Whoever owns the kit's own code, as with a checkout that is mounted into a container, could do anything already.
    """
    if os.name != "posix":
        return
    trusted = (0, os.geteuid(), OWN_CODE.stat().st_uid)
    for place in (path.parent, path):
        owner = place.stat().st_uid
        if owner not in trusted:
            raise SettingsError(
                f"settings: {place} belongs to another user (uid {owner}), who could put anything there; expected it "
                "to be yours or root's. Change its owner, or work in a folder of your own."
            )


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; SettingsError where it is none."""
    try:
        refuse_foreign(path)
        if not path.is_file():
            raise SettingsError(f"settings: {path} is no regular file; expected one that can be read again and again.")
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
            f"settings: {path} holds NUL characters, as UTF-16 without a byte order mark does; save the file as UTF-8."
        )
    return text


def read_env(path: Path) -> EnvFile:
    """A `.env` file's names of the kit; ``${…}`` is text. SettingsError names a line about them that can't be read.

    What the file says beside them is another program's, in whatever form.
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
                f"settings: {path}: line {line} is not understood; expected NAME=value, such as "
                "SMARTCAR_CLIENT_ID=client_…."
            )
        if binding.key and binding.key.startswith(PREFIX) and binding.value is not None:
            values[binding.key] = binding.value
    return EnvFile(path, values, first_line)


def _line(binding: Binding) -> int:
    """The line a statement begins on: blank lines before it are its own to the parser."""
    text = binding.original.string
    return int(binding.original.line) + len(text[: len(text) - len(text.lstrip())].splitlines())


def _is_understood(binding: Binding, known: dict[str, str]) -> bool:
    """Whether nothing about the kit is lost in a statement: misspelt as one, or swallowed by an open quote."""
    text = binding.original.string.strip()
    if PREFIX not in text.upper():
        return True
    if binding.error or not binding.key or not NAME.fullmatch(binding.key):
        return False
    if any(NAME.match(line.strip()) and PREFIX in line for line in text.splitlines()[1:]):
        return False
    if not binding.key.upper().startswith(PREFIX):
        return True
    named_before = binding.value is None and binding.key in known  # `export NAME`, below its value
    return binding.key.isupper() and (binding.value is not None or named_before)
