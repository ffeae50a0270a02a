"""Records people's decisions in the ledger: each replaces the user's earlier one, and stays as a run of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import CHUNK, Ledger
from smartcar_ops.database.ledger.locks import utcnow
from smartcar_ops.database.ledger.runs import Act, RunStatus, run_row


@dataclass(frozen=True)
class UserDecision:
    """A person's decision: this user has this Smartcar id, or none."""

    user_id: str
    smartcar_user_id: str | None
    chosen_by: str
    reason: str


def record(ledger: Ledger, decisions: Sequence[UserDecision], now: datetime, *, judged: int | None = None) -> bool:
    """Record decisions in one transaction; return False, and record none, if the evidence is not the one judged.

    ``judged`` is the evidence number (`readiness.judged_now`) under which the decisions were checked; None: any.
    """
    for attempt in range(1, engines.TRIES + 1):
        with engines.failures(ledger.engine, "recording decisions"):
            try:
                return _record(ledger, decisions, now, judged)
            except DBAPIError as error:
                # Another process may record a decision about the same user, or take the same number, at this moment.
                if attempt == engines.TRIES or not (isinstance(error, IntegrityError) or engines.is_passing(error)):
                    raise
    raise AssertionError("the last try returns or raises")


def _record(ledger: Ledger, decisions: Sequence[UserDecision], now: datetime, judged: int | None) -> bool:
    moment = t.as_kept(now)
    rows = [ledger.scope.row(t.choices, **asdict(one), chosen_at=moment) for one in decisions]
    with ledger.begin() as connection:
        fence = sa.select(t.fences.c.token).where(t.fences.c.name == t.EVIDENCE_FENCE).with_for_update()
        number = int(connection.execute(fence).scalar_one_or_none() or 0)
        if judged not in (None, number):
            return False
        ledger.write(connection, t.choices, rows)
        runs = _runs(ledger, connection, decisions, moment)
        for start in range(0, len(runs), CHUNK):
            connection.execute(sa.insert(t.runs), runs[start : start + CHUNK])
    return True


def _runs(
    ledger: Ledger, connection: sa.Connection, decisions: Sequence[UserDecision], moment: datetime
) -> list[dict[str, object]]:
    """Return a finished run per decision, each under a name that no run has."""
    name = f"{moment:%Y%m%dT%H%M%SZ}__decide-"
    taken = sa.select(t.runs.c.run_id).where(t.runs.c.run_id.startswith(name, autoescape=True))
    last = max((int(run_id.removeprefix(name)) for run_id in connection.execute(taken).scalars()), default=0)
    return [
        run_row(
            ledger,
            f"{name}{number}",
            "decide",
            Act.DECIDE,
            status=RunStatus.DONE,
            ended=utcnow(),
            summary=json.dumps(asdict(one)),
            calls="{}",
        )
        for number, one in enumerate(decisions, start=last + 1)
    ]
