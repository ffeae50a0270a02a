"""What the history adds to an audit: seconds beside judging everybody, and bytes for each user over a hundred days."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import judge_users
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.storage.parquet import ParquetTable
from tests.benchmarks import filling, millions, servers

MOST = 1.3
"""Times what the audit alone takes that it may take with the history."""

KEPT_USERS, KEPT_DAYS = 100_000, 100
Result = TypeVar("Result")

MOVING = 0.01
"""Users who move each day."""


def measure(users: int) -> None:
    """Prints a table: PostgreSQL, so many users."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        try:
            url = stack.enter_context(servers.postgresql(folder))
        except ImportError:
            print("history: PostgreSQL is not installed, not measured.")
            return
        table = Table("history on PostgreSQL", "size", "seconds", "ratio", "target", box=None)
        for row in rows(url, users, folder):
            table.add_row(*row)
        Console(width=millions.WIDTH).print(table)


def rows(url: str, users: int, folder: Path) -> Iterator[tuple[str, ...]]:
    """The audit alone, the first day's history, that of a day on which one user in a hundred moved, and its bytes."""
    with filling.company(url, users, folder / "reports") as (company, ledger):
        judging, result = timed(lambda: judge_users(company, ledger, filling.NOW))
        size = f"{users:,} users"
        yield "an audit, judging alone", size, millions.seconds(judging)
        states = result.stored["users"].frame()[["user_id", "bucket"]]
        first, _ = timed(lambda: record(ledger, filling.NOW, moved(states, 0)))
        yield "the first day's history", size, millions.seconds(first), ratio(judging, first)
        moving, _ = timed(lambda: record(ledger, filling.NOW + timedelta(days=1), moved(states, 1)))
        yield "a later day's", f"{MOVING:.0%} moved", millions.seconds(moving), *with_target(judging, moving)
        with ledger.begin() as connection:
            for kept in (t.history, t.user_states):
                connection.execute(sa.delete(kept))
        states = states.head(KEPT_USERS)
        for day in range(KEPT_DAYS):
            record(ledger, filling.NOW + timedelta(days=day), moved(states, day))
        with ledger.reading.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            plain.exec_driver_sql(f"VACUUM FULL {t.user_states.name}")
            query = f"SELECT pg_total_relation_size('{t.user_states.name}')"
            held = int(connection.exec_driver_sql(query).scalar_one())
        yield "bytes per user", f"{KEPT_DAYS} days, {len(states):,} users", f"{held / len(states):,.0f} B"


def record(ledger: Ledger, at: datetime, states: pd.DataFrame) -> None:
    """A day's snapshot with everybody's bucket."""
    rows = ParquetTable({"user_id": "str", "bucket": "str"})
    rows.append(states)
    counts = buckets.complete(states["bucket"].value_counts().to_dict())
    assert History(ledger).record(Snapshot(at, counts, complete=True), rows.close())


def moved(states: pd.DataFrame, day: int) -> pd.DataFrame:
    """The users so many days later: each day other ones are in another bucket."""
    rounds = np.arange(len(states)) * 2_654_435_761 % 1_000_003 % round(1 / MOVING)
    return states.assign(bucket=np.where((day - rounds) // round(1 / MOVING) % 2, "mapped", states["bucket"]))


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that the work took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def ratio(judging: float, more: float) -> str:
    """As the table shows an audit with history against the audit alone."""
    return f"{(judging + more) / judging:.2f}"


def with_target(judging: float, more: float) -> tuple[str, str]:
    """The ratio, and whether it is small enough."""
    return ratio(judging, more), millions.target((judging + more) / judging, most=MOST)
