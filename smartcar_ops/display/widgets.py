"""Shared parts of the panels: the base of all panels, headings, colors, tables, and errors as one sentence."""

from __future__ import annotations

import html
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.errors import SmartcarOpsError

RED, GREEN, BLUE, AMBER, GREY = "#b3261e", "#137333", "#0b57d0", "#8f5b00", "#5f6368"

ACTIVE_SECONDS, IDLE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 1.0, 30.0
"""Seconds between two looks of a `Poller`: while something goes on, while nothing does, and at most after errors."""

WIDE = "640px"
INDENT = "90px"
"""The width of the field labels; widgets without a label are indented by it."""


def indented(*children: widgets.Widget) -> widgets.VBox:
    """Align widgets without a label with the fields."""
    return widgets.VBox(children, layout=widgets.Layout(margin=f"0 0 0 {INDENT}"))


def in_a_row(*children: widgets.Widget) -> widgets.HBox:
    """Put widgets side by side; on a narrow page they go on in the next line, so that no button loses its word."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


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


class TimeLeft:
    """Reckons how long a step with a known number of questions still takes, from the speed since it began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._step, self._begun, self._first = "", 0.0, 0

    def of(self, step: str, done: int, total: int) -> str:
        """Return ``, about 40 s left``; empty at the beginning and at the end of a step."""
        now = self._clock()
        if step != self._step or done < self._first:
            self._step, self._begun, self._first = step, now, done
        gained, left = done - self._first, total - done
        if gained <= 0 or left <= 0 or now - self._begun < 1:
            return ""
        return f", about {lasting(max(1, left * (now - self._begun) / gained))} left"


@contextmanager
def telling(status: widgets.HTML) -> Iterator[None]:
    """Show an error raised in the block as one sentence in ``status``, never as a traceback."""
    try:
        yield
    except SmartcarOpsError as error:
        status.value = failure(str(error))
    except Exception as error:
        status.value = failure(f"The kit failed with {type(error).__name__}; this is a bug in the kit.")


class Poller:
    """Looks at something in a daemon thread: every second while the panel is open, faster while something goes on.

    ``look`` returns whether something goes on. An error is shown once in ``problem``, and the pauses grow until a look
    succeeds again. The thread ends when the panel is closed (``is_closed``), and, if the panel was never displayed,
    when nothing goes on.
    """

    def __init__(self, look: Callable[[], bool], *, is_closed: Callable[[], bool]) -> None:
        self._look, self._is_closed = look, is_closed
        self.problem = widgets.HTML()
        self._starting, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._is_open, self._failures = False, 0

    @property
    def is_alive(self) -> bool:
        """Whether the thread is looking."""
        return self._thread is not None

    def open(self) -> None:
        """Look until the panel is closed, whether something goes on or not."""
        self._is_open = True
        self.start()

    def start(self) -> None:
        """Look in a thread, unless it is already looking."""
        with self._starting:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._follow, daemon=True, name="smartcar-ops watch")
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def look(self) -> tuple[bool, float]:
        """Look once; return whether to look again even if the panel is not open, and the seconds until then."""
        try:
            goes_on = self._look()
        except Exception as error:
            self._failures += 1
            is_known = isinstance(error, SmartcarOpsError)
            sentence = (
                str(error) if is_known else f"The kit failed with {type(error).__name__}; this is a bug in the kit."
            )
            self.problem.value = failure(sentence)
            return is_known, min(MAX_PAUSE_SECONDS, IDLE_SECONDS * 2**self._failures)
        self._failures, self.problem.value = 0, ""
        return goes_on, ACTIVE_SECONDS if goes_on else IDLE_SECONDS

    def _follow(self) -> None:
        while True:
            goes_on, pause = self.look()
            with self._starting:
                if self._ended.is_set() or self._is_closed() or not (goes_on or self._is_open):
                    self._thread = None
                    return
            self._ended.wait(pause)


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
        self._displayed()

    def _displayed(self) -> None:  # noqa: B027 (most panels have nothing to do)
        """Called after the panel was displayed."""

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
