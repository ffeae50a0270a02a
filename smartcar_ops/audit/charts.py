"""Charts of users and of calls. Each function returns a ``Picture`` with a description in words.

Counts are whole numbers of 0 or more; ValueError for an unknown name or a negative number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, cycle

from markupsafe import Markup

from smartcar_ops.audit import buckets
from smartcar_ops.display.picture import BLUE, GREY, ORANGE, PALE_BLUE, TEAL, Picture, bar, block, joined, key, stack
from smartcar_ops.text import percent, thousands

PEOPLE = "Left: for a person to decide"
GROUPS: dict[str, dict[str, str]] = {
    "Done": {"mapped": BLUE},
    "Left: for the next audit or backfill": {"ready": TEAL, "unasked": TEAL},
    PEOPLE: {"conflict": ORANGE, "shared": ORANGE, "invalid": ORANGE},
    "Left: to connect again, or to check": {"reconnect": PALE_BLUE, "unconfirmed": PALE_BLUE},
    "Nothing to do yet": {"no_vehicles": GREY},
}
"""The nine audit buckets in display order, each with its color; in a group, the same side acts next (`Turn`)."""

BUCKETS = tuple(bucket for group in GROUPS.values() for bucket in group)

BEFORE_OPACITY = 0.45
NAMES_WIDTH = "6.5rem"  # of the column of bucket names, so that the groups' bars stand below each other


def users_by_bucket(before: Mapping[str, int], after: Mapping[str, int] | None = None) -> Picture:
    """Draw bars of users per audit bucket, in pairs if ``after`` is given; a missing bucket counts as 0.

    All nine buckets are shown, even at 0, so that the numbers add up to the totals in the title.
    """
    sides = [before] if after is None else [before, after]
    for side in sides:
        if unknown := sorted(set(side) - set(BUCKETS)):
            raise ValueError(f"{unknown[0]!r} is not an audit bucket; expected one of {', '.join(BUCKETS)}")
        _check_counts(side)
    legend = Markup('<div class="key"><span>{} before</span><span>{} after</span></div>').format(
        block(GREY, "1.4rem", opacity=BEFORE_OPACITY), block(GREY, "1.4rem")
    )
    groups = joined(_group(group, sides) for group in GROUPS)
    return Picture(
        groups if after is None else joined([legend, groups]), _users_title(sides), _users_description(sides)
    )


def _check_counts(counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} is {count}; expected a count of 0 or more")


def _group(group: str, sides: list[Mapping[str, int]]) -> Markup:
    """Draw a group's heading and rows; the group that waits for people is tinted unless it is empty."""
    now = sum(sides[-1].get(bucket, 0) for bucket in GROUPS[group])
    waits = group == PEOPLE and any(side.get(bucket) for bucket in GROUPS[group] for side in sides)
    tint = f"background:{ORANGE}1c" if waits else ""
    rows = (
        Markup("<span>{}</span>\n<span>{}</span>").format(bucket.replace("_", " "), _bars(bucket, color, sides))
        for bucket, color in GROUPS[group].items()
    )
    return Markup(
        '<div style="padding:.3rem .5rem .5rem;border-radius:6px;{}"><b>{}</b> <span class="soft">{}</span>\n'
        '<div class="rows" style="padding-top:.35rem;grid-template-columns:{} 1fr">{}</div></div>'
    ).format(tint, group, thousands(now, "users"), NAMES_WIDTH, joined(rows))


def _bars(bucket: str, color: str, sides: list[Mapping[str, int]]) -> Markup:
    most = max((count for side in sides for count in side.values()), default=0) or 1
    *before, after = (side.get(bucket, 0) for side in sides)
    room = len(thousands(most))
    drawn = [bar(n / most, color, thousands(n), room=room, opacity=BEFORE_OPACITY, bold=False) for n in before]
    return joined([*drawn, bar(after / most, color, thousands(after), room=room, bold=after > 0)])


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
    def described(bucket: str) -> str:
        return f"{bucket.replace('_', ' ')} " + " to ".join(f"{side.get(bucket, 0):,}" for side in sides)

    groups = (f"{group}: {', '.join(map(described, rows))}" for group, rows in GROUPS.items())
    return f"Users by audit bucket{', before to after' if len(sides) > 1 else ''}. {'. '.join(groups)}."


