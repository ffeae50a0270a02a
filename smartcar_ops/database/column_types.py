"""Column types: how a value of the company's is read as text, and how a text becomes a value of its column again.

Ids are text everywhere in the kit: as `str()` would give them, bytes as lower-case hex. A Smartcar id that a column
keeps as its 16 bytes is read and written as the UUID it is. A type that stands against that is refused, by name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

LONGEST = 191
"""A text longer than the ledger's keys names no user."""

ID_LENGTH = 36
"""Characters of a Smartcar id."""

ID_BYTES = 16
"""Bytes of a Smartcar id, where a column keeps it as bytes."""

PROBE = "00000000-0000-4000-8000-000000000000"
"""A text as long as an id of Smartcar's, to try a column with."""

MYSQL = ("mysql", "mariadb")


class _Text(FunctionElement[str]):
    """Any value as text; a blob of SQLite's, whatever its column says, as hex."""

    type = sa.String(255)
    inherit_cache = True


class _Hex(FunctionElement[str]):
    """Bytes as lower-case hex."""

    type = sa.String(255)
    inherit_cache = True


class _Letters(FunctionElement[str]):
    """Bytes as the letters they are."""

    type = sa.String(255)
    inherit_cache = True


class _Unhex(FunctionElement[bytes]):
    """Hex, with or without a UUID's dashes, as bytes; null where it is none."""

    type = sa.LargeBinary()
    inherit_cache = True


class _Collated(FunctionElement[str]):
    """A text in the character set and collation that its second argument names (MySQL)."""

    type = sa.String(255)
    inherit_cache = True


def _compiled(element: FunctionElement[Any], compiler: Any, options: dict[str, Any]) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Text)
def _text(element: _Text, compiler: Any, **options: Any) -> str:
    return str(compiler.process(sa.cast(next(iter(element.clauses)), sa.String(255)), **options))


@compiles(_Text, "sqlite")
def _text_on_sqlite(element: _Text, compiler: Any, **options: Any) -> str:
    value = _compiled(element, compiler, options)
    return f"CAST(CASE typeof({value}) WHEN 'blob' THEN lower(hex({value})) ELSE {value} END AS VARCHAR(255))"


@compiles(_Text, "postgresql")
def _text_on_postgresql(element: _Text, compiler: Any, **options: Any) -> str:
    value = next(iter(element.clauses))
    text = str(compiler.process(sa.cast(value, sa.String(255)), **options))
    # A column's own collation can't be compared with that of the kit's tables.
    return f'({text} COLLATE "default")' if getattr(value.type, "collation", None) else text


@compiles(_Hex)
def _hex(element: _Hex, compiler: Any, **options: Any) -> str:
    return f"lower(hex({_compiled(element, compiler, options)}))"


@compiles(_Hex, "sqlite")
def _hex_on_sqlite(element: _Hex, compiler: Any, **options: Any) -> str:
    return str(compiler.process(_Text(*element.clauses), **options))  # a blob's column may hold text and numbers, too


@compiles(_Hex, "postgresql")
def _hex_on_postgresql(element: _Hex, compiler: Any, **options: Any) -> str:
    return f"encode({_compiled(element, compiler, options)}, 'hex')"


@compiles(_Letters)
def _letters(element: _Letters, compiler: Any, **options: Any) -> str:
    return str(compiler.process(_Text(*element.clauses), **options))


@compiles(_Letters, "postgresql")
def _letters_on_postgresql(element: _Letters, compiler: Any, **options: Any) -> str:
    return f"encode({_compiled(element, compiler, options)}, 'escape')"


@compiles(_Unhex)
def _unhex(element: _Unhex, compiler: Any, **options: Any) -> str:
    return f"unhex(replace({_compiled(element, compiler, options)}, '-', ''))"


@compiles(_Unhex, "sqlite")
def _unhex_on_sqlite(element: _Unhex, compiler: Any, **options: Any) -> str:
    return f"smartcar_ops_unhex({_compiled(element, compiler, options)})"


@compiles(_Unhex, "postgresql")
def _unhex_on_postgresql(element: _Unhex, compiler: Any, **options: Any) -> str:
    text = f"replace({_compiled(element, compiler, options)}, '-', '')"
    return f"CASE WHEN {text} ~ '^([0-9A-Fa-f][0-9A-Fa-f])*$' THEN decode({text}, 'hex') END"


@compiles(_Collated)
def _collated(element: _Collated, compiler: Any, **options: Any) -> str:
    text, collation = element.clauses
    name = str(collation.value)
    return f"CONVERT({compiler.process(text, **options)} USING {name.partition('_')[0]}) COLLATE {name}"


def unhexed(text: str | None) -> bytes | None:
    """The bytes of a text of hex digits, with or without a UUID's dashes; None where it is no such text."""
    with suppress(ValueError, AttributeError):
        digits = text.replace("-", "")  # type: ignore[union-attr]
        return bytes.fromhex(digits) if digits.isalnum() else None
    return None


# Reading


