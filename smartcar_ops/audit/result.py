"""Every user in exactly one bucket, with a reason and a next action; and the connections nobody claims."""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from smartcar_ops.audit import choices
from smartcar_ops.database.evidence import buckets
from smartcar_ops.database.evidence.evidence import sources_of
from smartcar_ops.database.evidence.facts import UserFacts
from smartcar_ops.database.evidence.workspace import Workspace, desk
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.logs import counts as counts_in_words
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.storage.parquet import ParquetTable
from smartcar_ops.text import NIL

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
    "decide": "str",
}
"""The columns of ``users`` with their types."""

HIDDEN = "(no UUID, "
"""How a stored text begins that people may not see."""

ORPHAN_COLUMNS = {"smartcar_user_id": "str", "vehicle_id": "str", "mode": "str", "first_seen": "datetime64[us, UTC]"}
SLIP = re.compile(r"[a-z ]{1,16}|\[object object\]|[0-9a-f-]{1,35}", re.IGNORECASE)
"""What code writes in an id's place by mistake: undefined, null, [object Object], a cut-off id."""

Named = Mapping[str, Sequence[str]]
"""Smartcar user id -> the sources that name it."""


@dataclass(frozen=True)
class AuditResult:
    """One audit: users by bucket (counted in the database), a row a user, the orphans.

    ``for_decision`` are the users that somebody must look at. The whole tables stay on disk: `users` and `orphans`
    read all of them, `tables` hands them on as they are.
    """

    counts: dict[str, int]
    for_decision: pd.DataFrame
    kept: dict[str, ParquetTable]

    def __repr__(self) -> str:
        return f"<Audit: {self.verdict}>"

    @property
    def users(self) -> pd.DataFrame:
        """A row a user."""
        return self.kept["users"].frame()

    @property
    def orphans(self) -> pd.DataFrame:
        """A row a connection that no local user claims."""
        return self.kept["orphans"].frame()

    def tables(self) -> dict[str, ParquetTable]:
        """The tables by name, to be kept with a run."""
        return self.kept

    @property
    def total(self) -> int:
        """All users of the company."""
        return sum(self.counts.values())

    @property
    def for_people(self) -> int:
        """Users that somebody must look at."""
        return buckets.for_people(self.counts)

    @property
    def exit_code(self) -> int:
        """0; 1 where some user is for people; 3 where there are no users."""
        return 3 if self.total == 0 else int(self.for_people > 0)

    @property
    def verdict(self) -> str:
        """The audit in one sentence."""
        if self.total == 0:
            return "There are no users to audit."
        mapped, ready = self.counts["mapped"], self.counts["ready"]
        return (
            f"{mapped:,} of {self.total:,} users are mapped, {ready:,} are ready to backfill, "
            f"{self.for_people:,} need a person's decision."
        )

    def people(self) -> pd.DataFrame:
        """The users that somebody must look at, with a command for each choice there is."""
        table = self.for_decision[["user_id", "bucket", "reason", "decide"]]
        return table.assign(decide=[tuple(lines.splitlines()) for lines in table["decide"]])

    def summary(self) -> dict[str, Any]:
        """The contract's keys of summary.json."""
        return {"total": self.total, "buckets": self.counts}

    def table(self) -> pd.DataFrame:
        """Bucket, users, what it means, what to do next: for people."""
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
    """Judges every user by what the database and the ledger hold now; reads only, asks nobody.

    Holds a part of the users at a time, however many there are.
    """
    log.info("judging every user")
    started, users, orphans = time.perf_counter(), ParquetTable(USER_COLUMNS), ParquetTable(ORPHAN_COLUMNS)
    with desk(company, ledger, now) as at:
        facts = UserFacts(at)
        counts = _counted(at, facts)
        named = disputed(at, facts)
        for_people = [_for_people(users, part) for part in judged_parts(at, facts, named)]
        for table in at.tables(facts.orphans()):
            part: pd.DataFrame = table.to_pandas()
            orphans.append(part.assign(first_seen=part["first_seen"].dt.tz_localize("UTC")))
    log.info("judged: %s in %.1f s", counts_in_words(counts), seconds_since(started))
    return AuditResult(
        counts=counts,
        for_decision=pd.concat([pd.DataFrame(columns=list(USER_COLUMNS)), *for_people], ignore_index=True),
        kept={"users": users.close(), "orphans": orphans.close()},
    )


