"""Run a notebook from outside: checks its parameters by the acts' own rules before a kernel starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from smartcar_ops.audit import sources
from smartcar_ops.backfill import backfill
from smartcar_ops.capture import files
from smartcar_ops.compare import replayed
from smartcar_ops.progress.result import day_to_look_back_to, parse_day
from smartcar_ops.reports import runner
from smartcar_ops.reports.runner import Announce, OnProgress, RunResult
from smartcar_ops.schema import schema
from smartcar_ops.settings.bounds import at_least
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.logs import DEFAULT

ParameterCheck = Callable[[Settings, Any], object]
"""Raises an error of exit code 5 for a value that makes no sense."""


def _number(name: str, least: int = 0) -> ParameterCheck:
    return lambda _, value: at_least(name, value, least)


def _file(name: str) -> ParameterCheck:
    return lambda _, path: files.find(name, path)


RULES: dict[str, ParameterCheck] = {
    **{name: _number(name) for name in ("max_calls", "max_minutes", "vehicles")},
    "batch_size": _number("batch_size", 1),
    "deadline": lambda _, text: parse_day("deadline", text),
    "as_of": lambda _, text: day_to_look_back_to(text, datetime.now(UTC)),
    **{name: _file(name) for name in ("redirects", "webhooks")},
    "sources": lambda _, text: sources.parse_sources(text),
    "phase": lambda _, word: schema.check_phase(word),
    "plan": lambda settings, given: given == "latest" or backfill.plan_file(settings, given),
    "replay": lambda settings, given: replayed.replayed_folder(settings.reports, given),
}
"""By parameter; one that is left empty is not given."""


def run(
    name: str,
    given: Iterable[tuple[str, str]] = (),
    announce: Announce = lambda words: None,
    *,
    cell_minutes: int | None = None,
    watch: OnProgress = lambda far: None,
    log_level: str = DEFAULT,
) -> RunResult:
    """Runs a notebook and writes its folder; never raises, but tells the exit code of whatever ended it.

    ``announce`` gets a sentence before anything is done, and one for each step. ``cell_minutes`` is how long a cell
    may take; without it, the run's own ``max_minutes`` and 15 more, a day for an act that writes. ``watch`` gets how
    far a long step is. What the notebook logs from ``log_level`` on comes from this process's own loggers.
    """
    return runner.run(
        name,
        given,
        announce,
        check=check,
        advise=backfill.what_next,
        cell_minutes=cell_minutes,
        watch=watch,
        log_level=log_level,
    )


def check(notebook: str, values: Mapping[str, Any], settings: Settings) -> None:
    """SettingsError or one of its kinds for values that make no sense, each alone and together."""
    for name, value in values.items():
        if value != "" and name in RULES:
            RULES[name](settings, value)
    if notebook == backfill.NOTEBOOK:
        backfill.check_act(
            apply=values.get("apply", False), planned=bool(values.get("plan")), undo=values.get("undo", "")
        )
