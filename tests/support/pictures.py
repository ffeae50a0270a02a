"""Read a picture as its readers do: its words in order, and the widths of its bars."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup

from smartcar_ops.display.picture import Picture


def words(picture: Picture) -> list[str]:
    """Return the texts of the drawing in the order written; spaces that may not break are spaces."""
    soup = BeautifulSoup(picture._repr_html_(), "html.parser")
    for tag in soup.find_all(["style", "figcaption"]):
        tag.decompose()
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in soup.stripped_strings]


def bars(picture: Picture, color: str) -> list[float]:
    """Return the share of its room, from 0 to 1, of each bar of this colour; of a stack's parts the count."""
    soup = BeautifulSoup(picture._repr_html_(), "html.parser")
    styles = [str(tag.get("style")) for tag in soup.find_all("i")]
    widths = [re.search(r"\* ([\d.]+)\)|flex:(\d+) ", style) for style in styles if f"background:{color}" in style]
    return [float(width[1] or width[2]) for width in widths if width]