def count_users(company: Company, ledger: Ledger, now: datetime) -> dict[str, int]:
    """Users by bucket, as `audit` would count them now; reads only, asks nobody, makes no table."""
    with desk(company, ledger, now) as at:
        return _counted(at, UserFacts(at))


def _counted(at: Workspace, facts: UserFacts) -> dict[str, int]:
    return buckets.complete({row["bucket"]: row["users"] for row in at.rows(facts.counted(buckets.RULES))})


def judged_parts(at: Workspace, facts: UserFacts, named: Mapping[str, Named]) -> Iterable[pd.DataFrame]:
    """Every user's facts, so many at a time, with ``bucket``, ``shown`` (the stored id as people may see it),
    ``reason`` and ``evidence`` in words."""
    for table in at.tables(facts.judged(buckets.RULES)):
        part: pd.DataFrame = table.to_pandas()
        part["reason"] = part["bucket"].map(REASONS)
        words = {mask: ", ".join(sources_of(mask)) for mask in part["sources"].unique()}
        told = part["named"] + " (" + part["sources"].map(words) + ")"
        part["evidence"] = told.where(part["named"].notna(), "")
        part["shown"] = part["stored"]
        for place in part.index[(part["malformed"] == 1) | part["user_id"].isin(named.keys())]:
            row = part.loc[place]
            part.at[place, "shown"] = shown_id(row)
            if row["user_id"] in named:
                part.at[place, "evidence"] = in_words(named[row["user_id"]])
        for place in part.index[part["bucket"] == "conflict"]:
            part.at[place, "reason"] = _conflict(part.loc[place])
        yield part


def disputed(at: Workspace, facts: UserFacts) -> dict[str, dict[str, list[str]]]:
    """user id -> Smartcar user id -> the sources that name it, where a user's evidence names more than one."""
    named: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in at.rows(facts.disputed()):
        named[row["user_id"]][row["id"]] = sources_of(row["sources"])
    return named


def in_words(named: Named) -> str:
    """``id (source, source); id (source)``: the evidence side by side."""
    return "; ".join(
        f"{smartcar_user_id} ({', '.join(sources)})" for smartcar_user_id, sources in sorted(named.items())
    )


def shown_id(row: Mapping[str, Any], key: str = "stored") -> str | None:
    """The stored id as people may see it: text that is no id and no known slip may be anybody's e-mail or token."""
    value: str | None = row[key]
    if not isinstance(value, str) or not row["malformed"] or SLIP.fullmatch(value) or value.strip() == NIL:
        return value
    return f"{HIDDEN}{len(value)} characters)"


def _conflict(row: Mapping[str, Any]) -> str:
    """Why a user is contradicted, with the evidence."""
    stored = f"stored {row['stored']}; " if isinstance(row["stored"], str) else ""
    if row["chosen"]:
        return f"a person chose {row['named'] if isinstance(row['named'], str) else 'no id'}, which is not stored yet"
    return f"{REASONS['conflict']}: {stored}named {row['evidence']}"


def _for_people(users: ParquetTable, part: pd.DataFrame) -> pd.DataFrame:
    """Keeps a part of the users; returns those of it that somebody must look at."""
    open_ = part["bucket"].isin(buckets.FOR_PEOPLE)
    told = zip(open_, part["user_id"], part["shown"], part["evidence"], strict=True)
    choices = [_choices(*row) if for_people else None for for_people, *row in told]
    actions = part["bucket"].map(ACTIONS)
    table = part.assign(smartcar_user_id=part["shown"], next_action=actions, decide=choices)[list(USER_COLUMNS)]
    users.append(table)
    return table[open_]


def _choices(user_id: str, stored: Any, evidence: str) -> str:
    """The commands that decide on a user, a line each."""
    ids = choices.ids_in(stored if isinstance(stored, str) else None, evidence)
    return "\n".join(choices.commands(user_id, ids))


REASONS = {bucket.name: bucket.reason for bucket in buckets.BUCKETS}
ACTIONS = {bucket.name: bucket.next_action for bucket in buckets.BUCKETS}