def text_of(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A value as text, as `str()` of the database's value would give it; bytes as lower-case hex."""
    return _Hex(column) if _is_bytes(column) else _Text(column)


def letters_of(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A value as text, bytes as the letters they are."""
    return _Letters(column) if _is_bytes(column) else _Text(column)


def smartcar_id_of(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A stored Smartcar id as text; 16 bytes as the UUID they are."""
    text = text_of(column)
    if not _is_bytes(column):
        return text
    parts = [sa.func.substr(text, start, size) for start, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
    dashed: sa.ColumnElement[str] = sa.type_coerce(parts[0], sa.String)
    for part in parts[1:]:
        dashed = dashed.concat("-").concat(part)
    return sa.case((sa.func.length(text) == 2 * ID_BYTES, dashed), else_=text)


def owner_of(column: sa.ColumnElement[Any], identity: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A car's ``user_id`` as the text of a user's id, where the two columns are of different types."""
    text = text_of(column)
    if _is_bytes(identity) and not _is_bytes(column) and isinstance(column.type, sa.String | sa.Uuid):
        return sa.func.lower(sa.func.replace(sa.func.trim(text), "-", ""), type_=sa.String(255))
    if isinstance(identity.type, sa.Uuid) and _is_text(column.type):
        return sa.func.lower(sa.func.trim(text), type_=sa.String(255))
    return text


def tidy(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A text trimmed and in lower case; empty text is null.

    Text by its type, too: SQLite indexes no step of a query whose column has none, and goes through it for each row.
    """
    return sa.cast(sa.func.nullif(sa.func.lower(sa.func.trim(value)), ""), sa.String(255))


# Finding and writing


def value_of(column: sa.ColumnElement[Any], text: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[Any]:
    """A text as a value of the column, the way back from `text_of` and `smartcar_id_of`."""
    if _is_bytes(column):
        return _Unhex(text)
    kind = column.type
    if dialect == "sqlite" or _is_text(kind) or isinstance(kind, sa.types.NullType):
        return text
    if dialect in MYSQL and isinstance(kind, sa.Uuid):
        return text  # the database makes the UUID
    return sa.cast(text, kind)


def is_named(identity: sa.ColumnElement[Any], named: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[bool]:
    """That a row's id reads as this text; asked by the id's own type, so that its index is used."""
    kind, exactly = identity.type, is_same(text_of(identity), named, dialect)
    if dialect == "sqlite":
        return sa.and_(identity.in_(_sqlite_forms(kind, named)), exactly)
    if _is_bytes(identity) or isinstance(kind, sa.Integer | sa.Numeric | sa.Uuid):
        return identity == value_of(identity, named, dialect)
    if not _is_text(kind):
        return exactly
    if dialect in MYSQL:
        return sa.and_(identity == _collated_as(identity, named), exactly)
    if isinstance(kind, sa.CHAR | postgresql.CITEXT):  # these overlook blanks, or case
        return sa.and_(identity == sa.cast(named, kind), exactly)
    collation = getattr(kind, "collation", None)
    return identity == (sa.collate(named, collation) if collation else named)


def is_owner(
    column: sa.ColumnElement[Any], identity: sa.ColumnElement[Any], named: sa.ColumnElement[Any], dialect: str
) -> sa.ColumnElement[bool]:
    """That a car's ``user_id`` names the user of this id; by its index, where the two columns are of one type."""
    if type(column.type) is type(identity.type):
        return is_named(column, named, dialect)
    return owner_of(column, identity) == named


def _sqlite_forms(kind: sa.types.TypeEngine[Any], named: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    """The values that may read as this text: SQLite's columns hold any.

    A column of whole numbers makes them of text by itself; of those alone, no bytes are looked for.
    """
    if isinstance(kind, sa.Integer):
        return [named, sa.case((named.op("GLOB")("*[^0-9]*"), _Unhex(named)))]
    return [named, sa.cast(named, sa.Numeric), _Unhex(named)]


def is_same(text: sa.ColumnElement[Any], other: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[bool]:
    """That two texts are the same letter for letter: MySQL's own comparison overlooks case and blanks."""
    if dialect not in MYSQL:
        return text == other
    return sa.cast(text, sa.LargeBinary) == sa.cast(sa.cast(other, sa.String(255)), sa.LargeBinary)


def is_one_of(identity: sa.ColumnElement[Any], texts: Iterable[str], dialect: str) -> sa.ColumnElement[bool]:
    """That a row's id may read as one of these texts: by its index; what it does read as is for the caller to see."""
    if dialect == "sqlite":
        return identity.in_([sa.literal(value) for text in texts for value in _sqlite_values(text)])
    kind = identity.type
    if _is_bytes(identity):
        return identity.in_([value for text in texts if (value := unhexed(text)) is not None])
    if isinstance(kind, sa.Integer):  # as the widest: a narrower column's type would refuse those beyond it
        return identity.in_([sa.literal(int(text), sa.BigInteger) for text in texts])
    if isinstance(kind, sa.Uuid):
        return identity.in_([sa.literal(uuid.UUID(text), kind) for text in texts])
    if isinstance(kind, sa.Numeric):
        return identity.in_([sa.literal(Decimal(text), sa.Numeric) for text in texts])
    return (identity if _is_text(kind) else text_of(identity)).in_(list(texts))


def readings(identity: sa.ColumnElement[Any], text: str, dialect: str) -> list[str]:
    """How an id of this column that somebody names by this text may read; empty where it can be none."""
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        return []
    digits = unhexed(text)
    if _is_bytes(identity):
        return ([text] if dialect == "sqlite" else []) + ([digits.hex()] if digits else [])
    if dialect == "sqlite":
        return [text]
    return [found] if (found := _as_read(identity.type, text)) is not None else []


def _as_read(kind: sa.types.TypeEngine[Any], text: str) -> str | None:
    """The text as a value of this type would read; None where it can be none."""
    with suppress(ValueError, InvalidOperation):
        if isinstance(kind, sa.Integer):
            number = int(text)
            widest = 2**64 if getattr(kind, "unsigned", False) else 2**63
            return text if str(number) == text and abs(number) < widest else None
        if isinstance(kind, sa.Numeric):
            return text if Decimal(text).is_finite() else None
        return str(uuid.UUID(text)) if isinstance(kind, sa.Uuid) else text
    return None


def _sqlite_values(text: str) -> list[Any]:
    """Every value that may read as this text."""
    values: list[Any] = [text]
    with suppress(ValueError):
        values.append(int(text))
    if values[-1] == text:
        with suppress(ValueError):
            values.append(float(text))
    digits = unhexed(text)
    return [value for value in (*values, digits) if value is not None and _fits(value)]


def _fits(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _collated_as(identity: sa.ColumnElement[Any], named: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text in the id's own character set and collation, its table's where it names none."""
    collation = getattr(identity.type, "collation", None)
    options = getattr(getattr(identity, "table", None), "kwargs", {})
    collation = collation or next((options[key] for key in (f"{name}_collate" for name in MYSQL) if key in options), "")
    return _Collated(named, sa.literal(collation)) if collation else named


# Types


def without_domain(_inspector: Any, _table: sa.Table, found: Any) -> None:
    """When a column is read from the schema: a domain's type is that of what it is made of."""
    while isinstance(found["type"], postgresql.DOMAIN):
        found["type"] = found["type"].data_type


def _is_bytes(column: sa.ColumnElement[Any]) -> bool:
    return isinstance(column.type, sa.LargeBinary | sa.BINARY | sa.VARBINARY)


def _is_text(kind: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(kind, sa.String) and not isinstance(kind, sa.Enum | mysql.SET)


def why_no_key(column: sa.ColumnElement[Any]) -> str:
    """Why rows can't be found by the text of such a column; empty where they can."""
    kind = column.type
    if isinstance(kind, sa.Float):
        return "a rounded number, which names no row for certain"
    return "bits, which are no text" if isinstance(kind, mysql.BIT) else ""


def why_no_target(column: sa.ColumnElement[Any], dialect: str) -> str:
    """Why a Smartcar id can't be kept in such a column; empty where it can."""
    kind = column.type
    length = getattr(kind, "length", None)
    if isinstance(kind, sa.Uuid) or (dialect == "sqlite" and _is_anything(kind)):
        return ""
    if _is_bytes(column):
        fixed = isinstance(kind, sa.BINARY | sa.VARBINARY) and length != ID_BYTES
        return f"bytes, and not {ID_BYTES} of them" if fixed else ""
    if not _is_text(kind):
        return "of a type that holds no such text"
    return f"{length} characters wide" if length and length < ID_LENGTH else ""


def _is_anything(kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether SQLite takes text in this column as it is: it has no type, or one that SQLite does not know."""
    return isinstance(kind, sa.types.NullType) or (type(kind) is sa.NUMERIC and kind.precision is None)


def why_no_owner(column: sa.ColumnElement[Any], identity: sa.ColumnElement[Any], dialect: str) -> str:
    """Why such a column can't name the user of a car; empty where it can."""
    differs = dialect != "sqlite" and _is_bytes(column) and not _is_bytes(identity)
    return "bytes, while [users] id is not" if differs else ""


def name_of(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> str:
    """A column's type as people write it; an enum's values are not told."""
    kind = column.type
    if isinstance(kind, sa.Enum | mysql.SET | sa.types.NullType):
        return type(kind).__name__.removesuffix("Type").lower()
    return str(kind.compile(dialect=dialect))


def is_unique(table: sa.Table, name: str, dialect: str) -> bool:
    """Whether the schema says that no two rows have one text in this column.

    SQLite keeps 7 and '7' apart in a column without a type, although both read as 7; a MySQL column may keep apart
    what the kit's own tables there take for the same, as letters of either case.
    """
    kind = table.c[name].type
    if (dialect == "sqlite" and not isinstance(kind, sa.Integer | sa.String)) or (dialect in MYSQL and _is_text(kind)):
        return False
    constraints = [key for key in table.constraints if isinstance(key, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique and not _is_partial(index)]
    return any([one.name for one in key.columns] == [name] for key in (*constraints, *indexes))


def _is_partial(index: sa.Index) -> bool:
    return any(index.kwargs.get(f"{name}_where") is not None for name in ("postgresql", "sqlite"))
