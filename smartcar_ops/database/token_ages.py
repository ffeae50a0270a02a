"""The age of a stored token, whose column may have dates, seconds or milliseconds since 1970, or ISO text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from smartcar_ops.database.column_types import letters_of
from smartcar_ops.database.sql_types import ColumnType, Condition, Expression

TOKEN_LIFE = timedelta(hours=2)
"""Documented lifetime of a V2 access token; an older one is not sent."""

SPANS = (1, 1_000, 1_000_000, 1_000_000_000)
"""Units per second of a number since 1970: seconds to nanoseconds; for current dates they can't be confused."""

NUMBER_FORM = "^[0-9]{9,19}([.][0-9]{1,9})?$"
TIME_FORM = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$"
)
"""The formats of a time as text; checked first, because a cast of one invalid value would fail the whole query."""

OFFSET_FORMS = (("[+-][0-9]{2}:[0-9]{2}$", 6, True), ("[+-][0-9]{4}$", 5, True), ("[+-][0-9]{2}$", 3, False))
"""(pattern of an offset from UTC at the end of a text, its length, whether it has minutes)."""

REPLACED = (('"', ""), ("\n", ""), ("\r", ""), ("\t", ""), (" UTC", "Z"), (",", "."))
"""Replacements that normalize a time's text: quotes, line ends, the zone's name and the decimal comma."""

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
"""(LIKE pattern of a time's text, strftime format for a time in UTC in that form); the first match applies."""

LEAST_TIME = len("2026-11-28T05:00")
"""Characters of a date and time; a shorter text has no offset."""

DAY_AND_TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ]*"
"""The start of a text that SQLite can read unchanged."""

JULIAN = 2440587.5
"""The first day of 1970 in SQLite's day count."""


def is_young(created: Expression, now: datetime, dialect: str) -> Condition:
    """Return the condition that a token's time is less than `TOKEN_LIFE` from now.

    The time is a date, seconds or smaller units since 1970, or ISO text. Null and invalid values are not young; no
    value fails the query.
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
    return _is_text_between(_tidy(letters_of(created)), *ends, dialect)


def _tidy(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a time's text normalized and in upper case."""
    plain: sa.ColumnElement[str] = sa.func.upper(text)
    for word, other in REPLACED:
        plain = sa.func.replace(plain, word, other)
    return sa.func.trim(plain, type_=sa.String(255))


def _is_text_between(text: sa.ColumnElement[str], oldest: datetime, latest: datetime, dialect: str) -> Condition:
    """Return the condition that a text is a time between two; casts only what has the format of a number."""
    number = sa.case((text.regexp_match(NUMBER_FORM), sa.cast(text, sa.Numeric(30, 9))))
    local = sa.func.substr(sa.func.replace(sa.func.upper(text), "T", " "), 1, 19, type_=sa.String(19))
    own = sa.collate(local, "C") if dialect == "postgresql" else local
    first, last = (_local(end, _offset(text), dialect) for end in (oldest, latest))
    between = sa.and_(own > first, own < last)
    return sa.or_(_in_span(number, oldest, latest), sa.case((text.regexp_match(TIME_FORM), between)))


def _in_span(number: Expression, oldest: datetime, latest: datetime) -> Condition:
    """Return the condition that a number since 1970, in any unit, is between two times."""
    first, last = (int(end.replace(tzinfo=UTC).timestamp()) for end in (oldest, latest))
    wide = sa.BigInteger()
    return sa.or_(*(sa.and_(number > sa.literal(first * n, wide), number < sa.literal(last * n, wide)) for n in SPANS))


def _offset(text: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """Return a text's offset from UTC in minutes; 0 if it has none."""
    cases = []
    for form, width, minutes in OFFSET_FORMS:
        end = sa.func.right(text, width)
        hours = sa.cast(sa.func.substr(end, 2, 2), sa.Integer) * 60
        whole = hours + sa.cast(sa.func.right(text, 2), sa.Integer) if minutes else hours
        cases.append((text.regexp_match(form), sa.case((sa.func.left(end, 1) == "-", -whole), else_=whole)))
    return sa.case(*cases, else_=0)


def _local(moment: datetime, offset: sa.ColumnElement[int], dialect: str) -> sa.ColumnElement[str]:
    """Return a UTC time shifted by an offset in minutes, as text to the second."""
    at = sa.cast(sa.literal(moment.isoformat(" ", "seconds")), sa.DateTime)
    if dialect == "postgresql":
        minutes = sa.func.make_interval(0, 0, 0, 0, 0, offset)
        return sa.func.to_char(at + minutes, "YYYY-MM-DD HH24:MI:SS", type_=sa.String(19))
    return sa.cast(sa.func.timestampadd(sa.text("MINUTE"), offset, at), sa.String(19))


def _is_young_on_sqlite(created: Expression, oldest: datetime, latest: datetime) -> Condition:
    """Return the condition of `is_young` on SQLite, where times are text in several formats, or numbers.

    Text that SQLite's own function can read is not normalized first, because that takes three times as long as the
    rest of the query for a car.
    """
    value = sa.type_coerce(created, sa.types.NullType())
    text = _tidy(sa.cast(value, sa.Text))  # also for a blob that contains text
    days = [JULIAN + end.replace(tzinfo=UTC).timestamp() / 86400 for end in (oldest, latest)]

    def is_between(number: Expression) -> Condition:
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
    """Return ISO text with the offset as SQLite needs it: hours, colon and minutes."""
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


def as_kept(column: Expression, moment: datetime, dialect: str) -> Expression:
    """Return a time to the second in the unit or text format of the row's previous value.

    If there is none, the column's type decides: with a time zone, seconds since 1970, text, or naive UTC.
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
    usual: Expression = sa.literal(naive, kind) if isinstance(kind, sa.DateTime) else sa.literal(naive.isoformat(" "))
    if dialect == "sqlite":
        numbers = [(sa.func.typeof(column).in_(("integer", "real")), number)]
        usual = sa.literal(seconds) if _is_number(kind) else usual
        return sa.case(*numbers, *forms, *digits, else_=usual)
    return sa.case(*forms, *digits, else_=usual)


def _is_number(kind: ColumnType) -> bool:
    return isinstance(kind, (sa.Integer, sa.Numeric, sa.Float))


def why_no_time(column: Expression, dialect: str) -> str:
    """Return why no age can be read from such a column; empty if it can."""
    kind = column.type
    known = _is_number(kind) or isinstance(kind, sa.DateTime | sa.Date | sa.String | sa.types.NullType)
    return "" if dialect == "sqlite" or known else "of a type that can't store a time"
