"""What arrived, beside the company's users and the ledger: small questions, asked in batches."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from smartcar_ops.company import engines
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.tables import IDS, Company

LONGEST = 191
"""A text longer than the ledger's keys names no user."""

WHOLE = 2**63
"""Whole numbers from here on are no id of any database."""


def known_users(company: Company, named: Iterable[str]) -> dict[str, str]:
    """named text -> the user's id, for the texts that name a user of the layout; the others are left out.

    One query for every 500 names, by the id's own type, so that its index is used.
    """
    identity = company.users.c[company.layout.users.id]
    wanted = {text: key for text in named if (key := _as_id(identity.type, text)) is not None}
    ids = sorted(set(wanted.values()), key=str)
    found: set[str] = set()
    with engines.failures(company.engine, "looking for users"), company.engine.connect() as connection:
        for start in range(0, len(ids), IDS):
            query = company.people().where(identity.in_(_typed(ids[start : start + IDS])))
            found |= {row["user_id"] for row in connection.execute(query).mappings()}
    return {text: str(key) for text, key in wanted.items() if str(key) in found}


def news(ledger: Ledger, table: sa.Table, rows: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """The rows whose key is not in the ledger yet, each once; ``by`` is the key's column to ask by."""
    keys = [column.name for column in table.primary_key.columns if column.name not in ("service", "mode")]
    unique = {tuple(row[key] for key in keys): row for row in rows}
    subjects = sorted({row[by] for row in rows})
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        for start in range(0, len(subjects), IDS):
            chosen = table.c[by].in_(subjects[start : start + IDS])
            query = sa.select(*(table.c[key] for key in keys)).where(ledger.scope.of(table), chosen)
            for row in connection.execute(query):
                unique.pop(tuple(row), None)
    return list(unique.values())


def told_apart(ledger: Ledger, rows: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """The rows whose texts under ``by`` the ledger's database tells apart, the first of those that it does not.

    MySQL's own comparison, by which it joins too, overlooks case, accents and blanks at the end.
    """
    if ledger.engine.dialect.name not in ("mysql", "mariadb"):
        return list(rows)
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        others = (value for name, value in row.items() if name != by)
        found.setdefault((_folded(row[by]), *others), row)
    return list(found.values())


def _folded(text: str) -> str:
    """A text without what MySQL overlooks."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).rstrip()


def pieces(ledger: Ledger, table: sa.Table, source: str) -> int:
    """How many rows of a source an evidence table holds."""
    query = sa.select(sa.func.count()).where(ledger.scope.of(table), table.c.source == source)
    with engines.failures(ledger.engine, "reading the ledger"), ledger.reading.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _as_id(kind: sa.types.TypeEngine[Any], text: str) -> int | uuid.UUID | str | None:
    """The text as an id of this type; None where it can be none."""
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        return None
    if isinstance(kind, sa.Integer):
        with suppress(ValueError):
            number = int(text)
            return number if str(number) == text and abs(number) < WHOLE else None
        return None
    if isinstance(kind, sa.Uuid):
        with suppress(ValueError):
            return uuid.UUID(text)
        return None
    return text


def _typed(ids: Sequence[Any]) -> list[Any]:
    """Whole numbers as the widest: a narrower column's type would refuse those beyond it."""
    return [sa.literal(one, sa.BigInteger) if isinstance(one, int) else one for one in ids]
