"""The ordered rules that put every user in exactly one bucket, and what each bucket asks of people.

The rules are data: `facts` makes one SQL ``CASE`` of them, `bucket_of` applies them to plain facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Decision = Literal["set", "keep", "conflict", "skip"]
Turn = Literal["nobody", "kit", "person", "user"]
"""Whose turn it is to do something: nobody's, the next audit's or backfill's, a person's of the company, the user's."""


@dataclass(frozen=True)
class AuditBucket:
    """A bucket: the facts that must be so, why a user is in it, what is next and by whom, what a backfill decides."""

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
        "the stored id is no UUID",
        "find what wrote it; clear it, then audit again",
        "conflict",
        "person",
    ),
    AuditBucket(
        "conflict",
        (("contradicted", True),),
        "the evidence contradicts itself or the stored id",
        "a person decides, with the evidence side by side",
        "conflict",
        "person",
    ),
    AuditBucket(
        "shared",
        (("twinned", True),),
        "another local user holds, or would get, the same id",
        "a person decides whose it is, or merges the accounts",
        "conflict",
        "person",
    ),
    AuditBucket(
        "mapped",
        (("has_id", True), ("confirmed", True)),
        "a connection names the stored id",
        "nothing",
        "keep",
        "nobody",
    ),
    AuditBucket(
        "unconfirmed",
        (("has_id", True),),
        "an id is stored, and no connection of the user's own vehicles names it",
        "check that the cars are still connected",
        "keep",
        "user",
    ),
    AuditBucket(
        "ready", (("has_name", True),), "no id is stored; the evidence names exactly one", "backfill", "set", "kit"
    ),
    AuditBucket(
        "no_vehicles",
        (("has_vehicles", False),),
        "no id, no vehicles, no evidence",
        "nothing until the user connects a car",
        "skip",
        "nobody",
    ),
    AuditBucket(
        "unasked",
        (("open_question", True),),
        "no evidence yet, and a source that could speak has not answered",
        "audit again",
        "skip",
        "kit",
    ),
    AuditBucket(
        "reconnect",
        (),
        "every source was asked, and none speaks",
        "send the user through Connect again",
        "skip",
        "user",
    ),
)

BY_NAME = {bucket.name: bucket for bucket in BUCKETS}
NAMES = tuple(BY_NAME)
RULES = tuple((bucket.name, bucket.when) for bucket in BUCKETS)
RULES_TO_SET = RULES[: NAMES.index("ready") + 1]
"""The rules down to the one that sets."""

FOR_PEOPLE = tuple(bucket.name for bucket in BUCKETS if bucket.decision == "conflict")
"""Buckets a person must look at; an audit that finds one says no."""

LEFT = tuple(bucket.name for bucket in BUCKETS if bucket.turn != "nobody")
"""Buckets whose users are left to do: everybody but those who are mapped, or have no vehicle to map."""


def bucket_of(facts: Mapping[str, bool]) -> str:
    """The bucket of a user with these facts: the first whose conditions all hold."""
    return next(name for name, when in RULES if all(facts[fact] == wanted for fact, wanted in when))


def complete(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts with every bucket named, in the rules' order; missing ones are 0."""
    return {name: int(counts.get(name, 0)) for name in NAMES}


def left(counts: Mapping[str, int]) -> int:
    """Users for whom something is still to do."""
    return sum(counts.get(name, 0) for name in LEFT)


def for_people(counts: Mapping[str, int]) -> int:
    """Users whom a person must decide on."""
    return sum(counts.get(name, 0) for name in FOR_PEOPLE)
