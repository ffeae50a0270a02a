"""Whether V2 has stopped, because it answered 410 or SMARTCAR_V2 is off; stored until V2 answers again."""

from __future__ import annotations

from datetime import datetime

from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import V2_STATE, Ledger

GONE, OFF = "gone", "off"
"""The stored values: V2 answered 410, or the settings turn V2 off."""


def sentence(ledger: Ledger) -> str:
    """Return a sentence about when V2 stopped and what that means; empty if it is not known to have stopped."""
    known = ledger.asked(V2_STATE).get(t.EVERYTHING)
    if known is None:
        return ""
    when, answer = known
    why = "SMARTCAR_V2 is off" if answer == OFF else f"it answered 410 on {when.day} {when:%b %Y, %H:%M} UTC"
    return f"V2 has stopped ({why}): tokens are no longer a source."


def has_stopped(ledger: Ledger) -> bool:
    """Return whether V2 is known to have stopped."""
    return t.EVERYTHING in ledger.asked(V2_STATE)


def note(ledger: Ledger, now: datetime, answer: str = GONE) -> None:
    """Store that V2 has stopped, and when."""
    if not has_stopped(ledger):
        ledger.record(
            t.asked, [{"source": V2_STATE, "subject": t.EVERYTHING, "asked_at": t.as_kept(now), "answer": answer}]
        )


def clear(ledger: Ledger, now: datetime) -> None:
    """Delete the entry, because V2 answers."""
    if has_stopped(ledger):
        ledger.replace(t.asked, V2_STATE, [], now=now)


def settle(ledger: Ledger, *, off: bool, now: datetime) -> None:
    """Bring the stored state in line with the settings; an entry from V2's own 410 remains."""
    known = ledger.asked(V2_STATE).get(t.EVERYTHING)
    if off:
        note(ledger, now, OFF)
    elif known is not None and known[1] == OFF:
        clear(ledger, now)
