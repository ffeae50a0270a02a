"""Tables and sentences for a notebook's outputs; long tables are cut and say so."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

COMMAND = "smartcar-ops "
"""The start of every command of the kit."""

LEFT = "<style>.jp-RenderedHTMLCommon table.smartcar-ops :is(th, td) { text-align: left }</style>"
"""Left alignment for JupyterLab, which aligns every cell to the right; a report has its own style."""


class ShownBy(str):
    """An id in a table that leads to the command that shows what it names."""

    command: str

    def __new__(cls, id: str, command: str) -> ShownBy:
        """Make the text; ``command`` is what shows it."""
        made = super().__new__(cls, id)
        made.command = command
        return made


def vehicle(vehicle_id: str) -> ShownBy:
    """Return a linked vehicle's id, which leads to its comparison."""
    return ShownBy(vehicle_id, f"{COMMAND}run 10 -p vehicle_id {vehicle_id}")


def user(user_id: str) -> ShownBy:
    """Return one of your users' ids, which leads to all that is known about the user."""
    return ShownBy(user_id, f"{COMMAND}user {shlex.quote(user_id)}")


LEADS = {"user_id": user}
"""The columns whose ids lead to a command in every table. (A vehicle's id does so only where it is linked.)"""


def first(frame: pd.DataFrame, rows: int) -> HTML:
    """Show the first rows of a table, and how many rows it has."""
    if frame.empty:
        return _html("<p>None.</p>")
    if len(frame) <= rows:
        return _html(_table(frame))
    note = f"<p>First {rows:,} of {len(frame):,} rows; the run's folder has all of them.</p>"
    return _html(_table(frame.head(rows)) + note)


def whole(frame: pd.DataFrame) -> HTML:
    """Show a whole table without its index; each entry of a tuple gets its own line."""
    return _html(_table(frame) if len(frame) else "<p>None.</p>")


def sentence(words: object) -> HTML:
    """Show one sentence, with a capital letter at the start and a period at the end."""
    text = str(words).rstrip(".")
    return _html(f"<p>{html.escape(text[:1].upper() + text[1:])}.</p>")


def steps(lines: Sequence[str]) -> HTML:
    """Show steps as a numbered list."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return _html(f"<ol>{items}</ol>" if items else "<p>Nothing left to do.</p>")


def together(*shown: HTML | None) -> HTML:
    """Combine several outputs into one, leaving out None."""
    return _html("".join(str(one.data) for one in shown if one is not None))


def _table(frame: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", None):
        shown = _led(frame).rename(columns=html.escape).map(_cell)
        return LEFT + str(shown.to_html(index=False, border=0, na_rep="", classes="smartcar-ops", escape=False))


def _led(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the ids of `LEADS` leading to their commands."""
    led = {
        name: pd.Series([lead(id) if isinstance(id, str) else id for id in frame[name]], frame.index, dtype="object")
        for name, lead in LEADS.items()
        if name in frame
    }
    return frame.assign(**led)


def _cell(value: Any) -> Any:
    """Return a cell's value as markup; a command becomes code that can be copied."""
    if isinstance(value, tuple):
        return "<br>".join(_cell(entry if isinstance(entry, str) else str(entry)) for entry in value)
    if isinstance(value, ShownBy):
        shown, command = html.escape(str(value)), html.escape(value.command)
        return f'<details class="sc-id"><summary>{shown}</summary><code>{command}</code></details>'
    if not isinstance(value, str):
        return value
    return f"<code>{html.escape(value)}</code>" if value.startswith(COMMAND) else html.escape(value)


def _html(markup: str) -> HTML:
    return HTML(markup)  # type: ignore[no-untyped-call]
