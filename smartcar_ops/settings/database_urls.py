"""The URL of the company's database: checked before anything connects, and shown without its password."""

from __future__ import annotations

import re
from pathlib import Path

from smartcar_ops.errors import SettingsError

NAME = "SMARTCAR_DATABASE_URL"

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The driver that the kit uses if the URL names none."""

PARTS = re.compile(
    r"(?:(?P<user>[^:/]*)(?::[^@]*)?@)?(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?(?P<path>/[^?]*)?"
    r"(?:\?.*)?",
    re.DOTALL,
)
"""The part after ``://``, split as SQLAlchemy does; a password may contain `/`, `?` and `#`."""


def read(url: str, root: Path) -> str:
    """Return the URL with a driver; a relative SQLite path is resolved against ``root``.

    SettingsError if it is not a URL, or if a part of its password would be read as something else. The message repeats
    nothing of the URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?", scheme):
        raise _refusal(
            "is not a SQLAlchemy URL; expected one such as postgresql+psycopg://user:password@host/name or "
            "sqlite:///path/to/file.db"
        )
    if scheme.startswith("sqlite"):
        relative = rest.removeprefix("/")
        is_relative = relative and not relative.startswith(("/", ":", "file:"))
        return f"{scheme}:///{(root / relative).resolve()}" if is_relative else url
    _check(rest)
    return f"{DRIVERS.get(scheme, scheme)}://{rest}"


def mask(url: str) -> str:
    """Return a database URL for display: without password and query, and without a port that is not a number."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "a database"
    found = re.match(r"(?P<user>[^:/?@]*)(:[^@]*)?@", rest)
    place = rest[found.end() if found else 0 :].partition("?")[0]
    if not scheme.startswith("sqlite"):
        place = re.sub(r"(?<=[^:/]):(?!\d+(/|$))[^/\]]*(?=/|$)", "", place.rpartition("@")[2])
    return f"{scheme}://{found['user']}@{place}" if found and found["user"] else f"{scheme}://{place}"


def _check(rest: str) -> None:
    parts = PARTS.fullmatch(rest)
    if parts is None:
        raise _refusal("can't be split into user, host and database; expected postgresql://user:password@host/name")
    if "@" in (parts["host"] or "") + (parts["path"] or "") + (parts["port"] or ""):
        raise _refusal("contains more than one '@'; in a user name or a password, write %40 for '@' and %2F for '/'")
    if parts["port"] and not (parts["port"].isascii() and parts["port"].isdigit() and 0 < int(parts["port"]) < 65_536):
        raise _refusal(
            "has a port that is not a number from 1 to 65535; expected user:password@host:port; in a password, write "
            "%40 for '@' and %2F for '/'"
        )


def _refusal(sentence: str) -> SettingsError:
    return SettingsError(f"settings: {NAME} {sentence}.")
