"""The verdict on one field of one vehicle: V2's reading beside V3's, judged in the contract's order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from smartcar_ops.smartcar.fields import Field
from smartcar_ops.smartcar.readings import Reading

Verdict = Literal[
    "equal",
    "converted",
    "within_tolerance",
    "mismatch",
    "moved",
    "stale",
    "v2_only",
    "v3_only",
    "not_permitted",
    "not_capable",
    "cached_error",
    "unavailable",
    "failed",
    "waived",
]
JUDGED: tuple[Verdict, ...] = ("equal", "converted", "within_tolerance", "mismatch")
LOST: tuple[Verdict, ...] = ("mismatch", "v2_only", "not_permitted")
"""What the gate counts; ``not_permitted`` only where V3 alone is not permitted."""
WAIVABLE: tuple[Verdict, ...] = LOST

APART = {"volatile": timedelta(seconds=60), "slow": timedelta(hours=24)}
EXACT = 1e-6
"""Relative difference below which two numbers are the same number."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and why; ``v3`` is the reading that was kept; ``lost`` says that the gate counts it."""

    verdict: Verdict
    reason: str
    v3: Reading
    lost: bool = False


def judge(field: Field, v2: Reading, v3: Reading, again: Reading | None = None) -> Judgement:
    """The first verdict of the contract's order that holds.

    ``again`` is V3 read once more after V2; of the two, the one nearer to V2's time is kept.
    """
    if "failed" in (v2.state, v3.state):
        silent = v2 if v2.state == "failed" else v3
        return Judgement("failed", silent.reason, v3)
    if not field.scored:
        return _unscored(field, v2, v3)
    if v3.state != "value" or v2.state != "value":
        return _one_sided(v2, v3)
    kept = _nearer(v2, v3, again)
    alike = _alike(field, v2, kept)
    if alike is not None:
        return alike
    return _differ(field, v2, kept, moved=again is not None and again.state == "value" and again.value != v3.value)


def wants_another_read(field: Field, v2: Reading, v3: Reading) -> bool:
    """True where a volatile field differs at the same time: the car may be moving, so V3 is worth one more read."""
    if field.change != "volatile" or v2.at is None or v3.at is None or abs(v2.at - v3.at) > APART["volatile"]:
        return False
    return judge(field, v2, v3).verdict == "mismatch"


def _unscored(field: Field, v2: Reading, v3: Reading) -> Judgement:
    side = v2 if field.v3 is None else v3
    if side.state == "value":
        only: Verdict = "v2_only" if field.v3 is None else "v3_only"
        return Judgement(only, "the other version has no such field", v3)
    return Judgement("unavailable", side.reason, v3)


def _one_sided(v2: Reading, v3: Reading) -> Judgement:
    states = (v2.state, v3.state)
    if v2.state == "value":
        if v3.state == "not_permitted":
            return Judgement("not_permitted", f"{v3.reason}; V2 has a value", v3, lost=True)
        if v3.state == "cached_error":
            return Judgement("cached_error", v3.reason, v3)
        if v3.state == "not_capable":
            return Judgement("v2_only", f"{v3.reason}; V2 has a value", v3, lost=True)
        return Judgement("unavailable", v3.reason, v3)
    if v3.state == "value":
        return Judgement("v3_only", v2.reason, v3)
    if "not_capable" in states:
        return Judgement("not_capable", _either(v2, v3, "not_capable"), v3)
    if "not_permitted" in states:
        return Judgement("not_permitted", _either(v2, v3, "not_permitted"), v3)
    return Judgement("unavailable", "; ".join(filter(None, (v2.reason, v3.reason))), v3)


def _either(v2: Reading, v3: Reading, state: str) -> str:
    return v2.reason if v2.state == state else v3.reason


def _nearer(v2: Reading, v3: Reading, again: Reading | None) -> Reading:
    if again is None or again.state != "value":
        return v3
    if v2.at is None or v3.at is None or again.at is None:
        return again
    return again if abs(again.at - v2.at) < abs(v3.at - v2.at) else v3


def _alike(field: Field, v2: Reading, v3: Reading) -> Judgement | None:
    if isinstance(v2.value, float) and isinstance(v3.value, float):
        if v2.unit != v3.unit and v2.unit and v3.unit:
            return None
        gap, size = abs(v2.value - v3.value), max(abs(v2.value), abs(v3.value))
        if gap <= EXACT * size:
            if v2.converted or v3.converted:
                return Judgement("converted", f"the same in {v3.unit}", v3)
            return Judgement("equal", "the same number", v3)
        allowed = max(field.absolute, field.relative * size)
        if gap <= allowed:
            return Judgement("within_tolerance", f"{gap:.3g} apart, {allowed:.3g} allowed ({v3.unit or 'no unit'})", v3)
        return None
    return Judgement("equal", "the same", v3) if v2.value == v3.value else None


def _differ(field: Field, v2: Reading, v3: Reading, *, moved: bool) -> Judgement:
    gap = _gap(v2, v3)
    if field.change == "stable":
        return Judgement("mismatch", f"{gap}; this field does not change", v3, lost=True)
    if field.grows and _ran_back(field, v2, v3):
        return Judgement("mismatch", f"{gap}; the later reading is smaller, and this field only grows", v3, lost=True)
    if moved:
        return Judgement("moved", f"{gap}; V3 itself changed between two reads", v3)
    if v2.at is None or v3.at is None:
        return Judgement("stale", f"{gap}; a maker's time is missing, so the pair can't be judged", v3)
    apart = abs(v2.at - v3.at)
    if apart > APART[field.change]:
        return Judgement("stale", f"{gap}; the makers' times are {_span(apart)} apart", v3)
    return Judgement("mismatch", f"{gap}, at the same time", v3, lost=True)


def _gap(v2: Reading, v3: Reading) -> str:
    if isinstance(v2.value, float) and isinstance(v3.value, float):
        return f"{abs(v2.value - v3.value):.4g} {v3.unit or ''} apart".replace("  ", " ")
    return "the values differ"


def _ran_back(field: Field, v2: Reading, v3: Reading) -> bool:
    if v2.at is None or v3.at is None or v2.at == v3.at:
        return False
    older, newer = (v2, v3) if v2.at < v3.at else (v3, v2)
    return bool(newer.value < older.value - field.absolute)


def _span(apart: timedelta) -> str:
    seconds = apart.total_seconds()
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
