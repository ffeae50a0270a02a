"""What the command line says about notebooks and parameters: in help and when it completes words."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from smartcar_ops.reports import parameters, runner

HelpRow = tuple[str, str]
"""A word, and what it means."""

WORDS = "COMP_WORDS"
"""The environment variable in which a shell passes the words typed so far."""


def notebooks() -> list[HelpRow]:
    """Return each notebook of this folder with its title."""
    return [(path.stem, _title(path)) for path in runner.notebooks()]


def notebook_parameters(notebook: str) -> list[HelpRow]:
    """Return each parameter of a notebook with its type, help and default. ParameterError if there is no such one."""
    found = parameters.declared(runner.find(notebook)).values()
    return [(f"{one.name} ({one.type})", f"{one.help}  [default: {one.default}]".strip()) for one in found]


def matching_notebooks(start: str) -> list[HelpRow]:
    """Return the notebooks whose name begins so; a number alone is completed to the name."""
    return [row for row in notebooks() if row[0].startswith(start)]


def matching_parameters(start: str) -> list[HelpRow]:
    """Return the parameters that begin so, of the notebook among the words typed so far; none if there is none."""
    with suppress(Exception):  # a shell that completes words shows no errors
        words = iter(shlex.split(os.environ.get(WORDS, "")))
        notebook = next(_after_run(words))
        found = parameters.declared(runner.find(notebook)).values()
        return [(one.name, one.help) for one in found if one.name.startswith(start)]
    return []


def _after_run(words: Iterator[str]) -> Iterator[str]:
    """Yield the words after ``run`` that are neither options nor the first word of an option's value."""
    for word in words:
        if word == "run":
            break
    for word in words:
        if word.startswith("-"):
            next(words, None)
        else:
            yield word


def _title(path: Path) -> str:
    """Return the notebook's first heading; empty if it has none or can't be read."""
    with suppress(OSError, ValueError, KeyError, IndexError, TypeError):
        source = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        return source.splitlines()[0].removeprefix("# ").strip()
    return ""
