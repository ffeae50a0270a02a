"""Statements are turned into SQL once a process, not once a database: a test makes its own, and asks it the same."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

ROOM = 1_000
"""Statements that are kept for the databases of one kind."""


class Statements(sa.util.LRUCache[Any, Any]):
    """What SQLAlchemy made of statements, by all that it depends on but the engine that asked first."""

    def get(self, key: Any, default: Any = None) -> Any:
        """By the statement and its columns, whichever engine asks."""
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_KNOWN: dict[object, Statements] = {}
_OF: WeakKeyDictionary[sa.Dialect, Statements] = WeakKeyDictionary()


def _kind(dialect: sa.Dialect) -> object:
    """What a dialect was given or has found out of its server: two of one kind write the same SQL."""
    plain = (str, int, float, tuple, type(None))
    found = {name: value for name, value in vars(dialect).items() if isinstance(value, plain)}
    found.pop("default_schema_name", None)  # MariaDB's is the database's name, which no statement has
    quotes = {name: value for name, value in vars(dialect.identifier_preparer).items() if isinstance(value, plain)}
    return type(dialect), repr(sorted(found.items())), repr(sorted(quotes.items()))


def share(connection: sa.Connection) -> None:
    """Lets a connection have what others of its kind made of the same statements."""
    if (known := _OF.get(connection.dialect)) is None:
        known = _OF[connection.dialect] = _KNOWN.setdefault(_kind(connection.dialect), Statements(ROOM))
    connection.execution_options(compiled_cache=known)
