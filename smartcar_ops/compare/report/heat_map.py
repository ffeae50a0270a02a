"""The heat map of a comparison: which field is lost or differs on which make, and of how many readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smartcar_ops.compare.judging.verdicts import JUDGED
from smartcar_ops.display.drawing import (
    GREY,
    PALE_BLUE,
    WIDTH,
    Picture,
    Sheet,
    ink_on,
    measure,
    percent,
    shortened,
    thousands,
)

if TYPE_CHECKING:
    import pandas as pd

MAKES = 7
"""Columns that fit; of more makes the worst are drawn."""

STEPS = ((0.02, "#f6c894", "to 2%"), (0.1, "#e8934a", "to 10%"), (0.25, "#cf5f17", "to 25%"))
WORST = ("#97360a", "over 25%")
"""Shares lost from light to dark: told apart without their hue, on a light and on a dark page."""

_NO_LOSS = 0.28  # opacity of a cell that lost nothing
_ROW, _GAP = 32.0, 2.0
_LABELS = 158.0  # units that the fields' names take at most
_WIDEST = 84.0  # units that a column takes at most


@dataclass(frozen=True)
class Cell:
    """How many readings differ or are lost, of those that could be judged or are lost."""

    lost: int = 0
    of: int = 0

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.lost + other.lost, self.of + other.of)

    @property
    def share(self) -> float:
        """The share lost; 0 where nothing could be judged."""
        return self.lost / self.of if self.of else 0.0

    def __str__(self) -> str:
        return f"{percent(self.lost, self.of)} of {self.of:,}" if self.of else "not judged"


@dataclass(frozen=True)
class Losses:
    """The cells by field and make; fields in the map's order, makes the worst first."""

    cells: Mapping[tuple[str, str], Cell]
    fields: Sequence[str]
    makes: Sequence[str]

    def at(self, field: str, make: str) -> Cell:
        """One cell; empty where that make has no such reading."""
        return self.cells.get((field, make), Cell())

    def of_make(self, make: str) -> Cell:
        """All fields of a make."""
        return sum((self.at(field, make) for field in self.fields), Cell())

    def of_field(self, field: str) -> Cell:
        """A field over all makes."""
        return sum((self.at(field, make) for make in self.makes), Cell())


def loss_by_make(counts: pd.DataFrame, order: Sequence[str]) -> Picture:
    """A cell a scored field and make: the share that differs or is lost, and of how many readings.

    ``counts`` are a comparison's. Fields without a loss are a sentence; of more than ``MAKES`` makes the worst are
    drawn, and the picture says so.
    """
    losses = _losses(counts, order)
    makes = losses.makes[:MAKES]
    rows = [field for field in losses.fields if any(losses.at(field, make).lost for make in makes)]
    sheet, left = Sheet(), min(max(measure(name, 12) for name in (*rows, "all fields")) + 12, _LABELS)
    width = min((WIDTH - left) / max(len(makes), 1), _WIDEST)
    y = _heads(sheet, _legend(sheet), left, width, makes)
    y = _row(sheet, y, "all fields", left, width, [losses.of_make(make) for make in makes], bold=True) + 6
    for field in rows:
        y = _row(sheet, y, field, left, width, [losses.at(field, make) for make in makes])
    y += 4
    for line in _left_out(losses, makes, rows):
        y += 18
        sheet.text(0, y, shortened(line, WIDTH, 12), size=12, opacity=0.75)
    return sheet.picture(y + 8, _title(losses), _description(losses))


def _losses(counts: pd.DataFrame, order: Sequence[str]) -> Losses:
    cells: dict[tuple[str, str], Cell] = {}
    for row in counts[counts["scored"]].itertuples():
        place = str(row.field), str(row.make)
        told = Cell(int(row.lost), int(row.fields if row.verdict in JUDGED else row.lost))
        cells[place] = cells.get(place, Cell()) + told
    fields = [field for field in order if field in {field for field, _ in cells}]
    found = Losses(cells, fields, sorted({make for _, make in cells}))
    worst = {make: found.of_make(make).share for make in found.makes}
    return Losses(cells, fields, sorted(found.makes, key=lambda make: (-worst[make], make)))


# --- drawing ----------------------------------------------------------------------------------------------


def _legend(sheet: Sheet) -> float:
    """Write what the colours mean; returns where it ends."""
    steps = [(color, 1.0, words) for _, color, words in STEPS] + [(WORST[0], 1.0, WORST[1])]
    x = 0.0
    for color, opacity, words in [(PALE_BLUE, _NO_LOSS, "no loss"), *steps]:
        sheet.bar(x, 2.5, 11, 11, color, opacity=opacity)
        sheet.text(x + 16, 12, words, size=12)
        x += 16 + measure(words, 12) + 14
    sheet.text(x, 12, "–  not judged", size=12)
    return 24.0


