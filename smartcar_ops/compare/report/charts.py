"""The charts of a comparison: verdicts by field, and losses by field and make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from smartcar_ops.compare.judging.comparison import BOTH_REFUSED
from smartcar_ops.compare.judging.verdicts import JUDGED
from smartcar_ops.display import heat
from smartcar_ops.display.picture import Picture, joined, key, stack
from smartcar_ops.text import percent, percents, thousands

if TYPE_CHECKING:
    import pandas as pd

AGREES, NOT_JUDGED, LOST = "Agrees", "Not judged", "Lost or differs"
FAMILIES: dict[str, dict[str, str]] = {
    AGREES: {"equal": "#1f66a5", "converted": "#5a9bd0", "within_tolerance": "#9cc6e8"},
    NOT_JUDGED: {
        "moved": "#626d79", "stale": "#6f7a86", "unavailable": "#7d8893", "not_capable": "#8b959f",
        "cached_error": "#99a2ab", "v3_only": "#a7afb7", "waived": "#b5bcc3", "failed": "#c3c9cf",
        BOTH_REFUSED: "#ced3d8",
    },
    LOST: {"mismatch": "#b4480f", "v2_only": "#e08230", "not_permitted": "#f3b878"},
}  # fmt: skip
"""The compare verdicts in the order of the bars: one hue per family, one lightness per verdict.

