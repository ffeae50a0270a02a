"""Converts the company's column values to text and back.

Ids are text everywhere in the kit, as returned by `str()`, or lower-case hex for bytes. A Smartcar id stored as its 16
bytes is read and written as a UUID. Types that don't allow this are refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from smartcar_ops.database.sql_types import ColumnType, Condition, Expression

LONGEST = 191
"""Maximum length of a local id, which is that of the ledger's keys."""

ID_LENGTH = 36
"""Characters of a Smartcar id."""

ID_BYTES = 16
"""Bytes of a Smartcar id in a column of bytes."""

PROBE = "00000000-0000-4000-8000-000000000000"
"""A text as long as a Smartcar id, to test a column with."""

MYSQL = ("mysql", "mariadb")


class _Text(FunctionElement[str]):
    """Any value as text; a SQLite blob as hex, whatever the column's type."""

    type = sa.String(255)
    inherit_cache = True


class _Hex(FunctionElement[str]):
    """Bytes as lower-case hex."""

    type = sa.String(255)
    inherit_cache = True


class _Letters(FunctionElement[str]):
    """Bytes as the text that they encode."""

    type = sa.String(255)
    inherit_cache = True


class _Unhex(FunctionElement[bytes]):
    """Hex, with or without a UUID's dashes, as bytes; null if it is not hex."""

    type = sa.LargeBinary()
    inherit_cache = True


class _Collated(FunctionElement[str]):
    """A text in the character set and collation given by the second argument (MySQL)."""

    type = sa.String(255)
    inherit_cache = True


def _compiled(
    element: FunctionElement[str] | FunctionElement[bytes], compiler: SQLCompiler, options: dict[str, object]
) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Text)
def _text(element: _Text, compiler: SQLCompiler, **options: object) -> str:
    return str(compiler.process(sa.cast(next(iter(element.clauses)), sa.String(255)), **options))


@compiles(_Text, "sqlite")
def _text_on_sqlite(element: _Text, compiler: SQLCompiler, **options: object) -> str:
    value = _compiled(element, compiler, options)
    return f"CAST(CASE typeof({value}) WHEN 'blob' THEN lower(hex({value})) ELSE {value} END AS VARCHAR(255))"


@compiles(_Text, "postgresql")
def _text_on_postgresql(element: _Text, compiler: SQLCompiler, **options: object) -> str:
    value = next(iter(element.clauses))
    text = str(compiler.process(sa.cast(value, sa.String(255)), **options))
    # A column with its own collation can't be compared with the kit's tables.
    return f'({text} COLLATE "default")' if getattr(value.type, "collation", None) else text


@compiles(_Hex)
def _hex(element: _Hex, compiler: SQLCompiler, **options: object) -> str:
    return f"lower(hex({_compiled(element, compiler, options)}))"


@compiles(_Hex, "sqlite")
def _hex_on_sqlite(element: _Hex, compiler: SQLCompiler, **options: object) -> str:
    return str(compiler.process(_Text(*element.clauses), **options))  # a blob column may also contain text and numbers


@compiles(_Hex, "postgresql")
def _hex_on_postgresql(element: _Hex, compiler: SQLCompiler, **options: object) -> str:
    return f"encode({_compiled(element, compiler, options)}, 'hex')"


@compiles(_Letters)
def _letters(element: _Letters, compiler: SQLCompiler, **options: object) -> str:
    return str(compiler.process(_Text(*element.clauses), **options))


@compiles(_Letters, "postgresql")
def _letters_on_postgresql(element: _Letters, compiler: SQLCompiler, **options: object) -> str:
    return f"encode({_compiled(element, compiler, options)}, 'escape')"


@compiles(_Unhex)
def _unhex(element: _Unhex, compiler: SQLCompiler, **options: object) -> str:
    return f"unhex(replace({_compiled(element, compiler, options)}, '-', ''))"


@compiles(_Unhex, "sqlite")
def _unhex_on_sqlite(element: _Unhex, compiler: SQLCompiler, **options: object) -> str:
    return f"smartcar_ops_unhex({_compiled(element, compiler, options)})"