def migrated_share(mapped: int, left: int, total: int) -> Picture:
    """Draw one bar: the share of users with a confirmed id (100% only if all have one), and how many are left.

    Users who are neither mapped nor ``left`` have nothing to map.
    """
    rest = total - mapped - left
    if min(mapped, left, rest) < 0:
        raise ValueError(
            f"mapped is {mapped} and left {left} of {total}; expected 0 or more, and a sum up to the total"
        )
    share = percent(mapped, total)
    open_ = f"{left:,} left to do{f', {rest:,} with nothing to map' if rest else ''}" if total else "no users"
    words = f"A bar filled to {share}: {mapped:,} of {thousands(total, 'users')} mapped, {open_}."
    drawing = Markup(
        '<div style="display:flex;flex-wrap:wrap;justify-content:space-between;align-items:end;gap:.3rem 1rem">\n'
        '<b style="font-size:3.4rem;line-height:1">{}</b>\n'
        '<span><span>{}</span><br><span class="soft">{}</span></span></div>\n'
        '<div style="margin-top:.6rem;border-radius:4px;background:{}40">{}</div>'
    ).format(
        share,
        f"{thousands(mapped)} of {thousands(total, 'users')} mapped",
        open_,
        GREY,
        block(BLUE if mapped else "transparent", f"{100 * mapped / max(total, 1):.4f}%"),
    )
    return Picture(drawing, "Users mapped", words if total else "No users.")


def allowance(needed: Mapping[str, int], to_come: int, days_left: float) -> Picture:
    """Draw the units still needed next to those that become available before the deadline, and whether they fit.

    ``needed`` is in the order in which the units are spent. ``days_left`` of 0 or less means that the deadline has
    passed.
    """
    _check_counts({**needed, "to_come": to_come})
    total = sum(needed.values())
    words, when = _fit(total, to_come, days_left), _when(to_come, days_left)
    needs = list(zip(_each_need(needed, to_come), cycle((BLUE, PALE_BLUE, TEAL, GREY)), strict=False))
    most = max(total, to_come) or 1
    room = len(thousands(most))
    shown = stack(((count, color) for (_, count, _), color in needs), share=0.82 * total / most)
    drawing = Markup(
        '<b style="font-size:1.2rem">{}</b>\n<div class="soft" style="padding-bottom:.7rem">{}</div>\n'
        '<div class="rows"><span>needed</span><span class="bar">{}<b>{}</b></span>\n<span>available</span>{}</div>\n'
        '<div class="rows" style="padding-top:.7rem;grid-template-columns:1fr auto">{}</div>'
    ).format(
        words,
        f"{thousands(total, 'units')} needed; {when}",
        shown,
        thousands(total),
        bar(to_come / most, GREY, thousands(to_come), room=room),
        joined(
            Markup('{}<span class="soft">{}</span>').format(key([(color, f"{name} {thousands(count)}")]), outcome)
            for (name, count, outcome), color in needs
        ),
    )
    parts = "; ".join(f"{name} {count:,} units, {outcome}" for (name, count, outcome), _ in needs)
    in_words = f"{words}. {thousands(total, 'units')} needed; {when}. {parts}".rstrip(". ") + "."
    return Picture(drawing, "Smartcar calls until the deadline", in_words)


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
    return f"{to_come:,} available in the {days} {'day' if days == '1' else 'days'} left"


def _each_need(needed: Mapping[str, int], to_come: int) -> Iterator[tuple[str, int, str]]:
    """Yield name, units and outcome, spending the available units in the order given."""
    for (name, count), spent in zip(needed.items(), accumulate(needed.values()), strict=True):
        got = max(0, min(count, to_come - (spent - count)))
        some = f"{thousands(got)} of them fit" if got else "does not fit"
        yield name, count, "fits" if got == count else some
