"""Threads: prefetch parts while earlier ones are processed, and map a function with a limit on pending items."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing, contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

from smartcar_ops.errors import AuthenticationError, ServiceIllError, SmartcarError

PartT = TypeVar("PartT")

MAX_PREFETCHED = 4
"""Most parts that wait to be read; few, so that memory does not grow."""

DRAIN_SECONDS = 0.1
"""Seconds between two attempts to empty the queue when a reader has left early."""


@contextmanager
def prefetch(parts: Generator[PartT]) -> Iterator[Iterator[PartT]]:
    """Yield the same parts, produced in a thread that runs at most 4 parts ahead of the reader.

    An error of the generator is raised when the next part is read. If the block ends early, it waits for the part that
    is being produced.
    """
    queue: Queue[PartT | BaseException | None] = Queue(MAX_PREFETCHED)
    stop = Event()
    thread = Thread(target=_produce, args=(parts, queue, stop), daemon=True)
    thread.start()
    try:
        yield _read(queue)
    finally:
        stop.set()
        while thread.is_alive():
            _drain(queue)
            thread.join(DRAIN_SECONDS)


def _produce(parts: Generator[PartT], queue: Queue[PartT | BaseException | None], stop: Event) -> None:
    try:
        with closing(parts):
            for part in parts:
                queue.put(part)
                if stop.is_set():
                    break
        queue.put(None)
    except BaseException as error:  # raised again by `_read`
        queue.put(error)


def _read(queue: Queue[PartT | BaseException | None]) -> Iterator[PartT]:
    while (part := queue.get()) is not None:
        if isinstance(part, BaseException):
            raise part
        yield part


def _drain(queue: Queue[PartT | BaseException | None]) -> None:
    """Empty the queue, so that the thread can put its last part and end."""
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return


ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

IN_FLIGHT = 32
"""Most items submitted at once: enough to keep the threads busy, few enough to stop soon."""


def bounded_map(
    executor: Executor,
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    *,
    stop_on: type[SmartcarError] | tuple[type[SmartcarError], ...],
    in_flight: int = IN_FLIGHT,
) -> Iterator[ResultT | SmartcarError]:
    """Yield each item's result, or the SmartcarError that it ended with, in order of completion.

    After an error of a class in ``stop_on`` no more items are submitted; that error is not yielded, and its item counts
    as not done. AuthenticationError and ServiceIllError are raised, because every other item would fail in the same
    way: the application's credentials are refused, or the service is down.
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
