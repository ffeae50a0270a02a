"""Work side by side on any executor, stopped in order where the budget ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

from smartcar_ops.errors import AuthenticationError, ServiceIllError, SmartcarError

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT = 32
"""How many items wait or run at once: enough to fill the threads, few enough to stop soon."""


def fan_out(
    executor: Executor,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    stop_on: type[SmartcarError] | tuple[type[SmartcarError], ...],
    in_flight: int = IN_FLIGHT,
) -> Iterator[Result | SmartcarError]:
    """Each item's result, or the SmartcarError it ended with, as they come.

    An error of a class of ``stop_on`` ends the submitting and is not given: those items count as not done.
    AuthenticationError and ServiceIllError are raised: the application's own credentials are refused, or the
    service is ill, and every item would fare alike.
    """
    waiting = iter(items)
    running: set[Future[Result]] = set()
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
                result: Result | SmartcarError = future.result()
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
