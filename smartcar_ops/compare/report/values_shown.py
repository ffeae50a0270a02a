"""A field's value for people: a number with its unit, a list in few words, many values a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from smartcar_ops.compare.judging.judge import HIDDEN

SHORT = 72
"""Letters of a value that is told in short."""

UNITS = {"percent": "%", "fraction": "", "count": "", "liters": "l"}
NAMES = ("type", "systemId", "code", "name", "taskId", "id")
"""Members that name an entry of a list."""


def told(row: Mapping[str, Any], side: Literal["v2", "v3"], letters: int = SHORT) -> str:
    """A version's value in a row of the table of fields, on one line; empty where it has none."""
    text, value = row[f"{side}_value"], row[f"{side}_number"]
    if pd.isna(text):
        return ""
    if text == HIDDEN:
        return "(private)"
    return in_short(json.loads(text), letters) if pd.isna(value) else number(value, row[f"{side}_unit"])


def in_short(value: Any, letters: int = SHORT) -> str:
    """A value on one line, cut where it is long."""
    words = "; ".join(in_lines(value))
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def in_lines(value: Any) -> list[str]:
    """A value on as many lines as it has parts."""
    if isinstance(value, list):
        if all(not isinstance(entry, Mapping | list) for entry in value):
            return [", ".join(map(plain, value)) or "none"]
        return [_entry(entry) for entry in value]
    if isinstance(value, Mapping):
        return [f"{name}: {_entry(part)}" for name, part in value.items() if part is not None] or ["none"]
    return [plain(value)]


def plain(value: Any) -> str:
    """A single value as it came; true and false as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def number(value: float, unit: object) -> str:
    """A number with its unit; without one it may be a year, so that it gets no commas."""
    if not isinstance(unit, str) or not unit:
        return f"{value:.10g}"
    shown = UNITS.get(unit, unit)
    return f"{value:,.10g}" + (shown if shown == "%" else f" {shown}").rstrip()


def _entry(entry: Any) -> str:
    """An entry of a list, or the body of a signal: its name first, then what it says."""
    if isinstance(entry, list):
        return ", ".join(_entry(part) for part in entry) or "none"
    if not isinstance(entry, Mapping):
        return plain(entry)
    if set(entry) <= {"value", "unit"} and "value" in entry:
        unit = str(entry.get("unit") or "")
        return f"{_entry(entry['value'])}{UNITS.get(unit, f' {unit}')}".rstrip()
    named = next((name for name in NAMES if isinstance(entry.get(name), str | int)), "")
    if named and len(entry) == 2:
        return ": ".join(_entry(part) for part in entry.values() if part is not None)
    rest = [f"{name} {_entry(part)}" for name, part in entry.items() if name != named and part is not None]
    return " ".join(filter(None, (f"{entry[named]}:" if named and rest else plain(entry.get(named)) if named else "",
                                  ", ".join(rest))))  # fmt: skip
