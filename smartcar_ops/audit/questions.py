"""Puts the questions of one act: keeps answers as they come, and says what had none, on how many days."""

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
"""Answers are kept every so many; an interrupted run loses no more."""

ENDS = (AllowanceSpentError, AuthenticationError, ServiceIllError, V2StoppedError)
"""What ends an asking: every other question would fare alike."""

NOT_SENT = (ServiceIllError, VehicleLimitError)
"""What stands for an answer where nothing was sent: the question is no day older for it."""

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")
Subjects = Callable[[QuestionT], Sequence[str]]
"""What a question is about, as the ledger names it: one question may be about several cars."""


@dataclass(frozen=True)
class Probes:
    """How many questions are put first, part by part, and what says that they were enough."""

    sizes: Sequence[int]
    are_over: Callable[[], bool]

    def parts(self, items: Sequence[QuestionT]) -> Iterator[Sequence[QuestionT]]:
        """The items: the parts that are put first, then all others."""
        done = 0
        for size in (*self.sizes, len(items)):
            if done < len(items):
                yield items[done : done + size]
            done += size


class Questions(Generic[QuestionT, AnswerT]):
    """The questions of one source: `fan` puts them side by side.

    A question that had no answer may be put again (`again`) within the act; `Asked` counts it once.
    """

    def __init__(self, source: str, ledger: Ledger, asked: SourceReport, now: datetime) -> None:
        self.source, self._asked = source, asked
        self._open = Unanswered(ledger, t.as_kept(now))
        self._failed: dict[tuple[str, ...], SmartcarError] = {}
        self.given_up = self._open.given_up(source)
        self._resting, self._left_out = self._open.resting(source), set[str]()

    @property
    def may_pass(self) -> bool:
        """Whether some question failed that may be answered within minutes."""
        return any(may_pass(error) for error in self._failed.values())

    def to_put(self, items: Sequence[QuestionT], subjects: Subjects[QuestionT]) -> list[QuestionT]:
        """Those that are worth a call now: not what was given up lately, nor what failed in this act for good."""
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
        """Puts the questions side by side and keeps their answers as they come, until the budget ends.

        Those that failed before come last: that they fail again does not mean that the service is ill. With ``probes``
        the first ones are put in small parts, and none any more where these say that no further one is worth a call.
        """
        wanted = self.to_put(items, subjects)
        fresh, known = list[QuestionT](), list[QuestionT]()
        for item in wanted:
            (known if self._open.knows(self.source, subjects(item)) else fresh).append(item)
        done: list[tuple[str, ...]] = []
        kept, milestones = _Kept(self, keep, subjects), Milestones(log, self.source)

        def put(some: Sequence[QuestionT]) -> None:
            try:
                for item, outcome in _outcomes(executor, ask, some):
                    done.append(tuple(subjects(item)))
                    kept.take(item, outcome)
                    report(self.source, len(done), len(wanted))
                    milestones.reached(len(done), len(wanted))
            finally:
                kept.flush()
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
        """The answer to the question for a whole list; None where the allowance ended or it failed, which is counted.

        ``ends`` are the errors that end the act.
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
        """Notes subjects that had no answer, each a question of its own."""
        self._failed |= {(subject,): error for subject, error in errors.items()}
        self._note()

    def answered(self, subjects: Sequence[str]) -> None:
        """Notes subjects that were answered, each a question of its own."""
        for subject in subjects:
            self._failed.pop((subject,), None)
        self._open.settle(self.source, subjects)
        self._note()

    def take(self, key: tuple[str, ...], error: SmartcarError | None) -> None:
        """Notes what became of a question."""
        self._failed.pop(key, None)
        if error is not None:
            self._failed[key] = error
        else:
            self._asked.answers[self.source] += 1

    def settle(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Notes that the answers to these questions are kept."""
        self._open.settle(self.source, [subject for key in keys for subject in key])

    def _note(self) -> None:
        """Keeps what failed, and counts it."""
        put = {key: error for key, error in self._failed.items() if not isinstance(error, NOT_SENT)}
        self._open.note(self.source, {subject: in_words(error) for key, error in put.items() for subject in key})
        self._count()

    def _count(self) -> None:
        """Tells how many questions are open, and which: what was given up holds up nobody."""
        self.given_up = self._open.given_up(self.source)
        failed = sum(not set(key) <= self.given_up for key in self._failed)
        told = {subject for key in self._failed for subject in key} | self._left_out
        self._asked.count(self.source, failed, [one for one in self._open.of([self.source]) if one.subject in told])


class _Kept(Generic[QuestionT, AnswerT]):
    """Answers on their way to the ledger, so many at a time."""

    def __init__(
        self,
        questions: Questions[QuestionT, AnswerT],
        keep: Callable[[list[AnswerT]], None],
        subjects: Subjects[QuestionT],
    ) -> None:
        self._questions, self._keep, self._subjects = questions, keep, subjects
        self._waiting: list[tuple[QuestionT, AnswerT]] = []

    def take(self, item: QuestionT, outcome: AnswerT | SmartcarError) -> None:
        """An answer, or what came instead."""
        failed = outcome if isinstance(outcome, SmartcarError) else None
        self._questions.take(tuple(self._subjects(item)), failed)
        if not isinstance(outcome, SmartcarError):
            self._waiting.append((item, outcome))
        if len(self._waiting) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Keeps what waits."""
        waiting, self._waiting = self._waiting, []
        self._keep([answer for _, answer in waiting])
        self._questions.settle(tuple(self._subjects(item)) for item, _ in waiting)


def _outcomes(
    executor: Executor, ask: Callable[[QuestionT], AnswerT], items: Sequence[QuestionT]
) -> Iterator[tuple[QuestionT, AnswerT | SmartcarError]]:
    """Each item with its answer, or with the error that came instead, as they come."""

    def put(item: QuestionT) -> tuple[QuestionT, Any]:
        try:
            return item, ask(item)
        except ENDS:
            raise
        except SmartcarError as error:
            return item, error

    for outcome in bounded_map(executor, put, items, stop_on=(AllowanceSpentError, V2StoppedError)):
        if isinstance(outcome, SmartcarError):  # never: `put` gives an error beside its item
            raise outcome
        yield outcome