def _heads(sheet: Sheet, y: float, left: float, width: float, makes: Sequence[str]) -> float:
    """Write the makes over their columns, in two lines by turns where one is too narrow; returns where they end."""
    by_turns = any(measure(make, 11) > width - 4 for make in makes) and len(makes) > 1
    room = 2 * width - 8 if by_turns else max(width, WIDTH - left if len(makes) == 1 else 0.0)
    for place, make in enumerate(makes):
        high = by_turns and place % 2 == 0
        middle, words = left + (place + 0.5) * width, shortened(make, room, 11)
        half = measure(words, 11) / 2
        sheet.text(min(middle, WIDTH - half), y + 12 + (14 if by_turns and not high else 0), words, size=11,
                   anchor="center")  # fmt: skip
        if high:
            sheet.bar(middle - 0.5, y + 17, 1, 13, GREY, opacity=0.7, radius=0)
    return y + (32 if by_turns else 18)


def _row(
    sheet: Sheet, y: float, name: str, left: float, width: float, cells: Sequence[Cell], *, bold: bool = False
) -> float:
    """Draw a field's cells; returns where the next row begins."""
    sheet.text(0, y + _ROW / 2 + 3.5, shortened(name, left - 8, 12), size=12, bold=bold)
    for place, cell in enumerate(cells):
        _cell(sheet, left + place * width, y, width - _GAP, cell)
    return y + _ROW


def _cell(sheet: Sheet, x: float, y: float, width: float, cell: Cell) -> None:
    middle = x + width / 2
    if not cell.of:
        sheet.text(middle, y + _ROW / 2 + 3, "–", size=12, opacity=0.75, anchor="center")
        return
    color, opacity = _color(cell)
    sheet.bar(x, y, width, _ROW - _GAP, color, opacity=opacity, radius=3)
    ink = {"color": ink_on(color)} if cell.lost else {"opacity": 0.85}
    sheet.text(middle, y + 13.5, _share(cell), size=12, bold=bool(cell.lost), anchor="center", **ink)
    sheet.text(middle, y + 25.5, f"of {_short(cell.of)}", size=10.5, anchor="center", **ink)


def _color(cell: Cell) -> tuple[str, float]:
    if not cell.lost:
        return PALE_BLUE, _NO_LOSS
    return next((color for under, color, _ in STEPS if cell.share <= under), WORST[0]), 1.0


def _share(cell: Cell) -> str:
    """The share in at most four letters, never 0% of some or 100% of not quite all."""
    words = percent(cell.lost, cell.of)
    return words.replace("under ", "<").replace("over ", ">")


def _short(count: int) -> str:
    """A sample's size in at most five letters."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count / size:,.0f}{unit}"
    return str(count)


# --- words ------------------------------------------------------------------------------------------------


def _left_out(losses: Losses, makes: Sequence[str], rows: Sequence[str]) -> Iterator[str]:
    """What is not drawn, a sentence a line."""
    rest = [field for field in losses.fields if field not in rows]
    silent = [field for field in rest if not any(losses.at(field, make).of for make in makes)]
    fine = len(rest) - len(silent)
    if fine:
        yield f"{thousands(fine, 'more fields' if rows else 'fields')}: no loss on {_any_of(makes)}."
    if silent:
        yield f"Judged nowhere: {', '.join(silent)}."
    if left := losses.makes[len(makes) :]:
        told = sum((losses.of_make(make) for make in left), Cell())
        yield (
            f"The {len(makes)} worst of {len(losses.makes):,} makes; "
            f"the others lose {told.lost:,} of {thousands(told.of, 'readings')}."
        )


def _any_of(makes: Sequence[str]) -> str:
    return "any of these makes" if len(makes) > 1 else makes[0] if makes else "any make"


def _title(losses: Losses) -> str:
    lost = [field for field in losses.fields if losses.of_field(field).lost]
    of = f"{len(lost):,} of {thousands(len(losses.fields), 'fields')}"
    if not lost:
        return f"None of {thousands(len(losses.fields), 'fields')} differs or is lost on any make"
    field, make = max(
        ((field, make) for field in lost for make in losses.makes), key=lambda place: losses.at(*place).share
    )
    return f"{of} differ or are lost on some make; worst: {field} of {make}, {losses.at(field, make)}"


def _description(losses: Losses) -> str:
    def told(field: str) -> str:
        return f"{field}: {', '.join(f'{make} {losses.at(field, make)}' for make in losses.makes)}"

    lost = [field for field in losses.fields if losses.of_field(field).lost]
    fine = len(losses.fields) - len(lost)
    rest = f" {thousands(fine, 'fields')} without a loss." if fine else ""
    makes = f"all fields: {', '.join(f'{make} {losses.of_make(make)}' for make in losses.makes)}"
    return f"Share that differs or is lost, by field and make. {'; '.join([makes, *map(told, lost)])}.{rest}"
