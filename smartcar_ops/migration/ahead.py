"""Reading ahead: the database and whoever works on its answers are busy at the same time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

Part = TypeVar("Part")

AHEAD = 4
"""How many parts wait to be read: few, so that memory does not grow."""

LOOK = 0.1
"""Seconds between two looks whether a part is still wanted."""


@contextmanager
def ahead(parts: Generator[Part]) -> Iterator[Iterator[Part]]:
    """The same parts, made in a thread from now on, at most 4 before the one that is read.

    What fails in the making is raised where the next part is read. A block that is left before the last part waits
    for the one that is being made.
    """
    made: Queue[Part | BaseException | None] = Queue(AHEAD)
    unwanted = Event()
    thread = Thread(target=_make, args=(parts, made, unwanted), daemon=True)
    thread.start()
    try:
        yield _read(made)
    finally:
        unwanted.set()
        while thread.is_alive():
            _drop(made)
            thread.join(LOOK)


def _make(parts: Generator[Part], made: Queue[Part | BaseException | None], unwanted: Event) -> None:
    try:
        with closing(parts):
            for part in parts:
                made.put(part)
                if unwanted.is_set():
                    break
        made.put(None)
    except BaseException as error:  # raised again by `_read`
        made.put(error)


def _read(made: Queue[Part | BaseException | None]) -> Iterator[Part]:
    while (part := made.get()) is not None:
        if isinstance(part, BaseException):
            raise part
        yield part


def _drop(made: Queue[Part | BaseException | None]) -> None:
    """Makes room for a part that nobody reads."""
    try:
        while True:
            made.get_nowait()
    except Empty:
        return
