"""A day's audit leaves a snapshot and everybody's bucket; who moved between two days is what really happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from smartcar_ops.audit.buckets import NAMES
from smartcar_ops.database import schema
from smartcar_ops.database.ledger import ledger as ledgers
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.history.days import History, Snapshot, StratumParity
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.layout import Layout
from smartcar_ops.storage.parquet import ParquetTable
from tests.conftest import DATABASES

FIRST = date(2026, 10, 1)
States = dict[str, str]
"""User id -> bucket."""


@pytest.fixture(params=DATABASES)
def ledger(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Ledger:
    """A ledger in a database of each kind, with nothing in it."""
    return opened(make_database(request.param), tmp_path)


def opened(url: str, folder: Path, mode: str = "live") -> Ledger:
    """The ledger of a company with empty tables."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)"))
    engine.dispose()
    company = Company.connect(url, Layout())
    schema.expand(company, Ledger.open(company, Scope("here", mode), folder))
    return Ledger.open(company, Scope("here", mode), folder)


def table(states: States) -> ParquetTable:
    """The audit's table of users."""
    rows = ParquetTable({"user_id": "str", "bucket": "str"})
    if states:
        rows.append(pd.DataFrame({"user_id": [*states], "bucket": [*states.values()]}))
    return rows.close()


def record(ledger: Ledger, day: date, states: States, *, hour: int = 5, complete: bool = True) -> bool:
    """The snapshot of a day's audit, with everybody's bucket."""
    counts = {name: [*states.values()].count(name) for name in NAMES}
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    return History(ledger).record(Snapshot(at, counts, complete), table(states))


def lived(seed: int, days: int) -> dict[date, States]:
    """What a company's users were on each day with an audit: they move, join and leave; some days have none."""
    chance, states, told = random.Random(seed), dict[str, str](), dict[date, States]()
    for number in range(days):
        for user in range(40):
            name = str(user + 1)
            if chance.random() < 0.1:
                states[name] = chance.choice(NAMES)
            elif name in states and chance.random() < 0.02:
                del states[name]
        if number == 0 or chance.random() < 0.7:
            told[FIRST + timedelta(days=number)] = dict(states)
    return told


def true_moves(told: dict[date, States], earlier: date, later: date) -> set[tuple[str, str | None, str | None]]:
    """Who is in another bucket at the later day's last audit than at the earlier day's."""
    was, now = (told[max(day for day in told if day <= moment)] for moment in (earlier, later))
    return {(user, was.get(user), now.get(user)) for user in {*was, *now} if was.get(user) != now.get(user)}


def test_who_moved_is_what_really_happened(ledger: Ledger) -> None:
    """Between any two days, with gaps, newcomers, people who leave, and audits made twice a day."""
    told, chance = lived(1, 25), random.Random(2)
    for day, states in told.items():
        if chance.random() < 0.4:  # an earlier audit of the day, which the later one replaces
            record(ledger, day, {user: chance.choice(NAMES) for user in states if chance.random() < 0.9})
        record(ledger, day, states, hour=9)
    last = max(told)
    for earlier in range(25):
        for later in range(earlier, 25):
            days = FIRST + timedelta(days=earlier), FIRST + timedelta(days=later)
            moves = user_states.moves(ledger, *days)
            assert true_moves(told, *days) == {row[:3] for row in moves}
            assert len(moves) == len({row[0] for row in moves})
            assert all(days[0] < row[3] <= days[1] for row in moves)
    with ledger.reading.connect() as connection:
        (overlaps,) = connection.execute(
            sa.select(sa.func.count()).where(t.user_states.c.until <= t.user_states.c.since)
        )
        still = connection.execute(
            sa.select(sa.func.count()).where(t.user_states.c.until == user_states.STILL)
        ).scalar()
    assert (0, len(told[last])) == (overlaps[0], still)


def test_the_day_of_a_move_is_the_first_audit_that_saw_it(ledger: Ledger) -> None:
    """Also for somebody who left, and for somebody who came and went back."""
    for number, states in enumerate([{"1": "ready", "2": "ready"}, {"1": "mapped", "2": "ready"}, {"1": "ready"}]):
        record(ledger, FIRST + timedelta(days=3 * number), states)
    days = [FIRST + timedelta(days=number) for number in (0, 3, 6)]
    assert [("1", "ready", "mapped", days[1])] == user_states.moves(ledger, days[0], days[1])
    assert [("2", "ready", None, days[2])] == user_states.moves(ledger, days[0], days[2])
    assert [("1", "mapped", "ready", days[2]), ("2", "ready", None, days[2])] == user_states.moves(
        ledger, days[1], days[2]
    )


