"""Read a fleet in other processes or on other machines: batches submitted to any `concurrent.futures.Executor`."""

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
"""Vehicles per batch."""

IN_FLIGHT = 256
"""Batches submitted at once: enough for as many worker processes."""

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
    """Read the vehicles in batches until the allowance runs out; those not reached are missing from the result.

    The workers' calls are added to ``transport``'s record. AuthenticationError or ServiceIllError, after the running
    batches have ended, if the application's credentials are refused or the service fails; SmartcarOpsError if the
    executor lost its workers.
    """
    tasks, fleet = Tasks(chosen, price, budget), Dispatcher(recorder, executor, budget)
    reached, milestones = ReadResult(), Milestones(log, "vehicles read")
    try:
        while fleet.fill(tasks):
            for outcome in fleet.outcomes():
                transport.add(outcome.calls, outcome.oddities)
                reached.keys |= outcome.keys
                reached.silent |= outcome.silent
                reached.unanswered |= outcome.unanswered
                milestones.reached(len(reached.keys), len(chosen))
                if progress:
                    progress(len(reached.keys), len(chosen))
    except (BrokenExecutor, CancelledError) as error:
        raise SmartcarOpsError(
            f"workers: the executor lost its workers ({type(error).__name__}); what they read is saved. Run again to "
            "continue from there."
        ) from error
    finally:
        fleet.stop()
    if fleet.ended:
        raise fleet.ended
    return reached


class Tasks:
    """The queue of vehicles, taken in batches; vehicles with the same token stay together, so it is checked once.

    If ``max_calls`` is set, each batch reserves the most units that it can cost.
    """

    def __init__(self, chosen: Sequence[LinkedVehicle], price: Price, budget: Budget) -> None:
        self._price, self._budget = price, budget
        self._waiting = deque(_by_token(chosen))

    def take(self, *, alone: bool) -> WorkItem | None:
        """Return the next batch; None if no vehicle is waiting, or the budget has no units for it.

        ``alone``: no other batch is running that could return units, so one vehicle is tried with the units left.
        """
        vehicles, units = list[LinkedVehicle](), 0
        while self._waiting and len(vehicles) < BATCH:
            more = self._cost(self._waiting[0])
            if not self._affords(units + more):
                break
            units += more
            vehicles += self._waiting.popleft()
        if not vehicles and alone and self._waiting and self._budget.left:
            units = self._budget.left
            vehicles = [self._waiting[0].pop(0)]
            if not self._waiting[0]:
                self._waiting.popleft()
        self._budget.set_aside(units)
        return WorkItem(tuple(vehicles), units) if vehicles else None

    def _cost(self, vehicles: Sequence[LinkedVehicle]) -> int:
        return 0 if self._budget.left is None else self._price(vehicles)

    def _affords(self, units: int) -> bool:
        return self._budget.left is None or units <= self._budget.left


class Dispatcher:
    """Submits batches to the executor and collects their results; ``ended`` is the error that ends the run."""

    def __init__(self, recorder: RemoteRecorder, executor: Executor, budget: Budget) -> None:
        self._recorder, self._executor, self._budget = recorder, executor, budget
        self._running: dict[Future[WorkResult], WorkItem] = {}
        self._stopped = False
        self.ended: SmartcarError | None = None

    def fill(self, tasks: Tasks) -> bool:
        """Submit batches up to `IN_FLIGHT`; False if none is running any more."""
        while not self._stopped and len(self._running) < IN_FLIGHT:
            task = tasks.take(alone=not self._running)
            if task is None:
                break
            self._running[self._executor.submit(self._recorder, task)] = task
        return bool(self._running)

    def outcomes(self) -> list[WorkResult]:
        """Wait for the next batches to finish and return their results; stop submitting if the allowance is spent.

        Batches already submitted are then not cancelled: each finds out at once that the allowance is spent, and a
        batch that an executor started without reporting it would be lost.
        """
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        results = [self._outcome(future, self._running.pop(future)) for future in done]
        self._stopped = self._stopped or any(result.spent for result in results)
        self.ended = self.ended or next((result.ended for result in results if result.ended), None)
        if self.ended:
            self.stop()
        return results

    def stop(self) -> None:
        """Submit no more batches, and cancel those that have not started."""
        self._stopped = True
        for future in [future for future in self._running if future.cancel()]:
            self._budget.give_back(self._running.pop(future).max_calls)

    def _outcome(self, future: Future[WorkResult], task: WorkItem) -> WorkResult:
        result = future.result()
        self._budget.give_back(task.max_calls - result.units)
        return result


def _by_token(chosen: Sequence[LinkedVehicle]) -> list[list[LinkedVehicle]]:
    """Return the vehicles in their order, grouped by token."""
    groups: dict[object, list[LinkedVehicle]] = {}
    for vehicle in chosen:
        groups.setdefault(vehicle.token or vehicle.key, []).append(vehicle)
    return list(groups.values())
