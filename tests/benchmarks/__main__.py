"""`make bench`: what the kit gains against the plain way, measured in the same run; `--users N` for a shorter one."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from smartcar_ops.audit import buckets
from smartcar_ops.database.evidence import user_facts as judging
from smartcar_ops.database.evidence.workspace import open_workspace
from tests.benchmarks import checks, comparing, history, millions, running
from tests.support.house import House

USERS = 5_000
SLOW_USERS = 60


def main() -> None:
    """Prints a row a measurement: what, how big, how long, how much faster than the plain way."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--users", type=int, default=millions.USERS, help="of the backfill (default: %(default)s)")
    millions_of = parser.parse_args().users
    table = Table(box=None)
    for name in ("measured", "size", "this kit", "the plain way", "ratio"):
        table.add_column(name)
    for measure in (asking_side_by_side, counting_in_sql):
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(*measure(Path(folder)))
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory of this process, the sandbox included: {peak:,.0f} MiB.")
    running.measure()
    comparing.measure()
    checks.measure(min(checks.USERS, millions_of))
    history.measure(millions_of)
    millions.measure(millions_of)


def asking_side_by_side(folder: Path) -> tuple[str, ...]:
    """Linking a small fleet at 100 ms a call: eight threads against one."""
    seconds = []
    for threads in (8, 1):
        root = folder / f"threads{threads}"
        house = House(f"sqlite:///{folder}/{threads}.sqlite", root, users=SLOW_USERS, faults=("slow",)).expand()
        with ThreadPoolExecutor(threads) as executor:
            seconds.append(timed(partial(house.linker().ask, ("connections", "tokens", "vins"), executor)))
        calls = sum(house.transport.spent.values())
        house.close()
    return row(f"linking at 100 ms a call, {calls} calls", f"{SLOW_USERS} users", seconds)


def counting_in_sql(folder: Path) -> tuple[str, ...]:
    """Counting the buckets in the database, against fetching every user's facts and judging them in Python."""
    house = House(f"sqlite:///{folder}/company.sqlite", folder / "house", users=USERS).expand().play_callbacks()
    house.ask()

    def in_sql() -> None:
        with open_workspace(house.company, house.ledger, house.now) as at:
            list(at.rows(judging.UserFacts(at).counted(buckets.RULES)))

    def in_python() -> None:
        with open_workspace(house.company, house.ledger, house.now) as at:
            for facts in at.rows(judging.UserFacts(at).judged(buckets.RULES)):
                buckets.bucket_of({name: bool(facts[name]) for _, when in buckets.RULES for name, _ in when})

    seconds = [timed(in_sql), timed(in_python)]
    house.close()
    return row("users by bucket", f"{USERS:,} users", seconds)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(what: str, size: str, seconds: list[float]) -> tuple[str, ...]:
    """A table's row from the kit's seconds and the plain way's."""
    ours, plain = seconds
    return what, size, f"{ours:.2f} s", f"{plain:.2f} s", f"{plain / ours:.1f}"


if __name__ == "__main__":
    main()
