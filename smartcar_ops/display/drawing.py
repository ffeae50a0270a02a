"""One sheet to draw every picture on: the palette, the letters, and SVG that is the same every time.

A picture takes the text colour of the page around it (``currentColor``), so that it reads on a light
and on a dark page alike; the hues are middle tones that stand on both.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Literal

import matplotlib as mpl
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import TextPath

WIDTH = 480.0
"""Of every picture, in units: letters of 12 to 14 are 9 to 11 px on a phone, 17 to 20 px on a desk."""

BLUE, PALE_BLUE, TEAL, ORANGE, GREY = "#2f7bbd", "#7fb4de", "#2a9d8f", "#dd741a", "#8d98a5"
"""Done, its weaker kin, safe to do, needs a person, nothing to do: apart in lightness as well as in hue."""

INK = "#010203"  # no real colour: replaced by currentColor
FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

Anchor = Literal["left", "center", "right"]


@dataclass(frozen=True, repr=False)
class Picture:
    """An SVG with its title, and a description for people who do not see it. A notebook cell shows it."""

    svg: str
    title: str
    description: str

    def _repr_html_(self) -> str:
        caption = "order:-1;font-weight:600;padding-bottom:.7em"
        return (
            f'<figure class="picture" role="img" aria-label="{escape(self.description)}" '
            'style="display:flex;flex-direction:column;margin:0;max-width:720px">\n'
            f"{self.svg}\n"
            f'<figcaption style="{caption}">{escape(self.title)}</figcaption>\n'
            "</figure>"
        )

    def __repr__(self) -> str:
        return f"Picture({self.title!r})"


class Sheet:
    """A sheet of ``WIDTH`` units, y running downwards; its height is where ``picture`` cuts it."""

    def __init__(self) -> None:
        self._figure = Figure(figsize=(WIDTH / 72, 1))
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._axes.set_xlim(0, WIDTH)

    def bar(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        color: str,
        *,
        opacity: float = 1.0,
        radius: float = 2.0,
    ) -> None:
        """Draw a filled bar with its top left corner at x, y; no width draws nothing."""
        if width <= 0:
            return
        rounding = min(radius, width / 2, height / 2)
        shape = f"round,pad=0,rounding_size={rounding}" if rounding > 0 else "square,pad=0"
        self._axes.add_patch(
            FancyBboxPatch(
                (x, y), width, height, boxstyle=shape,
                facecolor=color, linewidth=0, alpha=opacity, clip_on=False,
            )
        )  # fmt: skip

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13.0,
        bold: bool = False,
        color: str = INK,
        opacity: float = 1.0,
        anchor: Anchor = "left",
    ) -> None:
        """Write one line whose baseline is at y and which is tied to x by its anchor."""
        self._axes.text(
            x, y, words, fontsize=size, color=color, alpha=opacity, ha=anchor, va="baseline",
            family="DejaVu Sans", weight="bold" if bold else "normal", parse_math=False,
        )  # fmt: skip

    def picture(self, height: float, title: str, description: str) -> Picture:
        """Cut the sheet at this height and hand it out."""
        self._figure.set_size_inches(WIDTH / 72, height / 72)
        self._axes.set_ylim(height, 0)
        buffer = io.StringIO()
        nothing: dict[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with mpl.rc_context({"svg.hashsalt": "smartcar-ops", "svg.fonttype": "none"}):
            self._figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        return Picture(_tidied(buffer.getvalue()), title, description)


def _tidied(svg: str) -> str:
    """Take off matplotlib's SVG what a page must not get: prolog, global style, ids, fixed size, fonts."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<defs>.*?</defs>\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[^"]*"| xmlns:xlink="[^"]*"| transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r'<path d="[^"]*" style="fill: none"\s*/>\s*', "", svg)
    size = f"display:block;width:100%;height:auto;max-width:720px;font-family:{FAMILY}"
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"', f' style="{size}"', svg, count=1)
    svg = svg.replace(" font-family: 'DejaVu Sans';", "").replace(INK, "currentColor")
    return re.sub(r"\s*\n\s*", "\n", svg)


@lru_cache(maxsize=4096)
def measure(words: str, size: float, bold: bool = False) -> float:
    """Width of one line, in units, in DejaVu Sans: wider than any system's own font, so nothing overlaps."""
    if not words.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    ink = TextPath((0, 0), words.replace("$", "S"), size=size, prop=font).get_extents().width
    return float(ink) + size / 4


def shortened(words: str, room: float, size: float) -> str:
    """Return the line, cut with an ellipsis where it is wider than the room (in units)."""
    if measure(words, size) <= room:
        return words
    kept = words
    while kept and measure(kept + "…", size) > room:
        kept = kept[:-1]
    return kept + "…"


def shared_out(counts: list[int], room: float, least: float = 3.0) -> list[float]:
    """Widths that fill the room in proportion to the counts, each count above zero at least ``least`` wide.

    What the smallest are given is taken from the others, so that the widths still add up to the room;
    nothing to share gives zeros.
    """
    if not any(counts):
        return [0.0] * len(counts)
    small: set[int] = set()
    while True:
        rest = sum(count for place, count in enumerate(counts) if place not in small)
        unit = (room - least * len(small)) / rest if rest else 0.0
        found = {p for p, count in enumerate(counts) if count and p not in small and count * unit < least}
        if not found or rest == 0:
            return [least if p in small else count * unit for p, count in enumerate(counts)]
        small |= found


def length(count: int, most: int, room: float, least: float = 3.0) -> float:
    """Length of a bar whose longest brother fills the room; 1 among a million can still be seen."""
    return max(least, room * count / most) if count else 0.0


def ink_on(color: str) -> str:
    """Black or white, whichever reads better on this colour."""
    red, green, blue = (part**2.2 for part in to_rgb(color))
    return "#10161d" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.24 else "#ffffff"


def percent(part: int, whole: int) -> str:
    """Return a share in words that never says 0% of some or 100% of not quite all; no whole is an en dash."""
    return percents([part, whole - part])[0] if whole > 0 else "–"


def percents(parts: list[int]) -> list[str]:
    """Return the share of each part in words; whole percents are rounded so that they add up to 100."""
    whole = sum(parts)
    if whole <= 0:
        return ["–"] * len(parts)
    floors = [100 * part // whole for part in parts]
    by_rest = sorted(range(len(parts)), key=lambda place: -(100 * parts[place] % whole))
    for place in by_rest[: 100 - sum(floors)]:
        floors[place] += 1
    return [_share_in_words(part, whole, share) for part, share in zip(parts, floors, strict=True)]


def _share_in_words(part: int, whole: int, share: int) -> str:
    if 0 < 100 * part < whole:
        return "under 1%"
    if 99 * whole < 100 * part < 100 * whole:
        return "over 99%"
    return f"{share}%"


def thousands(count: int, noun: str = "") -> str:
    """Return 1204 as ``1,204``; with a noun in the plural as ``1,204 users``, ``1 user``."""
    return f"{count:,} {noun if count != 1 else noun.removesuffix('s')}".strip()
