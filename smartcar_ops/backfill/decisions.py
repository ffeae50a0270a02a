"""A person's decision about a user whose evidence conflicts: stored with name and reason, and used as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from smartcar_ops.audit.choices import NONE, ids_in
from smartcar_ops.backfill.plan import Plan, text
from smartcar_ops.database.evidence.decisions import UserDecision, record
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.text import NIL

MAX_CHARACTERS = {"name": 128, "reason": 2000}


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
