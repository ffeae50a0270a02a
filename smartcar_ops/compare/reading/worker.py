"""The worker's side of reading a fleet: a batch of vehicles read in another process, perhaps on another machine.

A worker opens its own clients and keeps every recording in the ledger the moment it is whole, so that a batch which
is given out again, because its worker died, costs only the vehicles that were in flight.
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
from smartcar_ops.smartcar.http.journal import Journal
from smartcar_ops.smartcar.http.rate_limit import Budget
from smartcar_ops.smartcar.http.transport import Call

THREADS = 16
"""Vehicles that one batch reads at once: a sync client a thread sends the most."""


@dataclass(frozen=True)
class WorkItem:
    """A batch of vehicles for one worker, and the units it may spend (0: what the bucket gives).

    The pairs carry V2 tokens: between machines they must travel encrypted.
    """

    pairs: tuple[LinkedVehicle, ...] = field(repr=False)
    max_calls: int = 0


@dataclass(frozen=True)
class WorkResult:
    """What a worker brings back: whose recordings are kept, V2's failures, what has to be asked again, its calls and
    oddities; never a body.

    ``units`` were taken from the task's own; ``spent`` says that the allowance ended first; ``ended`` is the error
    that every vehicle would meet.
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
    """Reads a task's vehicles in whichever process it is called in; picklable, and the same for all tasks of a run.

    ``until`` is when nobody waits for refills any longer, in seconds since the epoch by the ledger's clock.
    DatabaseError where the worker's ledger is not the run's.
    """

    settings: Settings = field(repr=False)
    fields: FieldMap = field(repr=False)
    slice: str
    until: float
    pages: int = 1
    """In how many requests V3's signals are known to come."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", _least(self.settings))

    def __call__(self, task: WorkItem) -> WorkResult:
        """The vehicles of this slice that are kept already count as read; the others are read side by side."""
        with _borrowed(self) as worker:
            return worker.execute(task)


class _Worker:
    """The clients of one batch at a time; the next batch of the same run finds them open."""

    def __init__(self, order: RemoteRecorder) -> None:
        # What it sends is handed over, and noted by the run that takes it in: not here as well.
        self._order, self._clients = order, Clients(order.settings, noted_in=Journal(None))
        self._recordings = Recordings(self._clients.ledger)
        self._owners = TokenOwners(self._clients.ledger, self._clients.v2, datetime.now(UTC))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="smartcar")
        self._refuse_another_ledger()

    def execute(self, task: WorkItem) -> WorkResult:
        """Reads what is not kept yet, within the task's budget."""
        kept = self._recordings.among(self._order.slice, [pair.key for pair in task.pairs])
        left = [pair for pair in task.pairs if pair.key not in kept]
        budget = self._budget(task, left)
        reached, notes = ReadResult(), _Notes()
        with self._clients.transport.spending(budget):
            try:
                reached = recording.record_all(left, notes.watching(self._recorder()), self._threads)
                notes.ended = reached.stopped
            except (AuthenticationError, ServiceIllError) as error:
                notes.ended = error
        calls, oddities = self._clients.transport.hand_over()
        units = 0 if budget.left is None else task.max_calls - budget.left
        keys = frozenset(kept | reached.keys)
        spent = notes.spent and len(reached.keys) < len(left)  # a second reading is not worth ending the run for
        return WorkResult(keys, reached.silent, reached.unanswered, tuple(calls), oddities, units, spent, notes.ended)

    def close(self) -> None:
        """Ends the threads and closes every connection."""
        self._threads.shutdown()
        self._clients.close()

    def _recorder(self) -> Recorder:
        order, clients = self._order, self._clients
        return Recorder(clients.v2, clients.v3, self._owners, self._recordings, order.fields, order.slice)

    def _budget(self, task: WorkItem, left: list[LinkedVehicle]) -> Budget:
        """The task's units; those of vehicles that are kept already were spent before it was given out again."""
        most, bucket = task.max_calls, self._clients.bucket
        if most and len(left) < len(task.pairs):
            order = self._order
            cost = recording.cost(left, self._clients.v2, self._owners, order.fields, pages=order.pages)
            most = max(1, min(most, sum(cost.values())))
        minutes = max(0.0, self._order.until - bucket.level().at) / 60
        return Budget(bucket, max_calls=most, max_minutes=minutes)

    def _refuse_another_ledger(self) -> None:
        """DatabaseError where the slice is not open here: what is read would be kept where nobody looks for it."""
        told = self._recordings.open_slice()
        if told is None or told["name"] != self._order.slice:
            self.close()
            raise DatabaseError(
                "database: this worker's ledger is not the run's, so its recordings would be lost; expand first "
                "(40_schema_phases), so that the ledger is in the database, or keep all workers on one machine."
            )


class _Notes:
    """What ended a batch early."""

    def __init__(self) -> None:
        self.spent = False
        self.ended: SmartcarError | None = None

    def watching(self, recorder: Recorder) -> Callable[[LinkedVehicle], Recording]:
        """The recorder, noting that the allowance ended."""

        def watched(pair: LinkedVehicle) -> Recording:
            try:
                return recorder(pair)
            except AllowanceSpentError:
                self.spent = True
                raise

        return watched


_IDLE: dict[str, list[_Worker]] = {}
"""Clients that are open and not in use in this process, by run."""

_LOCK = threading.Lock()


@contextmanager
def _borrowed(order: RemoteRecorder) -> Iterator[_Worker]:
    """Clients for one batch alone; those of earlier runs are closed."""
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


def _least(settings: Settings) -> Settings:
    """What a worker needs of the settings: the pairs bring their tokens opened, and nobody is managed."""
    nothing = SecretStr("")
    without = {"v2_client_secret": nothing, "management_token": nothing, "other_management_tokens": ()}
    credentials = settings.credentials.model_copy(update=without)
    return replace(settings, credentials=credentials, vault=Vault())
