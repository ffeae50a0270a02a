"""The picture of a comparison: what became of every field on its way from V2 to V3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartcar_ops.compare.judging.comparison import BOTH_REFUSED
from smartcar_ops.display.drawing import (
    WIDTH,
    Picture,
    Sheet,
    ink_on,
    measure,
    percents,
    shared_out,
    shortened,
    thousands,
)

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
"""The compare verdicts in the order of the bars: each family one hue, and each its own lightness.

Lost or differing is what the gate counts, and nothing else: what neither version is permitted is not judged.
"""

COLORS = {verdict: color for family in FAMILIES.values() for verdict, color in family.items()}


def verdicts_by_field(counts: pd.DataFrame) -> Picture:
    """One bar of 100% per field (the index) out of readings per verdict (the columns), the worst field first.

    A verdict without a column counts 0, a field without a reading is a dash. An unknown verdict or a
    count below 0 raises ``ValueError``.
    """
    table = _checked(counts)
    sheet = Sheet()
    y = _legend(sheet, {verdict: sum(row[verdict] for row in table.values()) for verdict in COLORS})
    labels = max([*(measure(field, 12) for field in table), 40.0])
    left = min(labels, 150.0) + 12
    most = max((sum(row.values()) for row in table.values()), default=0)
    right = max(measure(thousands(most), 12), measure("readings", 11))
    sheet.text(WIDTH, y, "readings", size=11, opacity=0.75, anchor="right")
    for field, row in sorted(table.items(), key=lambda item: -_lost_share(item[1])):
        y += 24
        sheet.text(0, y, shortened(field, left - 12, 12), size=12)
        _field_bar(sheet, left, y, WIDTH - left - right - 12, row)
        sheet.text(WIDTH, y, thousands(sum(row.values())), size=12, opacity=0.75, anchor="right")
    return sheet.picture(y + 12, _title(table), _description(table))


def _checked(counts: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Field -> verdict -> count, every verdict present, in the caller's order of fields."""
    unknown = sorted(set(map(str, counts.columns)) - set(COLORS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no compare verdict; expected some of {', '.join(COLORS)}")
    filled = counts.reindex(columns=list(COLORS)).fillna(0).astype(int)
    if (filled < 0).any(axis=None):
        raise ValueError("a verdict's count is below 0; expected a count of 0 or more")
    if not filled.index.is_unique:
        raise ValueError("a field stands in two rows; expected one row a field")
    rows = zip(filled.index, filled.itertuples(index=False), strict=True)
    return {str(field): dict(zip(COLORS, map(int, row), strict=True)) for field, row in rows}


def _of(row: dict[str, int], family: str) -> int:
    return sum(row[verdict] for verdict in FAMILIES[family])


def _lost_share(row: dict[str, int]) -> float:
    return _of(row, LOST) / max(sum(row.values()), 1)


def _legend(sheet: Sheet, totals: dict[str, int]) -> float:
    """Write the families with the verdicts that occur, wrapped; returns the baseline of what follows."""
    y = 12.0
    for family, verdicts in FAMILIES.items():
        sheet.text(0, y, family, size=12, bold=True)
        x = 112.0
        for verdict, color in verdicts.items():
            if not totals[verdict]:
                continue
            words = f"{verdict.replace('_', ' ')} {totals[verdict]:,}"
            if x + 16 + measure(words, 12) > WIDTH:
                x, y = 112.0, y + 18
            sheet.bar(x, y - 9.5, 11, 11, color)
            sheet.text(x + 16, y, words, size=12)
            x += 16 + measure(words, 12) + 16
        if x == 112.0 and not _of(totals, family):
            sheet.text(x, y, "none", size=12, opacity=0.75)
        y += 22
    return y + 8


def _field_bar(sheet: Sheet, left: float, y: float, room: float, row: dict[str, int]) -> None:
    """Draw one field's segments end to end, each with its count where the count has room."""
    if not any(row.values()):
        sheet.text(left, y, "– no reading", size=11, opacity=0.75)
        return
    x = left
    for (verdict, count), width in zip(row.items(), shared_out(list(row.values()), room, 3.5), strict=True):
        color = COLORS[verdict]
        sheet.bar(x, y - 12.5, width - 1, 17, color, radius=1.5)
        number, middle = thousands(count), x + width / 2 - 0.5
        if measure(number, 11) + 4 < width:
            sheet.text(middle, y, number, size=11, color=ink_on(color), anchor="center")
        x += width


def _title(table: dict[str, dict[str, int]]) -> str:
    total = sum(sum(row.values()) for row in table.values())
    size = f"{thousands(len(table), 'fields')}, {thousands(total, 'readings')}"
    if not total:
        return f"{size} compared"
    counts = [sum(_of(row, family) for row in table.values()) for family in FAMILIES]
    good, open_, bad = percents(counts)
    return f"{size}: {good} agree, {open_} not judged, {bad} ({counts[-1]:,}) lost or different"


def _description(table: dict[str, dict[str, int]]) -> str:
    def told(field: str, row: dict[str, int]) -> str:
        parts = [f"{verdict.replace('_', ' ')} {count:,}" for verdict, count in row.items() if count]
        return f"{field}: {', '.join(parts) or 'none'}"

    return f"Verdicts per field. {'; '.join(told(*item) for item in table.items()) or 'No fields'}."
