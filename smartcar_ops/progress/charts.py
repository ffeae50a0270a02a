"""The charts of the progress report: the burn-down with its forecast, users by group over time, parity by make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pandas as pd
from markupsafe import Markup

from smartcar_ops.audit import buckets
from smartcar_ops.audit.charts import GROUPS
from smartcar_ops.database.ledger.history.days import Snapshot, StratumParity
from smartcar_ops.display import heat
from smartcar_ops.display.picture import BLUE, ORANGE, PALE_BLUE, Picture, key
from smartcar_ops.display.time_chart import Flag, TimeChart
from smartcar_ops.progress.forecast import Forecast, forecast_in_words
from smartcar_ops.progress.snapshots import table
from smartcar_ops.text import day_in_words, days_in_words, percent, thousands

MOST_DOTS = 90
"""Days up to which each audit is a dot; with more, the line says enough."""

FARTHEST = 3
"""The chart goes on for at most so many times the days that the history has."""


def burn_down(days: Sequence[Snapshot], forecast: Forecast, deadline: date) -> Picture:
    """Draw the users left on each day with an audit, the band of the forecast, and the pace that the deadline needs.

    A day without an audit is a gap in the line. There must be at least one day.
    """
    points = [(day.day, float(buckets.left(day.counts))) for day in days]
    today, left = points[-1]
    ends = [day for day in (forecast.high, deadline) if day]
    farthest = today + timedelta(days=max(30, FARTHEST * (today - points[0][0]).days))
    last = min(max([today, *ends]), farthest)
    chart = TimeChart(points[0][0], last, max(value for _, value in points))
    floor = float(forecast.stuck)
    if forecast.low and forecast.median and forecast.high and left > floor:
        chart.fan((today, left), forecast.low, forecast.high, floor, PALE_BLUE)
        chart.stretch((today, left), (forecast.median, floor), BLUE)
    if today < deadline and left:
        chart.stretch((today, left), (deadline, 0.0), ORANGE, dashes="2 4")
    chart.line(points, BLUE, width=2.5)
    if len(points) <= MOST_DOTS:
        chart.dots(points, BLUE, size=7 if len(points) < 40 else 4)
    chart.hover((day.day, day_in_lines(day)) for day in days)
    flags = [Flag(deadline, "deadline", ORANGE), Flag(today, "last audit"), Flag(points[0][0], "first audit")]
    if forecast.median and left > floor:
        flags.insert(2, Flag(forecast.median, "median"))
    entries = [(BLUE, "users left")]
    if forecast.median and left > floor:
        entries += [(PALE_BLUE, "forecast, 80% band")]
    if today < deadline and left:
        entries += [(ORANGE, "pace that the deadline needs")]
    numbers = table(days)[["as_of", "left", "mapped", "total", "complete"]]
    words = f"{thousands(int(left), 'users')} left on {day_in_words(today)}"
    return Picture(
        key(entries) + chart.drawn(flags),
        f"{words}, {thousands(int(points[0][1]))} on {day_in_words(points[0][0])}" if len(points) > 1 else words,
        f"Users left to do by day, from {day_in_words(points[0][0])} to {day_in_words(today)}: "
        f"{thousands(int(points[0][1]))} at first, {thousands(int(left))} at last. {forecast_in_words(forecast)}",
        numbers,
    )


def groups_over_time(days: Sequence[Snapshot]) -> Picture:
    """Draw one column per day with an audit: all users, by who acts next. A day without an audit is a gap."""
    chart = TimeChart(days[0].day, days[-1].day, max(sum(day.counts.values()) for day in days))
    heights = {day.day: 0.0 for day in days}
    entries = []
    for group, members in GROUPS.items():
        color, spans = next(iter(members.values())), []
        for day in days:
            users = sum(day.counts[name] for name in members)
            spans.append((day.day, heights[day.day], heights[day.day] + users))
            heights[day.day] += users
        chart.columns(spans, color)
        entries.append((color, group))
    chart.hover((day.day, day_in_lines(day)) for day in days)
    flags = [Flag(days[-1].day, "last audit"), Flag(days[0].day, "first audit")]
    now, then = days[-1].counts, days[0].counts
    described = "; ".join(
        f"{group.lower()} {sum(then[name] for name in members):,} to {sum(now[name] for name in members):,}"
        for group, members in GROUPS.items()
    )
    return Picture(
        key(entries) + chart.drawn(flags),
        f"{thousands(len(days), 'days')} with an audit, {days_in_words(days[0].day, days[-1].day)}",
        f"Users by who acts next, from the first to the last audit: {described}.",
        table(days).drop(columns=["complete", "calls"]),
    )


def day_in_lines(day: Snapshot) -> str:
    """Return the numbers of a day as lines: the users, those left, and every bucket with users."""
    total = thousands(sum(day.counts.values()), "users")
    audit = "" if day.complete else "the audit is not complete"
    counts = [f"{name.replace('_', ' ')} {count:,}" for name, count in day.counts.items() if count]
    lines = (day_in_words(day.day), audit, f"{total}, {buckets.left(day.counts):,} left", *counts)
    return "\n".join(filter(None, lines))


# --- parity --------------------------------------------------------------------------------------------------


def parity_by_make(strata: Sequence[StratumParity], makes: dict[str, int]) -> Picture:
    """Draw the share of fields that differ or are lost, by make and powertrain; ``makes`` are the users of each make.

    Makes of users that were not compared are drawn as dashes. There must be at least one of either.
    """
    cells = {(row.make, row.powertrain): row for row in strata}
    powertrains = sorted({row.powertrain for row in strata}) or ["any"]
    named = [make for make in makes if make not in ("unknown", "several")]
    order = sorted({*named, *(row.make for row in strata)}, key=lambda make: (-_worst(strata, make), make))
    rows = [(make, [_cell(cells.get((make, powertrain))) for powertrain in powertrains]) for make in order]
    drawing = heat.grid(powertrains, rows, names="minmax(6rem,9rem)", unknown="not compared")
    refused = [row for row in strata if row.refused]
    title = f"{thousands(len(strata), 'groups')} of make and powertrain compared, {len(refused):,} not ready to switch"
    numbers = pd.DataFrame(
        [
            {
                "make": row.make,
                "powertrain": row.powertrain,
                "vehicles": row.vehicles,
                "fields": row.scored,
                "lost or different": row.lost,
                "judged": row.judged,
                "ready": "no" if row.refused else "yes",
            }
            for row in sorted(strata, key=lambda row: (row.make, row.powertrain))
        ]
    )
    described = "; ".join(f"{row.make} {row.powertrain} {percent(row.lost, row.scored)}" for row in strata)
    return Picture(
        drawing, title, f"Share of fields that differ or are lost: {described or 'nothing compared'}.", numbers
    )


def _worst(strata: Sequence[StratumParity], make: str) -> float:
    """Return the largest share lost of a make's groups; below 0 if it was not compared."""
    return max((row.lost / row.scored if row.scored else 0.0 for row in strata if row.make == make), default=-1.0)


def _cell(row: StratumParity | None) -> Markup:
    if row is None:
        return heat.cell(0, 0, "")
    return heat.cell(row.lost, row.scored, thousands(row.vehicles, "cars"))
