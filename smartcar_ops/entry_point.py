"""The way in: whatever happens behind it is one sentence and an exit code that means something.

Imports nothing that takes time, so that a signal is heeded, and a failing import told, from the first one on.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from smartcar_ops import errors, interrupts


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carries out a command line (this process's own without one) and ends with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with interrupts.heeded(for_good=arguments is None):
        code = _carried_out(given)
    gc.freeze()  # or the interpreter would look at every object once more before it ends: a third of a second
    raise SystemExit(code)


def _carried_out(given: Sequence[str]) -> int:
    try:
        from smartcar_ops import cli

        code = cli.execute(given)
        sys.stdout.flush()  # a full disk or a closed pipe is told here, not at the interpreter's end
        return code
    except BaseException as error:
        interrupts.end()
        code, sentence = errors.told(error)
        _tell(code, sentence, given)
        return code


def _tell(code: int, sentence: str, given: Sequence[str]) -> None:
    """Says why it ended: where JSON was asked for, as JSON; to nobody, where nothing can be written."""
    with suppress(OSError, ValueError):
        if given[:1] == ["run"] and "--json" in given:
            print(json.dumps(nothing_but(code, sentence), ensure_ascii=False), flush=True)
            return
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)
    _give_up_output()


def nothing_but(code: int, sentence: str, notebook: str = "") -> dict[str, object]:
    """What ``run --json`` prints of a run that left nothing behind."""
    return {
        "notebook": notebook,
        "exit_code": code,
        "verdict": sentence,
        "where": "",
        "folder": None,
        "calls": {},
        "summary": {},
    }


def _give_up_output() -> None:
    """If nobody takes what was printed, Python must not try again at its end: that would be exit code 120."""
    out = sys.__stdout__
    if out is None or out is not sys.stdout:
        return
    try:
        out.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
