"""Whether V2 has stopped: found by asking it, or said by SMARTCAR_V2=off; kept until V2 answers again."""

from __future__ import annotations

from datetime import datetime

from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import V2_STATE, Ledger

GONE, OFF = "gone", "off"
"""What the ledger keeps: V2 answered 410, or the settings say so."""


def sentence(ledger: Ledger) -> str:
    """That V2 has stopped, since when, and what that means, for people; empty where it has not, as far as is known."""
    known = ledger.asked(V2_STATE).get(t.EVERYTHING)
    if known is None:
        return ""
    when, answer = known
    why = "SMARTCAR_V2 is off" if answer == OFF else f"it answered 410 on {when.day} {when:%b %Y, %H:%M} UTC"
    return f"V2 has stopped ({why}): tokens are no source any more."


def has_stopped(ledger: Ledger) -> bool:
    """Whether V2 has stopped, as far as is known."""
    return t.EVERYTHING in ledger.asked(V2_STATE)


def note(ledger: Ledger, now: datetime, answer: str = GONE) -> None:
    """Keeps that V2 has stopped, and since when."""
    if not has_stopped(ledger):
        ledger.record(
            t.asked, [{"source": V2_STATE, "subject": t.EVERYTHING, "asked_at": t.as_kept(now), "answer": answer}]
        )


def clear(ledger: Ledger, now: datetime) -> None:
    """Forgets it: V2 answers."""
    if has_stopped(ledger):
        ledger.replace(t.asked, V2_STATE, [], now=now)


def settle(ledger: Ledger, *, off: bool, now: datetime) -> None:
    """Makes what the ledger keeps agree with the settings; what V2 itself answered stays."""
    known = ledger.asked(V2_STATE).get(t.EVERYTHING)
    if off:
        note(ledger, now, OFF)
    elif known is not None and known[1] == OFF:
        clear(ledger, now)
