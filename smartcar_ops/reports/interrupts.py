"""Turns SIGTERM, SIGHUP and Ctrl-C into one KeyboardInterrupt that never interrupts the cleanup.

Imports nothing slow, because it must be active before the rest of the kit is loaded.
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
"""The number of signals after which the process ends at once, without any cleanup."""

AGAIN = 0.02
"""Seconds after which a lost signal is sent again."""


class _Requests:
    """The signals received so far, and whether the process is already ending, so that nothing more is interrupted."""

    count = 0
    lost = False
    ending = True


@contextmanager
def heeded(*, for_good: bool = False) -> Iterator[None]:
    """While the block runs, raise KeyboardInterrupt at the first SIGINT, SIGTERM or SIGHUP.

    The second signal is ignored, because it would interrupt the cleanup; the third ends the process at once with exit
    code 2. Signals that the shell told this process to ignore (``nohup``, ``&``) stay ignored. After the block the
    previous handlers are restored; with ``for_good`` the process is about to end and the signals are ignored instead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in handled}
    unraisable = sys.unraisablehook
    _Requests.count, _Requests.lost, _Requests.ending = 0, False, False
    for number in handled:
        signal.signal(number, _handle)
    sys.unraisablehook = lambda unraised: _repeat_if_lost(unraised, unraisable)
    try:
        yield
    finally:
        _Requests.count, _Requests.ending = 0, True
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)


def end() -> None:
    """Interrupt nothing from now on: the command is ending."""
    _Requests.ending = True


@contextmanager
def finishing() -> Iterator[Callable[[], None]]:
    """Yield a function; from its call to the end of the block, signals interrupt nothing.

    For work that must be written completely and that ends by itself.
    """
    before = _Requests.ending
    try:
        yield end
    finally:
        _Requests.ending = before


def check() -> None:
    """Raise KeyboardInterrupt if a signal was received but other code has swallowed the exception."""
    if _Requests.count and not _Requests.ending:
        raise KeyboardInterrupt


def _handle(_number: int, _frame: object) -> None:
    again, _Requests.lost = _Requests.lost, False
    _Requests.count += not again
    if _Requests.count >= AT_ONCE:
        os._exit(2)
    if (again or _Requests.count == 1) and not _Requests.ending:
        raise KeyboardInterrupt


def _repeat_if_lost(unraised: Any, otherwise: Callable[[Any], object]) -> None:
    """Send a signal again whose KeyboardInterrupt was lost because it was raised while an object was finalized."""
    if unraised.exc_type is not KeyboardInterrupt:
        otherwise(unraised)
        return
    again = threading.Timer(AGAIN, _send_again)
    again.daemon = True
    again.start()


def _send_again() -> None:
    if not _Requests.ending:
        _Requests.lost = True
        os.kill(os.getpid(), signal.SIGTERM)
