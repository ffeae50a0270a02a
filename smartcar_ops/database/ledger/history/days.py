"""One snapshot per UTC day with an audit; a day without one stays a gap."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.storage.parquet import ParquetTable

log = logging.getLogger("smartcar_ops.audit")


@dataclass(frozen=True)
class StratumParity:
    """The last comparison of one make and powertrain: vehicles read, scored fields, and those lost or different."""

    make: str
    powertrain: str
    vehicles: int
    scored: int
    lost: int
    judged: int
    refused: bool


@dataclass(frozen=True)
class Snapshot:
    """What the audit of a day found; ``complete`` is true if it reached everything.

    ``at`` is when the audit began (UTC): later changes may be missing. ``counts`` are users by bucket, ``makes`` the
    same by the make of their vehicles, ``strata`` the last comparison, ``calls`` all units spent so far, by API.
    """

    at: datetime
    counts: dict[str, int]
    complete: bool
    makes: Mapping[str, dict[str, int]] = field(default_factory=dict)
    strata: Sequence[StratumParity] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    run_id: str = ""
    has_states: bool = False
    """Whether the users' buckets of this day are known one by one."""

    @property
    def day(self) -> date:
        """The UTC day of the audit."""
        return self.at.date()


class History:
    """The snapshots of one scope."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mine = ledger.scope.of(t.history)

    def all(self, until: date | None = None) -> list[Snapshot]:
        """Return the snapshots, oldest first; with ``until``, none of a later day."""
        query = sa.select(t.history).where(self._mine).order_by(t.history.c.day)
        if until is not None:
            query = query.where(t.history.c.day <= until)
        with (
            engines.failures(self._ledger.engine, "reading the history"),
            self._ledger.reading.connect() as connection,
        ):
            return [_snapshot(row) for row in connection.execute(query).mappings()]

    def newest(self) -> Snapshot | None:
        """Return the newest snapshot; None if there is none."""
        query = sa.select(t.history).where(self._mine).order_by(t.history.c.day.desc()).limit(1)
        with (
            engines.failures(self._ledger.engine, "reading the history"),
            self._ledger.reading.connect() as connection,
        ):
            row = connection.execute(query).mappings().first()
        return None if row is None else _snapshot(row)

    def record(self, snapshot: Snapshot, users: ParquetTable) -> bool:
        """Store the snapshot in place of an earlier one of its day, and the users' buckets (``user_id``, ``bucket``).

        An incomplete one never replaces a complete one; returns False if it did not. Both are stored in one
        transaction. Buckets are left out if this account may create no temporary table, or if a later day is known.
        """
        for attempt in range(1, engines.TRIES + 1):
            with engines.failures(self._ledger.engine, "writing the history"):
                try:
                    return self._record(snapshot, users)
                except DBAPIError as error:  # another audit may end at the same moment
                    if attempt == engines.TRIES or not (isinstance(error, IntegrityError) or engines.is_passing(error)):
                        raise
        raise AssertionError("the last attempt returns or raises")

    def set_back(self, days: int) -> None:
        """Move everything that is recorded so many days back, as the sandbox's demo does for its pretend days."""
        by, row = timedelta(days=days), t.user_states.c
        mine = self._ledger.scope.of(t.user_states)
        with engines.failures(self._ledger.engine, "writing the history"), self._ledger.begin() as connection:
            for day in self.all():
                moved = sa.update(t.history).where(self._mine, t.history.c.day == day.day)
                connection.execute(moved.values(day=day.day - by, at=t.as_kept(day.at - by)))
            ends = {
                *connection.execute(
                    sa.union(sa.select(row.since).where(mine), sa.select(row.until).where(mine))
                ).scalars()
            }
            for end in sorted(ends - {user_states.STILL}):
                for column in (row.since, row.until):
                    connection.execute(sa.update(t.user_states).where(mine, column == end).values({column: end - by}))

    def _record(self, snapshot: Snapshot, users: ParquetTable) -> bool:
        row, day = t.history.c, snapshot.day
        with self._ledger.begin() as connection:
            of_day = sa.and_(self._mine, row.day == day)
            known = connection.execute(sa.select(row.complete).where(of_day)).scalar_one_or_none()
            if known and not snapshot.complete:
                return False
            newest = connection.execute(sa.select(sa.func.max(row.day)).where(self._mine)).scalar_one_or_none()
            is_newest = newest is None or day >= newest
            has_states = is_newest and user_states.write(
                connection, self._ledger.scope, day, users.tables(user_states.COLUMNS)
            )
            values = self._ledger.scope.row(
                t.history,
                day=day,
                at=t.as_kept(snapshot.at),
                run_id=snapshot.run_id,
                complete=snapshot.complete,
                has_states=has_states,
                counts=json.dumps(snapshot.counts),
                makes=json.dumps(dict(snapshot.makes)),
                strata=json.dumps([vars(stratum) for stratum in snapshot.strata]),
                calls=json.dumps(dict(snapshot.calls)),
            )
            connection.execute(sa.delete(t.history).where(of_day))
            connection.execute(sa.insert(t.history), [values])
        return True


def _snapshot(row: sa.RowMapping) -> Snapshot:
    return Snapshot(
        at=row["at"].replace(tzinfo=UTC),
        counts=json.loads(row["counts"]),
        complete=bool(row["complete"]),
        makes=json.loads(row["makes"]),
        strata=tuple(StratumParity(**stratum) for stratum in json.loads(row["strata"])),
        calls=json.loads(row["calls"]),
        run_id=row["run_id"],
        has_states=bool(row["has_states"]),
    )
