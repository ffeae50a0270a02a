"""The kit's memory: in the company's database after expand, in a SQLite file beside the reports before it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
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
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from smartcar_ops.settings import file_modes

CHUNK = 5000
LEVEL = "allowance"
"""Under ``allowance:<service>`` the ledger keeps what a service's bucket held, and when."""

SUBSCRIPTIONS = "subscriptions"
"""Under this source the ledger keeps which vehicles a webhook is fed with."""

V2_STATE = "v2"
"""Under this source the ledger keeps that V2 has stopped."""

PLAN_KEY = "plan_key"
"""Under this name the ledger keeps the key of its plans' hashes."""

EVIDENCE = (t.connections, t.sightings, t.personal, t.choices, t.ties, t.asked)
KEPT = (*EVIDENCE, t.unanswered, t.runs, t.changes)


@dataclass(frozen=True)
class Scope:
    """What evidence is about: the service (origins and client id, hashed), the mode, and the company's tables."""

    service: str
    mode: str
    layout: str = ""
    """The key of `layouts.TableNames`."""

    def on(self, company: Company) -> Scope:
        """The same Smartcar, on the tables that this company's layout names."""
        return replace(self, layout=table_names(company).key)

    def of(self, table: sa.FromClause) -> sa.ColumnElement[bool]:
        """The condition that a row of a ledger table belongs to this scope."""
        return sa.and_(*(table.c[name] == value for name, value in self._columns(table).items()))

    def row(self, table: sa.Table, **values: Any) -> dict[str, Any]:
        """The values with those of the scope's columns that this table has."""
        return {**self._columns(table), **values}

    def _columns(self, table: sa.FromClause) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if name in table.c}


