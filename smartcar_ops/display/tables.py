"""Tables and words for a notebook's outputs: never longer than a person reads, and saying what was left out."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

COMMAND = "smartcar-ops "
"""How a command of the kit begins."""

LEFT = "<style>.jp-RenderedHTMLCommon table.smartcar-ops :is(th, td) { text-align: left }</style>"
"""JupyterLab sets every cell to the right, sentences too; a report has its own style."""


def first(frame: pd.DataFrame, rows: int) -> HTML:
    """The first rows of a table, and how many there are in all."""
    if frame.empty:
        return _html("<p>None.</p>")
    left = f"<p>{rows:,} of {len(frame):,} rows; the run's folder has them all.</p>" if len(frame) > rows else ""
    shown = _table(frame.head(rows)) + left
    return _html(shown)


def whole(frame: pd.DataFrame) -> HTML:
    """A short table, all of it, without the index; of a tuple each entry is on a line of its own."""
    return _html(_table(frame) if len(frame) else "<p>None.</p>")


def sentence(words: object) -> HTML:
    """One sentence: capital first, a full stop at the end."""
    text = str(words).rstrip(".")
    return _html(f"<p>{html.escape(text[:1].upper() + text[1:])}.</p>")


def steps(lines: Sequence[str]) -> HTML:
    """What to do, in order."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return _html(f"<ol>{items}</ol>" if items else "<p>Nothing is left to do.</p>")


def together(*shown: HTML | None) -> HTML:
    """Several of these as one output; those that are None are left out."""
    return _html("".join(str(one.data) for one in shown if one is not None))


def _table(frame: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", None):
        shown = frame.rename(columns=html.escape).map(_cell)
        return LEFT + str(shown.to_html(index=False, border=0, na_rep="", classes="smartcar-ops", escape=False))


def _cell(value: Any) -> Any:
    """A cell's value as markup; a command stands as code, to be copied."""
    if isinstance(value, tuple):
        return "<br>".join(_cell(str(entry)) for entry in value)
    if not isinstance(value, str):
        return value
    return f"<code>{html.escape(value)}</code>" if value.startswith(COMMAND) else html.escape(value)


def _html(markup: str) -> HTML:
    return HTML(markup)  # type: ignore[no-untyped-call]
