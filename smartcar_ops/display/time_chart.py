"""A chart over days: areas, lines and dots as SVG that fills its box, with the axes' words in HTML.

The SVG is stretched to the width of the page, so words in it would be, too; in HTML they keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup

from smartcar_ops.display.picture import GREY, joined
from smartcar_ops.text import day_in_words

HEIGHT = "15rem"
ROOM_FOR_A_DAY = 25
"""Percent of the width that the words below a day need on a phone."""

STYLE = Markup(
    """<style>
.sc-time { display: grid; grid-template-columns: auto 1fr; column-gap: .5rem; }
.sc-time .values { position: relative; text-align: right; min-width: 1.5rem; }
.sc-time .values span { display: block; height: 0; line-height: 0; white-space: nowrap; }
.sc-time .plot { position: relative; border-bottom: 1px solid #8d98a5; }
.sc-time svg { display: block; width: 100%; height: 100%; max-width: none; overflow: visible; }
.sc-time path { vector-effect: non-scaling-stroke; fill: none; stroke-linejoin: round; }
.sc-time .hover { position: absolute; top: 0; bottom: 0; }
.sc-time .hover:hover { background: #8d98a550; }
.sc-time .hover span { display: none; position: absolute; top: .3rem; z-index: 1; padding: .3rem .5rem;
  white-space: pre; font-size: 12px; border: 1px solid #8d98a5; border-radius: 4px; pointer-events: none;
  background: var(--jp-layout-color1, Canvas); color: var(--jp-ui-font-color1, CanvasText); }
.sc-time .hover:hover span { display: block; }
@media print { .sc-time .hover { display: none; } }
.sc-time .days { grid-column: 2; position: relative; height: 2.9em; font-size: 12px; line-height: 1.25; }
.sc-time .days span { position: absolute; top: .3rem; white-space: nowrap; text-align: center; }
</style>"""
)

Point = tuple[date, float]
"""A day and a value."""


@dataclass(frozen=True)
class Flag:
    """A day that is named below the chart, with a vertical line if it has a color."""

    day: date
    words: str
    color: str = ""


class TimeChart:
    """Turns days and values into marks between ``first`` and ``last`` and from 0 to at least ``most``."""

    def __init__(self, first: date, last: date, most: float) -> None:
        self.first, self.last = first, max(last, first + timedelta(days=1))
        self.step = _round_step(most)
        self.top = self.step * max(1, math.ceil(most / self.step))
        self._days = (self.last - self.first).days
        self._marks: list[Markup] = []
        self._hovers: list[Markup] = []

    def line(self, points: Sequence[Point], color: str, *, width: float = 2, dashes: str = "") -> None:
        """Draw a line through the points; where days are missing between two of them, it is broken."""
        drawn = "".join(self._run(run) for run in _runs(points))
        self._path(
            drawn, f'stroke="{color}" stroke-width="{width}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        )

    def stretch(self, start: Point, end: Point, color: str, *, width: float = 2, dashes: str = "6 4") -> None:
        """Draw one straight line between two points, however far apart, up to the end of the chart."""
        drawn = f"M{self._at(*start)}L{self._at(*self._within(start, end))}"
        self._path(drawn, f'stroke="{color}" stroke-width="{width}" stroke-dasharray="{dashes}"')

    def fan(self, start: Point, first: date, last: date, value: float, color: str) -> None:
        """Fill what lies between two lines from a point to the same value on two days, up to the end of the chart."""
        near, far = (self._within(start, (day, value)) for day in (first, last))
        corner = [(self.last, value)] if near[0] < self.last and far[0] < last else []
        drawn = "M" + "L".join(self._at(*point) for point in (start, near, *corner, far)) + "z"
        self._path(drawn, f'style="fill:{color}" fill-opacity=".35"')

    def _within(self, start: Point, end: Point) -> Point:
        """Return the end of a line, or where it leaves the chart."""
        if end[0] <= self.last:
            return end
        share = (self.last - start[0]) / (end[0] - start[0])
        return self.last, start[1] + share * (end[1] - start[1])

    def dots(self, points: Iterable[Point], color: str, *, size: float = 6) -> None:
        """Draw a dot at each point."""
        drawn = "".join(f"M{self._at(*point)}h0" for point in points)
        self._path(drawn, f'stroke="{color}" stroke-width="{size}" stroke-linecap="round"')

    def columns(self, spans: Iterable[tuple[date, float, float]], color: str) -> None:
        """Fill a column of one day for each (day, from, to); next to each other they become one area."""
        drawn = "".join(
            f"M{self._at(day, low, -0.5)}V{self._y(high)}H{self._x(day, 0.5)}V{self._y(low)}z"
            for day, low, high in spans
            if high > low
        )
        self._path(drawn, f'style="fill:{color}"')

    def hover(self, days: Iterable[tuple[date, str]]) -> None:
        """Show each day's words (lines) while the mouse is over the day; no script is needed."""
        for day, words in days:
            left, right = (100 * float(self._x(day, shift)) / self._days for shift in (-0.5, 0.5))
            side = "left" if left < 50 else "right"
            strip = Markup(
                '<div class="hover" style="left:{:.2f}%;width:{:.2f}%"><span style="{}:100%">{}</span></div>'
            )
            self._hovers.append(strip.format(left, right - left, side, words))

    def drawn(self, flags: Sequence[Flag]) -> Markup:
        """Return the chart with its axes; of two flags that would overlap, the later in the list is left out."""
        values = [self.step * place for place in range(round(self.top / self.step), -1, -1)]
        grid = "".join(f"M0 {self._y(value)}H{self._days}" for value in values[:-1])
        lines = joined(
            Markup('<path d="M{} 0V{}" stroke="{}" stroke-width="1.5" stroke-dasharray="3 3"/>').format(
                self._x(flag.day), 1000, flag.color
            )
            for flag in flags
            if flag.color and self.first <= flag.day <= self.last
        )
        svg = Markup(
            '<svg viewBox="0 0 {} 1000" preserveAspectRatio="none" aria-hidden="true">'
            '<path d="{}" stroke="{}" stroke-opacity=".3"/>\n{}\n{}</svg>'
        ).format(self._days, grid, GREY, joined(self._marks), lines)
        scale = joined(
            Markup('<span style="padding-top:{}">{}</span>').format(
                "0" if not place else f"calc({HEIGHT} / {len(values) - 1})", f"{value:,.0f}"
            )
            for place, value in enumerate(values)
        )
        return Markup(
            '{}<div class="sc-time"><div class="values">{}</div>'
            '<div class="plot" style="height:{}">{}{}</div><div class="days">{}</div></div>'
        ).format(STYLE, scale, HEIGHT, svg, joined(self._hovers), joined(self._named(flags)))

    def _named(self, flags: Sequence[Flag]) -> Iterator[Markup]:
        taken: list[float] = []
        for flag in flags:
            place = 100 * (flag.day - self.first).days / self._days
            if not 0 <= place <= 100 or any(abs(place - other) < ROOM_FOR_A_DAY for other in taken):
                continue
            taken.append(place)
            # The words keep inside the chart at its ends, and stand below their day in the middle.
            yield Markup('<span style="left:{:.2f}%;transform:translateX(-{:.2f}%)">{}<br>{}</span>').format(
                place, place, flag.words, day_in_words(flag.day)
            )

    def _run(self, run: Sequence[Point]) -> str:
        return "M" + "L".join(self._at(*point) for point in run)

    def _at(self, day: date, value: float, shift: float = 0) -> str:
        return f"{self._x(day, shift)} {self._y(value)}"

    def _x(self, day: date, shift: float = 0) -> str:
        return f"{min(max((day - self.first).days + shift, 0), self._days):g}"

    def _y(self, value: float) -> str:
        return f"{1000 * (1 - value / self.top):.1f}".removesuffix(".0")

    def _path(self, drawn: str, style: str) -> None:
        if drawn:
            self._marks.append(Markup(f'<path d="{drawn}" {style}/>'))


def _runs(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """Yield the points in runs without a missing day; a point on its own is no line."""
    start = 0
    for place in range(1, len(points) + 1):
        if place == len(points) or (points[place][0] - points[place - 1][0]).days > 1:
            if place - start > 1:
                yield points[start:place]
            start = place


def _round_step(most: float) -> float:
    """Return the distance of the values at the axis: 1, 2 or 5 times a power of ten, three to five of them."""
    power = 10 ** math.floor(math.log10(max(most, 1) / 4)) if most > 4 else 1
    return next(step * power for step in (1, 2, 5, 10) if most / (step * power) <= 5)
