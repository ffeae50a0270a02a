"""Versions of the ledger's tables, and their upgrade by numbered Alembic steps, each of which is recorded.

A new ledger gets the current tables at once with the newest step recorded; running all steps would give the same
result in ten times the time. On PostgreSQL and SQLite an upgrade is one transaction. MySQL commits each change of a
table at once, so the steps can continue an interrupted upgrade from the middle.
"""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.layouts import TableNames
from smartcar_ops.errors import DatabaseError, LockedError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

log = logging.getLogger("smartcar_ops.schema")

STEPS = Path(__file__).with_name("steps")
VERSION_TABLE = "smartcar_ops_version"

UPGRADING = 0x5CA7
"""The number of PostgreSQL's advisory lock for table changes, and part of the name of MySQL's."""

PATIENCE = 60
"""Seconds to wait for another process that is changing the tables."""

UNREADABLE = "unreadable"
"""The version for an account that may not read the kit's own tables."""

_one_at_a_time = threading.Lock()
"""Alembic's context is shared by the whole process."""


class LedgerVersion(Enum):
    """The state of the ledger's tables, compared with this kit's version."""

    ABSENT = "absent"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def ledger_version(engine: sa.Engine) -> LedgerVersion:
    """Return the state of the ledger's tables in this database; only reads."""
    with engines.failures(engine, "looking for the ledger"):
        names = _tables(engine)
        if not names:
            return LedgerVersion.ABSENT
        number = _number(engine) if VERSION_TABLE in names else None
    if number == UNREADABLE:
        return LedgerVersion.CURRENT  # this account can't use it, and uses the file
    if number is not None and number not in _numbers():
        return LedgerVersion.NEWER
    return LedgerVersion.CURRENT if number == _numbers()[0] else LedgerVersion.OLDER


def _tables(bind: sa.Engine | sa.Connection) -> set[str]:
    """Return those of the ledger's tables that exist."""
    return {*sa.inspect(bind).get_table_names()} & {*t.metadata.tables, VERSION_TABLE}


def refuse_another(engine: sa.Engine, *, newer_only: bool = False) -> None:
    """DatabaseError if there is a ledger with another version than this kit's."""
    version = ledger_version(engine)
    if version is LedgerVersion.NEWER:
        raise DatabaseError(
            f"database: the kit's own tables have version {_number(engine)}, made by a newer smartcar-ops; this one "
            f"supports versions up to {_numbers()[0]}. Use the newer smartcar-ops."
        )
    if version is LedgerVersion.OLDER and not newer_only:
        raise DatabaseError(
            "database: the kit's own tables were made by an older smartcar-ops, or their upgrade was interrupted; "
            "nothing is lost. Run 40_schema_phases -p phase expand -p apply True, which upgrades them."
        )


def upgrade(engine: sa.Engine, names: TableNames) -> None:
    """Create the ledger's tables, or upgrade them to this version; rows without a layout get that of ``names``.

    LockedError while a run of an older kit is writing, DatabaseError if a right is missing.
    """
    writing = engines.writer(engine)
    with (
        engines.failures(engine, "creating the smartcar_ops_… tables"),
        writing.connect() as connection,
        _exclusive(connection),
    ):
        if not _tables(connection):
            _create(connection, names)
        else:
            _refuse_writers(connection)
            _take_steps(connection, names)
        connection.commit()
    log.info("the kit's own tables now have version %s", _numbers()[0])


def _create(connection: sa.Connection, names: TableNames) -> None:
    """Create the current tables with the rows that the steps would have added, and record the newest step."""
    from alembic.migration import MigrationContext

    t.metadata.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(t.layouts), [{"layout": names.key, **asdict(names)}])
    connection.execute(sa.insert(t.fences), [{"name": t.EVIDENCE_FENCE, "token": 0, "run_id": ""}])
    random_values = {"database_id": str(uuid.uuid4()), "plan_key": secrets.token_hex(32)}
    connection.execute(sa.insert(t.meta), [{"name": name, "value": value} for name, value in random_values.items()])
    MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).stamp(_steps(), "head")


