"""The sources of evidence: their names, and the report of what querying them returned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import Any

import pandas as pd

from smartcar_ops.database.ledger.unanswered import DAYS, Question
from smartcar_ops.errors import ParameterError
from smartcar_ops.settings.logs import counts
from smartcar_ops.text import nearest

SOURCES = ("connections", "external_id", "management", "tokens", "vins", "webhooks", "redirects")
"""Every source, in the order they are queried."""

LISTS = ("connections", "subscriptions", "external_id", "management")
"""Sources that return a list; the others answer one question at a time."""

AUTO = ("connections", "external_id", "tokens", "vins")
"""The sources that ``auto`` queries; judging always uses all evidence in the ledger, also of the other sources.

``management`` needs its own credential and is only queried if it is given by name.
"""

AuditProgress = Callable[[str, int, int], None]
"""(source, done, total)."""

QUESTION_TYPES = {
    **dict.fromkeys(("source", "subject"), "str"),
    "days": "int64",
    "asked_at": "datetime64[us, UTC]",
    "error": "str",
    "gave_up": "bool",
}
"""The columns of ``unanswered`` with their types."""


@dataclass
class SourceReport:
    """What querying the sources returned: by source, the number of answers, of failures, and of questions not reached.

    ``details`` describes a source in words, where a count is not enough.
    """

    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    not_read: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    details: dict[str, str] = field(default_factory=dict)
    suspect: dict[str, str] = field(default_factory=dict)
    """Lists that are suspect and were not used: source -> reason."""
    refused: dict[str, str] = field(default_factory=dict)
    """Sources that refused every question in the same way, so that the rest was not sent: source -> reason."""
    open: dict[str, list[Question]] = field(default_factory=dict, repr=False)
    """Questions without an answer, by source: those that failed now, even after a retry, and those given up before."""

    @property
    def complete(self) -> bool:
        """False if the allowance ran out, a question had no answer, a list is suspect, or a source refuses all."""
        return not (self.not_read or self.failed or self.suspect or self.refused)

    @property
    def unanswered(self) -> int:
        """Questions without an answer that the next run retries."""
        return sum(self.not_read.values()) + sum(self.failed.values()) + len(self.suspect) + len(self.refused)

    @property
    def gave_up(self) -> int:
        """Subjects that had no answer on three days; runs no longer wait for them."""
        return sum(one.gave_up for questions in self.open.values() for one in questions)

    def count(self, source: str, failed: int, questions: Iterable[Question]) -> None:
        """Set how many questions of a source failed and will be retried, and the list of its open questions."""
        self.failed.pop(source, None)
        if failed:
            self.failed[source] = failed
        self.open[source] = list(questions)

    def add(self, other: SourceReport) -> None:
        """Add the report of another query in the same run."""
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine |= theirs

    def _parts(self) -> tuple[dict[str, Any], ...]:
        return self.answers, self.not_read, self.failed, self.details, self.suspect, self.refused, self.open

    def outcome(self, source: str) -> str:
        """Return the counts of a source for the log: without ids, and without text from an answer."""
        by_word = {"answers": self.answers, "failed": self.failed, "not read": self.not_read}
        counted = {word: by_source.get(source, 0) for word, by_source in by_word.items()}
        problems = (("suspect", self.suspect), ("refused", self.refused))
        return ", ".join([counts(counted), *(word for word, by_source in problems if source in by_source)])

    def summary(self) -> dict[str, Any]:
        """Return the keys for summary.json about questions without an answer."""
        return {"unanswered": self.unanswered, "gave_up": self.gave_up}

    def table(self) -> pd.DataFrame:
        """Return one row per subject without an answer: source, number of days, last time, and the error."""
        rows = [
            {**asdict(one), "asked_at": one.asked_at.replace(tzinfo=UTC), "gave_up": one.gave_up}
            for questions in self.open.values()
            for one in questions
        ]
        return pd.DataFrame(rows, columns=list(QUESTION_TYPES)).astype(QUESTION_TYPES)

    def listed(self) -> pd.DataFrame:
        """Return the same table for display, without the time."""
        return self.table().drop(columns="asked_at")

    def __str__(self) -> str:
        words = {source: counted_answers(source, count) for source, count in self.answers.items()} | self.details
        parts = [f"{source}: {description}" for source, description in words.items()]
        parts += [f"{source}: {why}" for source, why in (self.suspect | self.refused).items()]
        parts += [f"{source}: {count:,} failed (the next run retries them)" for source, count in self.failed.items()]
        parts += [f"{source}: {count:,} not read (the allowance ran out)" for source, count in self.not_read.items()]
        if self.gave_up:
            parts.append(f"{self.gave_up:,} given up after {DAYS} days without an answer (retried after a week)")
        return "; ".join(parts) or "no source was queried"


def counted_answers(source: str, count: int) -> str:
    """Return the number of answers in words: ``3 found`` for a list, ``3 answered`` for single questions."""
    return f"{count:,} {'found' if source in LISTS else 'answered'}"


def parse_sources(text: str) -> tuple[str, ...]:
    """Return the sources in a parameter's value, in the order they are queried; ParameterError if one is unknown."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in ([], ["auto"]):
        return AUTO
    for name in names:
        if name not in SOURCES:
            raise ParameterError(
                f"parameters: sources has {name!r}{nearest(name, SOURCES)}; expected auto, or some of "
                f"{', '.join(SOURCES)}, separated by commas."
            )
    return tuple(name for name in SOURCES if name in names)
