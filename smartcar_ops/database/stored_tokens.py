"""The company's stored V2 tokens: a new pair takes the old one's place, never lost for a reason that is known before.

The only writes of the kit to tokens; allowed by ``[vehicles] refresh = true``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smartcar_ops.database import engines, token_ages
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, SmartcarOpsError

WAITS = (0.5, 1.5, 3, 5, 10, 15, 25)
"""Seconds between the tries to store a pair: 60 in all, the shorter grace of the refresh token that it replaces."""

PROBE = "00000000-0000-4000-8000-000000000000"
"""As long as a token of Smartcar's; sealed and opened before a real one depends on it."""

KEYS = ("access_token", "refresh_token", "token_created_at")

Stored = str | bytes
"""A token as the table holds it, perhaps sealed."""


class StoredTokens:
    """The rows that hold user tokens; hold the writer lock while you change them."""

    def __init__(self, company: Company, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._company, self._sleep = company, sleep
        self._engine = engines.writer(company.engine)

    def check(self) -> None:
        """An error, while there is nothing to lose, where columns are missing or too short, or sealing fails."""
        _, columns = self._place()
        vault = self._company.vault
        sealed = vault.sealed(PROBE)
        if sealed is None or vault.opened(sealed) != PROBE:
            raise SmartcarOpsError(
                "tokens: what [vehicles] seal_token makes of a token is not opened by open_token to the same token; "
                "no token was refreshed. Check the two functions."
            )
        for key in ("access_token", "refresh_token"):
            length = getattr(columns[key].type, "length", None)
            if length and length < len(sealed):
                raise DatabaseError(
                    f"database: the column {columns[key].name!r} holds {length} characters, a new token needs "
                    f"{len(sealed)}; no token was refreshed. Widen the column, or set [vehicles] refresh = false."
                )

    def copies(self) -> dict[str, set[Stored]]:
        """Usable refresh token -> every stored form of it, in all rows: sealing one twice may give two texts.

        Opens them all; asked for only where tokens are sealed. Rows beside the layout's ``where`` count: their
        token dies with the others'.
        """
        found: dict[str, set[Stored]] = defaultdict(set)
        table, columns = self._place()
        query = sa.select(columns["refresh_token"]).select_from(table).where(columns["refresh_token"].is_not(None))
        with engines.failures(self._engine, "reading the refresh tokens"), self._company.engine.connect() as connection:
            for stored in connection.execute(query).scalars():
                token = self._company.vault.opened(stored) if stored else None
                if token:
                    found[token].add(stored)
        return found

    def prove(self, stored: Collection[Stored]) -> bool:
        """Whether rows still hold these refresh tokens; changes nothing.

        DatabaseError, before a token is asked for, where this account may not write them: tried, and taken back.
        """
        table, columns = self._place()
        same = {column.name: column for column in columns.values()}
        doing = f"trying to write {', '.join(same)} of {table.name}"
        try:
            with engines.failures(self._engine, doing), self._engine.connect() as connection:
                found = sum(connection.execute(update.values(same)).rowcount for update in self._updates(stored))
                connection.rollback()
        except DatabaseError as error:
            raise DatabaseError(
                f"{error} [vehicles] refresh = true needs the right UPDATE on these columns; no token was asked for. "
                "Grant it, or take refresh out."
            ) from None
        return found > 0

    def store(
        self, stored: Collection[Stored], access: str, refresh: str, *, created_at: datetime, rows: Sequence[str]
    ) -> bool:
        """Puts a pair into every row that still holds one of the refresh tokens, in one transaction, committed.

        False where none does any more: the company's own application was faster. A failure is tried again for a
        minute; then DatabaseError names the rows (``rows``) and what to do.
        """
        sealed: dict[str, Stored] = {}
        why = ""
        for wait in (0.0, *WAITS):
            if wait:
                self._sleep(wait)
            sealed = sealed or self._sealed(access, refresh)
            if not sealed:
                why = "seal_token fails"
                continue
            try:
                return self._write(stored, sealed, created_at)
            except SQLAlchemyError as error:
                # Its class alone: the database's own sentence may repeat what was to be written.
                why = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        raise DatabaseError(
            f"database: the new tokens of vehicle {', '.join(rows)} could not be stored ({why}; "
            f"{len(WAITS) + 1} tries in {sum(WAITS):.0f} s), and are lost. Where the old refresh token is dead by now, "
            "this user must go through Connect again; see to the database before the next run."
        )

    def _sealed(self, access: str, refresh: str) -> dict[str, Stored]:
        """Key -> what is stored; empty where sealing fails. Sealed once, so that a try knows an earlier one's text."""
        both = {
            "access_token": self._company.vault.sealed(access),
            "refresh_token": self._company.vault.sealed(refresh),
        }
        return {key: text for key, text in both.items() if text is not None} if all(both.values()) else {}

    def _write(self, stored: Collection[Stored], sealed: dict[str, Stored], created_at: datetime) -> bool:
        _, columns = self._place()
        values: dict[str, Any] = {columns[key].name: text for key, text in sealed.items()}
        values[columns["token_created_at"].name] = token_ages.as_kept(
            columns["token_created_at"], created_at, self._engine.dialect.name
        )
        with self._engine.begin() as connection:
            written = sum(connection.execute(update.values(values)).rowcount for update in self._updates(stored))
            # None where an earlier try did commit, and its answer alone was lost.
            return written > 0 or self._holds(connection, sealed["refresh_token"])

    def _holds(self, connection: sa.Connection, text: Stored) -> bool:
        table, columns = self._place()
        query = sa.select(sa.literal(1)).select_from(table).where(self._same(columns["refresh_token"], text))
        return connection.execute(query.limit(1)).first() is not None

    def _updates(self, stored: Collection[Stored]) -> Iterator[sa.Update]:
        """An update for each stored form; not narrowed by the layout's ``where``, see `copies`."""
        table, columns = self._place()
        for text in stored:
            yield sa.update(table).where(self._same(columns["refresh_token"], text))

    def _same(self, column: sa.Column[Any], text: Stored) -> sa.ColumnElement[bool]:
        """Letter for letter: MySQL's own comparison overlooks case and blanks at the end."""
        if self._engine.dialect.name in ("mysql", "mariadb"):
            exactly = sa.cast(column, sa.LargeBinary) == sa.cast(sa.literal(text), sa.LargeBinary)
            return sa.and_(column == text, exactly)
        return column == text

    def _place(self) -> tuple[sa.Table, dict[str, sa.Column[Any]]]:
        table, names = self._company.vehicles, self._company.layout.vehicles
        assert isinstance(table, sa.Table), "a structure given by [vehicles] from is read only"
        return table, {key: table.c[getattr(names, key)] for key in KEYS}
