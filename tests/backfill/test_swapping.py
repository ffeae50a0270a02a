"""Ids that users exchange: one transaction, one of them by way of NULL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import decisions, runner
from tests.database.test_column_types import NOW, Typed, sc_user, typed
from tests.database.test_tables import run


def exchanging(url: str, reports: Path, wanted: Sequence[int]) -> Typed:
    """Users 1, 2, … who hold the id of their own number under a unique index; a person decided for these instead."""
    people = range(1, len(wanted) + 1)
    run(
        url,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, smartcar_user_id VARCHAR(36))",
        "CREATE UNIQUE INDEX one_each ON users (smartcar_user_id)",
        "CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)",
        *(f"INSERT INTO users VALUES ({n}, '{sc_user(n)}')" for n in people),
        *(f"INSERT INTO vehicles VALUES ({n}, {n})" for n in people),
    )
    at = typed(url, reports, [str(n) for n in people])
    for user, id in enumerate(wanted, 1):
        decisions.decide(at.company, at.ledger, str(user), sc_user(id), by="Ada", reason="sold the car", now=NOW)
    return at


def held(at: Typed) -> list[str | None]:
    """Who holds what, by user."""
    with at.company.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT smartcar_user_id FROM users ORDER BY id")).scalars())


@pytest.mark.parametrize("wanted", [(2, 1), (2, 3, 1), (2, 3, 4)])
@pytest.mark.parametrize("batch_size", [1, 5000])
def test_users_exchange_ids_under_a_unique_index(
    any_database: str, tmp_path: Path, wanted: tuple[int, ...], batch_size: int
) -> None:
    """Two users' ids swapped, three in a ring, or handed on in a row: all are set, and all are put back."""
    at = exchanging(any_database, tmp_path, wanted)
    plan = runner.plan(at.company, at.ledger, NOW)
    size = len(wanted)
    assert size == plan.counts("users")["set"]
    applied = runner.apply(at.company, at.ledger, plan, "run", batch_size=batch_size)
    written = len(applied.table().query("table == 'users' and outcome == 'written'"))
    assert (0, size) == (applied.exit_code, written)
    assert [sc_user(id) for id in wanted] == held(at)
    undone = runner.undo(at.company, at.ledger, "run", "undo", batch_size=batch_size)
    assert (0, applied.count("written")) == (undone.exit_code, undone.count("written"))
    assert [sc_user(n) for n in range(1, size + 1)] == held(at)


@pytest.mark.parametrize(("changed", "left"), [(1, (9, 1)), (2, (2, 9))])
def test_an_exchange_of_which_one_row_changed_leaves_no_row_empty(
    any_database: str, tmp_path: Path, changed: int, left: tuple[int, ...]
) -> None:
    """The row that changed since the plan is skipped; the other, whose id is free by now, is set."""
    at = exchanging(any_database, tmp_path, (2, 1))
    plan = runner.plan(at.company, at.ledger, NOW)
    run(any_database, f"UPDATE users SET smartcar_user_id = '{sc_user(9)}' WHERE id = {changed}")
    applied = runner.apply(at.company, at.ledger, plan, "run")
    assert (0, 1) == (applied.count("failed"), applied.count("skipped"))
    assert [sc_user(id) for id in left] == held(at)
