"""The pictures of the reports. Each function returns a ``Picture`` that says in words what it shows.

Counts are whole numbers, zero or more; a name or a number outside that raises ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from smartcar_ops.database.evidence import buckets
from smartcar_ops.display.drawing import (
    BLUE,
    GREY,
    ORANGE,
    PALE_BLUE,
    TEAL,
    WIDTH,
    Picture,
    Sheet,
    ink_on,
    length,
    measure,
    percent,
    shared_out,
    shortened,
    thousands,
)

__all__ = ["BUCKETS", "Picture", "allowance", "migrated_share", "users_by_bucket"]

PEOPLE = "Left: for a person to decide"
GROUPS: dict[str, dict[str, str]] = {
    "Done": {"mapped": BLUE},
    "Left: for the next audit or backfill": {"ready": TEAL, "unasked": TEAL},
    PEOPLE: {"conflict": ORANGE, "shared": ORANGE, "invalid": ORANGE},
    "Left: to connect again, or to check": {"reconnect": PALE_BLUE, "unconfirmed": PALE_BLUE},
    "Nothing to do yet": {"no_vehicles": GREY},
}
"""The nine audit buckets in a reader's order, each with its colour; a group has one turn (`buckets`)."""

BUCKETS = tuple(bucket for group in GROUPS.values() for bucket in group)

_LABELS = 124.0  # units the bucket's names take at the left
_BEFORE = 0.45  # opacity of what was


def users_by_bucket(before: Mapping[str, int], after: Mapping[str, int] | None = None) -> Picture:
    """Bars of users per audit bucket, paired where there is an ``after``; a bucket left out counts 0.

    All nine are shown, also at 0, so that the numbers add up to the totals in the title.
    """
    _check_buckets(before)
    _check_buckets(after or {})
    sides = [before] if after is None else [before, after]
    sheet = Sheet()
    y = _key(sheet) if after is not None else 0.0
    for group in GROUPS:
        y = _group(sheet, y, group, sides)
    return sheet.picture(y, _users_title(sides), _users_description(sides))


