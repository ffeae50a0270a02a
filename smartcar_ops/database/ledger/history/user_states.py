"""Every user's bucket, as intervals of days: a day's audit writes only what changed since the audit before it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from smartcar_ops.database import bulk_write, engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger, Scope

log = logging.getLogger("smartcar_ops.audit")

STILL = date(9999, 12, 31)
"""The end of an interval that has not ended."""

COLUMNS = ("user_id", "bucket")
"""The columns of what is recorded."""

TODAY = sa.table("smartcar_ops_states_now", sa.column("user_id", t.LOCAL), sa.column("bucket", t.WORD))
"""The users' buckets according to the audit that is being recorded: a temporary table."""


class Move(NamedTuple):
    """A user in another bucket than before: null where the company did not have the user; ``at`` is its first day."""

    user_id: str
    from_bucket: str | None
    to_bucket: str | None
    at: date


def write(connection: sa.Connection, scope: Scope, day: date, users: Iterable[pa.Table]) -> bool:
    """Record the users' buckets (``user_id``, ``bucket``) of a day that is not before any recorded one.

    What an earlier audit of the day recorded is replaced. Returns False, and changes nothing, if this account may
    create no temporary table.
    """
    if not _create(connection):
        log.warning("the users' buckets of this day are not kept: this account may not create a temporary table")
        return False
    for rows in users:
        bulk_write.load(connection, TODAY, rows.select(COLUMNS))
    row, today, mine = t.user_states.c, TODAY.c, scope.of(t.user_states)
    still = sa.and_(mine, row.until == STILL)
    connection.execute(sa.delete(t.user_states).where(mine, row.since == day))
    connection.execute(sa.update(t.user_states).where(mine, row.until == day).values(until=STILL))
    for table in {"postgresql": (TODAY, t.user_states), "sqlite": (TODAY,)}.get(connection.dialect.name, ()):
        connection.exec_driver_sql(f"ANALYZE {table.name}")  # or it is planned as if empty
    same = sa.exists().where(today.user_id == row.user_id, today.bucket == row.bucket)
    connection.execute(sa.update(t.user_states).where(still, sa.not_(same)).values(until=day))
    # Those that go on leave the temporary table, so that what is inserted is not looked for in what grows by it.
    goes_on = sa.exists().where(row.user_id == today.user_id, still)
    connection.execute(sa.delete(TODAY).where(goes_on))
    fixed = scope.row(t.user_states, since=day, until=STILL)
    values = [sa.literal(value, t.user_states.c[name].type).label(name) for name, value in fixed.items()]
    new = sa.select(*values, today.user_id, today.bucket)
    connection.execute(sa.insert(t.user_states).from_select([*fixed, "user_id", "bucket"], new))
    connection.exec_driver_sql(f"DROP TABLE {TODAY.name}")
    return True


def _create(connection: sa.Connection) -> bool:
    """Create the temporary table; return whether this account may."""
    columns = [sa.Column(column.name, column.type, primary_key=column.name == "user_id") for column in TODAY.columns]
    table = sa.Table(TODAY.name, sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    try:
        with connection.begin_nested():
            table.create(connection)
    except DBAPIError:
        return False
    return True


def moved(ledger: Ledger, earlier: date, later: date) -> sa.Select[str, str | None, str | None, date]:
    """Return the query for (user_id, from_bucket, to_bucket, at): who is in another bucket on the later day.

    A bucket is null on a day when the company did not have the user; ``at`` is the first day in the new bucket.
    """
    before, after, ended = (t.user_states.alias(name) for name in ("before", "after", "ended"))
    of = ledger.scope.of

    def on(states: sa.FromClause, day: date) -> sa.ColumnElement[bool]:
        return sa.and_(of(states), states.c.since <= day, states.c.until > day)

    was = sa.select(before.c.user_id, before.c.bucket).where(on(before, earlier)).subquery("was")
    now = sa.select(after.c.user_id, after.c.bucket, after.c.since).where(on(after, later)).subquery("is_now")
    left = (
        sa.select(ended.c.user_id, sa.func.max(ended.c.until).label("at"))
        .where(of(ended), ended.c.until <= later)
        .group_by(ended.c.user_id)
        .subquery("left_on")
    )
    others = (
        sa.select(
            now.c.user_id, was.c.bucket.label("from_bucket"), now.c.bucket.label("to_bucket"), now.c.since.label("at")
        )
        .select_from(now.outerjoin(was, was.c.user_id == now.c.user_id))
        .where(sa.or_(was.c.bucket.is_(None), was.c.bucket != now.c.bucket))
    )
    gone = (
        sa.select(was.c.user_id, was.c.bucket, sa.cast(sa.null(), t.WORD), left.c.at)
        .select_from(was.outerjoin(now, now.c.user_id == was.c.user_id).join(left, left.c.user_id == was.c.user_id))
        .where(now.c.user_id.is_(None))
    )
    rows = sa.union_all(others, gone).subquery("moved")
    return sa.select(rows.c.user_id, rows.c.from_bucket, rows.c.to_bucket, rows.c.at).order_by(
        sa.func.length(rows.c.user_id), rows.c.user_id
    )


def transitions(ledger: Ledger, earlier: date, later: date) -> dict[tuple[str | None, str | None], int]:
    """Return how many users moved from one bucket to another: (from_bucket, to_bucket) -> users."""
    rows = moved(ledger, earlier, later).order_by(None).subquery("moves")
    pair = rows.c.from_bucket, rows.c.to_bucket
    query = sa.select(*pair, sa.func.count()).group_by(*pair)
    with engines.failures(ledger.engine, "reading the history"), ledger.reading.connect() as connection:
        return {(was, now): users for was, now, users in connection.execute(query)}


def moves_from(ledger: Ledger, bucket: str, earlier: date, later: date, most: int) -> list[Move]:
    """Return the first rows of `moved` of users who were in this bucket and still are in the company's table."""
    rows = moved(ledger, earlier, later).order_by(None).subquery("moves")
    return _first(ledger, rows, sa.and_(rows.c.from_bucket == bucket, rows.c.to_bucket.is_not(None)), most)


def first_moves(ledger: Ledger, earlier: date, later: date, most: int, bucket: str = "") -> list[Move]:
    """Return the first rows of `moved`; with ``bucket``, of those who left it or came into it."""
    rows = moved(ledger, earlier, later).order_by(None).subquery("moves")
    touches_it = sa.or_(rows.c.from_bucket == bucket, rows.c.to_bucket == bucket)
    return _first(ledger, rows, touches_it if bucket else sa.true(), most)


def _first(ledger: Ledger, rows: sa.Subquery, which: sa.ColumnElement[bool], most: int) -> list[Move]:
    """Return the first of these rows of `moved`, in its order."""
    query = sa.select(rows.c.user_id, rows.c.from_bucket, rows.c.to_bucket, rows.c.at).where(which)
    query = query.order_by(sa.func.length(rows.c.user_id), rows.c.user_id).limit(most)
    with engines.failures(ledger.engine, "reading the history"), ledger.reading.connect() as connection:
        return [Move(*row) for row in connection.execute(query)]


def moves(ledger: Ledger, earlier: date, later: date) -> list[Move]:
    """Return the rows of `moved`."""
    with engines.failures(ledger.engine, "reading the history"), ledger.reading.connect() as connection:
        return [Move(*row) for row in connection.execute(moved(ledger, earlier, later))]
