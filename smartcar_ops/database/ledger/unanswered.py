"""Questions that Smartcar did not answer, on how many days they failed, and which of them are given up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import CHUNK, Ledger

DAYS = 3
"""Number of days with a failure after which a question is given up."""

REST = timedelta(days=7)
"""How long a given-up question is not retried, because retrying would cost units in every run."""


@dataclass(frozen=True)
class Question:
    """A question without an answer; ``asked_at`` is naive UTC, ``error`` a short description of the failure."""

    source: str
    subject: str
    days: int
    asked_at: datetime
    error: str

    @property
    def gave_up(self) -> bool:
        """Whether it failed on so many days that it no longer makes a run incomplete."""
        return self.days >= DAYS


class Unanswered:
    """The open questions of one ledger's scope; ``now`` (naive UTC) is the time of the run."""

    def __init__(self, ledger: Ledger, now: datetime) -> None:
        self._ledger, self._now = ledger, now
        self._known = {
            (row["source"], row["subject"]): Question(
                row["source"], row["subject"], row["days"], row["asked_at"], row["error"]
            )
            for row in ledger.rows(t.unanswered)
        }

    def of(self, sources: Collection[str]) -> list[Question]:
        """Return the questions of these sources, sorted by source and subject."""
        return [question for key, question in sorted(self._known.items()) if key[0] in sources]

    def knows(self, source: str, subjects: Iterable[str]) -> bool:
        """Return whether one of these subjects failed before, today or earlier."""
        return any((source, subject) in self._known for subject in subjects)

    def resting(self, source: str) -> set[str]:
        """Return the subjects that were given up recently and are not queried now."""
        return {one.subject for one in self.of([source]) if one.gave_up and self._now - one.asked_at < REST}

    def given_up(self, source: str) -> set[str]:
        """Return the subjects that were given up."""
        return {one.subject for one in self.of([source]) if one.gave_up}

    def note(self, source: str, errors: Mapping[str, str]) -> None:
        """Record subjects that failed now, each with its error; a day counts once, however often it failed."""
        failed = [self._failed(source, subject, error) for subject, error in errors.items()]
        self._known |= {(one.source, one.subject): one for one in failed}
        self._ledger.record(t.unanswered, [vars(one) for one in failed])

    def settle(self, source: str, subjects: Iterable[str]) -> None:
        """Remove subjects that were answered or need no answer any more."""
        answered = [subject for subject in subjects if self._known.pop((source, subject), None)]
        for start in range(0, len(answered), CHUNK):
            self._delete(source, answered[start : start + CHUNK])

    def _failed(self, source: str, subject: str, error: str) -> Question:
        before = self._known.get((source, subject))
        days = 1 if before is None else before.days + (before.asked_at.date() < self._now.date())
        return Question(source, subject, days, self._now, error)

    def _delete(self, source: str, subjects: Sequence[str]) -> None:
        row = t.unanswered.c
        mine = sa.and_(self._ledger.scope.of(t.unanswered), row.source == source, row.subject.in_(subjects))
        with engines.failures(self._ledger.engine, "writing the ledger"), self._ledger.begin() as connection:
            connection.execute(sa.delete(t.unanswered).where(mine))
