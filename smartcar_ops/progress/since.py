"""What changed since an earlier day: who became mapped, who fell back, who joined or left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.history.days import Snapshot
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Run, RunStatus
from smartcar_ops.text import day_in_words, thousands

MAX_LISTED_USERS = 200
"""Most users who fell back that a report lists; `diff` has all of them."""


@dataclass(frozen=True)
class Since:
    """The users who moved between the audits of two days; ``day`` is None if there is nothing to compare with.

    ``is_report`` is true if that day is the one of the last report. ``fell_back`` has one row per user who was mapped
    and is not any more, ``user_id``, ``now``, ``since``, ``next_action``: at most `MAX_LISTED_USERS`.
    """

    day: date | None = None
    is_report: bool = False
    mapped: int = 0
    back: int = 0
    joined: int = 0
    gone: int = 0
    others: int = 0
    fell_back: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __str__(self) -> str:
        """Return the changes as one sentence."""
        if self.day is None:
            return "There is no earlier audit with everybody's bucket to compare with"
        parts = [
            (self.mapped, "became mapped"),
            (self.back, "fell back"),
            (self.others, "moved otherwise"),
            (self.joined, "joined"),
            (self.gone, "left the company's table"),
        ]
        changes = ", ".join(f"{thousands(number, 'users')} {what}" for number, what in parts if number)
        since = f"Since the {'last report' if self.is_report else 'audit before'} ({day_in_words(self.day)})"
        return f"{since}: {changes or 'nobody moved'}"


def since(ledger: Ledger, days: Sequence[Snapshot], reports: Sequence[Run]) -> Since:
    """Return what changed up to the last of these days since the last report, or since the audit before.

    ``reports`` are the earlier reports, oldest first.
    """
    known = [day.day for day in days if day.has_states]
    if len(known) < 2:
        return Since()
    latest = known[-1]
    reported = [run.began.date() for run in reports if run.status is RunStatus.DONE and run.began.date() < latest]
    earlier = [day for day in known if reported and day <= reported[-1]]
    day = earlier[-1] if earlier else known[-2]
    counts = user_states.transitions(ledger, day, latest)
    return Since(
        day=day,
        is_report=bool(earlier),
        mapped=sum(users for (was, now), users in counts.items() if was is not None and now == "mapped"),
        back=sum(users for (was, now), users in counts.items() if was == "mapped" and now is not None),
        joined=sum(users for (was, _), users in counts.items() if was is None),
        gone=sum(users for (_, now), users in counts.items() if now is None),
        others=sum(
            users for (was, now), users in counts.items() if None not in (was, now) and "mapped" not in (was, now)
        ),
        fell_back=_fell_back(ledger, day, latest),
    )


def _fell_back(ledger: Ledger, day: date, latest: date) -> pd.DataFrame:
    moves = user_states.moves_from(ledger, "mapped", day, latest, MAX_LISTED_USERS)
    rows = [
        {
            "user_id": move.user_id,
            "now": move.to_bucket,
            "since": move.at.isoformat(),
            "next_action": buckets.BY_NAME[str(move.to_bucket)].next_action,
        }
        for move in moves
    ]
    return pd.DataFrame(rows, columns=["user_id", "now", "since", "next_action"])