def test_a_days_audits_leave_one_snapshot(ledger: Ledger) -> None:
    """The last one, but never an incomplete one in place of a whole one; what it left of everybody goes with it."""
    assert record(ledger, FIRST, {"1": "unasked"}, complete=False)
    assert record(ledger, FIRST, {"1": "ready"}, hour=6)
    assert not record(ledger, FIRST, {"1": "conflict"}, hour=7, complete=False)
    record(ledger, FIRST + timedelta(days=1), {"1": "mapped"}, complete=False)
    first, second = History(ledger).all()
    assert (1, True, 6, True) == (first.counts["ready"], first.complete, first.at.hour, first.has_states)
    assert (1, False) == (second.counts["mapped"], second.complete)
    assert [first] == History(ledger).all(until=FIRST)
    assert [("1", "ready", "mapped", second.day)] == user_states.moves(ledger, first.day, second.day)


def test_a_clock_set_back_harms_nothing(ledger: Ledger) -> None:
    """A snapshot of an earlier day is stored, and everybody's buckets remain those of the later day."""
    record(ledger, FIRST + timedelta(days=5), {"1": "ready"})
    record(ledger, FIRST + timedelta(days=2), {"1": "conflict"})
    record(ledger, FIRST + timedelta(days=6), {"1": "mapped"})
    assert [False, True, True] == [day.has_states for day in History(ledger).all()]
    later = FIRST + timedelta(days=5), FIRST + timedelta(days=6)
    assert [("1", "ready", "mapped", later[1])] == user_states.moves(ledger, *later)


def test_all_that_a_snapshot_knows_is_read_back(ledger: Ledger) -> None:
    """Users by make, the comparison's groups and the units, as they were stored."""
    at = datetime(2026, 10, 1, 5, 4, 3, 2, tzinfo=UTC)
    parity = StratumParity("BMW", "BEV", 12, 140, 3, 131, refused=True)
    makes = {"BMW": {"mapped": 3}, "several": {"ready": 1}, "unknown": {"no_vehicles": 2}}
    stored = Snapshot(at, {"mapped": 3}, True, makes, (parity,), {"v2": 7, "v3": 9}, "20261001T050403Z__20", True)
    History(ledger).record(stored, table({"1": "mapped"}))
    assert [stored] == History(ledger).all()


def test_other_modes_and_tables_keep_their_own(ledger: Ledger) -> None:
    """The history of another mode is not this one's."""
    other = Ledger(ledger.engine, Scope("here", "simulated", ledger.scope.layout), in_database=True)
    record(ledger, FIRST, {"1": "ready"})
    record(other, FIRST, {"1": "mapped"})
    record(other, FIRST + timedelta(days=1), {})
    assert [] == user_states.moves(ledger, FIRST, FIRST + timedelta(days=1))
    assert [("1", "mapped", None, FIRST + timedelta(days=1))] == user_states.moves(
        other, FIRST, FIRST + timedelta(days=1)
    )


def test_it_moves_into_the_database_with_the_file(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """What the file kept before expand is in the database after it; copying twice changes nothing."""
    engine = sa.create_engine(url := make_database("sqlite"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("CREATE TABLE vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)"))
    company = Company.connect(url, Layout())
    file = Ledger.open(company, Scope("here", "live"), tmp_path)
    assert not file.in_database
    record(file, FIRST, {"1": "ready", "2": "ready"})
    record(file, FIRST + timedelta(days=1), {"1": "mapped", "2": "ready"})
    schema.expand(company, file)
    ledger = Ledger.open(company, Scope("here", "live"), tmp_path)
    assert ledger.in_database
    record(ledger, FIRST + timedelta(days=2), {"1": "mapped", "2": "mapped"})
    ledgers.copy(file, ledger)
    assert 3 == len(History(ledger).all())
    assert {"1", "2"} == {row[0] for row in user_states.moves(ledger, FIRST, FIRST + timedelta(days=2))}


def test_an_account_that_may_make_no_temporary_table_keeps_the_days(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    """The snapshot is stored, that nobody's bucket is known is said with it, and the next whole one starts anew."""
    url = sa.make_url(make_database("postgresql"))
    ledger = opened(url.render_as_string(hide_password=False), tmp_path)
    role = f"plain_{url.database}"
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        connection.exec_driver_sql(f"REVOKE TEMPORARY ON DATABASE {url.database} FROM PUBLIC")
    plain = Ledger(sa.create_engine(url.set(username=role, password="p")), ledger.scope, in_database=True)
    record(plain, FIRST, {"1": "ready"})
    assert [False] == [day.has_states for day in History(ledger).all()]
    record(ledger, FIRST, {"1": "ready"})
    record(plain, FIRST + timedelta(days=1), {"1": "conflict"})
    record(ledger, FIRST + timedelta(days=2), {"1": "mapped"})
    assert [True, False, True] == [day.has_states for day in History(ledger).all()]
    days = FIRST, FIRST + timedelta(days=2)
    assert [("1", "ready", "mapped", days[1])] == user_states.moves(ledger, *days)
    plain.engine.dispose()
