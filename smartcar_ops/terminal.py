"""Tables and progress displays for the terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.runs import Act, Run, pace
from smartcar_ops.settings.logs import LogLine
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.backfill.undo_preview import Undoable
    from smartcar_ops.backfill.user_story import UserStory
    from smartcar_ops.doctor import Checkup
    from smartcar_ops.storage.run_log import StepProgress

WIDEST = 160
"""Characters per line that a list of runs needs: a truncated run name can be neither undone nor cancelled."""

ROWS, BATCH_ROWS = 20, 10_000
"""Most rows listed for a run, and for one batch of it."""

MOMENT = "%Y-%m-%d %H:%M:%S"
MARKS = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "unknown": "[yellow]unknown[/]"}


def lines(found: Checkup) -> None:
    """Print a checkup, one row per check, and its verdict."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "", "found", "next step"):
        table.add_column(name)
    for line in found.lines:
        table.add_row(MARKS[line.state], line.question, escape(line.found), escape(line.next_step))
    console = Console()
    console.print(table)
    console.print(found.verdict, highlight=False, markup=False)


def runs(found: Iterable[Run]) -> None:
    """Print the runs of a ledger, newest last."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "act", "status", "started (UTC)", "by", "units", "rows"):
        table.add_column(name, no_wrap=True)
    for run in found:
        by, units = f"{run.operator}@{run.host}", sum(run.calls.values())
        started = f"{run.started:%Y-%m-%d %H:%M}"
        table.add_row(run.run_id, run.act, acts.state(run), started, by, f"{units:,}", far(run))
    Console(width=max(Console().width, WIDEST)).print(table)


def far(run: Run) -> str:
    """Return the progress of a run in words: its rows, and the time left or how long it has given no sign of life."""
    parts = []
    progress = pace(run)
    if run.total is not None:
        parts += [f"{progress.done:,} of {progress.total:,}", f"{run.written:,} {acts.did(run)}"]
    if quiet := acts.silence(run):
        parts.append(quiet)
    elif acts.state(run) == "running" and progress.left is not None:
        parts.append(f"{progress.left:,.0f} s left")
    return ", ".join(parts)


def run(found: Run, undoable: Undoable) -> None:
    """Print one run: its facts, one per line, its batches, and its rows that can be undone."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    ended = f"{found.ended:{MOMENT}}" if found.ended else ""
    for name, value in (
        ("run", found.run_id),
        ("act", acts.name(found)),
        ("plan", found.plan if found.act != Act.UNDO else None),
        ("status", acts.state(found)),
        ("by", f"{found.operator}@{found.host}"),
        ("started (UTC)", f"{found.started:{MOMENT}}"),
        ("ended (UTC)", ended),
        ("units", f"{sum(found.calls.values()):,}"),
        ("rows", far(found)),
        ("verdict", found.summary.get("verdict")),
    ):
        if value:
            facts.add_row(name, escape(str(value)))
    console = Console(width=max(Console().width, WIDEST))
    console.print(facts, highlight=False)
    if not undoable.batches:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("batch", "table", acts.did(found), "skipped", "failed", "can be undone", "ended (UTC)"):
        table.add_column(name, justify="left" if name in ("table", "ended (UTC)") else "right")
    for batch, table_name, *numbers, ended_at in undoable.batches:
        table.add_row(str(batch), table_name, *(f"{number:,}" for number in numbers), f"{ended_at:{MOMENT}}")
    console.print()
    console.print(table)
    console.print()
    _undoable(console, undoable)


def _undoable(console: Console, undoable: Undoable) -> None:
    """Print the rows that can be undone, each with its name, and the command that undoes them."""
    if undoable.refused or not undoable.count:
        console.print(undoable.refused or "Nothing left to undo for this run.", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("can be undone", "column", "current value", "previous value"):
        table.add_column(name, no_wrap=True)
    lines = [(row.name, row.column, row.now, row.back) for row in undoable.rows]
    for line in lines:
        table.add_row(*map(escape, line))
    Console(width=max(console.width, *(sum(map(len, line)) + 8 for line in lines))).print(table)
    is_run = undoable.count > len(lines) and ":" not in undoable.target
    more = f"; `smartcar-ops runs {undoable.target}:BATCH` lists those of one batch" if is_run else ""
    hint = f"{thousands(undoable.count, 'rows')}{more}. Undo one by its name, or all of them: `{undoable.command}`."
    console.print(hint, highlight=False, markup=False, soft_wrap=True)


def story(found: UserStory) -> None:
    """Print what is known about one user: in sentences, then one table per kind of fact, each row on one line."""
    console = Console()
    for words in (*found.sentences, *found.decide):
        console.print(words, highlight=False, markup=False, soft_wrap=True)
    for title, frame in found.tables().items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in frame.columns:
            table.add_column(name, no_wrap=True)
        for row in frame.itertuples(index=False, name=None):
            table.add_row(*map(escape, row))
        widths = (max(map(len, (name, *frame[name]))) + 2 for name in frame.columns)
        console.print()
        Console(width=max(console.width, sum(widths), len(title))).print(table, highlight=False)


def counts(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table of labels and numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console().print(table)


class RunDisplay:
    """Shows a run on stderr while it works: one line per step, its log, and in a terminal a bar for a long step.

    ``quiet`` leaves out the steps and the bar. If stderr can't be written, the output is lost and the run continues.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self.log: logging.Handler = _Log(self._print)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task("")
        self._quiet, self._has_bar = quiet, console.is_interactive and not quiet

    def __enter__(self) -> RunDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self.show(None)

    def say(self, words: str) -> None:
        """Print the step that begins now."""
        if not self._quiet:
            self._print(words)

    def show(self, far: StepProgress | None) -> None:
        """Show the progress of a step, until it is done or the next one begins."""
        if not self._has_bar:
            return
        with suppress(OSError, ValueError):
            if far is None or far.done >= far.of:
                self._bar.stop()
            else:
                if far.what != self._bar.tasks[0].description:
                    self._bar.reset(self._task)
                self._bar.update(self._task, description=far.what, completed=far.done, total=far.of)
                self._bar.start()

    def _print(self, words: str) -> None:
        with suppress(OSError, ValueError):
            if self._has_bar:
                self._bar.console.print(words, markup=False, highlight=False, soft_wrap=True)
            else:
                click.echo(words, err=True)


class _Log(logging.Handler):
    """Prints each log record as one line."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        super().__init__()
        self._print = print_line
        self.setFormatter(LogLine())

    def emit(self, record: logging.LogRecord) -> None:
        self._print(self.format(record))
