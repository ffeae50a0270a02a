"""Prevents two users from having one id: checks the whole table before a run's first batch and after its last.

Each batch checks too, but in a large table without an index only these two checks cover every user. An undo checks
before its first batch: another user may now have an id that it would put back, and a later run may have changed the
same value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import sqlalchemy as sa

from smartcar_ops.database import column_types, engines
from smartcar_ops.database.column_types import smartcar_id_of
from smartcar_ops.database.evidence.readiness import HELD, Readiness, everybody_holding, evidence_number
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.locks import Held, utcnow
from smartcar_ops.database.ledger.runs import Act, Run, Runs
from smartcar_ops.database.sql_types import Condition
from smartcar_ops.database.tables import IDS, Company

CHANGED_LATER = "a later run changed it; undo that first"
"""Why a row is not put back although it still has the value that the run wrote."""

IdT = TypeVar("IdT", int, str)

BEFORE = 0
"""The batch number of rows skipped before the first batch."""


class HeldTwice:
    """Finds a run's rows whose id another user has or would get, and skips them or puts them back.

    Without ``readiness`` the run is an undo.
    """

    def __init__(self, company: Company, ledger: Ledger, held: Held, readiness: Readiness | None) -> None:
        self._company, self._ledger, self._held, self._readiness = company, ledger, held, readiness
        self._engine, self._runs = engines.writer(company.engine), Runs(ledger)

    def skip_staged(self) -> Counter[str]:
        """Record the staged rows whose id another user has as skipped, and unstage them; return outcome -> rows."""
        row = t.stage.c
        mine = sa.and_(row.token == self._held.token, row.table_name == "users", row.after_value.is_not(None))
        query = sa.select(row.place).where(mine)
        if self._readiness:
            places = self._places(query, row.row_id, row.after_value)
            return self._skip_all(places | self._would_be_shared(mine, self._readiness), HELD)
        skipped: Counter[str] = Counter()
        while places := self._places(query, row.row_id, row.after_value):
            skipped += self._skip_all(places, HELD)  # a row that is not put back may block another one
        return skipped

    def skip_changed_later(self, undone: Run) -> Counter[str]:
        """Record the staged rows of an undo that a later apply changed too as skipped; that one must be undone first.

        Even if such a row has the value that the run wrote, the value is the later run's or the company's own.
        """
        row, run, change = t.stage.c, t.runs.c, t.changes.c
        later = run.started > undone.started if undone.token is None else run.token > undone.token
        applies = sa.select(run.run_id).where(
            run.layout == undone.layout, run.act == Act.APPLY, run.run_id != undone.run_id, run.written > 0, later
        )
        with engines.failures(self._engine, "looking for later changes"), self._engine.connect() as connection:
            names = connection.execute(applies).scalars().all()
            known = (
                sa.select(change.table_name, change.row_id, change.column_name)
                .where(change.run_id.in_(names), change.outcome == "written", change.undone_by.is_(None))
                .distinct()
                .subquery("changed_later")
            )
            same = sa.and_(
                *(known.c[name] == t.stage.c[name] for name in ("table_name", "row_id", "column_name")),
            )
            query = sa.select(row.place).join(known, same).where(row.token == self._held.token)
            places = set(connection.execute(query).scalars()) if names else set()
        return self._skip_all(places, CHANGED_LATER)

    def _skip_all(self, places: set[int], reason: str) -> Counter[str]:
        skipped: Counter[str] = Counter()
        for some in _chunks(places):
            skipped += self._skip(some, reason)
        return skipped

    def take_back(self) -> Counter[str]:
        """Put back the rows of this run whose id another user has by now; return the change of outcome -> rows."""
        if self._readiness is None or self._readiness.look_up != "never":
            return Counter()  # each batch checked every user, or nothing new was set
        row, moved = t.changes.c, Counter[str]()
        written = sa.and_(row.run_id == self._held.run_id, row.table_name == "users", row.outcome == "written")
        for ids in _chunks(self._held_by_several()):
            query = sa.select(row.place).where(written, row.after_value.in_(ids))
            for places in _chunks(self._places(query, row.row_id, row.after_value)):
                moved.update(self._put_back(places))
        return moved

    def _held_by_several(self) -> set[str]:
        """Return the ids that more than one user has; they are few, and found in one scan of the table."""
        holding = everybody_holding(self._company)
        query = sa.select(holding.c.held).group_by(holding.c.held).having(sa.func.count() > 1)
        with engines.failures(self._engine, "looking for ids held twice"), self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def _places(self, query: sa.Select[int], row_id: sa.ColumnElement[str], id: sa.ColumnElement[str]) -> set[int]:
        """Return the query's places whose id another user's row has, unless a person chose another id for that user."""
        other, choice, mine = everybody_holding(self._company), t.choices.c, t.choices.alias("own_choice")
        of = self._ledger.scope.of
        chosen = sa.exists().where(of(mine), mine.c.user_id == row_id)
        moves_on = sa.exists().where(
            of(t.choices),
            choice.user_id == other.c.user_id,
            sa.or_(choice.smartcar_user_id.is_(None), choice.smartcar_user_id != id, chosen),
        )
        held, text = other.c.held == sa.cast(id, sa.String(255)), sa.cast(row_id, sa.String(255))
        query = query.join(other, held).where(other.c.user_id != text, sa.not_(moves_on))
        if self._readiness is None:  # an undo restores the company's own earlier ids even if another user has them
            by_the_kit = sa.or_(self._was_given(other.c.user_id, id), self._was_given(row_id, id))
            query = query.where(by_the_kit, sa.not_(self._gives_up(other.c.user_id, id)))
        with engines.failures(self._engine, "looking for ids held twice"), self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def _was_given(self, user_id: sa.ColumnElement[str], id: sa.ColumnElement[str]) -> Condition:
        """Return the condition that this user got the id from an apply, and it was not undone."""
        change, run = t.changes.alias("given").c, t.runs.alias("giving").c
        return sa.exists().where(
            run.run_id == change.run_id,
            run.act == Act.APPLY,  # what an undo put back is the company's own
            run.layout == self._ledger.scope.layout,
            change.table_name == "users",
            change.row_id == user_id,
            change.after_value == id,
            change.outcome == "written",
            change.undone_by.is_(None),
        )

    def _gives_up(self, other_id: sa.ColumnElement[str], id: sa.ColumnElement[str]) -> Condition:
        """Return the condition that this run itself is about to take back the other user's id."""
        staged = t.stage.alias("given_up").c
        return sa.exists().where(
            staged.token == self._held.token,
            staged.table_name == "users",
            staged.row_id == other_id,
            staged.before_value == id,
        )

    def _would_be_shared(self, mine: Condition, readiness: Readiness) -> set[int]:
        """Return the staged places whose id another user would get by now; only if there is new evidence."""
        with engines.failures(self._engine, "reading the ledger"), self._engine.connect() as connection:
            if evidence_number(connection) == readiness.judged:
                return set()
        with open_workspace(self._company, self._ledger, datetime.now(UTC)) as workspace:
            shared = UserFacts(workspace).shared().subquery("shared_ids")
            query = sa.select(t.stage.c.place).join(shared, shared.c.id == t.stage.c.after_value).where(mine)
            return {row["place"] for row in workspace.rows(query)}

    def _skip(self, places: Sequence[int], reason: str) -> Counter[str]:
        row = t.stage.c
        with engines.failures(self._engine, "skipping rows"), self._engine.begin() as connection:
            self._held.guard(connection)
            chosen = sa.and_(row.token == self._held.token, row.place.in_(places))
            columns = [column for column in t.stage.columns if column.name in t.changes.c]
            values = {"run_id": self._held.run_id, "batch": BEFORE, "outcome": "skipped", "reason": reason}
            literals = [sa.literal(value).label(name) for name, value in values.items()]
            at = sa.literal(utcnow(), t.changes.c.at.type).label("at")
            query = sa.select(*columns, *literals, at).where(chosen)
            names = [column.name for column in columns] + [*values, "at"]
            connection.execute(sa.insert(t.changes).from_select(names, query))
            connection.execute(sa.delete(t.stage).where(chosen))
            skipped = Counter({"skipped": len(places)})
            self._runs.advance(connection, self._held, BEFORE, skipped)
        return skipped

    def _put_back(self, places: Sequence[int]) -> dict[str, int]:
        """Put these rows back if they still have the written value, and change their records to skipped."""
        company, row = self._company, t.changes.c
        column = company.user_id_column
        assert column is not None, "a plan is applied after expand"
        written = (
            sa.select(row.place, row.row_id, row.before_value, row.after_value)
            .where(row.run_id == self._held.run_id, row.outcome == "written", row.place.in_(places))
            .subquery("written")
        )
        identity = company.users.c[company.layout.users.id]
        dialect = self._engine.dialect.name
        holds = column_types.is_same(smartcar_id_of(column), written.c.after_value, dialect)
        is_row = sa.and_(column_types.is_named(identity, written.c.row_id, dialect), holds)
        with engines.failures(self._engine, "putting rows back"), self._engine.begin() as connection:
            self._held.guard(connection)
            unchanged = sa.select(written.c.place).join(company.users, is_row)
            if connection.dialect.name != "sqlite":
                unchanged = unchanged.with_for_update(of=company.users)
            found = connection.execute(unchanged).scalars().all()
            update = sa.update(company.users).where(is_row, written.c.place.in_(found))
            before = column_types.value_of(column, written.c.before_value, dialect)
            connection.execute(update.values({column: before}))
            mine = sa.and_(row.run_id == self._held.run_id, row.outcome == "written", row.place.in_(found))
            connection.execute(sa.update(t.changes).where(mine).values(outcome="skipped", reason=HELD))
            moved = {"written": -len(found), "skipped": len(found)}
            self._runs.advance(connection, self._held, None, moved)
        return moved


def _chunks(values: set[IdT]) -> list[list[IdT]]:
    ordered = sorted(values)
    return [ordered[start : start + IDS] for start in range(0, len(ordered), IDS)]
