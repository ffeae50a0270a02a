"""Heat maps: a grid of cells, each with a share in words on a color that is darker the larger the share is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from smartcar_ops.display.picture import PALE_BLUE, ink_on, joined, key
from smartcar_ops.text import percent

STEPS = (
    (0.02, "#f6c894", "to 2%"),
    (0.1, "#e8934a", "to 10%"),
    (0.25, "#cf5f17", "to 25%"),
    (1, "#97360a", "over 25%"),
)
"""Shares lost, from light to dark: distinguishable without hue, on a light or a dark page."""

NO_LOSS = f"{PALE_BLUE}47"

HEAT_STYLE = Markup(
    """<style>
.sc-picture .heat { display: grid; gap: 2px; align-items: center; font-size: 12px; line-height: 1.2; }
.sc-picture .heat > * { min-width: 0; text-align: center; overflow-wrap: anywhere; }
.sc-picture .heat .name { text-align: left; padding-right: .4rem; }
.sc-picture .heat .make { font-size: 11px; align-self: end; justify-self: center; padding-bottom: .2rem; }
.sc-picture .heat .cell { border-radius: 3px; padding: .25rem 0; }
.sc-picture .heat small { display: block; font-size: 11px; }
@media (max-width: 34rem) { .sc-picture .heat.wide .make { writing-mode: vertical-rl; transform: rotate(180deg);
  padding: .2rem 0 0; } }
</style>"""
)

UPRIGHT = 3
"""Columns up to which their names fit next to each other on a phone."""


def color_of(lost: int, of: int) -> str:
    """Return the color of a cell in which ``lost`` of so many are lost; ``of`` is at least 1."""
    return next(color for most, color, _ in STEPS if lost / of <= most) if lost else NO_LOSS


def share_in_words(lost: int, of: int) -> str:
    """Return the share lost in at most four characters."""
    return percent(lost, of).replace("under ", "<").replace("over ", ">")


def legend(unknown: str) -> Markup:
    """Write what the colors mean; ``unknown`` is what a dash means."""
    return key([(NO_LOSS, "no loss"), *((color, words) for _, color, words in STEPS), ("transparent", f"–  {unknown}")])


def cell(lost: int, of: int, below: str) -> Markup:
    """Draw one cell with its share and, below it, of how many; a dash if nothing is known (``of`` is 0)."""
    if not of:
        return Markup('<span class="soft">–</span>')
    color = color_of(lost, of)
    style = f"background:{color};color:{ink_on(color)};font-weight:600" if lost else f"background:{color}"
    return Markup('<span class="cell" style="{}">{}<small>{}</small></span>').format(
        style, share_in_words(lost, of), below
    )


def grid(
    columns: Sequence[str], rows: Iterable[tuple[Markup | str, Sequence[Markup]]], *, names: str, unknown: str
) -> Markup:
    """Draw the legend and the cells by row and column; ``names`` is the width of the rows' names in CSS."""
    drawn = (Markup('<span class="name">{}</span>{}').format(name, joined(cells)) for name, cells in rows)
    return Markup(
        '{}{}<div class="heat{}" style="grid-template-columns:{} repeat({},minmax(0,5.2rem))"><span></span>{}\n{}</div>'
    ).format(
        HEAT_STYLE,
        legend(unknown),
        " wide" if len(columns) > UPRIGHT else "",
        names,
        len(columns),
        joined(Markup('<span class="make">{}</span>').format(column) for column in columns),
        joined(drawn),
    )