class Ledger:
    """Reads and writes the kit's own tables; never the company's."""

    def __init__(self, engine: sa.Engine, scope: Scope, *, in_database: bool) -> None:
        self.engine, self.reading = engines.writer(engine), engine
        self.scope, self.in_database = scope, in_database

    @classmethod
    def open(cls, company: Company, scope: Scope, reports: Path, *, to_upgrade: bool = False) -> Ledger:
        """The ledger in the database if it is there and may be written, otherwise the file beside the reports.

        If the database's ledger can be read but not written, the file gets a copy of it. DatabaseError if its tables
        are of another version than this kit's: they are never taken for absent. ``to_upgrade`` gives whoever will
        upgrade older ones the file until then.
        """
        older = to_upgrade and versions.found(company.engine) is LedgerVersion.OLDER
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
        """The ledger in the company's database, which must be there."""
        return cls(company.engine, scope.on(company), in_database=True)

    @classmethod
    def file(cls, company: Company, scope: Scope, reports: Path) -> Ledger:
        """The ledger's file for this database, made if it is missing, upgraded if it is of an older version."""
        reports.mkdir(parents=True, exist_ok=True)
        engine = engines.create(f"sqlite:///{file_path(company, reports)}")
        ledger = cls(engine, scope.on(company), in_database=False)
        versions.refuse_another(engine, newer_only=True)
        if versions.found(engine) is not LedgerVersion.CURRENT:
            versions.upgrade(engine, table_names(company))
        ledger.name_layout(company)
        with suppress(OSError):
            file_modes.apply(file_path(company, reports))  # who may read whose car is whose
        return ledger

    def name_layout(self, company: Company) -> None:
        """Keeps in clear which tables this ledger's scope is about; not where it may not be written."""
        known = sa.select(t.layouts.c.layout).where(t.layouts.c.layout == self.scope.layout)
        with suppress(SQLAlchemyError):
            with self.reading.connect() as connection:
                if connection.execute(known).first() is not None:
                    return
            with self.begin() as connection:
                connection.execute(sa.insert(t.layouts), [{"layout": self.scope.layout, **vars(table_names(company))}])

    def is_unused(self) -> bool:
        """Whether nothing was ever asked or done with this ledger: it was made just now, or its making interrupted."""
        return not any(self._rows(sa.select(table).limit(1)) for table in (t.asked, t.runs))

    def readable(self) -> bool:
        """Whether this connection may read every table of the ledger."""
        try:
            with self.reading.connect() as connection:
                for table in t.metadata.sorted_tables:
                    connection.execute(sa.select(table).limit(0))
        except SQLAlchemyError:
            return False
        return True

    def writable(self) -> bool:
        """Whether this connection may write the ledger: tried, and taken back."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.update(t.meta).values(value=t.meta.c.value))
                connection.rollback()
        except SQLAlchemyError:
            return False
        return True

    def begin(self) -> Any:
        """A transaction that writes."""
        return self.engine.begin()

    # --- small facts -------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A remembered value, None where there is none."""
        with engines.failures(self.engine, "reading the ledger"), self.reading.connect() as connection:
            return connection.execute(sa.select(t.meta.c.value).where(t.meta.c.name == name)).scalar_one_or_none()

    def remember(self, name: str, value: str) -> None:
        """Keeps a value under a name."""
        self.put(t.meta, [{"name": name, "value": value}])

    def bound_service(self) -> str:
        """The service that the ledger's evidence came from; this one where there is none yet."""
        bound = self.fact("service")
        if bound is None:
            self.remember("service", self.scope.service)
        return bound or self.scope.service

    def tables_of(self, layout: str) -> str:
        """The tables that a layout stands for, in words."""
        rows = self._rows(sa.select(t.layouts).where(t.layouts.c.layout == layout))
        return (
            str(TableNames(**{name: rows[0][name] for name in TableNames.__annotations__})) if rows else "unknown ones"
        )

    def plan_key(self) -> bytes:
        """The key that plans of this ledger are hashed with; DatabaseError if somebody has taken it away."""
        known = self.fact(PLAN_KEY)
        if not known:
            raise DatabaseError("database: the ledger's plan_key is missing; restore smartcar_ops_meta from a backup.")
        return bytes.fromhex(known)

    # --- evidence ----------------------------------------------------------------------------------------

    def record_connections(self, rows: Sequence[Mapping[str, Any]], *, complete: bool, now: datetime) -> None:
        """Mirrors a listing; after a complete one, rows it no longer had are marked gone."""
        stamped = [self.scope.row(t.connections, **row, first_seen=now, gone_at=None) for row in rows]
        known = {(row["vehicle_id"], row["smartcar_user_id"]): row for row in self.connections(gone=True)}
        for row in stamped:
            before = known.pop((row["vehicle_id"], row["smartcar_user_id"]), None)
            row["first_seen"] = before["first_seen"] if before else now
        if complete:
            stamped += [{**row, "gone_at": row["gone_at"] or now} for row in known.values()]
        self.put(t.connections, stamped)
        answer = "complete" if complete else "incomplete"
        self.put(
            t.asked, [self.scope.row(t.asked, source="connections", subject=t.EVERYTHING, asked_at=now, answer=answer)]
        )

    def connections(self, *, gone: bool = False) -> list[dict[str, Any]]:
        """The mirrored connections of this scope."""
        query = sa.select(t.connections).where(self.scope.of(t.connections))
        return self._rows(query if gone else query.where(t.connections.c.gone_at.is_(None)))

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Every row of an evidence table in this scope."""
        return self._rows(sa.select(table).where(self.scope.of(table)))

    def asked(self, source: str) -> dict[str, tuple[datetime, str]]:
        """What a source was asked and answered: subject -> (when, answer)."""
        query = sa.select(t.asked).where(self.scope.of(t.asked), t.asked.c.source == source)
        return {row["subject"]: (row["asked_at"], row["answer"]) for row in self._rows(query)}

    def knows(self, source: str) -> bool:
        """Whether a source was ever asked as a whole."""
        known = sa.and_(self.scope.of(t.asked), t.asked.c.source == source, t.asked.c.subject == t.EVERYTHING)
        return bool(self._rows(sa.select(t.asked.c.subject).where(known)))

    def fed(self) -> frozenset[str] | None:
        """The vehicles that a webhook is fed with, whose V3 data are fresh; None where that was never asked."""
        known = self.asked(SUBSCRIPTIONS)
        return frozenset(known) - {t.EVERYTHING} if t.EVERYTHING in known else None

    def choices(self) -> dict[str, dict[str, Any]]:
        """What people decided: user id -> the choice in force."""
        return {row["user_id"]: row for row in self.rows(t.choices)}

    def record(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keeps rows of an evidence table in this scope, over those with the same key."""
        self.put(table, [self.scope.row(table, **row) for row in rows])

    def replace(self, table: sa.Table, source: str, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
        """Keeps exactly these rows of a source in this scope; what it no longer says is withdrawn.

        Evidence that is withdrawn is marked as gone: it names nobody any more, but what it contradicted stays in doubt.
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

    def put(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows, replacing those with the same primary key; one transaction.

        Where another process puts the same rows at the same moment, one of the two has to try again.
        """
        for attempt in range(1, engines.TRIES + 1):
            with engines.failures(self.engine, "writing the ledger"):
                try:
                    self._put(table, rows)
                    return
                except DBAPIError as error:
                    if attempt == engines.TRIES or not (isinstance(error, IntegrityError) or engines.is_passing(error)):
                        raise

    def _put(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        with self.begin() as connection:
            self._touch(connection, table)
            self._insert(connection, table, rows)

    @staticmethod
    def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows, replacing those with the same primary key."""
        keys = [column.name for column in table.primary_key.columns]
        same = sa.delete(table).where(*(table.c[key] == sa.bindparam(f"key_{key}") for key in keys))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            connection.execute(same, [{f"key_{key}": row[key] for key in keys} for row in chunk])
            connection.execute(sa.insert(table), [dict(row) for row in chunk])

    @staticmethod
    def _touch(connection: sa.Connection, table: sa.Table) -> None:
        """Notes a change of what is known, in its own transaction: whoever judged before has to look again.

        The number rises by chance: after a backup was put back, other evidence does not come to the same one.
        """
        if table in EVIDENCE and table is not t.asked:
            row = t.fences.c
            number = row.token + 1 + secrets.randbelow(1 << 31)
            connection.execute(sa.update(t.fences).where(row.name == t.EVIDENCE_FENCE).values(token=number))

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with engines.failures(self.engine, "reading the ledger"), self.reading.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def in_database(engine: sa.Engine) -> bool:
    """Whether the database holds the kit's tables; DatabaseError if they are of another version than this kit's."""
    versions.refuse_another(engine)
    return versions.found(engine) is LedgerVersion.CURRENT


def file_path(company: Company, reports: Path) -> Path:
    """Where the file for this database is."""
    return reports / f".ledger-{company.fingerprint()}.sqlite"


def copy(source: Ledger, target: Ledger) -> None:
    """Copies evidence, runs and changes of every scope; rows the target has alone, or newer, stay."""
    listed = {scope: at for scope, at in _listings(target).items() if at >= _listings(source).get(scope, at)}
    for table in KEPT:
        kept = {_key(table, row): row for row in target._rows(sa.select(table))}
        rows = source._rows(sa.select(table))
        target.put(table, [row for row in rows if _is_news(table, row, kept.get(_key(table, row)), listed)])
    for name in ("service", "database_id"):
        value = source.fact(name)
        if value is not None and target.fact(name) is None:
            target.remember(name, value)
    for row in source._rows(sa.select(t.meta).where(t.meta.c.name.like(f"{LEVEL}:%"))):
        if target.fact(row["name"]) is None:
            target.remember(row["name"], row["value"])


def _is_news(
    table: sa.Table, row: Mapping[str, Any], known: Mapping[str, Any] | None, listed: Mapping[Any, datetime]
) -> bool:
    """Whether a row says more than the one known under its key; connections are as new as their listing."""
    if known is None:
        return True
    if table is t.connections:
        return (row["service"], row["mode"]) not in listed
    time = next((name for name in ("seen_at", "asked_at") if name in row), None)
    return time is None or bool(row[time] > known[time])


def _listings(ledger: Ledger) -> dict[Any, datetime]:
    """When the connections of each (service, mode) were last asked for."""
    query = sa.select(t.asked).where(t.asked.c.source == "connections", t.asked.c.subject == t.EVERYTHING)
    rows = ledger._rows(query.order_by(t.asked.c.asked_at))
    return {(row["service"], row["mode"]): row["asked_at"] for row in rows}


def _key(table: sa.Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)
