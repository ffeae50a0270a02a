"""A company with its ledger as the kit's first ledger had them; see README.md beside this file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa

FOLDER = Path(__file__).parent
END_OF_STATEMENT = re.compile(r";$", re.MULTILINE)
"""No value in a dump has a line break, so a semicolon at the end of a line ends a statement."""


def expected(dump: str) -> dict[str, Any]:
    """What a dump holds and what the kit that made it read from it: of ``database`` or ``file``."""
    told: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))[dump]
    return told


def restore(url: str, dump: str) -> None:
    """Loads a dump into an empty database: ``sqlite``, ``postgresql`` or ``mariadb`` hold company and ledger.

    ``company`` and ``file`` are for SQLite: a company before expand, and its ledger's file.
    """
    text = (FOLDER / f"{dump}.sql").read_text(encoding="utf-8")
    engine = sa.create_engine(url, poolclass=sa.NullPool, execution_options={"no_parameters": True})
    with engine.begin() as connection:
        for statement in END_OF_STATEMENT.split(text):
            if statement.strip():
                connection.exec_driver_sql(statement)


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the kit as the database has it, column for column."""
    known = sa.MetaData()
    known.reflect(engine, only=lambda name, _: name.startswith("smartcar_ops_"))
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
            for name, table in known.tables.items()
        }


def restore_file(path: Path) -> None:
    """Makes the ledger's file of a company before expand; `ledger.file_path` says where a company's is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    restore(f"sqlite:///{path}", "file")
