"""Sends the questions of one run, stores answers as they arrive, and records which questions had no answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from smartcar_ops.audit.sources import AuditProgress, SourceReport
from smartcar_ops.concurrency import bounded_map
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.unanswered import Unanswered
from smartcar_ops.errors import (
    AllowanceSpentError,
    AuthenticationError,
    ServiceIllError,
    SmartcarError,
    V2StoppedError,
    VehicleLimitError,
)
from smartcar_ops.smartcar.http.retries import in_words, may_pass
from smartcar_ops.storage.run_log import Milestones

log = logging.getLogger("smartcar_ops.audit")

CHUNK = 50
"""Answers are stored in chunks of this size; an interrupted run loses at most one chunk."""

ENDS = (AllowanceSpentError, AuthenticationError, ServiceIllError, V2StoppedError)
"""Errors that end the querying, because every other question would fail in the same way."""

NOT_SENT = (ServiceIllError, VehicleLimitError)
"""Errors of questions that were not sent; they do not count as a day without an answer."""

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")
Subjects = Callable[[QuestionT], Sequence[str]]
"""Returns what a question is about, as ids in the ledger; one question may be about several vehicles."""


@dataclass(frozen=True)
class Probes:
    """How many questions to send first, in groups, and a function that returns whether to send no more."""

    sizes: Sequence[int]
    are_over: Callable[[], bool]

    def parts(self, items: Sequence[QuestionT]) -> Iterator[Sequence[QuestionT]]:
        """Yield the items in groups: those to send first, then all others."""
        done = 0
        for size in (*self.sizes, len(items)):
            if done < len(items):
                yield items[done : done + size]
            done += size


class Questions(Generic[QuestionT, AnswerT]):
    """The questions of one source; `fan` sends them in parallel.

    A question without an answer may be sent again in the same run; the `SourceReport` counts it once.
    """

    def __init__(self, source: str, ledger: Ledger, asked: SourceReport, now: datetime) -> None:
        self.source, self._asked = source, asked
        self._open = Unanswered(ledger, t.as_kept(now))
        self._failed: dict[tuple[str, ...], SmartcarError] = {}
        self.given_up = self._open.given_up(source)
        self._resting, self._left_out = self._open.resting(source), set[str]()

    @property
    def may_pass(self) -> bool:
        """Whether some question failed with an error that may pass within minutes."""
        return any(may_pass(error) for error in self._failed.values())

    def to_put(self, items: Sequence[QuestionT], subjects: Subjects[QuestionT]) -> list[QuestionT]:
        """Return the questions worth a call now: not those given up recently, or failed for good in this run."""
        hopeless = {key for key, error in self._failed.items() if not may_pass(error)}
        wanted = [item for item in items if not set(subjects(item)) <= self._resting]
        self._left_out = {subject for item in items for subject in subjects(item)} & self._resting
        return [item for item in wanted if tuple(subjects(item)) not in hopeless]

    def fan(
        self,
        items: Sequence[QuestionT],
        ask: Callable[[QuestionT], AnswerT],
        keep: Callable[[list[AnswerT]], None],
        subjects: Subjects[QuestionT],
        executor: Executor,
        report: AuditProgress,
        probes: Probes | None = None,
    ) -> None:
        """Send the questions in parallel and store their answers as they arrive, until the budget is spent.

        Questions that failed in earlier runs come last: if they fail again, that does not mean that the service is
        down. With ``probes`` the first questions are sent in small groups, and the rest only if the probes allow it.
        """
        wanted = self.to_put(items, subjects)
        fresh, known = list[QuestionT](), list[QuestionT]()
        for item in wanted:
            (known if self._open.knows(self.source, subjects(item)) else fresh).append(item)
        done: list[tuple[str, ...]] = []
        buffer, milestones = _AnswerBuffer(self, keep, subjects), Milestones(log, self.source)

        def put(some: Sequence[QuestionT]) -> None:
            try:
                for item, outcome in _outcomes(executor, ask, some):
                    done.append(tuple(subjects(item)))
                    buffer.take(item, outcome)
                    report(self.source, len(done), len(wanted))
                    milestones.reached(len(done), len(wanted))
            finally:
                buffer.flush()
                self._note()

        for part in probes.parts(fresh) if probes else [fresh]:
            put(part)
            if probes and probes.are_over():
                return
        try:
            put(known)
        except ServiceIllError as error:
            left = {tuple(subjects(item)) for item in known} - set(done)
            self._failed |= dict.fromkeys(left, error)
            done += left
            self._count()
        if len(done) < len(wanted):
            self._asked.not_read[self.source] = len(wanted) - len(done)

    def one(self, ask: Callable[[], AnswerT], ends: tuple[type[SmartcarError], ...] = ENDS) -> AnswerT | None:
        """Send the question for a whole list; return None, and count it, if the allowance is spent or it failed.

        ``ends`` are the errors that are raised instead.
        """
        try:
            answer = ask()
        except AllowanceSpentError:
            self._asked.not_read[self.source] = 1
            return None
        except ends:
            raise
        except SmartcarError as error:
            self.failed({t.EVERYTHING: error})
            return None
        self.answered([t.EVERYTHING])
        return answer

    def failed(self, errors: Mapping[str, SmartcarError]) -> None:
        """Record subjects that had no answer, each as a question of its own."""
        self._failed |= {(subject,): error for subject, error in errors.items()}
        self._note()

    def answered(self, subjects: Sequence[str]) -> None:
        """Record subjects that were answered, each as a question of its own."""
        for subject in subjects:
            self._failed.pop((subject,), None)
        self._open.settle(self.source, subjects)
        self._note()

    def take(self, key: tuple[str, ...], error: SmartcarError | None) -> None:
        """Record whether a question was answered or failed."""
        self._failed.pop(key, None)
        if error is not None:
            self._failed[key] = error
        else:
            self._asked.answers[self.source] += 1

    def settle(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Record that the answers to these questions are stored."""
        self._open.settle(self.source, [subject for key in keys for subject in key])

    def _note(self) -> None:
        """Store the failed questions in the ledger, and count them."""
        sent = {key: error for key, error in self._failed.items() if not isinstance(error, NOT_SENT)}
        self._open.note(self.source, {subject: in_words(error) for key, error in sent.items() for subject in key})
        self._count()

    def _count(self) -> None:
        """Report how many questions will be retried, and list all that are open; those given up are not counted."""
        self.given_up = self._open.given_up(self.source)
        failed = sum(not set(key) <= self.given_up for key in self._failed)
        listed = {subject for key in self._failed for subject in key} | self._left_out
        self._asked.count(self.source, failed, [one for one in self._open.of([self.source]) if one.subject in listed])


