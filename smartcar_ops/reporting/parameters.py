"""A notebook's parameters: what it declares, and the values a run gives, read by the declared type.

What can be known wrong without a connection is told here, before a kernel starts; by the rules of those who use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import papermill

from smartcar_ops.errors import ParameterError
from smartcar_ops.migration import arrivals, progress, sources
from smartcar_ops.migration.limits import at_least
from smartcar_ops.reporting import backfill, compare, phases
from smartcar_ops.settings import Settings
from smartcar_ops.words import nearest

Rule = Callable[[Settings, Any], object]
"""Raises an error of exit code 5 for a value that makes no sense."""


def _number(name: str, least: int = 0) -> Rule:
    return lambda _, value: at_least(name, value, least)


def _file(name: str) -> Rule:
    return lambda _, path: arrivals.find(name, path)


RULES: dict[str, Rule] = {
    **{name: _number(name) for name in ("max_calls", "max_minutes", "vehicles")},
    "batch_size": _number("batch_size", 1),
    "deadline": lambda _, text: progress.parse_day("deadline", text),
    "as_of": lambda _, text: progress.day_to_look_back_to(text, datetime.now(UTC)),
    **{name: _file(name) for name in ("redirects", "webhooks")},
    "sources": lambda _, text: sources.parse_sources(text),
    "phase": lambda _, word: phases.check_phase(word),
    "plan": lambda settings, given: given == "latest" or backfill.plan_file(settings, given),
    "replay": lambda settings, given: compare.replayed_folder(settings.reports, given),
}
"""By parameter; one that is left empty is not given."""

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Declared:
    """One parameter as the notebook declares it."""

    name: str
    type: str
    default: str
    help: str


def declared(notebook: Path) -> dict[str, Declared]:
    """The parameters of a notebook, by name."""
    return {
        name: Declared(name, row["inferred_type_name"], row["default"], row["help"])
        for name, row in papermill.inspect_notebook(str(notebook)).items()
    }


def read(notebook: Path, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Typed values for papermill; ParameterError for an unknown name or a value of another type."""
    known = declared(notebook)
    return {name: _value(notebook.stem, known, name, value) for name, value in given}


def check(notebook: str, values: Mapping[str, Any], settings: Settings) -> None:
    """SettingsError or one of its kinds for values that make no sense, each alone and together."""
    for name, value in values.items():
        if value != "" and name in RULES:
            RULES[name](settings, value)
    if notebook == backfill.NOTEBOOK:
        backfill.check_act(
            apply=values.get("apply", False), planned=bool(values.get("plan")), undo=values.get("undo", "")
        )


def _value(notebook: str, known: Mapping[str, Declared], name: str, value: str) -> Any:
    if name not in known:
        names = ", ".join(known) or "none"
        raise ParameterError(f"parameters: {notebook} has no parameter {name!r}{nearest(name, known)}; it has {names}.")
    kind = known[name].type
    if kind == "int":
        try:
            return int(value)
        except ValueError:
            pass
    elif kind == "bool":
        if value.lower() in (*TRUE, *FALSE):
            return value.lower() in TRUE
    else:
        return value
    expected = "a whole number" if kind == "int" else "True or False"
    raise ParameterError(f"parameters: {name} is {value!r}; expected {expected}.")
