"""Run a notebook from outside; its parameters are checked before a kernel starts."""

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
"""Called with the settings and a value; raises an error with exit code 5 if the value is invalid."""


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
        from smartcar_ops.progress.days import day_to_look_back_to, parse_day

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
"""The check for each parameter. An empty text counts as not given and is not checked."""


def run(
    name: str,
    given: Iterable[tuple[str, str]] = (),
    announce: Announce = lambda words: None,
    *,
    cell_minutes: int | None = None,
    watch: OnProgress = lambda far: None,
    log_level: str = DEFAULT,
) -> RunResult:
    """Run a notebook, write its folder and return how it ended. Never raises: errors become exit codes.

    ``announce`` is called with a sentence before the run starts and with one for each step. ``watch`` is called with
    the progress of a long step. ``cell_minutes`` limits the time of each cell; the default is the run's
    ``max_minutes`` plus 15, or a day with ``apply=True``. What the notebook logs at ``log_level`` or above is passed
    to the loggers of the same names in this process.
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
    """Check the parameter values of a notebook, one by one and together. SettingsError if one is wrong."""
    for name, value in values.items():
        if value != "" and name in RULES:
            RULES[name](settings, value)
    if notebook == acts.NOTEBOOK:
        from smartcar_ops.backfill.backfill import check_act

        check_act(apply=values.get("apply", False), planned=bool(values.get("plan")), undo=values.get("undo", ""))


def _advise(register: Runs, run: Run, reports: Path) -> str:
    from smartcar_ops.backfill.backfill import what_next

    return what_next(register, run, reports)
