"""How old a stored token is, by whatever its column keeps: a date, seconds or milliseconds since 1970, or ISO text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from smartcar_ops.database.column_types import letters_of

TOKEN_LIFE = timedelta(hours=2)
"""A V2 access token's documented life; an older one is not sent."""

SPANS = (1, 1_000, 1_000_000, 1_000_000_000)
"""How many of a number there may be in a second since 1970; near today none can be taken for another."""

NUMBER_FORM = "^[0-9]{9,19}([.][0-9]{1,9})?$"
TIME_FORM = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$"
)
"""How a text tells a moment; read by these alone, because a cast would fail the query for one odd value."""

OFFSET_FORMS = (("[+-][0-9]{2}:[0-9]{2}$", 6, True), ("[+-][0-9]{4}$", 5, True), ("[+-][0-9]{2}$", 3, False))
"""(how a text ends that names its offset from UTC, characters of it, whether minutes are among them)."""

ASIDE = (('"', ""), ("\n", ""), ("\r", ""), ("\t", ""), (" UTC", "Z"), (",", "."))
"""What a text has around its moment, or writes otherwise: a program's quotes, a line's end, a zone's name."""

WRITTEN = (
    ('"____-__-__T%Z"', '"%Y-%m-%dT%H:%M:%SZ"'),
    ("____-__-__ __:__:__% UTC", "%Y-%m-%d %H:%M:%S UTC"),
    ("____-__-__T%Z", "%Y-%m-%dT%H:%M:%SZ"),
    ("____-__-__T__:__%+%", "%Y-%m-%dT%H:%M:%S+00:00"),
    ("____-__-__T__:__%-%", "%Y-%m-%dT%H:%M:%S+00:00"),
    ("____-__-__T%", "%Y-%m-%dT%H:%M:%S"),
    ("____-__-__ %Z", "%Y-%m-%d %H:%M:%SZ"),
    ("____-__-__ __:__%+%", "%Y-%m-%d %H:%M:%S+00:00"),
    ("____-__-__ __:__%-%", "%Y-%m-%d %H:%M:%S+00:00"),
)
"""(what a text is like, how another moment in UTC is written like it); the first that holds."""

LEAST_TIME = len("2026-11-28T05:00")
"""Characters of a day and a time; a shorter text has no offset."""

DAY_AND_TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ]*"
"""How a text begins that SQLite may read as it stands."""

JULIAN = 2440587.5
"""The first day of 1970 as SQLite counts days."""


