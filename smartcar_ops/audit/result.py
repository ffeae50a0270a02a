"""Puts every user in exactly one bucket, with a reason and a next action; lists connections that no user has."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from smartcar_ops.audit import buckets, choices
from smartcar_ops.database.evidence.evidence import sources_of
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import Workspace, open_workspace
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.display import tables
from smartcar_ops.settings.logs import counts as counts_in_words
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.text import NIL, thousands

log = logging.getLogger("smartcar_ops.audit")

USER_COLUMNS = {
    "user_id": "str",
    "smartcar_user_id": "str",
    "bucket": "str",
    "reason": "str",
    "next_action": "str",
    "vehicles": "int64",
    "vehicles_unlinked": "int64",
    "vehicles_unsubscribed": "Int64",
    "make": "str",
    "decide": "str",
}
"""The columns of ``users`` with their types."""

JUDGED_COLUMNS = ("shown", "evidence", "named", "chosen")
"""The columns of `judged_parts` that `AuditResult.for_decision` has besides those of ``users``."""

UNKNOWN = "unknown"
"""The make of users without a connected vehicle, in counts by make."""

HIDDEN = "(no UUID, "
"""The beginning of what is shown instead of a stored text that may be private."""

ORPHAN_COLUMNS = {"smartcar_user_id": "str", "vehicle_id": "str", "mode": "str", "first_seen": "datetime64[us, UTC]"}
SLIP = re.compile(r"[a-z ]{1,16}|\[object object\]|[0-9a-f-]{1,35}", re.IGNORECASE)
"""What code writes instead of an id by mistake: undefined, null, [object Object], a truncated id."""

Named = Mapping[str, Sequence[str]]
"""Smartcar user id -> the sources that name it."""


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit: users by bucket, the same by make, one row per user, and the orphans.

    ``for_decision`` are the users that a person must look at, with their evidence. The tables stay on disk: `users` and
    `orphans` load them whole, `tables` returns them unloaded.
    """

    counts: dict[str, int]
    by_make: dict[str, dict[str, int]]
    for_decision: pd.DataFrame
    stored: dict[str, ParquetTable]

    def __repr__(self) -> str:
        return f"<Audit: {self.verdict}>"

    def _repr_html_(self) -> str:
        return str(tables.together(tables.sentence(self.verdict), tables.whole(self.table())).data)

    @property
    def users(self) -> pd.DataFrame:
        """One row per user."""
        return self.stored["users"].frame()

    @property
    def orphans(self) -> pd.DataFrame:
        """One row per connection that none of the company's users has."""
        return self.stored["orphans"].frame()

    def tables(self) -> dict[str, ParquetTable]:
        """Return the tables by name, to save with a run."""
        return self.stored

    @property
    def total(self) -> int:
        """All users of the company."""
        return sum(self.counts.values())

    @property
    def for_people(self) -> int:
        """Users that a person must look at."""
        return buckets.for_people(self.counts)

    @property
    def exit_code(self) -> int:
        """0; 1 if a person must look at some user; 3 if there are no users."""
        return 3 if self.total == 0 else int(self.for_people > 0)

    @property
    def verdict(self) -> str:
        """The audit in one sentence."""
        if self.total == 0:
            return "There are no users to audit."
        mapped, ready = self.counts["mapped"], self.counts["ready"]
        return (
            f"{thousands(self.total, 'users')}: {mapped:,} mapped, {ready:,} ready to backfill, "
            f"{self.for_people:,} for a person to decide."
        )

    def people(self) -> pd.DataFrame:
        """Return the users that a person must look at, with a command for each possible choice."""
        table = self.for_decision[["user_id", "bucket", "reason", "decide"]]
        return table.assign(decide=[tuple(lines.splitlines()) for lines in table["decide"]])

    def summary(self) -> dict[str, Any]:
        """Return the keys for summary.json."""
        return {"total": self.total, "buckets": self.counts}

    def table(self) -> pd.DataFrame:
        """Return one row per bucket: its users, what it means, and what to do next."""
        return pd.DataFrame(
            [
                {
                    "bucket": bucket.name,
                    "users": self.counts[bucket.name],
                    "means": bucket.reason,
                    "next": bucket.next_action,
                }
                for bucket in buckets.BUCKETS
            ]
        )


def judge_users(company: Company, ledger: Ledger, now: datetime) -> AuditResult:
    """Judge every user from the database and the ledger; writes nothing and makes no API call.

    Users are processed in batches, so memory use does not grow with their number.
    """
    log.info("judging every user")
    started, users, orphans = time.perf_counter(), ParquetTable(USER_COLUMNS), ParquetTable(ORPHAN_COLUMNS)
    with open_workspace(company, ledger, now) as workspace:
        facts = UserFacts(workspace)
        counts = _count(workspace, facts)
        named = disputed(workspace, facts)
        for_people, makes = list[pd.DataFrame](), defaultdict[str, Counter[str]](Counter)
        for part in judged_parts(workspace, facts, named):
            for_people.append(_add_users(users, part))
            for (make, bucket), number in part.groupby([part["make"].fillna(UNKNOWN), "bucket"]).size().items():
                makes[make][bucket] += int(number)
        for table in workspace.tables(facts.orphans()):
            rows: pd.DataFrame = table.to_pandas()
            orphans.append(rows.assign(first_seen=rows["first_seen"].dt.tz_localize("UTC")))
    log.info("judged: %s in %.1f s", counts_in_words(counts), seconds_since(started))
    none = pd.DataFrame(columns=[*USER_COLUMNS, *JUDGED_COLUMNS])
    return AuditResult(
        counts=counts,
        by_make={make: dict(makes[make]) for make in sorted(makes)},
        for_decision=pd.concat([none, *for_people], ignore_index=True),
        stored={"users": users.close(), "orphans": orphans.close()},
    )


