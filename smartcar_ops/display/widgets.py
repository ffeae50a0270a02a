"""Shared parts of the panels: the base of all panels, headings, colors, tables, and errors as one sentence."""

from __future__ import annotations

import html
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.errors import SmartcarOpsError

RED, GREEN, BLUE, AMBER, GREY = "#b3261e", "#137333", "#0b57d0", "#8f5b00", "#5f6368"

WIDE = "640px"
INDENT = "90px"
"""The width of the field labels; widgets without a label are indented by it."""


def indented(*children: widgets.Widget) -> widgets.VBox:
    """Align widgets without a label with the fields."""
    return widgets.VBox(children, layout=widgets.Layout(margin=f"0 0 0 {INDENT}"))


def heading(words: str) -> widgets.HTML:
    """Return the heading of a part of the panel."""
    return widgets.HTML(f"<div style='font-weight:600; margin-top:6px'>{html.escape(words)}</div>")


def muted(words: str) -> str:
    """Return secondary text as markup."""
    return f"<span style='color:var(--jp-ui-font-color2, {GREY})'>{html.escape(words)}</span>"


def failure(words: str) -> str:
    """Return an error sentence as markup."""
    return f"<span style='color:var(--jp-error-color1, {RED})'>{html.escape(words)}</span>"


def pill(word: str, colour: str) -> str:
    """Return a status as one colored word."""
    style = f"background:{colour}; color:#fff; border-radius:9px; padding:1px 9px; font-weight:600"
    return f"<span style='{style}'>{html.escape(word)}</span>"


def table(frame: pd.DataFrame) -> str:
    """Return a short table as markup, with text aligned left and numbers aligned right."""
    cell = "padding:1px 14px 1px 0; border:0"
    numbers = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    sides = ["right" if number else "left" for number in numbers]
    head = "".join(
        f"<th style='{cell}; text-align:{side}'>{html.escape(str(name))}</th>"
        for name, side in zip(frame.columns, sides, strict=True)
    )
    rows = "".join(f"<tr>{_cells(row, sides, cell)}</tr>" for row in frame.itertuples(index=False, name=None))
    return f"<table style='line-height:1.5; border-collapse:collapse'><tr>{head}</tr>{rows}</table>"


def _cells(row: tuple[object, ...], sides: list[str], style: str) -> str:
    words = [f"{value:,}" if isinstance(value, int) else "" if pd.isna(value) else str(value) for value in row]
    return "".join(
        f"<td style='{style}; text-align:{side}'>{html.escape(word)}</td>"
        for word, side in zip(words, sides, strict=True)
    )


def lasting(seconds: float) -> str:
    """Return a waiting time in hours, minutes or seconds."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


@contextmanager
def telling(status: widgets.HTML) -> Iterator[None]:
    """Show an error raised in the block as one sentence in ``status``, never as a traceback."""
    try:
        yield
    except SmartcarOpsError as error:
        status.value = failure(str(error))
    except Exception as error:
        status.value = failure(f"The kit failed with {type(error).__name__}; this is a bug in the kit.")


class Panel(ABC):
    """The base of every panel: shows ``box``, runs what a button starts in a thread, and shows errors in ``status``.

    The work runs beside the kernel's own thread, so that other cells and buttons stay usable.
    """

    box: widgets.VBox

    def __init__(self) -> None:
        self.status = widgets.HTML()
        self._thread: threading.Thread | None = None
        self._working = False

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the work that a button started; for scripts and tests."""
        if self._thread is not None:
            self._thread.join(seconds)

    def close(self) -> None:
        """Remove the panel."""
        self.box.close()

    @abstractmethod
    def _enable(self) -> None:
        """Enable the buttons that may be pressed now; called when work begins and when it ends."""

    def _start(self, work: Callable[[], None]) -> None:
        """Run the work of a button in a thread, unless the panel is already working."""
        if self._working:
            return  # pressed twice, before the browser disabled the button
        self._working = True
        self._enable()
        self._thread = threading.Thread(target=self._guarded, args=(work,), daemon=True, name="smartcar-ops panel")
        self._thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        with telling(self.status):
            work()
        self._working = False
        with telling(self.status):
            self._enable()
