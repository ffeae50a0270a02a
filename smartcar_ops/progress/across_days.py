"""The history as analysts ask for it: one row per day, and who moved between two days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pandas as pd

from smartcar_ops.clients import Clients
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.errors import ParameterError
from smartcar_ops.progress.days import parse_day
from smartcar_ops.progress.snapshots import snapshots, table
from smartcar_ops.settings import startup

MOVES = {"user_id": "str", "from_bucket": "str", "to_bucket": "str", "at": "str"}
"""The columns of `diff` with their types."""


def history() -> pd.DataFrame:
    """Return one row per day with an audit; SettingsError or DatabaseError if the ledger can't be opened."""
    with _ledger() as ledger:
        return table(snapshots(ledger))


def diff(earlier: str | date, later: str | date) -> pd.DataFrame:
    """Return who is in another bucket on the later day: ``user_id``, ``from_bucket``, ``to_bucket``, ``at``.

    On a day without an audit, everybody is where the audit before left them. A bucket is missing on a day when the
    company did not have the user; ``at`` is the day of the first audit that saw the user there. ParameterError if
    a day is none, if the earlier one is later, or if everybody's bucket is not known then.
    """
    first, last = (parse_day("diff", str(day)) for day in (earlier, later))
    if first > last:
        raise ParameterError(f"parameters: diff: {first} is after {last}; expected the earlier day first.")
    with _ledger() as ledger:
        known = [day.day for day in snapshots(ledger) if day.has_states]
        if not known or first < known[0]:
            since = f"known since {known[0]}" if known else "not known yet: run 20_audit_user_ids"
            raise ParameterError(f"parameters: diff: nothing is known of {first}; everybody's bucket is {since}.")
        moves = user_states.moves(ledger, first, last)
    frame = pd.DataFrame(moves, columns=[*MOVES])
    return frame.assign(at=[day.isoformat() for day in frame["at"]]).astype(MOVES)


@contextmanager
def _ledger() -> Iterator[Ledger]:
    """Open the ledger that the settings name, for one question; makes no call."""
    clients = Clients(startup.settle())
    try:
        yield clients.ledger
    finally:
        clients.close()