def _check_buckets(counts: Mapping[str, int]) -> None:
    unknown = sorted(set(counts) - set(BUCKETS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no audit bucket; expected one of {', '.join(BUCKETS)}")
    _check_counts(counts)


def _check_counts(counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} is {count}; expected a count of 0 or more")


def _key(sheet: Sheet) -> float:
    sheet.bar(_LABELS, 2, 22, 9, GREY, opacity=_BEFORE)
    sheet.text(_LABELS + 28, 11, "before", size=12, opacity=0.75)
    sheet.bar(_LABELS + 96, 2, 22, 9, GREY)
    sheet.text(_LABELS + 124, 11, "after", size=12, opacity=0.75)
    return 26.0


def _group(sheet: Sheet, y: float, group: str, sides: list[Mapping[str, int]]) -> float:
    """Draw a group's heading and rows from y on; returns where the next group begins."""
    rows = GROUPS[group]
    pitch = 15.0 * len(sides) + 8
    if group == PEOPLE and any(side.get(bucket) for bucket in rows for side in sides):
        sheet.bar(0, y, WIDTH, 28 + pitch * len(rows), ORANGE, opacity=0.11, radius=6)
    now = sum(sides[-1].get(bucket, 0) for bucket in rows)
    sheet.text(8, y + 19, group, size=12.5, bold=True)
    beside = 8 + measure(group, 12.5, bold=True) + 8
    sheet.text(beside, y + 19, thousands(now, "users"), size=12, opacity=0.75)
    y += 28
    for bucket, color in rows.items():
        _row(sheet, y, bucket, color, sides)
        y += pitch
    return y + 8


def _row(sheet: Sheet, y: float, bucket: str, color: str, sides: list[Mapping[str, int]]) -> None:
    most = max((count for side in sides for count in side.values()), default=0)
    room = WIDTH - _LABELS - 12 - measure(thousands(most), 13, bold=True)
    sheet.text(8, y + 7.5 * len(sides) + 3.5, bucket.replace("_", " "), size=13)
    for place, side in enumerate(sides):
        last = place == len(sides) - 1
        count, top = side.get(bucket, 0), y + 15 * place
        reach = length(count, most, room)
        sheet.bar(_LABELS, top + 1, reach, 12, color, opacity=1.0 if last else _BEFORE)
        faint = 0.75 if not last or not count else 1.0
        end = _LABELS + reach + (6 if count else 0)
        sheet.text(end, top + 11.5, thousands(count), size=13 if last else 12, bold=last and count > 0,
                   opacity=faint)  # fmt: skip


def _users_title(sides: list[Mapping[str, int]]) -> str:
    totals = [sum(side.values()) for side in sides]
    mapped = [side.get("mapped", 0) for side in sides]
    left = buckets.left(sides[-1])
    if len(sides) == 1:
        return f"{thousands(totals[0], 'users')}: {mapped[0]:,} mapped, {left:,} left to do"
    if totals[0] == totals[1]:
        return f"{thousands(totals[0], 'users')}: {mapped[0]:,} mapped before, {mapped[1]:,} after; {left:,} left to do"
    before, after = (thousands(total, "users") for total in totals)
    return f"{before} before, {mapped[0]:,} of them mapped; {after} after, {mapped[1]:,} mapped, {left:,} left to do"


def _users_description(sides: list[Mapping[str, int]]) -> str:
    def told(bucket: str) -> str:
        return f"{bucket.replace('_', ' ')} " + " to ".join(f"{side.get(bucket, 0):,}" for side in sides)

    groups = (f"{group}: {', '.join(map(told, rows))}" for group, rows in GROUPS.items())
    return f"Users by audit bucket{', before to after' if len(sides) > 1 else ''}. {'. '.join(groups)}."


def migrated_share(mapped: int, left: int, total: int) -> Picture:
    """One bar: the share of users with a confirmed id, 100% only where it is every one of them; how many are left.

    Who is neither mapped nor ``left`` to do has nothing to map.
    """
    rest = total - mapped - left
    if min(mapped, left, rest) < 0:
        raise ValueError(f"mapped is {mapped} and left {left} of {total}; expected 0 or more each, and no more in all")
    share = percent(mapped, total)
    sheet = Sheet()
    sheet.text(0, 46, share, size=54 if len(share) < 5 else 34, bold=True)
    sheet.text(WIDTH, 28, f"{thousands(mapped)} of {thousands(total, 'users')} mapped", anchor="right")
    told = f"{left:,} left to do{f', {rest:,} with nothing to map' if rest else ''}" if total else "no users"
    sheet.text(WIDTH, 46, told, size=12, opacity=0.75, anchor="right")
    sheet.bar(0, 62, WIDTH, 18, GREY, opacity=0.25, radius=4)
    sheet.bar(0, 62, shared_out([mapped, total - mapped], WIDTH)[0], 18, BLUE, radius=4)
    words = f"A bar filled to {share}: {mapped:,} of {thousands(total, 'users')} mapped, {told}."
    return sheet.picture(84, "Users mapped", words if total else "No users.")


_NEEDS = (BLUE, PALE_BLUE, TEAL, GREY)


def allowance(needed: Mapping[str, int], to_come: int, days_left: float) -> Picture:
    """The units still needed beside those that come until the deadline, and whether they fit.

    ``needed`` is in the order in which it will be spent: what comes first is said to fit first.
    ``days_left`` at or below 0 is a deadline that has passed.
    """
    _check_counts({**needed, "to_come": to_come})
    total = sum(needed.values())
    words, when = _fit(total, to_come, days_left), _when(to_come, days_left)
    sheet = Sheet()
    sheet.text(0, 18, words, size=17, bold=True)
    sheet.text(0, 38, f"{thousands(total, 'units')} needed; {when}", size=12.5, opacity=0.75)
    most = max(total, to_come)
    room = WIDTH - 82 - measure(thousands(most), 13, bold=True)
    sheet.text(0, 70, "needed")
    sheet.text(76 + _segments(sheet, needed, length(total, most, room)) + 6, 70, thousands(total), bold=True)
    reach = length(to_come, most, room)
    sheet.text(0, 96, "to come")
    sheet.bar(76, 84, reach, 16, GREY)
    sheet.text(76 + reach + 6, 96, thousands(to_come), bold=True)
    y = 110.0
    told = list(_each_need(needed, to_come))
    for (name, count, outcome), color in zip(told, _cycle(len(told)), strict=True):
        y += 22
        sheet.bar(76, y - 10, 12, 12, color)
        number = thousands(count)
        sheet.text(94, y, shortened(f"{name} {number}", 230, 13))
        sheet.text(WIDTH, y, outcome, size=12.5, opacity=0.75, anchor="right")
    parts = "; ".join(f"{name} {count:,} units, {outcome}" for name, count, outcome in told)
    told_all = f"{words}. {thousands(total, 'units')} needed; {when}. {parts}".rstrip(". ") + "."
    return sheet.picture(y + 8, "Smartcar calls until the deadline", told_all)


def _cycle(many: int) -> list[str]:
    return [_NEEDS[place % len(_NEEDS)] for place in range(many)]


def _segments(sheet: Sheet, needed: Mapping[str, int], reach: float) -> float:
    """Draw what is needed end to end; returns how far it reaches, in units."""
    x = 76.0
    counts = list(needed.values())
    for count, width, color in zip(counts, shared_out(counts, reach), _cycle(len(counts)), strict=True):
        sheet.bar(x, 58, width - 1, 16, color)
        if measure(thousands(count), 11) + 10 < width:
            sheet.text(x + width / 2, 70, thousands(count), size=11, color=ink_on(color), anchor="center")
        x += width
    return reach


def _fit(total: int, to_come: int, days_left: float) -> str:
    if total == 0:
        return "Nothing more is needed"
    if days_left <= 0:
        return f"The deadline has passed with {thousands(total, 'units')} open"
    if total <= to_come:
        return f"It fits, with {thousands(to_come - total, 'units')} to spare"
    return f"It does not fit: {thousands(total - to_come, 'units')} short"


def _when(to_come: int, days_left: float) -> str:
    if days_left <= 0:
        return "the deadline has passed"
    days = f"{days_left:,.1f}".removesuffix(".0")
    return f"{to_come:,} come in the {days} {'day' if days == '1' else 'days'} left"


def _each_need(needed: Mapping[str, int], to_come: int) -> Iterator[tuple[str, int, str]]:
    """Yield name, units and outcome, spending what comes in the order given."""
    for (name, count), spent in zip(needed.items(), accumulate(needed.values()), strict=True):
        got = max(0, min(count, to_come - (spent - count)))
        some = f"{thousands(got)} of them fit" if got else "does not fit"
        yield name, count, "fits" if got == count else some
