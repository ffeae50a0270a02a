"""Replaces the company's stored V2 tokens by new pairs; everything that could lose one is checked first.

These are the kit's only writes to tokens; ``[vehicles] refresh = true`` allows them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smartcar_ops.database import engines, token_ages
from smartcar_ops.database.sql_types import Column, Condition
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError, SmartcarOpsError

WAITS = (0.5, 1.5, 3, 5, 10, 15, 25)
"""Seconds between attempts to store a pair; 60 in all, for which the replaced refresh token may still work."""

PROBE = "00000000-0000-4000-8000-000000000000"
"""A text as long as a Smartcar token, sealed and opened as a test before real ones are."""

KEYS = ("access_token", "refresh_token", "token_created_at")

Stored = str | bytes
"""A token as stored in the table, perhaps sealed."""


class StoredTokens:
    """The rows with user tokens; hold the writer lock while you change them."""

    def __init__(self, company: Company, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._company, self._sleep = company, sleep
        self._engine = engines.writer(company.engine)

    def check(self) -> None:
        """Raise an error if a column is too short or sealing fails, before any token is refreshed."""
        _, columns = self._place()
        vault = self._company.vault
        sealed = vault.sealed(PROBE)
        if sealed is None or vault.opened(sealed) != PROBE:
            raise SmartcarOpsError(
                "tokens: [vehicles] open_token does not turn the result of seal_token back into the same token; "
                "no token was refreshed. Check the two functions."
            )
        for key in ("access_token", "refresh_token"):
            length = getattr(columns[key].type, "length", None)
            if length and length < len(sealed):
                raise DatabaseError(
                    f"database: the column {columns[key].name!r} has room for {length} characters, a new token needs "
                    f"{len(sealed)}; no token was refreshed. Widen the column, or set [vehicles] refresh = false."
                )

    def copies(self) -> dict[str, set[Stored]]:
        """Return usable refresh token -> its stored forms in all rows, because sealing one twice may give two texts.

        Opens all tokens; needed only if tokens are sealed. Rows outside the layout's ``where`` are included, because
        their token expires with the others.
        """
        by_token: dict[str, set[Stored]] = defaultdict(set)
        table, columns = self._place()
        query = sa.select(columns["refresh_token"]).select_from(table).where(columns["refresh_token"].is_not(None))
        with engines.failures(self._engine, "reading the refresh tokens"), self._company.engine.connect() as connection:
            for stored in connection.execute(query).scalars():
                token = self._company.vault.opened(stored) if stored else None
                if token:
                    by_token[token].add(stored)
        return by_token

    def prove(self, stored: Collection[Stored]) -> bool:
        """Return whether rows still have these refresh tokens; tries an update and rolls it back.

        DatabaseError if this account may not write them, before a token is refreshed.
        """
        table, columns = self._place()
        same = {column.name: column for column in columns.values()}
        doing = f"trying to write {', '.join(same)} of {table.name}"
        try:
            with engines.failures(self._engine, doing), self._engine.connect() as connection:
                rows = sum(connection.execute(update.values(same)).rowcount for update in self._updates(stored))
                connection.rollback()
        except DatabaseError as error:
            raise DatabaseError(
                f"{error} [vehicles] refresh = true needs the right UPDATE on these columns; no token was refreshed. "
                "Grant the right, or remove refresh."
            ) from None
        return rows > 0

    def store(
        self, stored: Collection[Stored], access: str, refresh: str, *, created_at: datetime, rows: Sequence[str]
    ) -> bool:
        """Store a pair in every row that still has one of the refresh tokens, in one transaction.

        Returns False if no row has one any more, because the company's own application was faster. A failure is
        retried for a minute; then DatabaseError lists the rows (``rows``) and what to do.
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
                # Only its class, because the database's message may contain the tokens.
                why = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        raise DatabaseError(
            f"database: the new tokens of vehicle {', '.join(rows)} could not be stored ({why}; "
            f"{len(WAITS) + 1} attempts in {sum(WAITS):.0f} s), and are lost. If the old refresh token has expired, "
            "this user must go through Connect again. Repair the database before the next run."
        )

    def _sealed(self, access: str, refresh: str) -> dict[str, Stored]:
        """Return key -> sealed token; empty if sealing fails. A retry reuses it, so that it finds an earlier write."""
        both = {
            "access_token": self._company.vault.sealed(access),
            "refresh_token": self._company.vault.sealed(refresh),
        }
        return {key: text for key, text in both.items() if text is not None} if all(both.values()) else {}

    def _write(self, stored: Collection[Stored], sealed: dict[str, Stored], created_at: datetime) -> bool:
        _, columns = self._place()
        values: dict[str, object] = {columns[key].name: text for key, text in sealed.items()}
        values[columns["token_created_at"].name] = token_ages.as_kept(
            columns["token_created_at"], created_at, self._engine.dialect.name
        )
        with self._engine.begin() as connection:
            written = sum(connection.execute(update.values(values)).rowcount for update in self._updates(stored))
            # No row matches if an earlier attempt was committed and only its answer was lost.
            return written > 0 or self._holds(connection, sealed["refresh_token"])

    def _holds(self, connection: sa.Connection, text: Stored) -> bool:
        table, columns = self._place()
        query = sa.select(sa.literal(1)).select_from(table).where(self._same(columns["refresh_token"], text))
        return connection.execute(query.limit(1)).first() is not None

    def _updates(self, stored: Collection[Stored]) -> Iterator[sa.Update]:
        """Return an update for each stored form, without the layout's ``where`` (see `copies`)."""
        table, columns = self._place()
        for text in stored:
            yield sa.update(table).where(self._same(columns["refresh_token"], text))

    def _same(self, column: Column, text: Stored) -> Condition:
        """Return the condition that the texts are identical; MySQL's comparison ignores case and trailing spaces."""
        if self._engine.dialect.name in ("mysql", "mariadb"):
            exactly = sa.cast(column, sa.LargeBinary) == sa.cast(sa.literal(text), sa.LargeBinary)
            return sa.and_(column == text, exactly)
        return column == text

    def _place(self) -> tuple[sa.Table, dict[str, Column]]:
        table, names = self._company.vehicles, self._company.layout.vehicles
        assert isinstance(table, sa.Table), "[vehicles] from is read-only"
        return table, {key: table.c[getattr(names, key)] for key in KEYS}
