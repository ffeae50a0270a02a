"""A notebook's text and outputs as HTML that loads nothing and runs nothing."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Sequence
from functools import cache
from itertools import takewhile

from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode

HIDDEN = frozenset({"panel", "parameters", "injected-parameters", "not-in-report"})
WIDGET = "application/vnd.jupyter.widget-view+json"

_ACTIVE = "script, noscript, link, meta, base, iframe, frame, object, embed, form, audio, video"
_LOADS = frozenset({"src", "srcset", "href", "xlink:href", "poster", "background", "data", "action", "ping"})
_NUMBER = re.compile(r"[-+−]?[\d,. ]*\d%?|[-–]|nan|NaN|NaT|None|<NA>|", re.ASCII)
_OUTSIDE = re.compile(r"@import|url\((?!['\"]?(#|data:image/))", re.IGNORECASE)
_DIGIT = re.compile(r"\d")


def cells_html(notebook: NotebookNode) -> str:
    """Return the shown cells as HTML without inputs, scripts or anything loaded from outside.

    Its first level-one heading is left out, since the page has a title of its own. Links that a reader
    may follow stay.
    """
    html, _ = _exporter().from_notebook_node(_shown(notebook))
    soup = BeautifulSoup(html, "html.parser")
    _disarm(soup)
    for table in soup.find_all("table"):
        _caption(table)
        _dress(table)
    return str(soup).strip()


@cache
def _exporter() -> HTMLExporter:
    quiet = logging.getLogger("smartcar_ops.reports.nbconvert")
    quiet.setLevel(logging.ERROR)  # it warns of images without alternative text, which the reader can't fix
    return HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        log=quiet,
    )


def _shown(notebook: NotebookNode) -> NotebookNode:
    """Return a copy that holds only what a report shows."""
    shown = copy.deepcopy(notebook)
    shown.metadata.pop("widgets", None)
    for cell in shown.cells:
        if cell.cell_type == "code":
            hidden = HIDDEN.intersection(cell.metadata.get("tags", []))
            cell.outputs = [] if hidden else [kept for output in cell.outputs if (kept := _output(output))]
    sections = _without_empty_sections(shown.cells)
    shown.cells = [cell for cell in sections if not HIDDEN.intersection(cell.metadata.get("tags", []))]
    _untitle(shown)
    shown.cells = [c for c in shown.cells if (c.outputs if c.cell_type == "code" else c.source.strip())]
    return shown


def _without_empty_sections(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return the cells without the headings whose code cells all show nothing."""
    kept: list[NotebookNode] = []
    for place, cell in enumerate(cells):
        below = list(takewhile(lambda after: after.cell_type == "code", cells[place + 1 :]))
        is_heading = cell.cell_type == "markdown" and cell.source.lstrip().startswith("## ")
        if not (is_heading and below and not any(after.outputs for after in below)):
            kept.append(cell)
    return kept


def _output(output: NotebookNode) -> NotebookNode | None:
    """Return what a report shows of an output: no widget, script or stderr; of an error, its last line."""
    if output.output_type == "error":
        output.output_type, output.name = "stream", "stdout"
        output.text = f"{output.ename}: {output.evalue}\n"
    if output.output_type == "stream":
        return output if output.name == "stdout" and output.text.strip() else None
    if WIDGET in output.data:
        return None
    for kind in [kind for kind in output.data if "javascript" in kind]:
        del output.data[kind]
    return output if output.data else None


def _untitle(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\A\s*(# [^\n]*|[^\n]+\n=+[ \t]*)(\n|\Z)", "", cell.source)
            return


def _disarm(soup: BeautifulSoup) -> None:
    """Remove everything that could run or load; the page's content security policy forbids it too."""
    for tag in soup.select(_ACTIVE):
        tag.decompose()
    for style in soup.find_all("style"):
        if style.has_attr("scoped") or _OUTSIDE.search(_squeezed(style.get_text())):
            style.decompose()
    for tag in soup.find_all(True):
        for name in [name for name, value in tag.attrs.items() if not _harmless(tag, name, str(value))]:
            del tag[name]
    for image in soup.select("img:not([src])"):
        image.replace_with("(external image left out)")


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def _harmless(tag: Tag, name: str, value: str) -> bool:
    value = _squeezed(value).lower()
    if name.lower().startswith("on") or _OUTSIDE.search(value):
        return False
    if name.lower() not in _LOADS:
        return True
    if tag.name == "a":
        return value.startswith(("http://", "https://", "mailto:", "#")) or ":" not in value
    return value.startswith(("data:image/", "#"))


def _caption(table: Tag) -> None:
    """Name the table after the heading above it, unless it has a caption, and say what each heading is of."""
    heading = table.find_previous(["h2", "h3"])
    if table.caption is None and heading is not None:
        caption = Tag(name="caption")
        caption.string = heading.get_text(strip=True)
        table.insert(0, caption)
    for head in table.select("thead th"):
        head["scope"] = "col"
    for head in table.select("tbody th"):
        head["scope"] = "row"


def _dress(table: Tag) -> None:
    """Make a table scroll on its own, align numbers to the right, and wrap long texts."""
    table.attrs.pop("border", None)
    scrolls = {
        "class": "scroll",
        "tabindex": "0",
        "role": "group",
        "aria-label": table.caption.get_text(strip=True) if table.caption else "table",
    }
    table.wrap(Tag(name="div", attrs=scrolls))
    _one_head(table.select("thead tr"))
    heads, rows = ([_cells(row) for row in table.select(f"{part} tr")] for part in ("thead", "tbody"))
    if len({len(row) for row in rows}) != 1:
        return
    for place, column in enumerate(zip(*rows, strict=True)):
        kind = _kind([cell.get_text("\n", strip=True) for cell in column])
        above = [row[place] for row in heads if len(row) == len(rows[0])]
        for cell in (*column, *above) if kind else ():
            cell["class"] = [*cell.get_attribute_list("class"), kind]


def _cells(row: Tag) -> list[Tag]:
    return row.find_all(["th", "td"], recursive=False)


def _one_head(rows: Sequence[Tag]) -> None:
    """Merge the header row with the names of pandas' index into the row of column names."""
    if len(rows) != 2:
        return
    above, below = map(_cells, rows)
    texts = ([cell.get_text(strip=True) for cell in cells] for cells in (above, below))
    names = list(zip(*texts, strict=False))
    if len(above) == len(below) and not any(up and low for up, low in names):
        for cell, (up, low) in zip(above, names, strict=True):
            cell.string = up or low
        rows[1].decompose()


def _kind(texts: list[str]) -> str:
    """Return the class of a column: ``number``, ``long`` (texts with lines worth wrapping) or none."""
    if any(map(_DIGIT.search, texts)) and all(map(_NUMBER.fullmatch, texts)):
        return "number"
    lines = (line for text in texts for line in text.splitlines())
    return "long" if any(len(line) > 28 and " " in line for line in lines) else ""