"Lost or differs" is exactly what the gate counts: a field that neither version is permitted to read is not judged.
"""

COLORS = {verdict: color for family in FAMILIES.values() for verdict, color in family.items()}

MAX_MAKES = 7
"""Columns that fit in the heat map; if there are more makes, the worst are drawn."""


# --- every field --------------------------------------------------------------------------------------------


def verdicts_by_field(counts: pd.DataFrame) -> Picture:
    """Return one 100% bar per field, the worst field first.

    ``counts`` has one row per field and one column per verdict; a missing column counts as 0, and a field without a
    reading is drawn as a dash. ValueError for an unknown verdict or a negative count.
    """
    table = _checked(counts)
    totals = {verdict: sum(row[verdict] for row in table.values()) for verdict in COLORS}
    legend = joined(
        key([(COLORS[v], f"{v.replace('_', ' ')} {totals[v]:,}") for v in verdicts if totals[v]], head=family)
        if any(totals[verdict] for verdict in verdicts)
        else Markup('<div class="key"><b>{}</b><span class="soft">none</span></div>').format(family)
        for family, verdicts in FAMILIES.items()
    )
    rows = joined(
        Markup('<span>{}</span>{}<span class="soft" style="text-align:right">{}</span>').format(
            field, _field_bar(row), thousands(sum(row.values()))
        )
        for field, row in sorted(table.items(), key=lambda item: -_lost_share(item[1]))
    )
    head = Markup('<span></span><span></span><span class="soft">readings</span>')
    drawing = Markup('{}<div class="rows counted">{}\n{}</div>').format(legend, head, rows)
    return Picture(drawing, _verdicts_title(table), _verdicts_description(table))


def _checked(counts: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return field -> verdict -> count with every verdict, in the caller's order of fields."""
    unknown = sorted(set(map(str, counts.columns)) - set(COLORS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a compare verdict; expected one or more of {', '.join(COLORS)}")
    filled = counts.reindex(columns=list(COLORS)).fillna(0).astype(int)
    if (filled < 0).any(axis=None):
        raise ValueError("a verdict's count is below 0; expected a count of 0 or more")
    if not filled.index.is_unique:
        raise ValueError("a field has two rows; expected one row per field")
    rows = zip(filled.index, filled.itertuples(index=False), strict=True)
    return {str(field): dict(zip(COLORS, map(int, row), strict=True)) for field, row in rows}


def _field_bar(row: dict[str, int]) -> Markup:
    if not any(row.values()):
        return Markup('<span class="soft">– no readings</span>')
    return stack((count, COLORS[verdict]) for verdict, count in row.items())


def _of(row: dict[str, int], family: str) -> int:
    return sum(row[verdict] for verdict in FAMILIES[family])


def _lost_share(row: dict[str, int]) -> float:
    return _of(row, LOST) / max(sum(row.values()), 1)


def _verdicts_title(table: dict[str, dict[str, int]]) -> str:
    total = sum(sum(row.values()) for row in table.values())
    size = f"{thousands(len(table), 'fields')}, {thousands(total, 'readings')}"
    if not total:
        return f"{size} compared"
    counts = [sum(_of(row, family) for row in table.values()) for family in FAMILIES]
    good, open_, bad = percents(counts)
    return f"{size}: {good} agree, {open_} not judged, {bad} ({counts[-1]:,}) lost or different"


def _verdicts_description(table: dict[str, dict[str, int]]) -> str:
    def described(field: str, row: dict[str, int]) -> str:
        parts = [f"{verdict.replace('_', ' ')} {count:,}" for verdict, count in row.items() if count]
        return f"{field}: {', '.join(parts) or 'none'}"

    return f"Verdicts per field. {'; '.join(described(*item) for item in table.items()) or 'No fields'}."


# --- field by make ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """How many readings differ or are lost, of those that could be judged or are lost."""

    lost: int = 0
    of: int = 0

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.lost + other.lost, self.of + other.of)

    @property
    def share(self) -> float:
        """The share lost; 0 if nothing could be judged."""
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
        """One cell; empty if that make has no such reading."""
        return self.cells.get((field, make), Cell())

    def of_make(self, make: str) -> Cell:
        """All fields of one make."""
        return sum((self.at(field, make) for field in self.fields), Cell())

    def of_field(self, field: str) -> Cell:
        """One field over all makes."""
        return sum((self.at(field, make) for make in self.makes), Cell())

    @property
    def worst_makes(self) -> Sequence[str]:
        """The makes that are drawn: at most ``MAX_MAKES``, the worst first."""
        return self.makes[:MAX_MAKES]

    @property
    def lossy_fields(self) -> list[str]:
        """The fields that are drawn: those with a loss on a make that is drawn."""
        return [field for field in self.fields if any(self.at(field, make).lost for make in self.worst_makes)]


def loss_by_make(counts: pd.DataFrame, order: Sequence[str]) -> Picture:
    """Return one cell per scored field and make: the share that differs or is lost, and the number of readings.

    ``counts`` are those of a `Comparison`. Fields without a loss are listed in a sentence; of more than ``MAX_MAKES``
    makes only the worst are drawn, with a note.
    """
    losses = losses_of(counts, order)
    makes, fields = losses.worst_makes, losses.lossy_fields
    rows: list[tuple[Markup | str, list[Markup]]] = [
        (Markup("<b>all fields</b>"), [_cell(losses.of_make(make)) for make in makes])
    ]
    rows += [(field, [_cell(losses.at(field, make)) for make in makes]) for field in fields]
    left_out = (Markup('<div class="soft">{}</div>').format(line) for line in _left_out(losses, makes, fields))
    drawing = Markup("{}\n{}").format(
        heat.grid(makes, rows, names="minmax(4.6rem,8.5rem)", unknown="not judged"), joined(left_out)
    )
    return Picture(drawing, _losses_title(losses), _losses_description(losses))


def losses_of(counts: pd.DataFrame, order: Sequence[str]) -> Losses:
    """Return the losses by field and make from a `Comparison`'s counts; ``order`` is that of the field map."""
    cells: dict[tuple[str, str], Cell] = {}
    for row in counts[counts["scored"]].itertuples():
        cell_key = str(row.field), str(row.make)
        cell = Cell(int(row.lost), int(row.fields if row.verdict in JUDGED else row.lost))
        cells[cell_key] = cells.get(cell_key, Cell()) + cell
    fields = [field for field in order if field in {field for field, _ in cells}]
    losses = Losses(cells, fields, sorted({make for _, make in cells}))
    shares = {make: losses.of_make(make).share for make in losses.makes}
    return Losses(cells, fields, sorted(losses.makes, key=lambda make: (-shares[make], make)))


def _cell(cell: Cell) -> Markup:
    return heat.cell(cell.lost, cell.of, f"of {_short(cell.of)}")


def _short(count: int) -> str:
    """Return a sample size in at most five characters."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count / size:,.0f}{unit}"
    return str(count)


def _left_out(losses: Losses, makes: Sequence[str], drawn: Sequence[str]) -> Iterator[str]:
    """Yield what is not drawn, one sentence per line."""
    rest = [field for field in losses.fields if field not in drawn]
    unjudged = [field for field in rest if not any(losses.at(field, make).of for make in makes)]
    fine = len(rest) - len(unjudged)
    any_of = "any of these makes" if len(makes) > 1 else makes[0] if makes else "any make"
    if fine:
        yield f"{thousands(fine, 'more fields' if drawn else 'fields')}: no loss on {any_of}."
    if unjudged:
        yield f"Not judged on {any_of}: {', '.join(unjudged)}."
    if not_drawn := losses.makes[len(makes) :]:
        others = sum((losses.of_make(make) for make in not_drawn), Cell())
        yield (
            f"The {len(makes)} worst of {len(losses.makes):,} makes are shown; "
            f"the others lose {others.lost:,} of {thousands(others.of, 'readings')}."
        )


def _losses_title(losses: Losses) -> str:
    lost = [field for field in losses.fields if losses.of_field(field).lost]
    fields = thousands(len(losses.fields), "fields")
    if not lost:
        return f"None of {fields} differs or is lost on any make"
    field, make = max(
        ((field, make) for field in lost for make in losses.makes), key=lambda cell: losses.at(*cell).share
    )
    return (
        f"{len(lost):,} of {fields} differ or are lost on some make; worst: {field} on {make}, {losses.at(field, make)}"
    )


def _losses_description(losses: Losses) -> str:
    def described(field: str) -> str:
        return f"{field}: {', '.join(f'{make} {losses.at(field, make)}' for make in losses.makes)}"

    lost = [field for field in losses.fields if losses.of_field(field).lost]
    fine = len(losses.fields) - len(lost)
    rest = f" {thousands(fine, 'fields')} without a loss." if fine else ""
    makes = f"all fields: {', '.join(f'{make} {losses.of_make(make)}' for make in losses.makes)}"
    return f"Share that differs or is lost, by field and make. {'; '.join([makes, *map(described, lost)])}.{rest}"
