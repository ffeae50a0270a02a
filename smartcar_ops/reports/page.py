"""A run as one self-contained HTML page: its verdict, the notebook's outputs and its parameters.

The only script in it is the page's own, which sorts and filters tables; its security policy names that one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Literal

import nbformat
from jinja2 import Environment, Template
from markupsafe import Markup
from nbformat import NotebookNode

from smartcar_ops.reports.notebook_html import cells_html

State = Literal["done", "gate", "nothing", "failed"]

BADGES: dict[State, str] = {
    "done": "Done",
    "gate": "Done, and the gate says no",
    "nothing": "Nothing to do",
    "failed": "Failed",
}


@dataclass(frozen=True)
class Header:
    """The top of a report. Every value is shown as text, never as markup.

    ``where`` names the Smartcar service and the database; ``environment`` may be empty. ``started`` and
    ``ended`` are datetimes, or ISO text as in ``run.json``; without a time zone they are UTC.
    ``calls`` counts units per API. ``others`` are the day's other runs: words, and the path of their page.
    """

    title: str
    verdict: str
    state: State
    where: str
    environment: str
    started: datetime | str
    ended: datetime | str
    calls: Mapping[str, int]
    parameters: Mapping[str, object]
    kit_version: str
    others: Sequence[tuple[str, str]] = ()


def render(notebook: NotebookNode, header: Header) -> str:
    """Return the page of a completed run. The notebook is not changed; the same input gives the same bytes.

    Left out: inputs, widgets, stderr, tracebacks except for their last line, and the cells tagged ``panel``,
    ``parameters``, ``injected-parameters`` or ``not-in-report``. ValueError if the state is unknown.
    """
    return _page(header, cells_html(notebook))


_FAILURE = """<section class="failure">
{% if cell %}<p>The run stopped in this cell:</p>
<pre><code>{{ cell }}</code></pre>
{% else %}<p>The run stopped before its first cell or between two cells.</p>
{% endif %}<p>The notebook with its outputs up to this point, and a mark where it stopped, is
<a href="run.ipynb">run.ipynb</a> in the same folder as this page.</p>
</section>"""


def failure(header: Header, sentence: str, cell: str | None) -> str:
    """Return the page of a failed run. ``sentence`` says what failed, ``cell`` is the text of the failed cell."""
    body = _environment().from_string(_FAILURE).render(cell=cell)
    return _page(replace(header, verdict=sentence, state="failed"), body)


def _page(header: Header, body: str) -> str:
    if header.state not in BADGES:
        raise ValueError(f"state is {header.state!r}; expected one of {', '.join(BADGES)}")
    return _template().render(
        header=header,
        badge=BADGES[header.state],
        when=_when(_moment(header.started), _moment(header.ended)),
        calls=_calls(header.calls),
        parameters=[(name, _value(value)) for name, value in header.parameters.items()],
        css=Markup(_resource("page.css")),
        script=Markup(script := _resource("page.js")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        body=Markup(body),
    )


def warm_up() -> None:
    """Load and compile the templates, so that the first page is made as fast as the second."""
    _template()
    cells_html(nbformat.v4.new_notebook())  # type: ignore[no-untyped-call]


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, keep_trailing_newline=True)


@cache
def _template() -> Template:
    return _environment().from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _moment(given: datetime | str) -> datetime:
    moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _when(started: datetime, ended: datetime) -> str:
    """Return e.g. ``23 Nov 2026, 14:01 UTC, took 2 min 10 s``."""
    return f"{started.day} {started:%b %Y, %H:%M} UTC, took {_duration((ended - started).total_seconds())}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)


def _calls(calls: Mapping[str, int]) -> str:
    spent = {api: units for api, units in calls.items() if units}
    if not spent:
        return "none"
    parts = " · ".join(f"{api} {units:,}" for api, units in spent.items())
    return parts if len(spent) == 1 else f"{parts} · total {sum(spent.values()):,}"


def _value(value: object) -> str:
    """Return a parameter as JSON, so that an empty string looks different from no value."""
    return json.dumps(value, ensure_ascii=False, default=str)
