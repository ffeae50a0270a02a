"""The whole migration on a pretend fleet: what ``smartcar-ops demo`` runs and prints."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from smartcar_ops import notebook_runs, terminal
from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import UNKNOWN
from smartcar_ops.clients import Clients
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.history.days import History
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.reports.runner import RunResult
from smartcar_ops.sandbox import company
from smartcar_ops.sandbox.address import Address
from smartcar_ops.settings import environment, startup
from smartcar_ops.settings.home import home
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.storage.run_folder import GOOD, load

AUDIT = "20_audit_user_ids"

STEPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("00_start_here", ()),
    ("40_schema_phases", (("phase", "expand"), ("apply", "True"))),
    (AUDIT, ()),
    ("10_compare_v2_v3", (("vehicles", "60"),)),
    ("30_backfill_user_ids", ()),
    ("30_backfill_user_ids", (("plan", "latest"), ("apply", "True"))),
    (AUDIT, ()),
    ("90_progress_report", ()),
)
PRETEND_DAYS = 3
"""Days before today of which the history tells, as if the Connect callbacks had come in one after the other."""

CALLBACKS_AFTER = "40_schema_phases"
"""After this step the column exists, and the pretend company's own Connect callback begins to fill it."""


def demonstrate() -> None:
    """Run every step, then print the results and the report's path. SmartcarOpsError if a step fails."""
    start = time.monotonic()
    with _sandbox_alone():
        root = home()
        address = startup.sandbox(root, fresh=True)
        click.echo(f"Acting on {startup.settle().where}.")
        results = list(_steps(address))
    _print(results, time.monotonic() - start)


def _steps(address: Address) -> Iterator[RunResult]:
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task, is_audited = bar.add_task("", total=len(STEPS)), False
        for notebook, given in STEPS:
            bar.update(task, description=_label(notebook, given))
            result = notebook_runs.run(notebook, given)
            if result.exit_code not in GOOD:
                raise SmartcarOpsError(f"demo: {notebook} ended with exit code {result.exit_code}: {result.verdict}")
            if notebook == AUDIT and not is_audited:
                is_audited = True
                _live_pretend_days(result)
            yield result
            if notebook == CALLBACKS_AFTER:
                company.play_connect_callbacks(address.database_url, address.world())
            bar.advance(task)


def _live_pretend_days(audit: RunResult) -> None:
    """Give the history three earlier days, on which ever more of the mapped users had not connected again yet."""
    assert audit.folder is not None, "an audit that ended well has a folder"
    users, clients = load(audit.folder)["users"], Clients(startup.settle())
    history = History(clients.ledger)
    (today,) = history.all()
    connected = users.index[users["bucket"] == "mapped"]
    for day in range(PRETEND_DAYS):
        later = connected[len(connected) * (day + 1) // PRETEND_DAYS :]
        states = users[["user_id", "make", "bucket"]].assign(
            bucket=users["bucket"].mask(users.index.isin(later), "ready")
        )
        makes = states.groupby([states["make"].fillna(UNKNOWN), "bucket"]).size().unstack(fill_value=0)
        rows = ParquetTable(dict.fromkeys(user_states.COLUMNS, "str"))
        rows.append(states)
        counts = buckets.complete(states["bucket"].value_counts().to_dict())
        snapshot = replace(today, counts=counts, complete=True, makes=makes.to_dict("index"), calls={})
        history.record(snapshot, rows.close())
        history.set_back(1)
    clients.close()


def _label(notebook: str, given: tuple[tuple[str, str], ...]) -> str:
    return " ".join([notebook, *(value for _, value in given[:1])])


@contextmanager
def _sandbox_alone() -> Iterator[None]:
    """While the block runs, hide all settings but the sandbox from this process and its notebooks."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("SMARTCAR_")]:
        del os.environ[name]
    os.environ[environment.DEMO] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _print(results: list[RunResult], seconds: float) -> None:
    audits = [result.summary["buckets"] for result in results if result.notebook == AUDIT]
    compared = next(result.summary for result in results if result.notebook == "10_compare_v2_v3")
    calls: Counter[str] = Counter()
    for result in results:
        calls.update(result.calls)
    terminal.counts(
        "\nUsers by bucket",
        ("", "before", "after"),
        [(name, audits[0][name], audits[-1][name]) for name in buckets.NAMES] + [("total", *map(_total, audits))],
    )
    scored, verdicts = compared["scored_verdicts"], compared["verdicts"]
    terminal.counts(
        "\nFields by verdict",
        ("", "counted", "beside"),
        [
            *((name, scored.get(name, 0), fields - scored.get(name, 0)) for name, fields in verdicts.items()),
            ("total", compared["scored"], sum(verdicts.values()) - compared["scored"]),
            ("lost or differs", compared["lost_fields"], ""),
        ],
    )
    terminal.counts("\nCalls spent", ("", "units"), [*calls.items(), ("total", sum(calls.values()))])
    click.echo(f"\nRan in {seconds:.0f} s.")
    click.echo(f"Open the report: {results[-1].report}")


def _total(counts: dict[str, Any]) -> int:
    return sum(int(count) for count in counts.values())