@compiles(_Unhex, "postgresql")
def _unhex_on_postgresql(element: _Unhex, compiler: SQLCompiler, **options: object) -> str:
    text = f"replace({_compiled(element, compiler, options)}, '-', '')"
    return f"CASE WHEN {text} ~ '^([0-9A-Fa-f][0-9A-Fa-f])*$' THEN decode({text}, 'hex') END"


@compiles(_Collated)
def _collated(element: _Collated, compiler: SQLCompiler, **options: object) -> str:
    text, collation = element.clauses
    name = str(collation.value)
    return f"CONVERT({compiler.process(text, **options)} USING {name.partition('_')[0]}) COLLATE {name}"


def unhexed(text: str | None) -> bytes | None:
    """Return the bytes of a hex text, with or without a UUID's dashes; None if it is not hex."""
    with suppress(ValueError, AttributeError):
        digits = text.replace("-", "")  # type: ignore[union-attr]
        return bytes.fromhex(digits) if digits.isalnum() else None
    return None


# Reading


def text_of(column: Expression) -> sa.ColumnElement[str]:
    """Return a value as text, like `str()` of the database's value; bytes as lower-case hex."""
    return _Hex(column) if _is_bytes(column) else _Text(column)


def letters_of(column: Expression) -> sa.ColumnElement[str]:
    """Return a value as text, bytes as the text that they encode."""
    return _Letters(column) if _is_bytes(column) else _Text(column)


