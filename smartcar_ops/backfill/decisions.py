"""A person's decision about a user whose evidence conflicts: stored with name and reason, and used as evidence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from smartcar_ops.audit import decision_sheet
from smartcar_ops.audit.choices import NONE, ids_in
from smartcar_ops.audit.decision_sheet import StandingEvidence
from smartcar_ops.backfill.plan import Plan, text
from smartcar_ops.database.evidence import readiness
from smartcar_ops.database.evidence.decisions import UserDecision, record
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError, SmartcarOpsError
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.text import NIL, thousands

if TYPE_CHECKING:
    from smartcar_ops.backfill.decision_file import DecisionFile

MAX_CHARACTERS = {"name": 128, "reason": 2000}

TRIES = 5
"""How often a file's decisions are compared with the evidence before giving up, if it keeps changing."""


@dataclass(frozen=True)
class Conflict:
    """A user whom a person must decide on: the stored id, the evidence, and the ids to choose from."""

    user_id: str
    current: str | None
    evidence: str
    reason: str
    ids: tuple[str, ...]


def conflicts(plan: Plan) -> list[Conflict]:
    """Return the users of a plan that a person must decide on."""
    rows = plan.conflicts()
    users = []
    for row in rows[rows["table"] == "users"].itertuples(index=False):
        current, evidence = text(row.current), text(row.evidence) or ""
        users.append(Conflict(row.user_id, current, evidence, text(row.reason) or "", ids_in(current, evidence)))
    return users


def decide(
    company: Company, ledger: Ledger, user_id: str, smartcar_user_id: str, *, by: str, reason: str, now: datetime
) -> str:
    """Record that this user has this Smartcar id, or ``none``; a later decision about the user replaces it.

    Writes only to the ledger; the next plan sets the id. Returns the decision in one sentence. ParameterError if the
    user is unknown, the id is not a UUID or is the nil UUID, or the name or the reason is missing or too long.
    """
    chosen = _id(smartcar_user_id)
    _check("name", by)
    _check("reason", reason)
    if not company.has_user(user_id):
        raise ParameterError(f"decide: there is no user {user_id!r}; expected an id of the table {company.users.name}.")
    record(ledger, [UserDecision(user_id, chosen, by.strip(), reason.strip())], now)
    choice = f"the Smartcar id {chosen}" if chosen else "no Smartcar id"
    return f"User {user_id}: {by.strip()} chose {choice}. Plan again to set it."


def _check(name: str, given: str) -> None:
    """ParameterError if the name or the reason is missing or too long."""
    if not given.strip() or len(given) > MAX_CHARACTERS[name]:
        raise ParameterError(
            f"decide: the {name} has {len(given.strip())} characters; expected 1 to {MAX_CHARACTERS[name]}: "
            "each decision is stored with who made it and why."
        )


def _id(given: str) -> str | None:
    if given.strip().lower() == NONE:
        return None
    chosen = smartcar_id(given)
    if chosen is None:
        raise ParameterError(f"decide: the Smartcar id {problem_with_id(given)}; expected a UUID, or none.")
    return chosen


def problem_with_id(given: str) -> str:
    """Return what is wrong with a text that is not a Smartcar id, without repeating it: it may be private."""
    problem = "is the nil UUID, which no user has" if given.strip() == NIL else "is not a UUID"
    return f"has {len(given)} characters and {problem}"


@dataclass(frozen=True)
class LeftOut:
    """A decision of a file that was not recorded, because something is known now that was not when it was written."""

    line: int
    user_id: str
    why: str

    def __str__(self) -> str:
        return f"Line {self.line}, user {self.user_id}: left out, because {self.why}."


@dataclass(frozen=True)
class FileOutcome:
    """What became of the decisions in a file."""

    by: str
    recorded: int
    undecided: int
    left_out: tuple[LeftOut, ...]

    @property
    def exit_code(self) -> int:
        """0; 1 if decisions were left out."""
        return int(bool(self.left_out))

    def __str__(self) -> str:
        words = [f"{thousands(self.recorded, 'decisions')} by {self.by} recorded."]
        if self.recorded:
            words.append(f"Plan again to set {'it' if self.recorded == 1 else 'them'}.")
        if self.left_out:
            left_out = thousands(len(self.left_out), "decisions")
            words.append(f"{left_out} left out; audit again for a sheet with what is known now.")
        if self.undecided:
            words.append(f"{thousands(self.undecided, 'rows')} without a choice.")
        return " ".join(words)


def decide_file(company: Company, ledger: Ledger, file: DecisionFile, *, by: str, now: datetime) -> FileOutcome:
    """Record the decisions of a file in one transaction, except those about users of whom something else is known now.

    Writes only to the ledger; the next plan sets the ids. ParameterError, and nothing is recorded, if the name is
    missing or too long, or if a user is unknown or there twice. SmartcarOpsError if the evidence does not stand still.
    """
    _check("name", by)
    users = _users(company, file)
    for _ in range(TRIES):
        judged = readiness.judged_now(ledger)
        known = decision_sheet.standing(company, ledger, set(users.values()), now) if users else {}
        choices, taken, left_out = ledger.choices(), list[UserDecision](), list[LeftOut]()
        for one in file.decisions:
            user_id = users[one.user_id]
            evidence = known.get(user_id)
            if evidence is not None and evidence.key == one.evidence_key:
                taken.append(UserDecision(user_id, one.smartcar_user_id, by.strip(), one.reason))
            else:
                left_out.append(LeftOut(one.line, user_id, _why_left_out(user_id, evidence, choices.get(user_id))))
        if not taken or record(ledger, taken, now, judged=judged):
            return FileOutcome(by.strip(), len(taken), file.undecided, tuple(left_out))
    raise SmartcarOpsError(
        f"decide: the evidence changed {TRIES} times while {file.path.name} was compared with it, so nothing was "
        "recorded; run it again when no audit is under way."
    )


def _users(company: Company, file: DecisionFile) -> dict[str, str]:
    """Return text in the file -> user id; ParameterError if one is unknown, or if two are the same user."""
    known = company.known({one.user_id for one in file.decisions})
    lines = dict[str, int]()
    for one in file.decisions:
        if one.user_id not in known:
            words = f"there is no user {one.user_id[:40]!r}; expected an id of the table {company.users.name}"
            raise file.refusal(one, words)
        user_id = known[one.user_id]
        if user_id in lines:
            raise file.refusal(one, f"is the same user as in line {lines[user_id]}; expected one row per user")
        lines[user_id] = one.line
    return known


def _why_left_out(user_id: str, evidence: StandingEvidence | None, choice: Mapping[str, Any] | None) -> str:
    """Return what is known about a user now that was not when the sheet was written, and what to do about it."""
    if evidence is None:
        return "the user is gone; there is nothing to decide"
    if evidence.chosen and choice:
        when = f"{choice['chosen_at']:%Y-%m-%d %H:%M} UTC"
        command = f"smartcar-ops decide {shlex.quote(user_id)} ID --by NAME --reason TEXT"
        return f"{choice['chosen_by']} chose {evidence.chosen} on {when}; to change that, use `{command}`"
    if not evidence.for_people:
        return f"no decision is needed any more: the user is now in the bucket {evidence.bucket} ({evidence.reason})"
    return f"the evidence is now another one ({evidence.reason}); decide with the sheet of a new audit"
