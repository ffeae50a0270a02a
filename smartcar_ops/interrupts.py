"""Being asked to end, by SIGTERM, SIGHUP or Ctrl-C: an exception the first time, and never in the middle of tidying up.

Imports nothing that takes time: this is in force before anything else of the kit is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AT_ONCE = 3
"""The how manieth request ends the process wherever it is: whoever asks so often does not wait for tidiness."""

AGAIN = 0.02
"""Seconds until a request that was lost is made again."""


class _Requests:
    """What this process was asked, and whether it is ending already, so that nothing has to be interrupted any more."""

    count = 0
    lost = False
    ending = True


@contextmanager
def heeded(*, for_good: bool = False) -> Iterator[None]:
    """While the block runs, a request to end is KeyboardInterrupt, whichever signal it is.

    The first one only: the second would end the tidying up that the first began. The third ends the process at once,
    with exit code 2. What the shell made this process ignore (``nohup``, ``&``) stays ignored. After the block all is
    as before; with ``for_good`` the process ends, and no signal changes any more what it came to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heard}
    unraisable = sys.unraisablehook
    _Requests.count, _Requests.lost, _Requests.ending = 0, False, False
    for number in heard:
        signal.signal(number, _hear)
    sys.unraisablehook = lambda told: _hear_again(told, unraisable)
    try:
        yield
    finally:
        _Requests.count, _Requests.ending = 0, True
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)


def end() -> None:
    """From here on nothing is interrupted: the command is ending, because it was asked to or by itself."""
    _Requests.ending = True


@contextmanager
def finishing() -> Iterator[Callable[[], None]]:
    """Gives a function: from its call to the end of the block, a request to end is passed over.

    For what has to be written whole, and comes to its end by itself.
    """
    before = _Requests.ending
    try:
        yield end
    finally:
        _Requests.ending = before


def check() -> None:
    """KeyboardInterrupt if this process was asked to end and somebody else's code has swallowed that."""
    if _Requests.count and not _Requests.ending:
        raise KeyboardInterrupt


def _hear(_number: int, _frame: object) -> None:
    again, _Requests.lost = _Requests.lost, False
    _Requests.count += not again
    if _Requests.count >= AT_ONCE:
        os._exit(2)
    if (again or _Requests.count == 1) and not _Requests.ending:
        raise KeyboardInterrupt


def _hear_again(told: Any, otherwise: Callable[[Any], object]) -> None:
    """A request that was heard while an object was being finalized is lost there: it is made once more, outside."""
    if told.exc_type is not KeyboardInterrupt:
        otherwise(told)
        return
    again = threading.Timer(AGAIN, _ask_again)
    again.daemon = True
    again.start()


def _ask_again() -> None:
    if not _Requests.ending:
        _Requests.lost = True
        os.kill(os.getpid(), signal.SIGTERM)
