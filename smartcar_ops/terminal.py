"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smartcar_ops.company.runs import pace
from smartcar_ops.migration.checkup import Checkup

WIDEST = 160
"""Columns a list of runs needs: a name that is cut off can be neither undone nor cancelled."""

MARKS = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "unknown": "[yellow]unknown[/]"}


def lines(found: Checkup) -> None:
    """A checkup, a row a line, and its verdict."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "", "found", "next"):
        table.add_column(name)
    for line in found.lines:
        table.add_row(MARKS[line.state], line.question, escape(line.found), escape(line.next_step))
    console = Console()
    console.print(table)
    console.print(found.verdict, highlight=False, markup=False)


def runs(found: Iterable[Mapping[str, Any]]) -> None:
    """The runs of a ledger, newest last."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "act", "status", "started (UTC)", "by", "units", "rows"):
        table.add_column(name, no_wrap=True)
    for run in found:
        by, units = f"{run['operator']}@{run['host']}", sum(run["calls"].values())
        table.add_row(
            run["run_id"], run["act"], run["status"], f"{run['started']:%Y-%m-%d %H:%M}", by, f"{units:,}", far(run)
        )
    Console(width=max(Console().width, WIDEST)).print(table)


def far(run: Mapping[str, Any]) -> str:
    """How far an act that writes is: rows done of all, and how long the rest takes; empty for others."""
    if run["total"] is None:
        return ""
    at = pace(run)
    left = f", {at.left:,.0f} s left" if run["status"] == "running" and at.left is not None else ""
    return f"{at.done:,} of {at.total:,}{left}"


def counts(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A small table of words and numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console().print(table)
