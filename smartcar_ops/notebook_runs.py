"""Run a notebook from outside: checks its parameters by the acts' own rules before a kernel starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.runs import Run, Runs
from smartcar_ops.reports import runner
from smartcar_ops.reports.runner import Announce, OnProgress, RunResult
from smartcar_ops.settings.bounds import at_least
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.logs import DEFAULT

ParameterCheck = Callable[[Settings, Any], object]
"""Raises an error of exit code 5 for a value that makes no sense."""


def _number(name: str, least: int = 0) -> ParameterCheck:
    return lambda _, value: at_least(name, value, least)


# Each act's own rule is imported with the parameter that needs it: a run loads no act but its own.


def _file(name: str) -> ParameterCheck:
    def check_file(_: Settings, path: str) -> None:
        from smartcar_ops.capture.files import find

        find(name, path)

    return check_file


def _day(name: str) -> ParameterCheck:
    def check_day(_: Settings, text: str) -> None:
        from smartcar_ops.progress.result import day_to_look_back_to, parse_day

        day_to_look_back_to(text, datetime.now(UTC)) if name == "as_of" else parse_day(name, text)

    return check_day


def _sources(_: Settings, text: str) -> None:
    from smartcar_ops.audit.sources import parse_sources

    parse_sources(text)


def _phase(_: Settings, word: str) -> None:
    from smartcar_ops.schema.schema import check_phase

    check_phase(word)


def _plan(settings: Settings, given: str) -> None:
    from smartcar_ops.backfill.backfill import plan_file

    if given != "latest":
        plan_file(settings, given)


def _replay(settings: Settings, given: str) -> None:
    from smartcar_ops.compare.replayed import replayed_folder

    replayed_folder(settings.reports, given)


RULES: dict[str, ParameterCheck] = {
    **{name: _number(name) for name in ("max_calls", "max_minutes", "vehicles")},
    "batch_size": _number("batch_size", 1),
    **{name: _day(name) for name in ("deadline", "as_of")},
    **{name: _file(name) for name in ("redirects", "webhooks")},
    "sources": _sources,
    "phase": _phase,
    "plan": _plan,
    "replay": _replay,
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
        advise=_advise,
        cell_minutes=cell_minutes,
        watch=watch,
        log_level=log_level,
    )


def check(notebook: str, values: Mapping[str, Any], settings: Settings) -> None:
    """SettingsError or one of its kinds for values that make no sense, each alone and together."""
    for name, value in values.items():
        if value != "" and name in RULES:
            RULES[name](settings, value)
    if notebook == acts.NOTEBOOK:
        from smartcar_ops.backfill.backfill import check_act

        check_act(apply=values.get("apply", False), planned=bool(values.get("plan")), undo=values.get("undo", ""))


def _advise(register: Runs, run: Run, reports: Path) -> str:
    from smartcar_ops.backfill.backfill import what_next

    return what_next(register, run, reports)
