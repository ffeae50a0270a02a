"""The verdict on one field of one vehicle: V2's and V3's readings, judged in the contract's order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from smartcar_ops.compare.judging.agreement import TOGETHER, agreement, gap
from smartcar_ops.fields.field_map import Field
from smartcar_ops.fields.reading import Part, Reading

FieldVerdict = Literal[
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
JUDGED: tuple[FieldVerdict, ...] = ("equal", "converted", "within_tolerance", "mismatch")
LOST: tuple[FieldVerdict, ...] = ("mismatch", "v2_only", "not_permitted")
"""What the gate counts; ``not_permitted`` only if V3 alone is not permitted."""
WAIVABLE: tuple[FieldVerdict, ...] = LOST

WORST: tuple[FieldVerdict, ...] = (
    *("mismatch", "v2_only", "not_permitted", "cached_error", "stale", "moved", "unavailable"),
    *("within_tolerance", "converted", "equal"),
)
"""A many-valued field gets the first of these verdicts that one of its parts has."""

CLOCK_STEP = timedelta(seconds=1)
"""Some makers' times are truncated to the second: if two times are closer, it is not known which is later."""

APART = {"volatile": TOGETHER, "slow": timedelta(hours=24)}


@dataclass
class Judgement:
    """A verdict and its reason; ``v3`` is the reading it is based on; ``lost`` is true if the gate counts it."""

    verdict: FieldVerdict
    reason: str
    v3: Reading
    lost: bool = False


def judge(field: Field, v2: Reading, v3: Reading, again: Reading | None = None) -> Judgement:
    """Return the first verdict of the contract's order that holds.

    ``again`` is a second V3 reading, taken after V2; the one nearer to V2's time is used. A many-valued field takes
    the worst verdict of its parts.
    """
    if "failed" in (v2.state, v3.state):
        failed = v2 if v2.state == "failed" else v3
        return Judgement("failed", failed.reason, v3)
    if not field.compared:
        return _unscored(field, v2, v3)
    if v3.state != "value" or v2.state != "value":
        return _one_sided(v2, v3)
    return _in_parts(field, v2, v3, again) if field.parts else _two_sided(field, v2, v3, again)


def wants_another_read(field: Field, v2: Reading, v3: Reading) -> bool:
    """True if a volatile field differs at the same time: the car may be moving, so V3 is read once more."""
    if field.change != "volatile" or v2.at is None or v3.at is None or abs(v2.at - v3.at) > APART["volatile"]:
        return False
    return judge(field, v2, v3).verdict == "mismatch"


def _unscored(field: Field, v2: Reading, v3: Reading) -> Judgement:
    side = v2 if field.v3 is None else v3
    if side.state == "value":
        only: FieldVerdict = "v2_only" if field.v3 is None else "v3_only"
        return Judgement(only, f"{'V3' if field.v3 is None else 'V2'} does not have this field", v3)
    return _one_sided(v2, v3)


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


def _two_sided(field: Field, v2: Reading, v3: Reading, again: Reading | None) -> Judgement:
    nearest = _nearer(v2, v3, again)
    agrees = agreement(field, v2, nearest)
    if agrees is not None:
        return Judgement(*agrees, nearest)
    moved = again is not None and again.state == "value" and again.value != v3.value
    return _differ(field, v2, nearest, gap(field, v2, nearest), moved=moved)


def _nearer(v2: Reading, v3: Reading, again: Reading | None) -> Reading:
    if again is None or again.state != "value":
        return v3
    if v2.at is None or v3.at is None or again.at is None:
        return again
    return again if abs(again.at - v2.at) < abs(v3.at - v2.at) else v3


