"""The sources that can say who is who: their names, what asking them costs, and what an asking came to."""

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
"""Every source, in the order they are asked."""

AUTO = ("connections", "external_id", "tokens", "vins")
"""What ``auto`` asks; judging always takes in all that the ledger knows, ``webhooks`` and ``redirects`` too.

``management`` needs a credential of its own and is asked only where it is named.
"""

AuditProgress = Callable[[str, int, int], None]
"""(what, done, of)."""

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
    """What one asking came to: how many answers by source, what was not reached, how many questions had no answer.

    ``told`` says more of a source than a count can, in words.
    """

    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    not_read: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    told: dict[str, str] = field(default_factory=dict)
    suspect: dict[str, str] = field(default_factory=dict)
    """Lists that are in doubt and were not taken in: source -> why."""
    refused: dict[str, str] = field(default_factory=dict)
    """Sources that refused every question alike, so that no further one was asked: source -> why."""
    open: dict[str, list[Question]] = field(default_factory=dict, repr=False)
    """What had no answer, by source: what failed now, also when asked once more, and what was given up before."""

    @property
    def complete(self) -> bool:
        """False if the allowance ended first, a question had no answer, a list is in doubt, or a source refuses all."""
        return not (self.not_read or self.failed or self.suspect or self.refused)

    @property
    def unanswered(self) -> int:
        """Questions without an answer that the next run asks again."""
        return sum(self.not_read.values()) + sum(self.failed.values()) + len(self.suspect) + len(self.refused)

    @property
    def gave_up(self) -> int:
        """Subjects that had no answer on three days: no run waits for them any longer."""
        return sum(one.gave_up for questions in self.open.values() for one in questions)

    def count(self, source: str, failed: int, questions: Iterable[Question]) -> None:
        """Notes how many questions of a source had no answer and are asked again, and all that are open."""
        self.failed.pop(source, None)
        if failed:
            self.failed[source] = failed
        self.open[source] = list(questions)

    def take_in(self, other: SourceReport) -> None:
        """Adds what another asking of the same act came to."""
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine |= theirs

    def _parts(self) -> tuple[dict[str, Any], ...]:
        return self.answers, self.not_read, self.failed, self.told, self.suspect, self.refused, self.open

    def outcome(self, source: str) -> str:
        """What asking a source came to so far, in counts: without an id and without a word of an answer."""
        counted = {"answers": self.answers, "failed": self.failed, "not read": self.not_read}
        told = {word: found.get(source, 0) for word, found in counted.items()}
        doubts = [word for word, found in (("in doubt", self.suspect), ("refused", self.refused)) if source in found]
        return ", ".join([counts(told), *doubts])

    def summary(self) -> dict[str, Any]:
        """What summary.json says of questions without an answer."""
        return {"unanswered": self.unanswered, "gave_up": self.gave_up}

    def table(self) -> pd.DataFrame:
        """A row a subject without an answer: its source, on how many days, when last, what came instead."""
        rows = [
            {**asdict(one), "asked_at": one.asked_at.replace(tzinfo=UTC), "gave_up": one.gave_up}
            for questions in self.open.values()
            for one in questions
        ]
        return pd.DataFrame(rows, columns=list(QUESTION_TYPES)).astype(QUESTION_TYPES)

    def listed(self) -> pd.DataFrame:
        """The same for people: without the moment."""
        return self.table().drop(columns="asked_at")

    def __str__(self) -> str:
        words = {source: f"{count:,} answers" for source, count in self.answers.items()} | self.told
        parts = [f"{source}: {said}" for source, said in words.items()]
        parts += [f"{source}: {why}" for source, why in (self.suspect | self.refused).items()]
        parts += [f"{source}: {count:,} failed, asked again next time" for source, count in self.failed.items()]
        parts += [f"{source}: {count:,} not read, the allowance ended" for source, count in self.not_read.items()]
        if self.gave_up:
            parts.append(f"{self.gave_up:,} given up after {DAYS} days without an answer, asked again a week later")
        return "; ".join(parts) or "nothing was asked"


def parse_sources(text: str) -> tuple[str, ...]:
    """The sources that a parameter names, in the order they are asked; ParameterError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in ([], ["auto"]):
        return AUTO
    for name in names:
        if name not in SOURCES:
            raise ParameterError(
                f"parameters: sources names {name!r}{nearest(name, SOURCES)}; expected auto, or some of "
                f"{', '.join(SOURCES)}, separated by commas."
            )
    return tuple(name for name in SOURCES if name in names)
