"""Reads a fleet in other processes or on other machines: batches handed out to any `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait

from smartcar_ops.compare.reading.worker import RemoteRecorder, WorkItem, WorkResult
from smartcar_ops.compare.recording import ReadResult
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.errors import SmartcarError, SmartcarOpsError
from smartcar_ops.smartcar.http.rate_limit import Budget
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.storage.run_log import Milestones

log = logging.getLogger("smartcar_ops.compare")

BATCH = 16
"""Vehicles a batch, twice what it reads at once."""

IN_FLIGHT = 256
"""Batches that wait or run at once: enough for as many worker processes."""

Price = Callable[[Sequence[LinkedVehicle]], int]
"""The most units that reading these vehicles can cost."""


def record_fleet(
    chosen: Sequence[LinkedVehicle],
    recorder: RemoteRecorder,
    executor: Executor,
    budget: Budget,
    transport: Transport,
    price: Price,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ReadResult:
    """Reads the vehicles in batches until the allowance ends; those not reached are missing.

    The workers' calls go into ``transport``'s record. AuthenticationError or ServiceIllError, once every batch under
    way has ended, where the application's credentials are refused or the service is ill; SmartcarOpsError where the
    executor lost its workers.
    """
    tasks, fleet = Tasks(chosen, price, budget), Dispatcher(recorder, executor, budget)
    reached, milestones = ReadResult(), Milestones(log, "vehicles read")
    try:
        while fleet.fill(tasks):
            for outcome in fleet.outcomes():
                transport.take_in(outcome.calls, outcome.oddities)
                reached.keys |= outcome.keys
                reached.silent |= outcome.silent
                reached.unanswered |= outcome.unanswered
                milestones.reached(len(reached.keys), len(chosen))
                if progress:
                    progress(len(reached.keys), len(chosen))
    except (BrokenExecutor, CancelledError) as error:
        raise SmartcarOpsError(
            f"workers: the executor lost its workers ({type(error).__name__}); what they read is kept. Run again, it "
            "goes on from there."
        ) from error
    finally:
        fleet.stop()
    if fleet.ended:
        raise fleet.ended
    return reached


class Tasks:
    """Hands the vehicles out in batches, those of one token together, so that nobody asks twice whose it is.

    Where ``max_calls`` binds, a batch takes along the units that it costs at most.
    """

    def __init__(self, chosen: Sequence[LinkedVehicle], price: Price, budget: Budget) -> None:
        self._price, self._budget = price, budget
        self._waiting = deque(_by_token(chosen))

    def take(self, *, alone: bool) -> WorkItem | None:
        """The next batch; None where nothing waits, or the budget has no units for it.

        ``alone``: no other batch is under way that might give units back, so one vehicle tries with what is left.
        """
        pairs, units = list[LinkedVehicle](), 0
        while self._waiting and len(pairs) < BATCH:
            more = self._cost(self._waiting[0])
            if not self._affords(units + more):
                break
            units += more
            pairs += self._waiting.popleft()
        if not pairs and alone and self._waiting and self._budget.left:
            units = self._budget.left
            pairs = [self._waiting[0].pop(0)]
            if not self._waiting[0]:
                self._waiting.popleft()
        self._budget.set_aside(units)
        return WorkItem(tuple(pairs), units) if pairs else None

    def _cost(self, pairs: Sequence[LinkedVehicle]) -> int:
        return 0 if self._budget.left is None else self._price(pairs)

    def _affords(self, units: int) -> bool:
        return self._budget.left is None or units <= self._budget.left


class Dispatcher:
    """The batches under way; ``ended`` is the error that ends the run."""

    def __init__(self, recorder: RemoteRecorder, executor: Executor, budget: Budget) -> None:
        self._recorder, self._executor, self._budget = recorder, executor, budget
        self._running: dict[Future[WorkResult], WorkItem] = {}
        self._stopped = False
        self.ended: SmartcarError | None = None

    def fill(self, tasks: Tasks) -> bool:
        """Hands out as many batches as may be under way; False where none is any more."""
        while not self._stopped and len(self._running) < IN_FLIGHT:
            task = tasks.take(alone=not self._running)
            if task is None:
                break
            self._running[self._executor.submit(self._recorder, task)] = task
        return bool(self._running)

    def outcomes(self) -> list[WorkResult]:
        """What the next batches that end bring back; nothing is handed out any more where one says so.

        Batches that are handed out already are not taken back where the allowance is spent: each finds that out at
        once, and one that an executor had begun without saying so would be lost.
        """
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        found = [self._outcome(future, self._running.pop(future)) for future in done]
        self._stopped = self._stopped or any(outcome.spent for outcome in found)
        self.ended = self.ended or next((outcome.ended for outcome in found if outcome.ended), None)
        if self.ended:
            self.stop()
        return found

    def stop(self) -> None:
        """Hands out no more batches, and takes back those that nobody has begun."""
        self._stopped = True
        for future in [future for future in self._running if future.cancel()]:
            self._budget.give_back(self._running.pop(future).max_calls)

    def _outcome(self, future: Future[WorkResult], task: WorkItem) -> WorkResult:
        outcome = future.result()
        self._budget.give_back(task.max_calls - outcome.units)
        return outcome


def _by_token(chosen: Sequence[LinkedVehicle]) -> list[list[LinkedVehicle]]:
    """The vehicles in their order, each with the others of its token."""
    groups: dict[object, list[LinkedVehicle]] = {}
    for pair in chosen:
        groups.setdefault(pair.token or pair.key, []).append(pair)
    return list(groups.values())