def open_sql(engine: sa.Engine, names: TableNames) -> tuple[str, ...]:
    """Return the SQL that creates the ledger's tables; for an upgrade, its steps as comments; only reads.

    The tables' first rows have random values, which are shown as parameters.
    """
    with engines.failures(engine, "looking for the ledger"):
        if _tables(engine):
            number = _number(engine)
            steps = [step for step in _steps().walk_revisions() if number is None or step.revision > number]
            return tuple(f"-- step {step.revision}: {step.doc}" for step in reversed(steps))
    statements: list[str] = []

    def note(statement: sa.ClauseElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)).strip())

    t.metadata.create_all(sa.create_mock_engine(engine.url, note), checkfirst=False)
    for table in (t.layouts, t.fences, t.meta):
        note(sa.insert(table))
    note(sa.schema.CreateTable(_version_table()))
    note(sa.insert(_version_table()).values(version_num=sa.literal_column(f"'{_numbers()[0]}'")))
    return tuple(statements)


def _version_table() -> sa.Table:
    """Return Alembic's own table, which holds the number of the newest step."""
    from alembic.migration import MigrationContext

    options = {"version_table": VERSION_TABLE}
    return MigrationContext.configure(dialect_name="sqlite", opts=options)._version


def _take_steps(connection: sa.Connection, names: TableNames) -> None:
    """Run every step that is not recorded yet."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", STEPS.as_posix().replace("%", "%%"))
    config.attributes.update(connection=connection, layout=(names.key, asdict(names)))
    with _one_at_a_time:
        command.upgrade(config, "head")


@contextmanager
def _exclusive(connection: sa.Connection) -> Iterator[None]:
    """Keep other processes from changing the tables during the block; SQLite's transaction does so by itself."""
    kind = connection.dialect.name
    if kind == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADING})")
    if kind not in ("mysql", "mariadb"):
        yield
        return
    name = f"concat('smartcar_ops ', {UPGRADING}, ' ', left(database(), 40))"
    if connection.exec_driver_sql(f"SELECT get_lock({name}, {PATIENCE})").scalar() != 1:
        raise LockedError("locked: another process is changing the smartcar_ops_… tables; run again.")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"SELECT release_lock({name})")


def _refuse_writers(connection: sa.Connection) -> None:
    """LockedError while a kit without numbered locks is writing, because its tables must not change meanwhile.

    Its heartbeats use its own host's clock, but here they can only be compared with the database's clock.
    """
    inspector = sa.inspect(connection)
    if not inspector.has_table(t.locks.name) or t.locks.c.token.name in {
        column["name"] for column in inspector.get_columns(t.locks.name)
    }:
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {t.locks.name} IN ACCESS EXCLUSIVE MODE")  # keep others from locking
    row = t.locks.c
    for name, operator, host, beat in connection.execute(sa.select(row.name, row.operator, row.host, row.beat)):
        if abs(locks.now(connection) - beat) < t.LEASE:
            raise LockedError(
                f"locked: {operator} on {host} holds the lock {name!r} with an older smartcar-ops; wait for it, or end "
                "that run and try again 90 s later."
            )


def _number(engine: sa.Engine) -> str | None:
    """Return the recorded version; None if no step is recorded, `UNREADABLE` if this account may not read it."""
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 (the kit's own name)
    with engine.connect() as connection:
        try:
            return connection.execute(query).scalar_one_or_none()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return UNREADABLE


@cache
def _steps() -> ScriptDirectory:
    """Return Alembic's directory of the steps."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(STEPS))


@cache
def _numbers() -> tuple[str, ...]:
    """Return the numbers of all steps, newest first; from the file names, because loading Alembic takes 0.1 s."""
    return tuple(sorted((path.name.split("_")[1] for path in STEPS.glob("versions/step_*.py")), reverse=True))