class _AnswerBuffer(Generic[QuestionT, AnswerT]):
    """Collects answers and stores them in chunks."""

    def __init__(
        self,
        questions: Questions[QuestionT, AnswerT],
        keep: Callable[[list[AnswerT]], None],
        subjects: Subjects[QuestionT],
    ) -> None:
        self._questions, self._keep, self._subjects = questions, keep, subjects
        self._waiting: list[tuple[QuestionT, AnswerT]] = []

    def take(self, item: QuestionT, outcome: AnswerT | SmartcarError) -> None:
        """Add an answer, or record the error that came instead."""
        failed = outcome if isinstance(outcome, SmartcarError) else None
        self._questions.take(tuple(self._subjects(item)), failed)
        if not isinstance(outcome, SmartcarError):
            self._waiting.append((item, outcome))
        if len(self._waiting) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Store the collected answers."""
        waiting, self._waiting = self._waiting, []
        self._keep([answer for _, answer in waiting])
        self._questions.settle(tuple(self._subjects(item)) for item, _ in waiting)


def _outcomes(
    executor: Executor, ask: Callable[[QuestionT], AnswerT], items: Sequence[QuestionT]
) -> Iterator[tuple[QuestionT, AnswerT | SmartcarError]]:
    """Yield each item with its answer, or with the error that came instead, as they arrive."""

    def put(item: QuestionT) -> tuple[QuestionT, Any]:
        try:
            return item, ask(item)
        except ENDS:
            raise
        except SmartcarError as error:
            return item, error

    for outcome in bounded_map(executor, put, items, stop_on=(AllowanceSpentError, V2StoppedError)):
        if isinstance(outcome, SmartcarError):  # never: `put` returns an error with its item
            raise outcome
        yield outcome