def is_young(created: sa.ColumnElement[Any], now: datetime, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a token's time is less than `TOKEN_LIFE` away: a date, seconds or finer since 1970, or ISO text.

    Null or garbage is not; no value fails the query.
    """
    moment = now.astimezone(UTC).replace(tzinfo=None)
    ends = moment - TOKEN_LIFE, moment + TOKEN_LIFE
    if dialect == "sqlite":
        return _is_young_on_sqlite(created, *ends)
    kind = created.type
    if isinstance(kind, sa.DateTime | sa.Date):
        aware = getattr(kind, "timezone", False)
        moments = [sa.literal(end.replace(tzinfo=UTC if aware else None), sa.DateTime(aware)) for end in ends]
        return sa.and_(created > moments[0], created < moments[1])
    if _is_number(kind):
        return _in_span(created, *ends)
    return _tells_young(_tidy(letters_of(created)), *ends, dialect)


def _tidy(text: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """A text without what stands around its moment, in capitals."""
    plain: sa.ColumnElement[Any] = sa.func.upper(text)
    for word, other in ASIDE:
        plain = sa.func.replace(plain, word, other)
    return sa.func.trim(plain, type_=sa.String(255))


def _tells_young(
    text: sa.ColumnElement[str], oldest: datetime, latest: datetime, dialect: str
) -> sa.ColumnElement[bool]:
    """That a text tells a moment between two: no part of it is cast that has not the form of a number."""
    number = sa.case((text.regexp_match(NUMBER_FORM), sa.cast(text, sa.Numeric(30, 9))))
    local = sa.func.substr(sa.func.replace(sa.func.upper(text), "T", " "), 1, 19, type_=sa.String(19))
    own = sa.collate(local, "C") if dialect == "postgresql" else local
    first, last = (_local(end, _offset(text), dialect) for end in (oldest, latest))
    between = sa.and_(own > first, own < last)
    return sa.or_(_in_span(number, oldest, latest), sa.case((text.regexp_match(TIME_FORM), between)))


def _in_span(number: sa.ColumnElement[Any], oldest: datetime, latest: datetime) -> sa.ColumnElement[bool]:
    """That a number since 1970, in whatever unit, lies between two moments."""
    first, last = (int(end.replace(tzinfo=UTC).timestamp()) for end in (oldest, latest))
    wide = sa.BigInteger()
    return sa.or_(*(sa.and_(number > sa.literal(first * n, wide), number < sa.literal(last * n, wide)) for n in SPANS))


def _offset(text: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """How many minutes before UTC a text's own time is; 0 where it says nothing."""
    cases = []
    for form, width, minutes in OFFSET_FORMS:
        end = sa.func.right(text, width)
        hours = sa.cast(sa.func.substr(end, 2, 2), sa.Integer) * 60
        whole = hours + sa.cast(sa.func.right(text, 2), sa.Integer) if minutes else hours
        cases.append((text.regexp_match(form), sa.case((sa.func.left(end, 1) == "-", -whole), else_=whole)))
    return sa.case(*cases, else_=0)


def _local(moment: datetime, offset: sa.ColumnElement[int], dialect: str) -> sa.ColumnElement[str]:
    """A moment so many minutes before UTC, as text to the second."""
    at = sa.cast(sa.literal(moment.isoformat(" ", "seconds")), sa.DateTime)
    if dialect == "postgresql":
        minutes = sa.func.make_interval(0, 0, 0, 0, 0, offset)
        return sa.func.to_char(at + minutes, "YYYY-MM-DD HH24:MI:SS", type_=sa.String(19))
    return sa.cast(sa.func.timestampadd(sa.text("MINUTE"), offset, at), sa.String(19))


def _is_young_on_sqlite(created: sa.ColumnElement[Any], oldest: datetime, latest: datetime) -> sa.ColumnElement[bool]:
    """SQLite keeps times as text in several forms, or as numbers; its own function reads most.

    What it reads as it stands is not made tidy first: that takes three times as long, a car, as all else.
    """
    value = sa.type_coerce(created, sa.types.NullType())
    text = _tidy(sa.cast(value, sa.Text))  # a blob that holds letters, too
    days = [JULIAN + end.replace(tzinfo=UTC).timestamp() / 86400 for end in (oldest, latest)]

    def is_between(number: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        return sa.or_(_in_span(number, oldest, latest), number.between(days[0], days[1]))

    first, last = (end.isoformat(" ", "seconds") for end in (oldest + timedelta(seconds=1), latest))
    moment = sa.func.datetime(value)
    return sa.case(
        (sa.func.typeof(value).in_(("integer", "real")), is_between(value)),
        (sa.and_(value.op("GLOB")(DAY_AND_TIME), moment.is_not(None)), moment.between(first, last)),
        (text.op("NOT GLOB")("*[^0-9.]*"), is_between(sa.cast(text, sa.Numeric))),
        else_=sa.func.datetime(_with_colon(text)).between(first, last),
    )


def _with_colon(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """ISO text whose offset is written as SQLite reads it: with hours, colon and minutes."""
    signs = ("+", "-")
    return sa.case(
        (sa.func.length(text) < LEAST_TIME, text),
        (
            sa.func.substr(text, -5, 1).in_(signs),
            sa.func.substr(text, 1, sa.func.length(text) - 2).concat(":").concat(sa.func.substr(text, -2)),
        ),
        (sa.func.substr(text, -3, 1).in_(signs), text.concat(":00")),
        else_=text,
    )


def as_kept(column: sa.ColumnElement[Any], moment: datetime, dialect: str) -> sa.ColumnElement[Any]:
    """A moment to the second, as a row keeps the one before: its unit, or its way to write UTC.

    Where there was none: with a zone, as seconds since 1970, as text, or naive UTC, by the column's type.
    """
    whole = moment.astimezone(UTC).replace(microsecond=0)
    naive, kind = whole.replace(tzinfo=None), column.type
    if isinstance(kind, sa.DateTime | sa.Date) and dialect != "sqlite":
        return sa.literal(whole if getattr(kind, "timezone", False) else naive, kind)
    seconds = int(whole.timestamp())
    units = [(sa.literal(10**11 * n), sa.literal(seconds * 1000 * n, sa.BigInteger)) for n in reversed(SPANS[:-1])]
    number = sa.case(*((column >= least, value) for least, value in units), else_=sa.literal(seconds, sa.BigInteger))
    if _is_number(kind) and dialect != "sqlite":
        return number
    text: sa.ColumnElement[str] = sa.type_coerce(column, sa.String)
    forms = [(text.like(form), sa.literal(naive.strftime(written))) for form, written in WRITTEN]
    no_date = text.not_like("%-%")
    digits = [
        (sa.and_(no_date, text.like("_" * len(one))), sa.literal(one)) for one in (str(seconds * n) for n in SPANS)
    ]
    usual: sa.ColumnElement[Any] = (
        sa.literal(naive, kind) if isinstance(kind, sa.DateTime) else sa.literal(naive.isoformat(" "))
    )
    if dialect == "sqlite":
        numbers = [(sa.func.typeof(column).in_(("integer", "real")), number)]
        usual = sa.literal(seconds) if _is_number(kind) else usual
        return sa.case(*numbers, *forms, *digits, else_=usual)
    return sa.case(*forms, *digits, else_=usual)


def _is_number(kind: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(kind, (sa.Integer, sa.Numeric, sa.Float))


def why_no_time(column: sa.ColumnElement[Any], dialect: str) -> str:
    """Why no age can be read from such a column; empty where it can."""
    kind = column.type
    known = _is_number(kind) or isinstance(kind, sa.DateTime | sa.Date | sa.String | sa.types.NullType)
    return "" if dialect == "sqlite" or known else "of a type that tells no time"