def smartcar_id_of(column: Expression) -> sa.ColumnElement[str]:
    """Return a stored Smartcar id as text; 16 bytes as a UUID."""
    text = text_of(column)
    if not _is_bytes(column):
        return text
    parts = [sa.func.substr(text, start, size) for start, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
    dashed: sa.ColumnElement[str] = sa.type_coerce(parts[0], sa.String)
    for part in parts[1:]:
        dashed = dashed.concat("-").concat(part)
    return sa.case((sa.func.length(text) == 2 * ID_BYTES, dashed), else_=text)


def owner_of(column: Expression, identity: Expression) -> sa.ColumnElement[str]:
    """Return a car's ``user_id`` in the text form of users' ids, also if the two columns have different types."""
    text = text_of(column)
    if _is_bytes(identity) and not _is_bytes(column) and isinstance(column.type, sa.String | sa.Uuid):
        return sa.func.lower(sa.func.replace(sa.func.trim(text), "-", ""), type_=sa.String(255))
    if isinstance(identity.type, sa.Uuid) and _is_text(column.type):
        return sa.func.lower(sa.func.trim(text), type_=sa.String(255))
    return text


def tidy(value: Expression) -> sa.ColumnElement[str]:
    """Return a text trimmed and in lower case; null for empty text.

    The cast gives it a type, without which SQLite creates no index for it in a CTE and scans that for each row.
    """
    return sa.cast(sa.func.nullif(sa.func.lower(sa.func.trim(value)), ""), sa.String(255))


# Finding and writing


def value_of(column: Expression, text: sa.ColumnElement[str], dialect: str) -> Expression:
    """Return a text as a value of the column: the reverse of `text_of` and `smartcar_id_of`."""
    if _is_bytes(column):
        return _Unhex(text)
    kind = column.type
    if dialect == "sqlite" or _is_text(kind) or isinstance(kind, sa.types.NullType):
        return text
    if dialect in MYSQL and isinstance(kind, sa.Uuid):
        return text  # the database converts it to a UUID
    return sa.cast(text, kind)


def is_named(identity: Expression, named: sa.ColumnElement[str], dialect: str) -> Condition:
    """Return the condition that a row's id has this text; compares in the id's own type, to use its index."""
    kind, exactly = identity.type, is_same(text_of(identity), named, dialect)
    if dialect == "sqlite":
        return sa.and_(identity.in_(_sqlite_forms(kind, named)), exactly)
    if _is_bytes(identity) or isinstance(kind, sa.Integer | sa.Numeric | sa.Uuid):
        return identity == value_of(identity, named, dialect)
    if not _is_text(kind):
        return exactly
    if dialect in MYSQL:
        return sa.and_(identity == _collated_as(identity, named), exactly)
    if isinstance(kind, sa.CHAR | postgresql.CITEXT):  # these ignore trailing spaces or case
        return sa.and_(identity == sa.cast(named, kind), exactly)
    collation = getattr(kind, "collation", None)
    return identity == (sa.collate(named, collation) if collation else named)


def is_owner(column: Expression, identity: Expression, named: sa.ColumnElement[str], dialect: str) -> Condition:
    """Return the condition that a car's ``user_id`` is this user's id; uses its index if both columns have one type."""
    if type(column.type) is type(identity.type):
        return is_named(column, named, dialect)
    return owner_of(column, identity) == named


def _sqlite_forms(kind: ColumnType, named: sa.ColumnElement[str]) -> list[Expression]:
    """Return the values that may have this text, because a SQLite column can contain any type.

    An integer column converts text by itself, and for digits no bytes are searched.
    """
    if isinstance(kind, sa.Integer):
        return [named, sa.case((named.op("GLOB")("*[^0-9]*"), _Unhex(named)))]
    return [named, sa.cast(named, sa.Numeric), _Unhex(named)]


def is_same(text: sa.ColumnElement[str], other: sa.ColumnElement[str], dialect: str) -> Condition:
    """Return the condition that two texts are identical; MySQL's own comparison ignores case and trailing spaces."""
    if dialect not in MYSQL:
        return text == other
    return sa.cast(text, sa.LargeBinary) == sa.cast(sa.cast(other, sa.String(255)), sa.LargeBinary)


def is_one_of(identity: Expression, texts: Iterable[str], dialect: str) -> Condition:
    """Return the condition that a row's id may have one of these texts, by its index; the caller compares exactly."""
    if dialect == "sqlite":
        return identity.in_([sa.literal(value) for text in texts for value in _sqlite_values(text)])
    kind = identity.type
    if _is_bytes(identity):
        return identity.in_([value for text in texts if (value := unhexed(text)) is not None])
    if isinstance(kind, sa.Integer):  # the widest type: a narrower one would refuse larger numbers
        return identity.in_([sa.literal(int(text), sa.BigInteger) for text in texts])
    if isinstance(kind, sa.Uuid):
        return identity.in_([sa.literal(uuid.UUID(text), kind) for text in texts])
    if isinstance(kind, sa.Numeric):
        return identity.in_([sa.literal(Decimal(text), sa.Numeric) for text in texts])
    return (identity if _is_text(kind) else text_of(identity)).in_(list(texts))


def readings(identity: Expression, text: str, dialect: str) -> list[str]:
    """Return the texts that an id of this column may have if it is given as ``text``; empty if it can't be one."""
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        return []
    digits = unhexed(text)
    if _is_bytes(identity):
        return ([text] if dialect == "sqlite" else []) + ([digits.hex()] if digits else [])
    if dialect == "sqlite":
        return [text]
    return [reading] if (reading := _as_read(identity.type, text)) is not None else []


def _as_read(kind: ColumnType, text: str) -> str | None:
    """Return the text of a value of this type that is given as ``text``; None if it can't be one."""
    with suppress(ValueError, InvalidOperation):
        if isinstance(kind, sa.Integer):
            number = int(text)
            widest = 2**64 if getattr(kind, "unsigned", False) else 2**63
            return text if str(number) == text and abs(number) < widest else None
        if isinstance(kind, sa.Numeric):
            return text if Decimal(text).is_finite() else None
        return str(uuid.UUID(text)) if isinstance(kind, sa.Uuid) else text
    return None


def _sqlite_values(text: str) -> list[str | int | float | bytes]:
    """Return every value that may have this text."""
    values: list[str | int | float] = [text]
    with suppress(ValueError):
        values.append(int(text))
    if values[-1] == text:
        with suppress(ValueError):
            values.append(float(text))
    digits = unhexed(text)
    return [value for value in (*values, digits) if value is not None and _fits(value)]


def _fits(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _collated_as(identity: Expression, named: sa.ColumnElement[str]) -> Expression:
    """Return a text in the id's own character set and collation, or those of its table."""
    collation = getattr(identity.type, "collation", None)
    options = getattr(getattr(identity, "table", None), "kwargs", {})
    collation = collation or next((options[key] for key in (f"{name}_collate" for name in MYSQL) if key in options), "")
    return _Collated(named, sa.literal(collation)) if collation else named


# Types


def without_domain(_inspector: sa.Inspector, _table: sa.Table, column: ReflectedColumn) -> None:
    """Replace a domain by its underlying type when a column is reflected."""
    while isinstance(column["type"], postgresql.DOMAIN):
        column["type"] = column["type"].data_type


def _is_bytes(column: Expression) -> bool:
    return isinstance(column.type, sa.LargeBinary | sa.BINARY | sa.VARBINARY)


def _is_text(kind: ColumnType) -> bool:
    return isinstance(kind, sa.String) and not isinstance(kind, sa.Enum | mysql.SET)


def why_no_key(column: Expression) -> str:
    """Return why rows can't be found by the text of such a column; empty if they can."""
    kind = column.type
    if isinstance(kind, sa.Float):
        return "a rounded number, which does not identify a row reliably"
    return "bits, which have no text form" if isinstance(kind, mysql.BIT) else ""


def why_no_target(column: Expression, dialect: str) -> str:
    """Return why a Smartcar id can't be stored in such a column; empty if it can."""
    kind = column.type
    length = getattr(kind, "length", None)
    if isinstance(kind, sa.Uuid) or (dialect == "sqlite" and _is_anything(kind)):
        return ""
    if _is_bytes(column):
        fixed = isinstance(kind, sa.BINARY | sa.VARBINARY) and length != ID_BYTES
        return f"bytes, but not {ID_BYTES} of them" if fixed else ""
    if not _is_text(kind):
        return "of a type that can't store such text"
    return f"{length} characters wide" if length and length < ID_LENGTH else ""


def _is_anything(kind: ColumnType) -> bool:
    """Return whether SQLite stores text unchanged in this column: it has no type, or one that SQLite does not know."""
    return isinstance(kind, sa.types.NullType) or (type(kind) is sa.NUMERIC and kind.precision is None)


def why_no_owner(column: Expression, identity: Expression, dialect: str) -> str:
    """Return why such a column can't contain the user of a car; empty if it can."""
    differs = dialect != "sqlite" and _is_bytes(column) and not _is_bytes(identity)
    return "bytes, while [users] id is not" if differs else ""


def name_of(column: Expression, dialect: sa.Dialect) -> str:
    """Return a column's type for people; without an enum's values."""
    kind = column.type
    if isinstance(kind, sa.Enum | mysql.SET | sa.types.NullType):
        return type(kind).__name__.removesuffix("Type").lower()
    return str(kind.compile(dialect=dialect))


def is_unique(table: sa.Table, name: str, dialect: str) -> bool:
    """Return whether the schema guarantees that no two rows have one text in this column.

    In a column without a type, SQLite distinguishes 7 and '7', although both have the text 7. A MySQL column may
    distinguish texts that are equal in the kit's own tables, such as upper and lower case.
    """
    kind = table.c[name].type
    if (dialect == "sqlite" and not isinstance(kind, sa.Integer | sa.String)) or (dialect in MYSQL and _is_text(kind)):
        return False
    constraints = [key for key in table.constraints if isinstance(key, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique and not _is_partial(index)]
    return any([one.name for one in key.columns] == [name] for key in (*constraints, *indexes))


def _is_partial(index: sa.Index) -> bool:
    return any(index.kwargs.get(f"{name}_where") is not None for name in ("postgresql", "sqlite"))
