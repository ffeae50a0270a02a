"""Creates engines that behave the same on every database, and turns their errors into the kit's own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from smartcar_ops.database import column_types
from smartcar_ops.errors import DatabaseError, SettingsError
from smartcar_ops.settings import database_urls

WAIT = 30
"""Seconds that a SQLite connection waits for another's write."""

TRIES = 3
"""Maximum attempts of a transaction that fails for a temporary reason."""

WAITED = ("lock wait timeout", "lock timeout", "database is locked")
"""Texts in errors that mean that another transaction did not end in time."""

PASSING = (*WAITED, "deadlock", "could not serialize", "record has changed since last read")
"""Texts in temporary errors, for which a retry may succeed."""

DRIVERS = {"psycopg": "psycopg[binary]", "pymysql": "pymysql"}
"""The pip packages of the drivers."""


def create(url: str) -> sa.Engine:
    """Return an engine for the URL, without connecting; SettingsError if the URL or its driver can't be used."""
    try:
        parsed = sa.make_url(url)
        arguments = {"timeout": WAIT} if parsed.drivername.startswith("sqlite") else {}
        engine = sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
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
    """Connect once; SettingsError for options that the driver does not accept, DatabaseError for a failure."""
    with failures(engine, "connecting"):
        try:
            engine.connect().close()
        except SQLAlchemyError:
            raise
        except Exception as error:  # a driver may raise any exception for an option
            raise _refusal(error) from None


def _refusal(error: Exception) -> SettingsError:
    """Return the error for a URL that its driver does not accept; the driver's message may contain part of it."""
    return SettingsError(
        "settings: SMARTCAR_DATABASE_URL has a part that its driver does not accept "
        f"({type(error).__name__}); check the options after its '?'."
    )


def writer(engine: sa.Engine) -> sa.Engine:
    """Return the same engine for writes: on SQLite its transactions take the write lock at once."""
    return engine.execution_options(smartcar_ops_write=True)


def clock(connection: sa.Connection) -> float:
    """Return the seconds since the epoch by the database's clock; for a SQLite file, by this machine's clock."""
    now = {
        "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        "mysql": "SELECT unix_timestamp(sysdate(6))",
        "mariadb": "SELECT unix_timestamp(sysdate(6))",
    }.get(connection.dialect.name)
    return float(connection.exec_driver_sql(now).scalar_one()) if now else time.time()


def refuse_missing_file(engine: sa.Engine) -> None:
    """DatabaseError if a SQLite URL has a file that does not exist, because connecting would create an empty one."""
    name = engine.url.database or ""
    names_a_file = engine.dialect.name == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
    if names_a_file and not Path(name).is_file():
        raise DatabaseError(f"database: there is no file {name}; expected the company's SQLite database.")


@contextmanager
def failures(engine: sa.Engine, doing: str) -> Iterator[None]:
    """Turn SQLAlchemy's errors into DatabaseError with the action, the database and the first line of its message."""
    try:
        yield
    except SQLAlchemyError as error:
        where = database_urls.mask(engine.url.render_as_string(hide_password=True))
        raise DatabaseError(f"database: {doing} failed on {where}: {_first_line(error)}") from None


def is_passing(error: DBAPIError) -> bool:
    """Return whether the error is temporary, so that a retry of the transaction may succeed."""
    return not error.connection_invalidated and any(word in str(error.orig).lower() for word in PASSING)


def has_waited(error: DBAPIError) -> bool:
    """Return whether the database gave up waiting for another transaction."""
    return any(word in str(error.orig).lower() for word in WAITED)


def _own_transactions(engine: sa.Engine) -> None:
    """Make SQLAlchemy's BEGIN start the transaction; Python's sqlite3 starts it late and only before writes."""

    @event.listens_for(engine, "connect")
    def _no_implicit_begin(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        connection.create_function("smartcar_ops_unhex", 1, column_types.unhexed, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("smartcar_ops_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _own_session(engine: sa.Engine) -> None:
    """Read TIMESTAMP columns in UTC, and compare ids cast to text in the collation of the database's own tables."""

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET time_zone = '+00:00', collation_connection = IF("
                "@@character_set_database = @@character_set_connection, @@collation_database, @@collation_connection)"
            )


def _first_line(error: Exception) -> str:
    """Return the database's own message, never the statement or its parameters, which may contain personal data."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    arguments = getattr(original, "args", ())
    message = arguments[-1] if arguments and isinstance(arguments[-1], str) else str(original)
    return message.strip().splitlines()[0].rstrip(".") + "." if message.strip() else type(original).__name__
