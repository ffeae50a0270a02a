"""The ledger: in the company's database after expand, before that in a SQLite file next to the reports."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger import versions
from smartcar_ops.database.ledger.layouts import TableNames, table_names
from smartcar_ops.database.ledger.versions import LedgerVersion
from smartcar_ops.database.ledger_rows import ListedConnection, StoredChoice, StoredConnection
from smartcar_ops.database.sql_types import Condition, Query
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from smartcar_ops.settings import file_modes

CHUNK = 5000
LEVEL = "allowance"
"""``allowance:<service>`` is the name under which the ledger stores the state of a service's bucket."""

SUBSCRIPTIONS = "subscriptions"
"""The source under which the ledger stores the vehicles that are subscribed to a webhook."""

V2_STATE = "v2"
"""The source under which the ledger stores that V2 has stopped."""

PLAN_KEY = "plan_key"
"""The name under which the ledger stores the key for the hashes of its plans."""

EVIDENCE = (t.connections, t.sightings, t.personal, t.choices, t.ties, t.asked)
KEPT = (*EVIDENCE, t.unanswered, t.runs, t.changes, t.history)


@dataclass(frozen=True)
class Scope:
    """What evidence refers to: the service (origins and client id, hashed), the mode, and the company's tables."""

    service: str
    mode: str
    layout: str = ""
    """The key of `layouts.TableNames`."""

    def on(self, company: Company) -> Scope:
        """Return the same service and mode, with the tables of this company's layout."""
        return replace(self, layout=table_names(company).key)

    def of(self, table: sa.FromClause) -> Condition:
        """Return the condition that a row of a ledger table belongs to this scope."""
        return sa.and_(*(table.c[name] == value for name, value in self._columns(table).items()))

    def row(self, table: sa.Table, **values: object) -> dict[str, object]:
        """Return the values together with those scope columns that the table has."""
        return {**self._columns(table), **values}

    def _columns(self, table: sa.FromClause) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if name in table.c}


