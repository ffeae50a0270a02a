"""What the panel asks before a run writes: how many rows of users and vehicles, counted in the plan and the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database import schema
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.display.confirm_panel import ConfirmQuestion
from smartcar_ops.session import Session
from smartcar_ops.text import thousands

TABLES = ("users", "vehicles")


def to_apply(session: Session, plan: Plan, button: str) -> ConfirmQuestion:
    """Return the question before a plan is applied; the number is of the rows that no run has written yet.

    DatabaseError before expand.
    """
    ledger = session.ledger
    if not ledger.in_database:
        schema.scope_ledger(session.company, ledger.scope)
    written = change_log.tally(ledger, change_log.done_by_plan(ledger, plan.hash))
    rows = {table: max(0, plan.counts(table)["set"] - written.get(table, 0)) for table in TABLES}
    number, done = sum(rows.values()), sum(written.values())
    if not done:
        words = f"{button} writes {_in_words(rows)}."
    elif number:
        words = f"{button} writes the rest of the plan: {_in_words(rows)}."
    else:
        words = f"{button} finds nothing left to write: every row of the plan has been written."
    again = f" Of the plan's rows that were written ({done:,}), those cleared since are written again." if done else ""
    note = f"Rows that changed since the plan was made are skipped.{again} You can undo the run."
    return ConfirmQuestion(words, number, ("apply", plan.hash, *_newest(session.runs)), note)


def to_undo(session: Session, target: str, button: str) -> ConfirmQuestion:
    """Return the question before ``RUN[:BATCH[:ROW]]`` is undone; PlanError if the run is unknown."""
    changes = change_log.reverse_changes(runner.standing(session.ledger, target, as_noted=True))
    rows = change_log.tally(session.ledger, changes)
    number = sum(rows.values())
    words = f"{button} puts back {_in_words(rows)} of {target}."
    if not number:
        words = f"{button} finds nothing left to put back of {target}; it records that the undo is finished."
    note = "Each row gets the value that it had before; rows that changed since are skipped. You can undo the undo."
    return ConfirmQuestion(words, number, ("undo", target, *_newest(session.runs)), note)


def changed(asked: ConfirmQuestion, now: ConfirmQuestion, button: str) -> str:
    """Return why a confirmed question is not carried out, in one sentence."""
    if asked.about[2:] != now.about[2:]:
        why = f"run {now.about[2]} is {now.about[3]}, which was not so when you pressed {button}"
    elif asked.about != now.about:
        why = f"what you confirmed is not what {button} would do now"
    else:
        why = f"{asked.number:,} rows were confirmed, and now it would be {now.number:,}"
    return f"Nothing was written: {why}. Press {button} again."


def nothing_left(target: str) -> str:
    """Return the sentence for a target of which nothing can be undone."""
    return f"Nothing left to undo for {target if ':' in target else 'this run'}."


def _in_words(rows: Mapping[str, int]) -> str:
    """Return ``212 rows (200 users and 12 vehicles)``."""
    parts = " and ".join(thousands(rows[table], table) for table in TABLES if rows.get(table))
    return f"{thousands(sum(rows.values()), 'rows')}{f' ({parts})' if parts else ''}"


def _newest(runs: Runs) -> tuple[str, str]:
    """Return the newest run that writes and its status: a question holds only as long as these stay."""
    run = runs.writing()
    return (run.run_id, run.status.value) if run else ("", "")
