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
    """What this process was asked so far."""

    count = 0
    finishing = False


@contextmanager
def heeded() -> Iterator[None]:
    """While the block runs, a request to end is KeyboardInterrupt, whichever signal it is.

    The first one only: the second would end the tidying up that the first began. The third ends the process at once,
    with exit code 2. What the shell made this process ignore (``nohup``, ``&``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heard}
    unraisable = sys.unraisablehook
    _Requests.count, _Requests.finishing = 0, False
    for number in heard:
        signal.signal(number, _hear)
    sys.unraisablehook = lambda told: _again(told, unraisable)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing() -> Iterator[Callable[[], None]]:
    """Gives a function: from its call to the end of the block, a request to end is passed over.

    For what has to be written whole, and comes to its end by itself.
    """

    def begin() -> None:
        _Requests.finishing = True

    try:
        yield begin
    finally:
        _Requests.finishing = False


def _hear(_number: int, _frame: object) -> None:
    _Requests.count += 1
    if _Requests.count >= AT_ONCE:
        os._exit(2)
    if _Requests.count == 1 and not _Requests.finishing:
        raise KeyboardInterrupt


def _again(told: Any, otherwise: Callable[[Any], object]) -> None:
    """A request that was heard while an object was being finalized is lost there: it is made once more, outside."""
    if told.exc_type is not KeyboardInterrupt:
        otherwise(told)
        return
    _Requests.count = 0
    again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()