def count_users(company: Company, ledger: Ledger, now: datetime) -> dict[str, int]:
    """Count users by bucket, as `judge_users` would now; writes nothing and makes no API call."""
    with open_workspace(company, ledger, now) as workspace:
        return _count(workspace, UserFacts(workspace))


def _count(workspace: Workspace, facts: UserFacts) -> dict[str, int]:
    return buckets.complete({row["bucket"]: row["users"] for row in workspace.rows(facts.counted(buckets.RULES))})


def judged_parts(workspace: Workspace, facts: UserFacts, named: Mapping[str, Named]) -> Iterable[pd.DataFrame]:
    """Yield the facts of all users in batches, with ``bucket``, ``reason``, ``evidence`` in words, and ``shown``.

    ``shown`` is the stored id as it may be shown. ``named`` is the result of `disputed`.
    """
    for table in workspace.tables(facts.judged(buckets.RULES)):
        yield put_in_words(table.to_pandas(), named)


def put_in_words(part: pd.DataFrame, named: Mapping[str, Named]) -> pd.DataFrame:
    """Add ``reason``, ``evidence`` and ``shown`` to the facts of users, as in `judged_parts`, and return them."""
    part["reason"] = part["bucket"].map(REASONS)
    words = {mask: ", ".join(sources_of(mask)) for mask in part["sources"].unique()}
    id_and_sources = part["named"] + " (" + part["sources"].map(words) + ")"
    part["evidence"] = id_and_sources.where(part["named"].notna(), "")
    part["shown"] = part["stored"]
    for place in part.index[(part["malformed"] == 1) | part["user_id"].isin(named.keys())]:
        row = part.loc[place]
        part.at[place, "shown"] = shown_id(row)
        if row["user_id"] in named:
            part.at[place, "evidence"] = in_words(named[row["user_id"]])
    for place in part.index[part["bucket"] == "conflict"]:
        part.at[place, "reason"] = _conflict_reason(part.loc[place])
    return part


def disputed(workspace: Workspace, facts: UserFacts) -> dict[str, dict[str, list[str]]]:
    """Return the users whose evidence names several ids: user id -> Smartcar user id -> the sources that name it."""
    named: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in workspace.rows(facts.disputed()):
        named[row["user_id"]][row["id"]] = sources_of(row["sources"])
    return named


def in_words(named: Named) -> str:
    """Return the evidence as ``id (source, source); id (source)``."""
    return "; ".join(
        f"{smartcar_user_id} ({', '.join(sources)})" for smartcar_user_id, sources in sorted(named.items())
    )


def shown_id(row: Mapping[str, Any], key: str = "stored") -> str | None:
    """Return the stored id as it may be shown; text that is neither an id nor a known slip is hidden.

    Such text may be an e-mail address or a token.
    """
    value: str | None = row[key]
    if not isinstance(value, str) or not row["malformed"] or SLIP.fullmatch(value) or value.strip() == NIL:
        return value
    return f"{HIDDEN}{len(value)} characters)"


def _conflict_reason(row: Mapping[str, Any]) -> str:
    """Return why a user is in conflict, with the evidence."""
    stored, evidence = row["stored"], row["evidence"]
    if row["chosen"]:
        return f"a person chose {row['named'] if isinstance(row['named'], str) else 'no id'}, which is not stored yet"
    if "; " in evidence:
        reason = "the sources name different Smartcar ids"
    else:
        reason = "the sources disagree with the stored id" if isinstance(stored, str) else REASONS["conflict"]
    return f"{reason}: {f'stored {stored}; ' if isinstance(stored, str) else ''}found {evidence}"


def _add_users(users: ParquetTable, part: pd.DataFrame) -> pd.DataFrame:
    """Append a batch to the users' table; return those of the batch that a person must look at."""
    for_people = part["bucket"].isin(buckets.FOR_PEOPLE)
    rows = zip(for_people, part["user_id"], part["shown"], part["evidence"], strict=True)
    commands = [_commands(*row) if is_for_people else None for is_for_people, *row in rows]
    actions = part["bucket"].map(ACTIONS)
    table = part.assign(smartcar_user_id=part["shown"], next_action=actions, decide=commands)
    users.append(table[list(USER_COLUMNS)])
    return table.loc[for_people, [*USER_COLUMNS, *JUDGED_COLUMNS]]


def _commands(user_id: str, stored: Any, evidence: str) -> str:
    """Return the commands that record a decision about a user, one per line."""
    ids = choices.ids_in(stored if isinstance(stored, str) else None, evidence)
    return "\n".join(choices.commands(user_id, ids))


REASONS = {bucket.name: bucket.reason for bucket in buckets.BUCKETS}
ACTIONS = {bucket.name: bucket.next_action for bucket in buckets.BUCKETS}
