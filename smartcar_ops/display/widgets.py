"""Shared parts of the panels: headings, colors, tables, and errors as one sentence."""

from __future__ import annotations

import html
from collections.abc import Iterator
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
