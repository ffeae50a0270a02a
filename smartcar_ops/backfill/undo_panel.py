"""The changes of a run as widgets: its batches and its rows, a page at a time, each with a button that undoes it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ipywidgets as widgets

from smartcar_ops.backfill import undo_preview
from smartcar_ops.backfill.undo_preview import UndoRow
from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.change_log import BatchCounts
from smartcar_ops.database.ledger.runs import Run
from smartcar_ops.display.widgets import WIDE, in_a_row, indented, muted
from smartcar_ops.session import Session
from smartcar_ops.text import thousands

BATCHES, ROWS = 5, 10
"""Batches and rows on one page."""

MAX_RUNS = 30
"""Runs that are listed; any other run can be typed as the target."""

Line = TypeVar("Line")


@dataclass(frozen=True)
class LineButton(Generic[Line]):
    """A button that every line of a page has; ``may`` says whether it may be pressed for a line."""

    description: str
    icon: str
    tooltip: str
    press: Callable[[Line], None]
    may: Callable[[Line], bool]


class Pages(Generic[Line]):
    """Lines with buttons, one page at a time; ``load`` returns the lines after a key, at most so many.

    The widgets are made once and used for every page.
    """

    def __init__(
        self,
        noun: str,
        size: int,
        load: Callable[[Any, int], Sequence[Line]],
        key: Callable[[Line], object],
        words: Callable[[Line], str],
        buttons: Sequence[LineButton[Line]],
    ) -> None:
        self._size, self._load, self._key, self._words, self._line_buttons = size, load, key, words, buttons
        self.lines: list[Line] = []
        self._starts: list[object] = [None]
        self._more, self._busy = False, False
        self.texts = [widgets.HTML() for _ in range(size)]
        self.buttons = [[self._button(one, place) for one in buttons] for place in range(size)]
        pairs = zip(self.buttons, self.texts, strict=True)
        self._boxes = [in_a_row(*found, text) for found, text in pairs]
        wide = widgets.Layout(width="100px")
        self.back = widgets.Button(description="Previous", tooltip=f"The {noun} before these", layout=wide)
        self.forward = widgets.Button(description="Next", tooltip=f"The {noun} after these", layout=wide)
        self.back.on_click(lambda _: self._move(forward=False))
        self.forward.on_click(lambda _: self._move(forward=True))
        self._moving = widgets.HBox([self.back, self.forward])
        self.box = widgets.VBox([*self._boxes, self._moving])
        self._show()

    def show(self, *, first: bool = False) -> None:
        """Load the page again, or the first page; the page before if this one has no lines any more."""
        self._starts = [None] if first else self._starts
        self._load_page()
        while not self.lines and len(self._starts) > 1:
            self._starts.pop()
            self._load_page()
        self._show()

    def enable(self, *, busy: bool) -> None:
        """Disable the buttons of the lines while the panel is busy."""
        self._busy = busy
        self._show()

    def _load_page(self) -> None:
        found = list(self._load(self._starts[-1], self._size + 1))
        self.lines, self._more = found[: self._size], len(found) > self._size

    def _move(self, *, forward: bool) -> None:
        if forward and self._more:
            self._starts.append(self._key(self.lines[-1]))
        elif not forward and len(self._starts) > 1:
            self._starts.pop()
        self.show()

    def _button(self, one: LineButton[Line], place: int) -> widgets.Button:
        button = widgets.Button(
            description=one.description, icon=one.icon, tooltip=one.tooltip, layout=widgets.Layout(width="110px")
        )
        button.on_click(lambda _: self._press(one, place))
        return button

    def _press(self, one: LineButton[Line], place: int) -> None:
        if place < len(self.lines) and not self._busy and one.may(self.lines[place]):
            one.press(self.lines[place])

    def _show(self) -> None:
        for place, (box, text) in enumerate(zip(self._boxes, self.texts, strict=True)):
            line = self.lines[place] if place < len(self.lines) else None
            box.layout.display = "none" if line is None else ""
            if line is not None:
                text.value = html.escape(self._words(line))
                for one, button in zip(self._line_buttons, self.buttons[place], strict=True):
                    button.disabled = self._busy or not one.may(line)
        self.back.disabled, self.forward.disabled = len(self._starts) == 1, not self._more
        self._moving.layout.display = "none" if self.back.disabled and self.forward.disabled else ""


class UndoList:
    """Lists what can be undone of a run; a button gives its target (``RUN:BATCH`` or ``RUN:BATCH:ROW``) to ``undo``.

    ``choose`` is called with the run that is chosen in the list of runs.
    """

    def __init__(self, session: Session, *, undo: Callable[[str], None], choose: Callable[[str], None]) -> None:
        self._session, self._choose = session, choose
        self._run_id, self._batch = "", 0
        self._filling = False
        self.runs = widgets.Dropdown(description="Changes of", layout=widgets.Layout(width=WIDE))
        self.batches = Pages(
            "batches",
            BATCHES,
            lambda after, most: undo_preview.batch_page(session.ledger, self._run_id, most, after),
            lambda batch: batch.batch,
            _batch_in_words,
            [
                LineButton[BatchCounts](
                    "Put back",
                    "undo",
                    "Undo this batch; you confirm first",
                    lambda batch: undo(f"{self._run_id}:{batch.batch}"),
                    lambda batch: batch.standing > 0,
                ),
                LineButton[BatchCounts](
                    "Show rows",
                    "list",
                    "List the rows of this batch only",
                    lambda batch: self._show_batch(batch.batch),
                    lambda batch: batch.standing > 0,
                ),
            ],
        )
        self.rows = Pages(
            "rows",
            ROWS,
            lambda after, most: undo_preview.row_page(session.ledger, self._target, most, after),
            lambda row: row.place,
            lambda row: f"{row.name.rpartition(':')[2]} · {row.column} · now {row.now} · before {row.back}",
            [
                LineButton[UndoRow](
                    "Put back",
                    "undo",
                    "Undo this row; you confirm first",
                    lambda row: undo(row.name),
                    lambda row: True,
                )
            ],
        )
        self.title = widgets.HTML()
        self.all = widgets.Button(description="All rows", icon="list", tooltip="List the rows of every batch again")
        self.all.on_click(lambda _: self._show_batch(0))
        self.runs.observe(lambda _: self._chosen(), "value")
        self._list = indented(self.batches.box, widgets.HBox([self.title, self.all]), self.rows.box)
        self.box = widgets.VBox([self.runs, self._list])
        self.hide()

    @property
    def _target(self) -> str:
        return f"{self._run_id}:{self._batch}" if self._batch else self._run_id

    def show(self, run_id: str) -> None:
        """List what can be undone of a run now; the page stays the same for the same run."""
        is_new = run_id != self._run_id
        self._run_id, self._batch = run_id, 0 if is_new else self._batch
        found = self._session.runs.that_wrote(MAX_RUNS)
        if run_id not in [run.run_id for run in found] and (known := self._session.runs.one(run_id)):
            found.append(known)
        self._fill(found)
        self.batches.show(first=is_new)
        self._show_rows(first=is_new)

    def hide(self) -> None:
        """List no changes, as during a run, which changes them."""
        self._list.layout.display = "none"
        self.box.layout.display = "" if self.runs.options else "none"

    def enable(self, *, busy: bool) -> None:
        """Disable the buttons that undo while the panel is busy."""
        self.batches.enable(busy=busy)
        self.rows.enable(busy=busy)

    def _fill(self, found: Sequence[Run]) -> None:
        self._filling = True
        try:
            options = [(_run_in_words(run), run.run_id) for run in found]
            if tuple(options) != self.runs.options:
                self.runs.options = options
            self.runs.value = self._run_id if self._run_id in [run.run_id for run in found] else None
        finally:
            self._filling = False

    def _chosen(self) -> None:
        if not self._filling and self.runs.value and self.runs.value != self._run_id:
            self._choose(self.runs.value)

    def _show_batch(self, batch: int) -> None:
        self._batch = batch
        self._show_rows(first=True)

    def _show_rows(self, *, first: bool) -> None:
        self.rows.show(first=first)
        self.title.value = muted(f"Rows of batch {self._batch}:" if self._batch else "Rows:")
        self.all.layout.display = "" if self._batch else "none"
        self._list.layout.display = "" if self.batches.lines else "none"
        self.box.layout.display = "" if self.runs.options else "none"


def _run_in_words(run: Run) -> str:
    return f"{acts.name(run)} · run {run.run_id} · {run.written:,} {acts.did(run)} · {acts.state(run)}"


def _batch_in_words(batch: BatchCounts) -> str:
    counts = f"{batch.written:,} written · {batch.skipped:,} skipped · {batch.failed:,} failed"
    left = f"{thousands(batch.standing, 'changes')} to put back" if batch.standing else "nothing left to put back"
    return f"Batch {batch.batch} · {batch.table} · {counts} · {left} · {batch.ended:%H:%M:%S} UTC"
