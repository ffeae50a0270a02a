"""A million users: planning and applying against the plain way, row by row; and what an audit holds in memory."""

from __future__ import annotations

import inspect
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from smartcar_ops.backfill import runner
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from tests.benchmarks import audit_memory, filling, row_by_row, servers

USERS = 1_000_000
RUN = "bench"
BATCH = 5_000
TARGETS = {"postgresql": 80, "sqlite": 35}
"""How many times faster than the plain way planning and applying together are meant to be."""

WIDTH = 120
SAMPLES = 3
"""Of the plain way, the fastest counts: a busy machine must not make the kit look better."""

AUDIT_MIB = 60
"""How much an audit may add to its process's memory."""


@dataclass(frozen=True)
class Backfill:
    """The kit's side: seconds to plan and to apply, those of each batch, values written and values found wrong."""

    planning: float
    applying: float
    batches: list[float]
    written: int
    wrong: int

    @property
    def seconds(self) -> float:
        """Planning and applying together."""
        return self.planning + self.applying


def measure(users: int = USERS) -> None:
    """Prints a table for each database that is installed here."""
    for kind in servers.SERVERS:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            try:
                url = stack.enter_context(servers.SERVERS[kind](Path(folder)))
            except ImportError:
                print(f"{kind}: not installed, not measured.")
                continue
            table = Table("measured", "size", "seconds", "ratio", "target", title=f"{kind}, {users:,} users", box=None)
            for row in rows(kind, url, users, Path(folder)):
                table.add_row(*row)
            Console(width=WIDTH).print(table)


def rows(kind: str, url: str, users: int, folder: Path) -> Iterator[tuple[str, ...]]:
    """What is measured on one database, a row of the table each."""
    start = time.perf_counter()
    with filling.company(url, users, folder / "reports") as (company, ledger):
        yield "filling", f"{users:,} users, {filling.cars(users):,} vehicles", seconds(time.perf_counter() - start)
        grown = audit_memory.measured(url, folder / "reports")
        yield "audit, memory added", f"{users:,} users", "", f"{grown:,.0f} MiB", target(grown, most=AUDIT_MIB)
        samples = [row_by_row.measure(company.engine, ledger.scope, users, filling.NOW) for _ in range(SAMPLES)]
        sample = min(samples, key=lambda one: one.seconds)
        yield f"row by row, the best of {SAMPLES} samples", f"{sample.written:,} values", seconds(sample.seconds)
        ours = backfill(company, ledger, users, folder / "plan.parquet")
        yield from compared(kind, sample, ours)


def compared(kind: str, sample: row_by_row.Sample, ours: Backfill) -> Iterator[tuple[str, ...]]:
    """The kit's seconds beside those that the plain way would have taken for as many values."""
    size, plain = f"{ours.written:,} values", sample.of(ours.written)
    ratio = plain / ours.seconds
    yield f"row by row, reckoned from {sample.written:,}", size, seconds(plain)
    yield "plan", size, seconds(ours.planning), times(plain / ours.planning)
    yield "apply", size, seconds(ours.applying), times(plain / ours.applying)
    yield "plan and apply", size, seconds(ours.seconds), times(ratio), target(ratio, least=TARGETS[kind])
    spread = min(ours.batches), statistics.median(ours.batches), max(ours.batches)
    yield "a batch: least, median, most", f"{BATCH:,} values", " / ".join(f"{one:.3f}" for one in spread) + " s"
    yield "values amiss, or without record", size, f"{ours.wrong:,}", "", target(ours.wrong, most=0)


def backfill(company: Company, ledger: Ledger, users: int, path: Path) -> Backfill:
    """Plans and applies as the notebook does, and looks with SQL whether every value is there."""
    batches = Batches()
    start = time.perf_counter()
    plan = _plan(company, ledger, path)
    planned = time.perf_counter()
    batches.begin()
    runner.apply(company, ledger, plan, RUN, batch_size=BATCH, progress=batches)
    ended = time.perf_counter()
    values = users + filling.cars(users)
    amiss = filling.wrong(company.engine, users) + abs(recorded(company.engine) - values)
    return Backfill(planned - start, ended - planned, batches.seconds, batches.written, amiss)


def _plan(company: Company, ledger: Ledger, path: Path) -> runner.Plan:
    """A plan, written to its file as it is made or, where planning does not, afterwards."""
    if "path" in inspect.signature(runner.plan).parameters:
        return partial(runner.plan, company, ledger, filling.NOW)(path)
    plan = runner.plan(company, ledger, filling.NOW)
    plan.save(path)
    return plan


def recorded(engine: sa.Engine) -> int:
    """How many values of this run the ledger has as written."""
    query = sa.select(sa.func.count()).where(t.changes.c.run_id == RUN, t.changes.c.outcome == "written")
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


class Batches:
    """Told after every batch: how long each took, and the values written so far."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.written = 0
        self._last = 0.0

    def begin(self) -> None:
        """Now the first batch starts; it has the act's own beginning in it."""
        self._last = time.perf_counter()

    def __call__(self, _done: int, _of: int, written: int) -> None:
        """What `backfilling.apply` calls its progress with."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last, self.written = now, written


def seconds(value: float) -> str:
    """As the table shows a time."""
    return f"{value:,.2f} s"


def times(value: float) -> str:
    """As the table shows a ratio."""
    return f"{value:,.1f}"


def target(value: float, *, least: float | None = None, most: float | None = None) -> str:
    """The target in words, and whether it is met."""
    met, words = (value >= least, f"at least {least:g}") if least is not None else (value <= most, f"at most {most:g}")
    return f"{words}: {'met' if met else 'NOT met'}"
