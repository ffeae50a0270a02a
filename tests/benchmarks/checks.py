"""What it costs that an apply asks for every row whether it is still right to set: with the checks, and without."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from smartcar_ops.database.evidence.duplicate_ids import HeldTwice
from smartcar_ops.database.evidence.readiness import Readiness
from tests.benchmarks import filling, millions, servers

USERS = 100_000
ROUNDS = 3
"""Each way is measured so often, in turn; the fastest counts."""

MOST = 15
"""Percent that the checks may add to planning and applying together."""


def measure(users: int = USERS) -> None:
    """Prints a row for each database that is installed here."""
    table = Table("checks before setting", "size", "seconds", "without", "percent added", "target", box=None)
    for kind in servers.SERVERS:
        try:
            pairs = [[_seconds(kind, users, checked=checked) for checked in (True, False)] for _ in range(ROUNDS)]
        except ImportError:
            print(f"{kind}: not installed, not measured.")
            continue
        ours, plain = (min(seconds) for seconds in zip(*pairs, strict=True))
        added = 100 * (ours / plain - 1)
        figures = f"{ours:.2f}", f"{plain:.2f}", f"{added:.0f}"
        table.add_row("plan and apply", f"{kind}, {users:,} users", *figures, millions.target(added, most=MOST))
    Console(width=millions.WIDTH).print(table)


def _seconds(kind: str, users: int, *, checked: bool) -> float:
    """Seconds to plan and apply a whole company in a database of its own."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = stack.enter_context(servers.SERVERS[kind](Path(folder)))
        company, ledger = stack.enter_context(filling.company(url, users, Path(folder) / "reports"))
        stack.enter_context(nullcontext() if checked else _unchecked())
        ours = millions.backfill(company, ledger, users, Path(folder) / "plan.parquet")
        assert ours.wrong == 0, f"{ours.wrong} values amiss"
        return ours.seconds


def _unchecked() -> ExitStack:
    """While it is open, an apply trusts its plan."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(Readiness, "ways", lambda *_: iter([None])))
    for name in ("skip_staged", "take_back"):
        stack.enter_context(mock.patch.object(HeldTwice, name, lambda _: Counter[str]()))
    return stack