def _differ(field: Field, v2: Reading, v3: Reading, apart_by: str, *, moved: bool = False) -> Judgement:
    if field.change == "stable":
        return Judgement("mismatch", f"{apart_by}; this field never changes", v3, lost=True)
    if field.grows and _decreased(field, v2, v3):
        reason = f"{apart_by}; the later reading is lower, but this field only increases"
        return Judgement("mismatch", reason, v3, lost=True)
    if moved:
        return Judgement("moved", f"{apart_by}; V3 itself changed between two reads", v3)
    if v2.at is None or v3.at is None:
        return Judgement("stale", f"{apart_by}; a maker's time is missing, so the two can't be compared", v3)
    apart = abs(v2.at - v3.at)
    if apart > APART[field.change]:
        return Judgement("stale", f"{apart_by}; the makers' times are {_span(apart)} apart", v3)
    return Judgement("mismatch", f"{apart_by}, at the same time", v3, lost=True)


def _decreased(field: Field, v2: Reading, v3: Reading) -> bool:
    if v2.at is None or v3.at is None or abs(v2.at - v3.at) < CLOCK_STEP:
        return False
    older, newer = (v2, v3) if v2.at < v3.at else (v3, v2)
    return bool(newer.value < older.value - field.absolute)


def _span(apart: timedelta) -> str:
    seconds = apart.total_seconds()
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


# --- fields of many parts ---------------------------------------------------------------------------------


def _in_parts(field: Field, v2: Reading, v3: Reading, again: Reading | None) -> Judgement:
    matches, v2_only, v3_only = matched(v2.parts, v3.parts)
    later = {part.name: part.reading for part in again.parts} if again is not None else {}
    judged = [(part.name, _part(field, part.reading, other, later.get(name))) for part, name, other in matches]
    if field.lacking == "differs":
        judged += [(part.name, _differ(field, part.reading, v3, "V3 does not list it")) for part in v2_only]
        v2_only = []
    if not judged:
        return _nothing_in_common(v2, v3)
    worst = min((judgement.verdict for _, judgement in judged), key=WORST.index)
    with_worst = [(name, judgement) for name, judgement in judged if judgement.verdict == worst]
    first = with_worst[0][1]
    names = "all" if len(with_worst) == len(judged) > 1 else ", ".join(name for name, _ in with_worst)
    others = [f"; {label} {', '.join(sorted(rest))}" for label, rest in _unmatched(v2_only, v3_only) if rest]
    return Judgement(worst, f"{names}: {first.reason}{''.join(others)}", replace(v3, at=first.v3.at), first.lost)


def _part(field: Field, v2: Reading, v3: Reading, again: Reading | None) -> Judgement:
    return _two_sided(field, v2, v3, again) if v3.state == "value" else _one_sided(v2, v3)


def _nothing_in_common(v2: Reading, v3: Reading) -> Judgement:
    if not v2.parts and not v3.parts:
        return Judgement("equal", "both lists are empty", v3)
    if not v2.parts:
        return Judgement("v3_only", "V2's list is empty", v3)
    return Judgement("unavailable", "V3 has none of the parts that V2 has", v3)


def _unmatched(v2_only: list[Part], v3_only: list[Part]) -> tuple[tuple[str, list[str]], ...]:
    with_value = [part.name for part in v3_only if part.reading.state == "value"]
    return ("not judged:", [part.name for part in v2_only]), ("only on V3:", with_value)


def matched(
    v2: tuple[Part, ...], v3: tuple[Part, ...]
) -> tuple[list[tuple[Part, str, Reading]], list[Part], list[Part]]:
    """Match the parts of both versions by the first key they share; V2's parts without a value are ignored.

    Returns (V2's part with V3's name and reading, parts on V2 only, parts on V3 only).
    """
    v3_left, v2_left = list(v3), [part for part in v2 if part.reading.state == "value"]
    matches: list[tuple[Part, str, Reading]] = []
    for level in range(max((len(part.keys) for part in v2_left), default=0)):
        by_key = {part.keys[level]: part for part in reversed(v3_left) if part.keys[level] is not None}
        for part in list(v2_left):
            other = by_key.pop(part.keys[level], None)
            if other is not None:
                matches.append((part, other.name, other.reading))
                v3_left.remove(other)
                v2_left.remove(part)
    return matches, v2_left, v3_left
