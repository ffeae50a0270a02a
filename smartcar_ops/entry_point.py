"""The entry point of the command line: every failure ends as one sentence and a meaningful exit code.

Imports nothing slow, so that signals and failing imports are handled from the start.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from smartcar_ops import errors
from smartcar_ops.reports import interrupts


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (by default that of this process) and end the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with interrupts.heeded(for_good=arguments is None):
        code = _run(given)
    # Python remembers a KeyboardInterrupt out of an exec'd string, as in a dataclass's definition, although it was
    # caught, and would end by SIGINT in place of this exit code; another exec makes it forget.
    exec("pass")
    gc.freeze()  # otherwise the interpreter looks at every object again before it ends: a third of a second
    raise SystemExit(code)


def _run(given: Sequence[str]) -> int:
    try:
        from smartcar_ops import cli

        code = cli.execute(given)
        sys.stdout.flush()  # so that a full disk or a closed pipe fails here, not at the interpreter's end
        return code
    except BaseException as error:
        interrupts.end()
        code, sentence = errors.outcome_of(error)
        _print_reason(code, sentence, given)
        return code


def _print_reason(code: int, sentence: str, given: Sequence[str]) -> None:
    """Print why the command ended, with ``--json`` as JSON; print nothing if the output can't be written."""
    with suppress(OSError, ValueError):
        if given[:1] == ["run"] and "--json" in given:
            print(json.dumps(nothing_but(code, sentence), ensure_ascii=False), flush=True)
            return
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)
    _discard_output()


def nothing_but(code: int, sentence: str, notebook: str = "") -> dict[str, object]:
    """Return what ``run --json`` prints for a run that left no folder."""
    return {
        "notebook": notebook,
        "exit_code": code,
        "verdict": sentence,
        "where": "",
        "folder": None,
        "calls": {},
        "summary": {},
    }


def _discard_output() -> None:
    """Discard output that can't be flushed: Python would retry at its end and change the exit code to 120."""
    out = sys.__stdout__
    if out is None or out is not sys.stdout:
        return
    try:
        out.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
