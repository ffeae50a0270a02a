"""The address of the company's database: read before anything connects, and shown without its password."""

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
"""The kit's own driver where a URL names none."""

PARTS = re.compile(
    r"(?:(?P<user>[^:/]*)(?::[^@]*)?@)?(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?(?P<path>/[^?]*)?"
    r"(?:\?.*)?",
    re.DOTALL,
)
"""What follows ``://``, divided as SQLAlchemy divides it: a password may hold `/`, `?` and `#`."""


def read(url: str, root: Path) -> str:
    """The URL with its driver, a relative SQLite file beside ``root``.

    SettingsError, which repeats nothing of the URL, where it is none or a part of its password would be taken for
    something else.
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
    """A database URL without its password and its query, for people; of a port that is no number, nothing."""
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
        raise _refusal("can't be divided into user, host and database; expected postgresql://user:password@host/name")
    if "@" in (parts["host"] or "") + (parts["path"] or "") + (parts["port"] or ""):
        raise _refusal("holds more than one '@'; in a user name or a password write %40 for '@' and %2F for '/'")
    if parts["port"] and not (parts["port"].isascii() and parts["port"].isdigit() and 0 < int(parts["port"]) < 65_536):
        raise _refusal(
            "has no number of 1 to 65535 where its port stands; expected user:password@host:port, and in a password "
            "%40 for '@' and %2F for '/'"
        )


def _refusal(sentence: str) -> SettingsError:
    return SettingsError(f"settings: {NAME} {sentence}.")
