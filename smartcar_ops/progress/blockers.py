"""What is in the way, the most urgent first, each with the command that removes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from smartcar_ops.database.ledger.history.days import StratumParity
from smartcar_ops.text import thousands

AUDIT = "smartcar-ops run 20"
COMPARE = "smartcar-ops run 10"
PLAN = "smartcar-ops run 30"
APPLY = "smartcar-ops run 30 -p apply True -p plan latest"
DECIDE = "smartcar-ops decide --file latest --by NAME"

BY_BUCKET = {
    "ready": ("users", "{count} ready to be backfilled: plan, then apply", (PLAN, APPLY)),
    "conflict": ("users", "{count} with conflicting sources: a person decides", (DECIDE,)),
    "shared": ("users", "{count} with an id that another user has: a person decides", (DECIDE,)),
    "invalid": ("malformed ids", "{count}: find out what wrote them, then decide", (DECIDE,)),
    "unasked": ("users", "{count} with a source that has not answered", (AUDIT,)),
    "reconnect": (
        "users",
        "{count} whom no source knows: send them through Connect again, and take their redirects in",
        ("smartcar-ops run 50 -p redirects FILE",),
    ),
    "unconfirmed": ("stored ids", "{count} not found on any connection of the user's vehicles", (AUDIT,)),
}
"""Bucket -> (what it counts, what is in the way, the commands), the most urgent first."""

COLUMNS = ("blocker", "commands")
MAX_NAMED_GROUPS = 3
"""Make and powertrain groups that one blocker names."""


def blockers(counts: Mapping[str, int], strata: Sequence[StratumParity], *, audit_again: bool) -> pd.DataFrame:
    """Return one row per blocker: ``blocker``, ``commands`` (a tuple).

    ``audit_again`` is true if the audit is old or incomplete.
    """
    rows: list[tuple[str, tuple[str, ...]]] = []
    if audit_again:
        rows.append(("the audit is old or incomplete, and the rest of this list is based on it", (AUDIT,)))
    for name, (noun, words, commands) in BY_BUCKET.items():
        if counts.get(name):
            rows.append((words.format(count=thousands(counts[name], noun)), commands))
    refused = [f"{row.make} {row.powertrain}" for row in strata if row.refused]
    if refused:
        more = len(refused) - MAX_NAMED_GROUPS
        named = ", ".join(refused[:MAX_NAMED_GROUPS]) + (f" and {more:,} more" if more > 0 else "")
        rows.append((f"not ready to switch, by the last comparison: {named}", (COMPARE,)))
    if not strata:
        rows.append(("V2 and V3 have not been compared", (COMPARE,)))
    return pd.DataFrame(rows, columns=[*COLUMNS])
