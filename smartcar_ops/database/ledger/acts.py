"""A run that writes, in words: how far it has come, why it ended, and how to continue it.

An apply writes, an undo puts back. A run that was killed, cancelled or stopped is continued by the same act (apply or
undo) with the same plan or target.
"""

from __future__ import annotations

from smartcar_ops.database.ledger.locks import BEAT
from smartcar_ops.database.ledger.runs import Act, Run, RunStatus, pace
from smartcar_ops.text import thousands

NOTEBOOK = "30_backfill_user_ids"
DID: dict[str, str] = {Act.APPLY: "written", Act.UNDO: "put back"}
"""The word for what an act has done with a row, by act."""

REST: dict[str, str] = {Act.APPLY: "write the rest", Act.UNDO: "put back the rest"}
QUIET = 2 * BEAT
"""Seconds without a heartbeat before a running run is shown as silent; a live process beats twice in that time."""

WHY = {
    RunStatus.INTERRUPTED: "The process that ran this has stopped.",
    RunStatus.CANCELLED: "It was cancelled before it finished.",
    RunStatus.STOPPED: "It stopped by itself before it finished.",
    RunStatus.FAILED: "An error stopped it before it finished.",
}
"""Why a run did not finish, by status."""


def name(run: Run) -> str:
    """Return a run's name: ``Apply``, or ``Undo of RUN``."""
    return f"Undo of {run.plan}" if run.act == Act.UNDO else str(run.act).capitalize()


def did(run: Run) -> str:
    """Return the word for the rows that a run counts as written: ``written`` or ``put back``."""
    return DID.get(run.act, "written")


def state(run: Run) -> str:
    """Return the run's state in one word."""
    if not run.is_running:
        return run.status.value
    return {"pause": "paused" if run.paused else "pausing", "cancel": "cancelling"}.get(run.requested, "running")


def counts(run: Run) -> list[str]:
    """Return the row counts by outcome, each in words: ``12 put back``, ``0 skipped``, ``0 failed``."""
    return [f"{run.written:,} {did(run)}", f"{run.skipped:,} skipped", f"{run.failed:,} failed"]


def silence(run: Run) -> str:
    """Return ``no sign of life for 40 s`` if a run's lock is held but its process has been silent; otherwise empty.

    A process that is known to have ended is reported at once, one that may be alive only after `QUIET` seconds.
    """
    silent = run.silent
    if silent is None or silent < (QUIET if run.is_running else 1):
        return ""
    return f"no sign of life for {silent:,.0f} s"


def can_continue(run: Run) -> bool:
    """Return whether a run that writes ended before it finished, so that the same act can continue it."""
    if not run.writes or run.status not in WHY:
        return False
    reached = pace(run)
    return run.status is not RunStatus.FAILED or run.total is None or reached.done < reached.total


def why(run: Run) -> str:
    """Return why the run did not finish, as a sentence."""
    quiet = silence(run)
    return WHY[run.status] + (f" {quiet.capitalize()}." if quiet else "")


def far(run: Run) -> str:
    """Return how far the run came, as a sentence: ``The undo put back 447 of 986 rows.``"""
    verb = "wrote" if run.act == Act.APPLY else "put back"
    rows = thousands(run.written, "rows") if run.total is None else f"{run.written:,} of {thousands(run.total, 'rows')}"
    rest = ", ".join(
        f"{count:,} {outcome}" for count, outcome in ((run.skipped, "skipped"), (run.failed, "failed")) if count
    )
    return f"The {run.act} {verb} {rows}{f' ({rest})' if rest else ''}."


def command(run: Run, plan: str | None) -> str:
    """Return how to continue the run from a terminal, as a sentence.

    ``plan`` is what to pass as the parameter of an apply; None if the plan is gone.
    """
    if run.act == Act.UNDO:
        return f"Continue with `smartcar-ops run {NOTEBOOK} -p undo {run.plan} -p apply True`."
    if plan is None:
        return f"Its plan is no longer here: {AGAIN}"
    return f"Continue with `smartcar-ops run {NOTEBOOK} -p plan {plan} -p apply True`."


AGAIN = f"plan again (`smartcar-ops run {NOTEBOOK}`); the new plan has the rows that are left."


def stands(run: Run) -> str:
    """Return how a running run stands after its state has changed, as a sentence: ``The apply is paused: …``."""
    if run.paused:
        rows = "" if run.total is None else f" of {thousands(run.total, 'rows')}"
        return f"The {run.act} is paused: {run.written:,}{rows} {did(run)}. Press Resume or Cancel."
    return obeys(run, run.requested or "resume")


def obeys(run: Run, request: str) -> str:
    """Return what a run does when it is requested to ``pause``, ``resume`` or ``cancel``, as a sentence."""
    act, done = run.act, did(run)
    return {
        "pause": f"Pausing the {act}: the current batch is {done} first.",
        "resume": f"The {act} continues.",
        "cancel": f"Cancelling the {act}: it ends after the current batch; rows already {done} stay {done}.",
    }[request]