class Ledger:
    """Reads and writes the kit's own tables, never the company's."""

    def __init__(self, engine: sa.Engine, scope: Scope, *, in_database: bool) -> None:
        self.engine, self.reading = engines.writer(engine), engine
        self.scope, self.in_database = scope, in_database

    @classmethod
    def open(cls, company: Company, scope: Scope, reports: Path, *, to_upgrade: bool = False) -> Ledger:
        """Return the ledger in the database if it exists and is writable, otherwise the file next to the reports.

        If the database's ledger can only be read, it is copied to the file. DatabaseError if its tables have another
        version than this kit's; with ``to_upgrade``, older tables give the file until they are upgraded.
        """
        older = to_upgrade and versions.ledger_version(company.engine) is LedgerVersion.OLDER
        if older or not in_database(company.engine):
            return cls.file(company, scope, reports)
        ledger = cls.of_database(company, scope)
        ledger.name_layout(company)
        if ledger.writable():
            return ledger
        file = cls.file(company, scope, reports)
        if ledger.readable():
            copy(ledger, file)
        return file

    @classmethod
    def of_database(cls, company: Company, scope: Scope) -> Ledger:
        """Return the ledger in the company's database, where its tables must exist."""
        return cls(company.engine, scope.on(company), in_database=True)

    @classmethod
    def file(cls, company: Company, scope: Scope, reports: Path) -> Ledger:
        """Return the ledger's file for this database; create it if it is missing, upgrade it if it is older."""
        reports.mkdir(parents=True, exist_ok=True)
        engine = engines.create(f"sqlite:///{file_path(company, reports)}")
        ledger = cls(engine, scope.on(company), in_database=False)
        versions.refuse_another(engine, newer_only=True)
        if versions.ledger_version(engine) is not LedgerVersion.CURRENT:
            versions.upgrade(engine, table_names(company))
        ledger.name_layout(company)
        with suppress(OSError):
            file_modes.apply(file_path(company, reports))  # the file links people to cars
        return ledger

    def name_layout(self, company: Company) -> None:
        """Store the table names of this ledger's layout as plain text, if the ledger is writable."""
        known = sa.select(t.layouts.c.layout).where(t.layouts.c.layout == self.scope.layout)
        with suppress(SQLAlchemyError):
            with self.reading.connect() as connection:
                if connection.execute(known).first() is not None:
                    return
            with self.begin() as connection:
                connection.execute(sa.insert(t.layouts), [{"layout": self.scope.layout, **vars(table_names(company))}])

    def is_unused(self) -> bool:
        """Return whether the ledger has no answers and no runs: it is new, or its creation was interrupted."""
        return not any(self._rows(sa.select(table).limit(1)) for table in (t.asked, t.runs))

    def readable(self) -> bool:
        """Return whether this account may read every table of the ledger."""
        try:
            with self.reading.connect() as connection:
                for table in t.metadata.sorted_tables:
                    connection.execute(sa.select(table).limit(0))
        except SQLAlchemyError:
            return False
        return True

    def writable(self) -> bool:
        """Return whether this account may write to the ledger; tries an update and rolls it back."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.update(t.meta).values(value=t.meta.c.value))
                connection.rollback()
        except SQLAlchemyError:
            return False
        return True

    def begin(self) -> AbstractContextManager[sa.Connection]:
        """Begin a writing transaction."""
        return self.engine.begin()

    # --- named values ------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """Return the value stored under a name; None if there is none."""
        with engines.failures(self.engine, "reading the ledger"), self.reading.connect() as connection:
            return connection.execute(sa.select(t.meta.c.value).where(t.meta.c.name == name)).scalar_one_or_none()

    def remember(self, name: str, value: str) -> None:
        """Store a value under a name."""
        self.put(t.meta, [{"name": name, "value": value}])

    def bound_service(self) -> str:
        """Return the service that the ledger's evidence came from; if there is none yet, store and return this one."""
        bound = self.fact("service")
        if bound is None:
            self.remember("service", self.scope.service)
        return bound or self.scope.service

    def tables_of(self, layout: str) -> str:
        """Return the table names of a layout, for people."""
        rows = self._rows(sa.select(t.layouts).where(t.layouts.c.layout == layout))
        return (
            str(TableNames(**{name: rows[0][name] for name in TableNames.__annotations__})) if rows else "unknown ones"
        )

    def plan_key(self) -> bytes:
        """Return the key that this ledger's plans are hashed with; DatabaseError if it was deleted."""
        key = self.fact(PLAN_KEY)
        if not key:
            raise DatabaseError("database: the ledger's plan_key is missing; restore smartcar_ops_meta from a backup.")
        return bytes.fromhex(key)

    # --- evidence ----------------------------------------------------------------------------------------

    def record_connections(self, rows: Sequence[ListedConnection], *, complete: bool, now: datetime) -> None:
        """Store a listing of connections; if it is complete, mark known rows that are missing from it as gone."""
        stamped: list[Mapping[str, object]] = []
        known = {(row["vehicle_id"], row["smartcar_user_id"]): row for row in self.connections(gone=True)}
        for row in rows:
            before = known.pop((row["vehicle_id"], row["smartcar_user_id"]), None)
            first_seen = before["first_seen"] if before else now
            stamped.append(self.scope.row(t.connections, **row, first_seen=first_seen, gone_at=None))
        if complete:
            stamped += [{**gone, "gone_at": gone["gone_at"] or now} for gone in known.values()]
        self.put(t.connections, stamped)
        answer = "complete" if complete else "incomplete"
        self.put(
            t.asked, [self.scope.row(t.asked, source="connections", subject=t.EVERYTHING, asked_at=now, answer=answer)]
        )

    def connections(self, *, gone: bool = False) -> list[StoredConnection]:
        """Return the stored connections of this scope; with ``gone``, also those that a later listing lacked."""
        query = sa.select(t.connections).where(self.scope.of(t.connections))
        return self._rows(query if gone else query.where(t.connections.c.gone_at.is_(None)))

    def count_connections(self) -> int:
        """Return the number of stored connections of this scope that the last listing had."""
        row = t.connections.c
        query = sa.select(sa.func.count().label("known")).where(self.scope.of(t.connections), row.gone_at.is_(None))
        return int(self._rows(query)[0]["known"])

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Return every row of an evidence table in this scope."""
        return self._rows(sa.select(table).where(self.scope.of(table)))

    def asked(self, source: str) -> dict[str, tuple[datetime, str]]:
        """Return the answers of a source: subject -> (time, answer)."""
        query = sa.select(t.asked).where(self.scope.of(t.asked), t.asked.c.source == source)
        return {row["subject"]: (row["asked_at"], row["answer"]) for row in self._rows(query)}

    def knows(self, source: str) -> bool:
        """Return whether a source's whole list was ever read."""
        known = sa.and_(self.scope.of(t.asked), t.asked.c.source == source, t.asked.c.subject == t.EVERYTHING)
        return bool(self._rows(sa.select(t.asked.c.subject).where(known)))

    def subscribed_vehicles(self) -> frozenset[str] | None:
        """Return the vehicles subscribed to a webhook, whose V3 data are fresh; None if that was never queried."""
        known = self.asked(SUBSCRIPTIONS)
        return frozenset(known) - {t.EVERYTHING} if t.EVERYTHING in known else None

    def choices(self) -> dict[str, StoredChoice]:
        """Return the decisions in force: user id -> choice."""
        rows: list[StoredChoice] = self._rows(sa.select(t.choices).where(self.scope.of(t.choices)))
        return {row["user_id"]: row for row in rows}

    def record(self, table: sa.Table, rows: Iterable[Mapping[str, object]]) -> None:
        """Store rows of an evidence table in this scope; they replace rows with the same key."""
        self.put(table, [self.scope.row(table, **row) for row in rows])

    def replace(self, table: sa.Table, source: str, rows: Sequence[Mapping[str, object]], *, now: datetime) -> None:
        """Replace all rows of a source in this scope with these.

        Missing rows of evidence are marked as gone, not deleted: they no longer prove an id, but a contradiction
        with them remains.
        """
        of_source = sa.and_(self.scope.of(table), table.c.source == source)
        with engines.failures(self.engine, "writing the ledger"), self.begin() as connection:
            self._touch(connection, table)
            if "gone_at" in table.c:
                gone = sa.update(table).where(of_source, table.c.gone_at.is_(None))
                connection.execute(gone.values(gone_at=now))
            else:
                connection.execute(sa.delete(table).where(of_source))
            self._insert(connection, table, [self.scope.row(table, **row) for row in rows])

    def put(self, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows in one transaction; they replace rows with the same primary key.

        If another process inserts the same rows at the same time, one of the two retries.
        """
        for attempt in range(1, engines.TRIES + 1):
            with engines.failures(self.engine, "writing the ledger"):
                try:
                    self._put(table, rows)
                    return
                except DBAPIError as error:
                    if attempt == engines.TRIES or not (isinstance(error, IntegrityError) or engines.is_passing(error)):
                        raise

    def _put(self, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
        if not rows:
            return
        with self.begin() as connection:
            self.write(connection, table, rows)

    def write(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows in a transaction of the caller's; they replace rows with the same primary key."""
        self._touch(connection, table)
        self._insert(connection, table, rows)

    @staticmethod
    def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows; they replace rows with the same primary key."""
        keys = [column.name for column in table.primary_key.columns]
        same = sa.delete(table).where(*(table.c[key] == sa.bindparam(f"key_{key}") for key in keys))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            connection.execute(same, [{f"key_{key}": row[key] for key in keys} for row in chunk])
            connection.execute(sa.insert(table), [dict(row) for row in chunk])

    @staticmethod
    def _touch(connection: sa.Connection, table: sa.Table) -> None:
        """Raise the evidence number in the same transaction, so that earlier results are checked again.

        The increment is random, so that after a restored backup other evidence can't reach the same number.
        """
        if table in EVIDENCE and table is not t.asked:
            row = t.fences.c
            number = row.token + 1 + secrets.randbelow(1 << 31)
            connection.execute(sa.update(t.fences).where(row.name == t.EVIDENCE_FENCE).values(token=number))

    def _rows(self, query: Query) -> list[Any]:
        """Return the query's rows as dictionaries; the types of their values are those of its columns."""
        with engines.failures(self.engine, "reading the ledger"), self.reading.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def in_database(engine: sa.Engine) -> bool:
    """Return whether the database has the kit's tables; DatabaseError if their version is not this kit's."""
    versions.refuse_another(engine)
    return versions.ledger_version(engine) is LedgerVersion.CURRENT


def file_path(company: Company, reports: Path) -> Path:
    """Return the path of the ledger's file for this database."""
    return reports / f".ledger-{company.fingerprint()}.sqlite"


def copy(source: Ledger, target: Ledger) -> None:
    """Copy evidence, runs and changes of every scope; rows that only the target has, or newer ones, remain."""
    listed = {scope: at for scope, at in _listings(target).items() if at >= _listings(source).get(scope, at)}
    for table in KEPT:
        known = {_key(table, row): row for row in target._rows(sa.select(table))}
        rows = source._rows(sa.select(table))
        target.put(table, [row for row in rows if _is_newer(table, row, known.get(_key(table, row)), listed)])
    _copy_states(source, target)
    for name in ("service", "database_id"):
        value = source.fact(name)
        if value is not None and target.fact(name) is None:
            target.remember(name, value)
    for row in source._rows(sa.select(t.meta).where(t.meta.c.name.like(f"{LEVEL}:%"))):
        if target.fact(row["name"]) is None:
            target.remember(row["name"], row["value"])


def _copy_states(source: Ledger, target: Ledger) -> None:
    """Copy the users' buckets, which may be millions of rows, unless the target knows all of their days."""
    newest = sa.select(sa.func.max(t.user_states.c.since))
    with source.reading.connect() as reading, target.begin() as writing:
        last, known = reading.execute(newest).scalar(), writing.execute(newest).scalar()
        if last is None or (known is not None and known >= last):
            return
        writing.execute(sa.delete(t.user_states))
        rows = reading.execution_options(yield_per=CHUNK).execute(sa.select(t.user_states)).mappings()
        for part in rows.partitions():
            writing.execute(sa.insert(t.user_states), [dict(row) for row in part])


def _is_newer(
    table: sa.Table, row: Mapping[str, Any], known: Mapping[str, Any] | None, listed: Mapping[tuple[str, str], datetime]
) -> bool:
    """Return whether a row is newer than the one known under its key; connections are as new as their listing."""
    if known is None:
        return True
    if table is t.connections:
        return (row["service"], row["mode"]) not in listed
    times = ("at",) if table is t.history else ("seen_at", "asked_at")
    time = next((name for name in times if name in row), None)
    return time is None or bool(row[time] > known[time])


def _listings(ledger: Ledger) -> dict[tuple[str, str], datetime]:
    """Return when the connections were last listed: (service, mode) -> time."""
    query = sa.select(t.asked).where(t.asked.c.source == "connections", t.asked.c.subject == t.EVERYTHING)
    rows = ledger._rows(query.order_by(t.asked.c.asked_at))
    return {(row["service"], row["mode"]): row["asked_at"] for row in rows}


def _key(table: sa.Table, row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)
