"""Every user in exactly one bucket, with a reason and a next action; and the connections nobody claims."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from smartcar_ops.company import judging
from smartcar_ops.company.desk import desk
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.tables import Company
from smartcar_ops.migration import buckets

USER_COLUMNS = [
    "user_id",
    "smartcar_user_id",
    "bucket",
    "reason",
    "next_action",
    "vehicles",
    "vehicles_unlinked",
    "vehicles_unsubscribed",
]
SLIP = re.compile(r"[a-z ]{1,16}|\[object object\]|[0-9a-f-]{1,35}", re.IGNORECASE)
"""What code writes in an id's place by mistake: undefined, null, [object Object], a cut-off id."""

ORPHAN_COLUMNS = ["smartcar_user_id", "vehicle_id", "mode", "first_seen"]


@dataclass(frozen=True)
class Audit:
    """One audit: users by bucket (counted in the database), a row a user, the orphans."""

    counts: dict[str, int]
    users: pd.DataFrame
    orphans: pd.DataFrame

    def __repr__(self) -> str:
        return f"<Audit: {self.verdict}>"

    @property
    def total(self) -> int:
        """All users of the company."""
        return sum(self.counts.values())

    @property
    def for_people(self) -> int:
        """Users that somebody must look at."""
        return sum(self.counts[name] for name in buckets.FOR_PEOPLE)

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
        """The users that somebody must look at."""
        chosen = self.users[self.users["bucket"].isin(buckets.FOR_PEOPLE)]
        return chosen[["user_id", "bucket", "reason", "next_action"]]

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


def audit(company: Company, ledger: Ledger, now: datetime) -> Audit:
    """Judges every user by what the database and the ledger hold now; reads only, asks nobody."""
    with desk(company, ledger, now) as at:
        facts = judging.Facts(at)
        counts = {row["bucket"]: row["users"] for row in at.rows(facts.counted(buckets.RULES))}
        judged = list(at.rows(facts.judged(buckets.RULES)))
        suspects = {row["user_id"] for row in judged if row["bucket"] == "conflict"}
        named = evidence_by_user(at.rows(facts.evidence()), suspects)
        orphans = list(at.rows(facts.orphans()))
        unfed = unsubscribed(at.rows(facts.cars()), ledger.fed())
    rows = [_user_row(row, named.get(row["user_id"], {}), unfed) for row in judged]
    return Audit(
        counts=buckets.complete(counts),
        users=pd.DataFrame(rows, columns=USER_COLUMNS).astype({"vehicles_unsubscribed": "Int64"}),
        orphans=pd.DataFrame(orphans, columns=ORPHAN_COLUMNS).assign(first_seen=_utc),
    )


def unsubscribed(cars: Iterable[Mapping[str, Any]], fed: frozenset[str] | None) -> Counter[str] | None:
    """How many linked vehicles of each user no webhook is fed with; None where subscriptions were never asked."""
    if fed is None:
        return None
    pairs = {(row["user_id"], row["vehicle_id"]) for row in cars if row["vehicle_id"] and row["user_id"]}
    return Counter(user_id for user_id, vehicle_id in pairs if vehicle_id not in fed)


def evidence_by_user(
    rows: Iterable[Mapping[str, Any]], wanted: set[str] | None = None
) -> dict[str, dict[str, list[str]]]:
    """user id -> Smartcar user id -> the sources that name it; of the wanted users, or of all."""
    named: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if wanted is None or row["user_id"] in wanted:
            named[row["user_id"]][row["id"]].append(row["source"])
    return named


def in_words(named: Mapping[str, list[str]]) -> str:
    """``id (source, source); id (source)``: the evidence side by side."""
    return "; ".join(
        f"{smartcar_user_id} ({', '.join(sources)})" for smartcar_user_id, sources in sorted(named.items())
    )


def reason(row: Mapping[str, Any], named: Mapping[str, list[str]]) -> str:
    """Why the user is in this bucket, in words; a conflict names the evidence."""
    words = buckets.BY_NAME[row["bucket"]].reason
    if row["bucket"] != "conflict":
        return words
    stored = f"stored {row['stored']}; " if row["stored"] else ""
    return f"{words}: {stored}named {in_words(named)}"


def shown_id(row: Mapping[str, Any], key: str = "stored") -> str | None:
    """The stored id as people may see it: text that is no id and no known slip may be anybody's e-mail or token."""
    value: str | None = row[key]
    if value is None or not row["malformed"] or SLIP.fullmatch(value):
        return value
    return f"(no UUID, {len(value)} characters)"


def _utc(frame: pd.DataFrame) -> pd.Series[Any]:
    """The ledger's times with the zone they are in."""
    return pd.to_datetime(frame["first_seen"], utc=True)


def _user_row(row: Mapping[str, Any], named: Mapping[str, list[str]], unfed: Counter[str] | None) -> dict[str, Any]:
    return {
        "user_id": row["user_id"],
        "smartcar_user_id": shown_id(row),
        "bucket": row["bucket"],
        "reason": reason(row, named),
        "next_action": buckets.BY_NAME[row["bucket"]].next_action,
        "vehicles": row["vehicles"],
        "vehicles_unlinked": row["vehicles_unlinked"],
        "vehicles_unsubscribed": None if unfed is None else unfed[row["user_id"]],
    }
