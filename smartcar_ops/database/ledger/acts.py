"""An act that writes, in words: how far it is, why it ended, and how the same act goes on.

An apply writes, an undo puts back; a run that is killed, cancelled or stopped is continued by the same act with the
same plan or target.
"""

from __future__ import annotations

from smartcar_ops.database.ledger.locks import BEAT
from smartcar_ops.database.ledger.runs import Act, Run, RunStatus, pace

NOTEBOOK = "30_backfill_user_ids"
DID: dict[str, str] = {Act.APPLY: "written", Act.UNDO: "put back"}
"""What an act has done with a row, by act."""

REST: dict[str, str] = {Act.APPLY: "write the rest", Act.UNDO: "put back the rest"}
QUIET = 2 * BEAT
"""Seconds of silence that are told; a holder that lives beats in half of them."""

WHY = {
    RunStatus.INTERRUPTED: "The process that ran this has stopped.",
    RunStatus.CANCELLED: "It was cancelled before its end.",
    RunStatus.STOPPED: "It stopped by itself before its end.",
    RunStatus.FAILED: "An error ended it before its end.",
}
"""Why an act that ended before its end did so, by status."""


def name(run: Run) -> str:
    """An act's name: ``Apply``, or ``Undo of RUN``."""
    return f"Undo of {run.plan}" if run.act == Act.UNDO else str(run.act).capitalize()


def did(run: Run) -> str:
    """What a run has done with the rows it counts as written."""
    return DID.get(run.act, "written")


def state(run: Run) -> str:
    """The run in one word."""
    if not run.is_running:
        return run.status.value
    return {"pause": "paused", "cancel": "cancelling"}.get(run.requested, "running")


def counts(run: Run) -> list[str]:
    """Rows by what became of them, in the act's own words."""
    return [f"{run.written:,} {did(run)}", f"{run.skipped:,} skipped", f"{run.failed:,} failed"]


def silence(run: Run) -> str:
    """``no sign of life for 40 s`` if the lock of a run is still held, but its holder has been silent; else empty.

    A holder that has stopped is told at once, one that may live when it has missed a beat.
    """
    silent = run.silent
    if silent is None or silent < (QUIET if run.is_running else 1):
        return ""
    return f"no sign of life for {silent:,.0f} s"


def can_continue(run: Run) -> bool:
    """Whether an act that writes ended before its end: the same act goes on from there."""
    if not run.writes or run.status not in WHY:
        return False
    at = pace(run)
    return run.status is not RunStatus.FAILED or run.total is None or at.done < at.total


def why(run: Run) -> str:
    """Why the act ended before its end, as a sentence."""
    quiet = silence(run)
    return WHY[run.status] + (f" {quiet.capitalize()}." if quiet else "")


def far(run: Run) -> str:
    """How far the act came, as a sentence: ``The undo put back 447 of 986 rows.``"""
    done = "wrote" if run.act == Act.APPLY else "put back"
    of = f" of {run.total:,}" if run.total is not None else ""
    rest = ", ".join(
        f"{count:,} {outcome}" for count, outcome in ((run.skipped, "skipped"), (run.failed, "failed")) if count
    )
    return f"The {run.act} {done} {run.written:,}{of} rows{f' ({rest})' if rest else ''}."


def command(run: Run, plan: str | None) -> str:
    """How the same act goes on from a terminal, as a sentence; ``plan`` names an apply's plan, None if it is gone."""
    if run.act == Act.UNDO:
        return f"Continue with `smartcar-ops run {NOTEBOOK} -p undo {run.plan} -p apply True`."
    if plan is None:
        return f"Its plan is not kept here any more: {AGAIN}"
    return f"Continue with `smartcar-ops run {NOTEBOOK} -p plan {plan} -p apply True`."


AGAIN = f"plan again (`smartcar-ops run {NOTEBOOK}`); the new plan has what is still open."


def obeys(run: Run, wish: str) -> str:
    """What an act does when it is asked to ``pause``, ``resume`` or ``cancel``."""
    act = run.act
    return {
        "pause": f"Pausing the {act}: what is under way is {did(run)} first.",
        "resume": f"The {act} goes on.",
        "cancel": f"Cancelling the {act}: it ends after the batch under way; what was {did(run)} stays so.",
    }[wish]
