"""The worker's side of reading a fleet: a batch of vehicles read in another process, possibly on another machine.

A worker opens its own clients and saves every recording in the ledger as soon as it is complete. If a worker dies and
its batch is submitted again, only the vehicles that were being read cost units again.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pydantic import SecretStr

from smartcar_ops.audit.token_owners import TokenOwners
from smartcar_ops.clients import Clients
from smartcar_ops.compare import recording
from smartcar_ops.compare.recording import ReadResult, Recorder, Recording
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.errors import AllowanceSpentError, AuthenticationError, DatabaseError, ServiceIllError, SmartcarError
from smartcar_ops.fields.field_map import FieldMap
from smartcar_ops.settings.environment import Settings
from smartcar_ops.settings.layout import Vault
from smartcar_ops.smartcar.http.rate_limit import Budget
from smartcar_ops.smartcar.http.transport import Call
from smartcar_ops.storage.journal import Journal

THREADS = 16
"""Vehicles that one batch reads at once; one sync client per thread gives the highest throughput."""


@dataclass(frozen=True)
class WorkItem:
    """A batch of vehicles for one worker, and the units it may spend (0: what the bucket holds).

    The vehicles carry V2 tokens: traffic between machines must be encrypted.
    """

    pairs: tuple[LinkedVehicle, ...] = field(repr=False)
    max_calls: int = 0


@dataclass(frozen=True)
class WorkResult:
    """The result of one batch; it never has a response body.

    ``keys`` are the vehicles whose recordings are saved, ``silent`` V2's failures, ``unanswered`` the vehicles to read
    again, and ``units`` is how many of the batch's own units were spent. ``spent`` is true if the allowance ran out;
    ``ended`` is an error that every other vehicle would get too.
    """

    keys: frozenset[tuple[str, str]]
    silent: Mapping[tuple[str, str], SmartcarError]
    unanswered: Mapping[tuple[str, str], SmartcarError]
    calls: tuple[Call, ...]
    oddities: Mapping[str, int]
    units: int
    spent: bool
    ended: SmartcarError | None


@dataclass(frozen=True)
class RemoteRecorder:
    """Reads a batch's vehicles in the process that calls it; picklable, and the same for all batches of a run.

    ``until`` is when waiting for refills ends, in seconds since the epoch by the ledger's clock. DatabaseError if the
    worker's ledger is not the run's ledger.
    """

    settings: Settings = field(repr=False)
    fields: FieldMap = field(repr=False)
    slice: str
    until: float
    pages: int = 1
    """How many requests V3's signals need, as far as known."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", _worker_settings(self.settings))

    def __call__(self, task: WorkItem) -> WorkResult:
        """Read the batch's vehicles in parallel; those already recorded in this slice count as read."""
        with _borrowed(self) as worker:
            return worker.execute(task)


class _Worker:
    """The clients of one batch at a time; the next batch of the same run reuses them."""

    def __init__(self, order: RemoteRecorder) -> None:
        # The calls are returned to the run, which records them; recording them here too would count them twice.
        self._order, self._clients = order, Clients(order.settings, noted_in=Journal(None))
        self._recordings = Recordings(self._clients.ledger)
        self._owners = TokenOwners(self._clients.ledger, self._clients.v2, datetime.now(UTC))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="smartcar")
        self._refuse_another_ledger()

    def execute(self, task: WorkItem) -> WorkResult:
        """Read the vehicles that are not recorded yet, within the batch's budget."""
        recorded = self._recordings.among(self._order.slice, [vehicle.key for vehicle in task.pairs])
        to_read = [vehicle for vehicle in task.pairs if vehicle.key not in recorded]
        budget = self._budget(task, to_read)
        reached, end = ReadResult(), _EarlyEnd()
        with self._clients.transport.spending(budget):
            try:
                reached = recording.record_all(to_read, end.watching(self._recorder()), self._threads)
                end.ended = reached.stopped
            except (AuthenticationError, ServiceIllError) as error:
                end.ended = error
        calls, oddities = self._clients.transport.hand_over()
        units = 0 if budget.left is None else task.max_calls - budget.left
        keys = frozenset(recorded | reached.keys)
        spent = end.spent and len(reached.keys) < len(to_read)  # a failed second read is no reason to end the run
        return WorkResult(keys, reached.silent, reached.unanswered, tuple(calls), oddities, units, spent, end.ended)

    def close(self) -> None:
        """Stop the threads and close every connection."""
        self._threads.shutdown()
        self._clients.close()

    def _recorder(self) -> Recorder:
        order, clients = self._order, self._clients
        return Recorder(clients.v2, clients.v3, self._owners, self._recordings, order.fields, order.slice)

    def _budget(self, task: WorkItem, to_read: list[LinkedVehicle]) -> Budget:
        """Return the batch's budget, less the units already spent on vehicles that are recorded."""
        most, bucket = task.max_calls, self._clients.bucket
        if most and len(to_read) < len(task.pairs):
            order = self._order
            cost = recording.cost(to_read, self._clients.v2, self._owners, order.fields, pages=order.pages)
            most = max(1, min(most, sum(cost.values())))
        minutes = max(0.0, self._order.until - bucket.level().at) / 60
        return Budget(bucket, max_calls=most, max_minutes=minutes)

    def _refuse_another_ledger(self) -> None:
        """DatabaseError if the slice is not open in this ledger: the run would never see the recordings."""
        open_slice = self._recordings.open_slice()
        if open_slice is None or open_slice["name"] != self._order.slice:
            self.close()
            raise DatabaseError(
                "database: this worker's ledger is not the run's, so its recordings would be lost; run 40_schema_phases"
                " (phase expand) to put the ledger in the database, or keep all workers on one machine."
            )


class _EarlyEnd:
    """Why a batch ended early: the allowance was spent, or an error ended it."""

    def __init__(self) -> None:
        self.spent = False
        self.ended: SmartcarError | None = None

    def watching(self, recorder: Recorder) -> Callable[[LinkedVehicle], Recording]:
        """Return the recorder, wrapped to set ``spent`` if the allowance runs out."""

        def watched(vehicle: LinkedVehicle) -> Recording:
            try:
                return recorder(vehicle)
            except AllowanceSpentError:
                self.spent = True
                raise

        return watched


_IDLE: dict[str, list[_Worker]] = {}
"""Workers with open clients that are not in use in this process, by run."""

_LOCK = threading.Lock()


@contextmanager
def _borrowed(order: RemoteRecorder) -> Iterator[_Worker]:
    """Yield a worker for one batch at a time; workers of earlier runs are closed."""
    with _LOCK:
        idle = _IDLE.pop(order.id, [])
        old = [worker for workers in _IDLE.values() for worker in workers]
        _IDLE.clear()
        worker = idle.pop() if idle else None
        _IDLE[order.id] = idle
    for one in old:
        one.close()
    worker = worker or _Worker(order)
    try:
        yield worker
    except BaseException:
        worker.close()
        raise
    with _LOCK:
        _IDLE.setdefault(order.id, []).append(worker)


def _worker_settings(settings: Settings) -> Settings:
    """Return only the settings a worker needs: no secret that opens stored tokens or calls the management API."""
    nothing = SecretStr("")
    without = {"v2_client_secret": nothing, "management_token": nothing, "other_management_tokens": ()}
    credentials = settings.credentials.model_copy(update=without)
    return replace(settings, credentials=credentials, vault=Vault())
