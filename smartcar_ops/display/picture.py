"""Bar charts in HTML and CSS that adapt to the page's width, text color and font.

The colors are medium tones that are readable on light and dark pages and also differ in lightness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    import pandas as pd

BLUE, PALE_BLUE, TEAL, ORANGE, GREY = "#2f7bbd", "#7fb4de", "#2a9d8f", "#dd741a", "#8d98a5"
"""Done, partly done, safe to do, needs a person, nothing to do."""

MIN_BAR_PIXELS = 3
"""Width of the smallest bar in pixels, so that one in a million is still visible."""

STYLE = Markup(
    """<style>
.sc-picture { margin: 0; max-width: 45rem; font-size: 14px; line-height: 1.35; font-variant-numeric: tabular-nums;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; break-inside: avoid; }
.sc-picture figcaption { font-size: 1rem; font-weight: 600; padding-bottom: .7em; }
.sc-picture .soft { opacity: .75; font-weight: 400; }
.sc-picture .rows { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .35rem .75rem;
  align-items: center; }
.sc-picture .rows.counted { grid-template-columns: fit-content(40%) 1fr auto; }
.sc-picture .rows > * { min-width: 0; }
.sc-picture .bar { display: flex; align-items: center; gap: .4rem; white-space: nowrap; }
.sc-picture i { display: block; flex: none; box-sizing: border-box; height: .85rem; border-radius: 2px;
  min-width: 3px; font-style: normal; }
.sc-picture .stack { display: flex; gap: 1px; }
.sc-picture .stack i { height: 1.1rem; overflow: hidden; font-size: 11px; line-height: 1.1rem; text-align: center; }
.sc-picture .key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: center; padding-bottom: .5rem; }
.sc-picture .rows .key { padding: 0; }
.sc-picture .key span { display: inline-flex; align-items: center; gap: .35rem; }
.sc-picture .key i { width: .75rem; height: .75rem; }
</style>"""
)


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawing with a title, and a description for screen readers. A notebook cell displays it.

    With ``numbers``, they follow it as a folded table.
    """

    drawing: Markup
    title: str
    description: str
    numbers: pd.DataFrame | None = None

    def _repr_html_(self) -> str:
        figure = Markup(
            '<figure class="picture sc-picture" role="img" aria-label="{}">{}\n'
            "<figcaption>{}</figcaption>\n{}\n</figure>"
        ).format(self.description, STYLE, self.title, self.drawing)
        return figure if self.numbers is None else figure + _folded(self.numbers, self.title)

    def __repr__(self) -> str:
        return f"Picture({self.title!r})"


def _folded(numbers: pd.DataFrame, title: str) -> Markup:
    """Return a table behind a line that opens it."""
    table = numbers.to_html(index=False, border=0, na_rep="–", classes="smartcar-ops", justify="left")
    captioned = table.replace("<thead>", str(Markup("<caption>{}</caption>\n  <thead>").format(title)), 1)
    return Markup('\n<details class="sc-numbers"><summary>The numbers</summary>\n{}\n</details>').format(
        Markup(captioned)
    )


def joined(parts: Iterable[Markup]) -> Markup:
    """Join parts with line breaks."""
    return Markup("\n").join(parts)


def bar(share: float, color: str, label: str, *, room: int = 0, opacity: float = 1.0, bold: bool = True) -> Markup:
    """Draw a bar with its number next to it.

    ``share`` (0 to 1) is relative to the width without ``room`` characters; a share of 0 draws no bar.
    """
    width = f"calc((100% - {max(room, len(label)) + 1}ch - .4rem) * {share:.6f})"
    drawn = block(color, width, opacity=opacity) if share else Markup()
    number = Markup("<b>{}</b>" if bold else '<span class="soft">{}</span>').format(label)
    return Markup('<span class="bar">{}{}</span>').format(drawn, number)


def stack(parts: Iterable[tuple[int, str]], *, share: float = 1.0) -> Markup:
    """Draw counts end to end, each in its color, over a share of the width; each segment shows its count if it fits."""
    drawn = [(count, color) for count, color in parts if count]
    total = sum(count for count, _ in drawn)
    segments = (_segment(count, color, share * count / total) for count, color in drawn)
    return Markup('<span class="stack" style="width:{}">{}</span>').format(f"{100 * share:.4f}%", joined(segments))


def _segment(count: int, color: str, part: float) -> Markup:
    """Draw one segment of a stack. On a phone the stack has about 170 pixels, and a digit needs 7."""
    number = f"{count:,}" if 170 * part > 7 * len(f"{count:,}") + 4 else ""
    style = f"flex:{count} 1 {MIN_BAR_PIXELS}px;background:{color};color:{ink_on(color)}"
    return Markup('<i style="{}">{}</i>').format(style, number)


def block(color: str, width: str, *, opacity: float = 1.0) -> Markup:
    """Draw a filled bar of this CSS width."""
    return Markup('<i style="width:{};background:{};opacity:{}"></i>').format(width, color, opacity)


def key(entries: Iterable[tuple[str, str]], *, head: str = "") -> Markup:
    """Write the legend: pairs of color and label, after an optional heading."""
    swatch = Markup('<span><i style="background:{}"></i>{}</span>')
    begun = Markup("<b>{}</b>").format(head) if head else Markup()
    return Markup('<div class="key">{}{}</div>').format(begun, joined(swatch.format(*entry) for entry in entries))


def ink_on(color: str) -> str:
    """Return black or white, whichever is easier to read on this color (``#rrggbb``)."""
    red, green, blue = ((int(color[place : place + 2], 16) / 255) ** 2.2 for place in (1, 3, 5))
    return "#10161d" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.24 else "#ffffff"
