"""Engines that behave the same on every database, and failures that name the next step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from smartcar_ops.database import column_types
from smartcar_ops.errors import DatabaseError, SettingsError
from smartcar_ops.settings import database_urls

WAIT = 30
"""Seconds a SQLite connection waits for another's write."""

TRIES = 3
"""How often a transaction is tried where another may fare better."""

WAITED = ("lock wait timeout", "lock timeout", "database is locked")
"""Words of an error that says that another transaction did not end in time."""

PASSING = (*WAITED, "deadlock", "could not serialize", "record has changed since last read")
"""Words of an error that another try may not meet."""

DRIVERS = {"psycopg": "psycopg[binary]", "pymysql": "pymysql"}
"""What pip knows a driver as."""


def create(url: str) -> sa.Engine:
    """An engine for the URL, nothing connected yet; SettingsError where the URL or its driver is no use."""
    try:
        parsed = sa.make_url(url)
        options: dict[str, Any] = {"connect_args": {"timeout": WAIT}} if parsed.drivername.startswith("sqlite") else {}
        engine = sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True, **options)
    except NoSuchModuleError:
        dialect = url.partition("://")[0]
        raise SettingsError(
            f"settings: SMARTCAR_DATABASE_URL: there is no driver {dialect!r}; see SQLAlchemy's URLs."
        ) from None
    except (ArgumentError, ValueError, TypeError) as error:
        raise _refusal(error) from None
    except ModuleNotFoundError as error:
        package = DRIVERS.get(error.name or "", error.name)
        raise SettingsError(
            f"settings: SMARTCAR_DATABASE_URL needs the driver {error.name}; install it with "
            f"{sys.executable} -m pip install '{package}'."
        ) from None
    if engine.dialect.name == "sqlite":
        _own_transactions(engine)
    if engine.dialect.name in ("mysql", "mariadb"):
        _own_session(engine)
    return engine


def try_out(engine: sa.Engine) -> None:
    """Connects once; SettingsError for options that the driver does not take, DatabaseError for a failure."""
    with failures(engine, "connecting"):
        try:
            engine.connect().close()
        except SQLAlchemyError:
            raise
        except Exception as error:  # whatever a driver raises for an option, before it connects
            raise _refusal(error) from None


def _refusal(error: Exception) -> SettingsError:
    """For a URL that no driver takes; the driver's own words may hold a part of it, and are not repeated."""
    return SettingsError(
        "settings: SMARTCAR_DATABASE_URL has something that its driver does not take "
        f"({type(error).__name__}); look at the options behind its '?'."
    )


def writer(engine: sa.Engine) -> sa.Engine:
    """The same engine for work that writes: on SQLite its transactions take the write lock at once."""
    return engine.execution_options(smartcar_ops_write=True)


def clock(connection: sa.Connection) -> float:
    """Seconds since the epoch by the database's own clock, which all its users share; a file's is this machine's."""
    now = {
        "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        "mysql": "SELECT unix_timestamp(sysdate(6))",
        "mariadb": "SELECT unix_timestamp(sysdate(6))",
    }.get(connection.dialect.name)
    return float(connection.exec_driver_sql(now).scalar_one()) if now else time.time()


def refuse_missing_file(engine: sa.Engine) -> None:
    """DatabaseError where a SQLite URL names a file that is not there: connecting would make an empty one."""
    name = engine.url.database or ""
    names_a_file = engine.dialect.name == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
    if names_a_file and not Path(name).is_file():
        raise DatabaseError(f"database: there is no file {name}; expected the company's SQLite database.")


@contextmanager
def failures(engine: sa.Engine, doing: str) -> Iterator[None]:
    """Turns SQLAlchemy's errors into DatabaseError: what was done, where, and the database's own first line."""
    try:
        yield
    except SQLAlchemyError as error:
        where = database_urls.mask(engine.url.render_as_string(hide_password=True))
        raise DatabaseError(f"database: {doing} failed on {where}: {_first_line(error)}") from None


def is_passing(error: DBAPIError) -> bool:
    """Whether another try of the same transaction may not meet this error."""
    return not error.connection_invalidated and any(word in str(error.orig).lower() for word in PASSING)


def has_waited(error: DBAPIError) -> bool:
    """Whether the database gave up waiting for another transaction."""
    return any(word in str(error.orig).lower() for word in WAITED)


def _own_transactions(engine: sa.Engine) -> None:
    """Python's sqlite3 begins late and only before writes; here SQLAlchemy's BEGIN is the database's."""

    @event.listens_for(engine, "connect")
    def _no_implicit_begin(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.create_function("smartcar_ops_unhex", 1, column_types.unhexed, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("smartcar_ops_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _own_session(engine: sa.Engine) -> None:
    """TIMESTAMP columns are read in UTC, and ids made text compare in the collation of the database's own tables."""

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET time_zone = '+00:00', collation_connection = IF("
                "@@character_set_database = @@character_set_connection, @@collation_database, @@collation_connection)"
            )


def _first_line(error: Exception) -> str:
    """The database's own sentence; never the statement or its parameters, which may hold people's data."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    arguments = getattr(original, "args", ())
    message = arguments[-1] if arguments and isinstance(arguments[-1], str) else str(original)
    return message.strip().splitlines()[0].rstrip(".") + "." if message.strip() else type(original).__name__
