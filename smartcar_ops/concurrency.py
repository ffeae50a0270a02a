"""Threads: read one batch ahead of the work on it, and map a function over many items within bounds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing, contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

from smartcar_ops.errors import AuthenticationError, ServiceIllError, SmartcarError

PartT = TypeVar("PartT")

AHEAD = 4
"""How many parts wait to be read: few, so that memory does not grow."""

LOOK = 0.1
"""Seconds between two looks whether a part is still wanted."""


@contextmanager
def prefetch(parts: Generator[PartT]) -> Iterator[Iterator[PartT]]:
    """The same parts, made in a thread from now on, at most 4 before the one that is read.

    What fails in the making is raised where the next part is read. A block that is left before the last part waits
    for the one that is being made.
    """
    made: Queue[PartT | BaseException | None] = Queue(AHEAD)
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


def _make(parts: Generator[PartT], made: Queue[PartT | BaseException | None], unwanted: Event) -> None:
    try:
        with closing(parts):
            for part in parts:
                made.put(part)
                if unwanted.is_set():
                    break
        made.put(None)
    except BaseException as error:  # raised again by `_read`
        made.put(error)


def _read(made: Queue[PartT | BaseException | None]) -> Iterator[PartT]:
    while (part := made.get()) is not None:
        if isinstance(part, BaseException):
            raise part
        yield part


def _drop(made: Queue[PartT | BaseException | None]) -> None:
    """Makes room for a part that nobody reads."""
    try:
        while True:
            made.get_nowait()
    except Empty:
        return


ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

IN_FLIGHT = 32
"""How many items wait or run at once: enough to fill the threads, few enough to stop soon."""


def bounded_map(
    executor: Executor,
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    *,
    stop_on: type[SmartcarError] | tuple[type[SmartcarError], ...],
    in_flight: int = IN_FLIGHT,
) -> Iterator[ResultT | SmartcarError]:
    """Each item's result, or the SmartcarError it ended with, as they come.

    An error of a class of ``stop_on`` ends the submitting and is not given: those items count as not done.
    AuthenticationError and ServiceIllError are raised: the application's own credentials are refused, or the
    service is ill, and every item would fare alike.
    """
    waiting = iter(items)
    running: set[Future[ResultT]] = set()
    stopped = False
    while True:
        while not stopped and len(running) < in_flight:
            item = next(waiting, None)
            if item is None:
                stopped = True
            else:
                running.add(executor.submit(work, item))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                result: ResultT | SmartcarError = future.result()
            except stop_on:
                stopped = True
                continue
            except (AuthenticationError, ServiceIllError):
                for other in running:
                    other.cancel()
                raise
            except SmartcarError as error:
                result = error
            yield result
