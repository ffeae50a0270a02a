"""Queries that compare captured redirects and webhooks with the company's users and the ledger."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import IDS, Company

CapturedT = TypeVar("CapturedT", bound=Mapping[str, object])
"""A row that is about to be stored: column -> value."""


def known_users(company: Company, named: Iterable[str]) -> dict[str, str]:
    """Return given text -> user id for the texts that are the id of a user of the layout."""
    return company.known(named)


def news(ledger: Ledger, table: sa.Table, rows: Sequence[CapturedT], by: str) -> list[CapturedT]:
    """Return the rows whose key is not in the ledger yet, each once; ``by`` is the key column used in the query."""
    keys = [column.name for column in table.primary_key.columns if column.name not in vars(ledger.scope)]
    unique = {tuple(row[key] for key in keys): row for row in rows}
    subjects = sorted({str(row[by]) for row in rows})
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        for start in range(0, len(subjects), IDS):
            chosen = table.c[by].in_(subjects[start : start + IDS])
            query = sa.select(*(table.c[key] for key in keys)).where(ledger.scope.of(table), chosen)
            for row in connection.execute(query):
                unique.pop(tuple(row), None)
    return list(unique.values())


def distinct_in_database(ledger: Ledger, rows: Sequence[CapturedT], by: str) -> list[CapturedT]:
    """Return the rows with texts in ``by`` that the ledger's database considers different, the first of equal ones.

    MySQL's comparison, which it also uses in joins, ignores case, accents and trailing spaces.
    """
    if ledger.engine.dialect.name not in ("mysql", "mariadb"):
        return list(rows)
    different: dict[tuple[object, ...], CapturedT] = {}
    for row in rows:
        others = (value for name, value in row.items() if name != by)
        different.setdefault((_folded(str(row[by])), *others), row)
    return list(different.values())


def _folded(text: str) -> str:
    """Return a text without what MySQL ignores."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).rstrip()


def pieces(ledger: Ledger, table: sa.Table, source: str) -> int:
    """Return the number of rows of a source in an evidence table."""
    query = sa.select(sa.func.count()).where(ledger.scope.of(table), table.c.source == source)
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        return int(connection.execute(query).scalar_one())
