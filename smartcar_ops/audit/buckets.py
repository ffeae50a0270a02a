"""The ordered rules that put every user in exactly one bucket, with each bucket's reason and next action.

The rules are data: `UserFacts.judged` compiles them to one SQL ``CASE``, and `bucket_of` applies them to one user's
facts. `smartcar_ops.database.evidence.user_facts` finds the facts, among them `contradicted`, which makes a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Decision = Literal["set", "keep", "conflict", "skip"]
Turn = Literal["nobody", "kit", "person", "user"]
"""Who acts next: nobody, the kit (the next audit or backfill), a person at your company, or the user."""


@dataclass(frozen=True)
class AuditBucket:
    """A bucket: the facts a user must have, the reason, the next action, who acts next, and the backfill's decision."""

    name: str
    when: tuple[tuple[str, bool], ...]
    reason: str
    next_action: str
    decision: Decision
    turn: Turn


BUCKETS = (
    AuditBucket(
        "invalid",
        (("malformed", True),),
        "the stored id is not a UUID",
        "find out what wrote it, clear it, then audit again",
        "conflict",
        "person",
    ),
    AuditBucket(
        "conflict",
        (("contradicted", True),),
        "the sources disagree with each other or with the stored id",
        "decide which id is right; the evidence is listed",
        "conflict",
        "person",
    ),
    AuditBucket(
        "shared",
        (("duplicate", True),),
        "another of your users has this id, or would be given it",
        "decide whose id it is, or merge the accounts",
        "conflict",
        "person",
    ),
    AuditBucket(
        "mapped",
        (("has_id", True), ("confirmed", True)),
        "a connection confirms the stored id",
        "nothing",
        "keep",
        "nobody",
    ),
    AuditBucket(
        "unconfirmed",
        (("has_id", True),),
        "an id is stored, but no connection of the user's own vehicles has it",
        "check that the vehicles are still connected",
        "keep",
        "user",
    ),
    AuditBucket(
        "ready", (("has_name", True),), "no id is stored, and the sources name exactly one", "backfill", "set", "kit"
    ),
    AuditBucket(
        "no_vehicles",
        (("has_vehicles", False),),
        "no id, no vehicles and no evidence",
        "nothing until the user connects a vehicle",
        "skip",
        "nobody",
    ),
    AuditBucket(
        "unasked",
        (("open_question", True),),
        "no evidence yet, and a source that may know this user has not answered",
        "audit again",
        "skip",
        "kit",
    ),
    AuditBucket(
        "reconnect",
        (),
        "no source knows this user",
        "send the user through Connect again",
        "skip",
        "user",
    ),
)

BY_NAME = {bucket.name: bucket for bucket in BUCKETS}
NAMES = tuple(BY_NAME)
RULES = tuple((bucket.name, bucket.when) for bucket in BUCKETS)
RULES_TO_SET = RULES[: NAMES.index("ready") + 1]
"""The rules down to `ready`, the bucket whose ids are set."""

FOR_PEOPLE = tuple(bucket.name for bucket in BUCKETS if bucket.decision == "conflict")
"""Buckets a person must look at; an audit that finds a user in one of them exits with 1."""

LEFT = tuple(bucket.name for bucket in BUCKETS if bucket.turn != "nobody")
"""Buckets with something left to do: all but `mapped` and `no_vehicles`."""


def bucket_of(facts: Mapping[str, bool]) -> str:
    """Return the bucket of a user with these facts: the first whose conditions all hold."""
    return next(name for name, when in RULES if all(facts[fact] == wanted for fact, wanted in when))


def complete(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts for all buckets, in the rules' order; missing ones are 0."""
    return {name: int(counts.get(name, 0)) for name in NAMES}


def left(counts: Mapping[str, int]) -> int:
    """Return how many users still need something done."""
    return sum(counts.get(name, 0) for name in LEFT)


def for_people(counts: Mapping[str, int]) -> int:
    """Return how many users a person must decide on."""
    return sum(counts.get(name, 0) for name in FOR_PEOPLE)
