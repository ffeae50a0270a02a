"""The model test's database: acts that die before a statement, backups of its tables, and what it holds as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from smartcar_ops.capture import capture
from smartcar_ops.database.ledger import locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.locks import WRITER
from tests.support.plain_rules import PlainCompany
from tests.support.plain_workspaces import NOBODY, Desk

Place = tuple[str, str, str]
"""(table, row id, column) of one of the company's values."""

Rows = dict[str, list[dict[str, Any]]]
USER_ID, VEHICLE_ID = "smartcar_user_id", "smartcar_vehicle_id"
COMPANY = ("users", "vehicles")
LEDGER = tuple(table.name for table in t.metadata.sorted_tables)


class Killed(BaseException):
    """An act's process has ended: nothing of it reaches the database any more."""


@dataclass(frozen=True)
class Record:
    """A recorded change that was written: its place in its run, and the value's place in the company's tables."""

    run_id: str
    number: int
    place: Place
    before: str | None
    after: str | None
    batch: int


class ModelDesk(Desk):
    """An expanded database that one sequence after the other is played on."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder)
        self._folder, self._left = folder, 0
        engine = self.company.engine
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF"))
            engine.dispose()
        sa.event.listen(engine, "before_cursor_execute", self._tick)
        sa.event.listen(engine, "commit", self._tick)
        self._tables = {"users": self.company.users, "vehicles": self.company.vehicles}
        self._tables |= {table.name: table for table in t.metadata.sorted_tables}

    def _tick(self, *_: Any) -> None:
        if self._left:
            self._left -= self._left > 1
            if self._left == 1:
                raise Killed

    @contextmanager
    def dying(self, before: int) -> Iterator[None]:
        """The block dies before so many statements and commits; from then on nothing reaches the database."""
        self._left = before + 1
        try:
            yield
        finally:
            self._left = 0

    def begin_anew(self, plain: PlainCompany) -> None:
        """Empties every table that a sequence fills, and puts these people and cars there."""
        with self.company.engine.begin() as connection:
            for name in (t.locks.name, t.stage.name, t.suspects.name, t.tokens.name):
                connection.execute(sa.text(f"DELETE FROM {name}"))
        self.fill(plain, NOBODY)

    def execute(self, statement: str, **values: Any) -> None:
        """One statement of the company itself."""
        with self.company.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    @cached_property
    def _reader(self) -> Any:
        """A connection of the driver's own for what is read after every step: thousands of times a sequence."""
        self._pooled = self.company.engine.raw_connection()
        driver: Any = self._pooled.driver_connection
        kind = self.company.engine.dialect.name
        if kind == "postgresql":
            driver.autocommit = True
        elif kind != "sqlite":  # there, every connection of the kit is so
            driver.autocommit(True)
        return driver

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        cursor = self._reader.cursor()
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]

    def values(self) -> dict[Place, str | None]:
        """Every Smartcar id that the company's tables hold."""
        users = self._read(f"SELECT id, {USER_ID} FROM users")
        cars = self._read(f"SELECT id, {VEHICLE_ID} FROM vehicles")
        found = {("users", str(row[0]), USER_ID): row[1] for row in users}
        return found | {("vehicles", str(row[0]), VEHICLE_ID): row[1] for row in cars}

    def owners(self) -> dict[str, str | None]:
        """Car -> its user."""
        rows = self._read("SELECT id, user_id FROM vehicles ORDER BY id")
        return {str(row[0]): None if row[1] is None else str(row[1]) for row in rows}

    def records(self) -> list[tuple[Record, str | None]]:
        """Every change that was written, with the run that it was undone by."""
        names = "run_id, place, table_name, row_id, column_name, before_value, after_value, batch, undone_by"
        rows = self._read(f"SELECT {names} FROM smartcar_ops_changes WHERE outcome = 'written' ORDER BY batch, place")
        return [(Record(row[0], row[1], (row[2], row[3], row[4]), row[5], row[6], row[7]), row[8]) for row in rows]

    def runs(self) -> dict[str, tuple[str, str, str]]:
        """Run -> (act, plan or target, status), oldest first, of the acts that write."""
        rows = self._read(
            "SELECT run_id, act, plan, status FROM smartcar_ops_runs WHERE act IN ('apply', 'undo') ORDER BY run_id"
        )
        return {row[0]: (row[1], row[2] or "", row[3]) for row in rows}

    def connections(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(vehicle, person) of the ledger: those that are there, and those that are gone."""
        rows = self._read("SELECT vehicle_id, smartcar_user_id, gone_at FROM smartcar_ops_connections")
        return {row[:2] for row in rows if row[2] is None}, {row[:2] for row in rows if row[2] is not None}

    def personal(self) -> set[tuple[str, str, str, bool]]:
        """(source, user, person, whether it is gone) of the ledger."""
        rows = self._read("SELECT source, user_id, smartcar_user_id, gone_at FROM smartcar_ops_personal")
        return {(*row[:3], row[3] is not None) for row in rows}

    def choices(self) -> dict[str, str | None]:
        """User -> what a person chose, as the ledger has it."""
        return dict(self._read("SELECT user_id, smartcar_user_id FROM smartcar_ops_choices"))  # type: ignore[arg-type]

    def is_locked(self) -> bool:
        """Whether the writer's lock stands in the ledger and its lease has not ended."""
        with self.company.engine.connect() as connection:
            beats = connection.execute(sa.select(t.locks.c.beat)).scalars().all()
            return any(locks.now(connection) - beat < locks.LEASE for beat in beats)

    def age_lock(self) -> None:
        """Sets the last beat of the writer's lock back by two minutes."""
        with self.company.engine.begin() as connection:
            for (beat,) in connection.execute(sa.select(t.locks.c.beat)).all():
                old = beat - timedelta(minutes=2)
                connection.execute(sa.update(t.locks).where(t.locks.c.name == WRITER).values(beat=old))

    def backup(self, tables: Iterable[str]) -> Rows:
        """Every row of these tables."""
        with self.company.engine.connect() as connection:
            return {
                name: [dict(row) for row in connection.execute(sa.select(self._tables[name])).mappings()]
                for name in tables
            }

    def restore(self, rows: Rows) -> None:
        """Puts these tables back as they were."""
        with self.company.engine.begin() as connection:
            for name, kept in rows.items():
                connection.execute(sa.delete(self._tables[name]))  # type: ignore[arg-type]
                if kept:
                    connection.execute(sa.insert(self._tables[name]), kept)  # type: ignore[arg-type]

    def capture(self, body: str, signature: str | None, tokens: list[Any], now: Any) -> int:
        """Captures one webhook; how many are kept."""
        path = self._folder / "webhooks.jsonl"
        path.write_text(json.dumps({"body": body, "signature": signature}))
        found = capture.capture(self.company, self.ledger, webhooks=path, management_tokens=tokens, now=now)
        return found.count("kept")
