"""What a person decides where the evidence can't: recorded with name and reason, and evidence from then on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from smartcar_ops.audit.choices import NONE, ids_in
from smartcar_ops.backfill.plan import Plan, text
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Act, Runs, RunStatus
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.text import NIL

LONGEST = {"name": 128, "reason": 2000}


@dataclass(frozen=True)
class Conflict:
    """A user for a person to decide: what is stored, what the evidence says, and the ids there are to choose from."""

    user_id: str
    current: str | None
    evidence: str
    reason: str
    ids: tuple[str, ...]


def conflicts(plan: Plan) -> list[Conflict]:
    """The users of a plan that are for a person to decide."""
    rows = plan.conflicts()
    found = []
    for row in rows[rows["table"] == "users"].itertuples(index=False):
        current, evidence = text(row.current), text(row.evidence) or ""
        found.append(Conflict(row.user_id, current, evidence, text(row.reason) or "", ids_in(current, evidence)))
    return found


def decide(
    company: Company, ledger: Ledger, user_id: str, smartcar_user_id: str, *, by: str, reason: str, now: datetime
) -> str:
    """Records that this user has this Smartcar id, or ``none``; a later choice for the user takes its place.

    Writes the ledger alone: the next plan sets it. Returns what was decided, in one sentence. ParameterError for an
    unknown user, an id that is no UUID or the nil one, or a missing name or reason.
    """
    chosen = _id(smartcar_user_id)
    for name, given in (("name", by), ("reason", reason)):
        if not given.strip() or len(given) > LONGEST[name]:
            raise ParameterError(
                f"decide: the {name} has {len(given.strip())} characters; expected 1 to {LONGEST[name]}: "
                "a choice is kept with who made it and why."
            )
    if not company.has_user(user_id):
        raise ParameterError(f"decide: there is no user {user_id!r}; expected an id of the table {company.users.name}.")
    moment = t.as_kept(now)
    row = {"user_id": user_id, "smartcar_user_id": chosen, "chosen_by": by.strip(), "reason": reason.strip()}
    ledger.record(t.choices, [{**row, "chosen_at": moment}])
    _note(ledger, row, moment)
    told = f"the Smartcar id {chosen}" if chosen else "no Smartcar id"
    return f"User {user_id} has {told}, {by.strip()} chose. Plan again to set it."


def _id(given: str) -> str | None:
    if given.strip().lower() == NONE:
        return None
    chosen = smartcar_id(given)
    if chosen is None:
        what = "is the nil UUID, which is nobody's" if given.strip() == NIL else "is no UUID"
        raise ParameterError(f"decide: the Smartcar id has {len(given)} characters and {what}; expected one, or none.")
    return chosen


def _note(ledger: Ledger, row: dict[str, str | None], moment: datetime) -> None:
    """Each choice is a run of its own, so that earlier ones stay known."""
    runs = Runs(ledger)
    known, number = {run.run_id for run in runs.all(Act.DECIDE)}, 1
    while (run_id := f"{moment:%Y%m%dT%H%M%SZ}__decide-{number}") in known:
        number += 1
    runs.start(run_id, "decide", "decide")
    runs.finish(run_id, RunStatus.DONE, row)
