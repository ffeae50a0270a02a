"""A field's values on both versions as HTML: with units and makers' times, and part by part if it has many values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from smartcar_ops.compare.judging.agreement import agreement
from smartcar_ops.compare.judging.field_row import ApiVersion, FieldRow
from smartcar_ops.compare.judging.judge import HIDDEN
from smartcar_ops.compare.judging.verdicts import matched
from smartcar_ops.compare.recording import Recording
from smartcar_ops.display.widgets import lasting
from smartcar_ops.fields.field_map import Field
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.fields.reading import Reading

LINES = 6
"""Parts of a many-valued field that are shown; the rest are folded."""


def side(row: FieldRow, version: ApiVersion, field: Field | None) -> str:
    """Return one version's value with the maker's time."""
    at = row.on(version).at
    time = "" if at is None else f"<small>{at.day} {at:%b, %H:%M:%S}</small>"
    value = _value(row, version, field)
    return f'<div><span class="which">{version.upper()}</span><span class="value">{value}</span>{time}</div>'


def _value(row: FieldRow, version: ApiVersion, field: Field | None) -> str:
    text, amount, unit, _ = row.on(version)
    if text is None or text == HIDDEN:
        return f'<span class="soft">{"no value" if text is None else "private"}</span>'
    sent = json.loads(text)
    if amount is None:
        return _many(sent) if isinstance(sent, list | dict) else escape(in_short(_named(field, sent)))
    shown = escape(number(amount, unit))
    was_converted = isinstance(sent, int | float) and sent != amount
    return f"{shown}<small>sent as {sent:.6g}</small>" if was_converted else shown


def _many(sent: list[Any] | dict[str, Any]) -> str:
    """Return a list or an object, one line per part; folded if it is long."""
    lines = in_lines(sent)
    shown = "<br>".join(map(escape, lines))
    if len(lines) <= LINES and sum(map(len, lines)) <= 2 * SHORT:
        return shown
    return f"<details><summary>{len(sent):,} entries</summary>{shown}</details>"


def _named(field: Field | None, raw: Any) -> Any:
    """Return V3's true or false as V2's word."""
    if field is not None and field.rule == "open" and isinstance(raw, bool):
        return "open" if raw else "closed"
    return raw


def apart(row: FieldRow) -> str:
    """Return how far apart the makers' times are, in words; empty if one is missing."""
    if row.v2_at is None or row.v3_at is None:
        return ""
    seconds = abs((row.v2_at - row.v3_at).total_seconds())
    return "both at the same time" if seconds < 1 else f"makers’ times {lasting(seconds)} apart"


# --- many values ------------------------------------------------------------------------------------------

NOT_LISTED = "not listed"


@dataclass(frozen=True)
class ShownPart:
    """One of a field's many values on both versions, and whether they agree (None: one version has no value)."""

    name: str
    v2: str
    v3: str
    same: bool | None


def parts_of(field: Field, row: FieldRow, recording: Recording) -> list[ShownPart]:
    """Return a field's many values on both versions, different ones first."""
    recording = recording.part_of(field.v2.source) if field.v2 else recording
    v2, v3 = read_v2(field, recording.batch), read_v3(field, recording.signals)
    later = recording.signals_again
    if later is not None and row.v3_at is not None:
        again = read_v3(field, later)
        v3 = again if again.state == "value" and again.at == row.v3_at else v3

    def words(reading: Reading) -> str:
        return in_short(_named(field, reading.raw)) if reading.state == "value" else "no value"

    matches, v2_only, v3_only = matched(v2.parts, v3.parts)
    shown = [
        ShownPart(
            part.name,
            words(part.reading),
            words(other),
            agreement(field, part.reading, other) is not None if other.state == "value" else None,
        )
        for part, _, other in matches
    ]
    shown += [ShownPart(part.name, words(part.reading), NOT_LISTED, None) for part in v2_only]
    shown += [
        ShownPart(part.name, NOT_LISTED, words(part.reading), None) for part in v3_only if part.reading.state == "value"
    ]
    return sorted(shown, key=lambda part: (part.same is not False, part.same is True))


def part_by_part(parts: Sequence[ShownPart]) -> str:
    """Return the parts that do not agree, then others up to `LINES`; the rest are folded."""
    first = max(LINES, sum(part.same is not True for part in parts))
    lines = [
        f'<div class="part{"" if part.same else " differs" if part.same is False else ""}">'
        f"<span>{escape(part.name)}</span><span>{escape(part.v2)}</span><span>{escape(part.v3)}</span></div>"
        for part in parts
    ]
    head = '<div class="part soft"><span></span><span>V2</span><span>V3</span></div>'
    folded = lines[first:]
    more = f"<details><summary>{len(folded):,} more that agree</summary>{''.join(folded)}</details>" if folded else ""
    return f'<div class="parts">{head}{"".join(lines[:first])}{more}</div>'


SHORT = 72
"""Most characters of a shortened value."""

UNITS = {"percent": "%", "fraction": "", "count": "", "liters": "l"}
NAMES = ("type", "systemId", "code", "name", "taskId", "id")
"""Members that name an entry of a list."""


def shown_value(row: FieldRow, version: ApiVersion, letters: int = SHORT) -> str:
    """Return a version's value in one row of the table of fields, on one line; empty if it has none."""
    text, value, unit, _ = row.on(version)
    if text is None:
        return ""
    if text == HIDDEN:
        return "(private)"
    return in_short(json.loads(text), letters) if value is None else number(value, unit)


def in_short(value: Any, letters: int = SHORT) -> str:
    """Return a value on one line, cut to ``letters`` characters."""
    words = "; ".join(in_lines(value))
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def in_lines(value: Any) -> list[str]:
    """Return a value as lines, one per part."""
    if isinstance(value, list):
        if all(not isinstance(entry, Mapping | list) for entry in value):
            return [", ".join(map(plain, value)) or "none"]
        return [_entry(entry) for entry in value]
    if isinstance(value, Mapping):
        return [f"{name}: {_entry(part)}" for name, part in value.items() if part is not None] or ["none"]
    return [plain(value)]


def plain(value: Any) -> str:
    """Return a single value as it was sent; true and false as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def number(value: float, unit: object) -> str:
    """Return a number with its unit; without a unit it may be a year, so it gets no commas."""
    if not isinstance(unit, str) or not unit:
        return f"{value:.10g}"
    shown = UNITS.get(unit, unit)
    return f"{value:,.10g}" + (shown if shown == "%" else f" {shown}").rstrip()


def _entry(entry: Any) -> str:
    """Return an entry of a list, or a signal's body: its name first, then its values."""
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
