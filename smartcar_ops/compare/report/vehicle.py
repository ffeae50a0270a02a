"""One vehicle on V2 and V3, field by field, grouped by verdict, with the raw bodies below.

Plain HTML that looks the same in a report and in JupyterLab. It never has a token, and has a VIN or place only if
private values were requested.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd
from IPython.display import HTML

from smartcar_ops.compare.judging.field_row import FieldRow, field_rows
from smartcar_ops.compare.recording import Answer, Recording
from smartcar_ops.compare.report.charts import AGREES, FAMILIES, LOST, NOT_JUDGED
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.report.values import apart, part_by_part, parts_of, side
from smartcar_ops.display import tables
from smartcar_ops.fields.field_map import Field, FieldMap
from smartcar_ops.settings.credentials import Origins
from smartcar_ops.smartcar.documents import Document
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.compare.live import VehicleComparison
    from smartcar_ops.compare.replayed import ReplayedVehicle

UNCOUNTED, ONE_SIDED = "Different but not counted", "On one version only"
GROUPS = (LOST, UNCOUNTED, NOT_JUDGED, AGREES, ONE_SIDED)
DIFFERENT = (LOST, UNCOUNTED)
"""The groups of fields that differ or are lost."""

NOTHING_LISTED = "<p>No field differs or is lost.</p>"
COUNTED = {
    LOST: "lost or different",
    UNCOUNTED: "different but not counted",
    NOT_JUDGED: "not judged",
    AGREES: "agree",
    ONE_SIDED: "on one version only",
}
MARKS = {
    LOST: ("lost", "✕"),
    UNCOUNTED: ("open", "✕"),
    NOT_JUDGED: ("open", "○"),
    AGREES: ("agrees", "✓"),
    ONE_SIDED: ("open", "○"),
}
"""Each group's CSS class and sign: a verdict is readable without its color."""


class VehicleReport(Report):
    """The report of one vehicle."""

    compare: VehicleComparison | ReplayedVehicle

    def __repr__(self) -> str:
        return self.compare.result.verdict if self.compare.looked else self._not_read

    def _repr_html_(self) -> str:
        return str(self.one_vehicle().data)

    @property
    def fields(self) -> pd.DataFrame:
        """One row per field: both values and the verdict with its reason."""
        return self.compare.result.fields.frame()

    @property
    def _not_read(self) -> str:
        return f"Vehicle {self.compare.vehicle_id} was not read: there is no answer and no recording"

    def one_vehicle(self) -> HTML:
        """Return the requested vehicle, once for each of the company's vehicles linked to it."""
        return self._views(GROUPS)

    def only_differences(self) -> HTML:
        """Return the same with only the fields that differ or are lost; nothing is read or judged again."""
        return self._views(DIFFERENT)

    def _views(self, shown: Sequence[str]) -> HTML:
        compare = self.compare
        if not compare.looked:
            return tables.sentence(self._not_read)
        rows = compare.result.fields.frame()
        origins = compare.session.settings.origins
        views = [
            view(
                rows[rows["local_vehicle_id"] == recording.pair.local_vehicle_id],
                recording,
                compare.fields,
                origins,
                shown,
            )
            for recording in compare.looked
        ]
        return tables.together(*views)


def view(
    rows: pd.DataFrame, recording: Recording, fields: FieldMap, origins: Origins, shown: Sequence[str] = GROUPS
) -> HTML:
    """Return one recording's judged fields in groups, then folded: the raw bodies and how to repeat the calls.

    ``shown`` are the groups that are listed; the counts at the top are of all.
    """
    by_id = {field.id: field for field in fields.of(recording.pair.make)}
    groups = _grouped(field_rows(rows))
    listed = "".join(_group(name, groups[name], by_id, recording) for name in shown if groups[name])
    safe = recording.redacted([recording.pair.token or ""])
    body = f"{_head(recording, groups)}{listed or NOTHING_LISTED}{bodies(safe)}{by_hand(safe, origins)}"
    return HTML(f'<style>{_css()}</style><div class="smartcar-vehicle">{body}</div>')  # type: ignore[no-untyped-call]


@cache
def _css() -> str:
    return (resources.files(__package__) / "vehicle.css").read_text(encoding="utf-8")


# --- groups -----------------------------------------------------------------------------------------------


def _grouped(rows: Iterable[FieldRow]) -> dict[str, list[FieldRow]]:
    groups: dict[str, list[FieldRow]] = {name: [] for name in GROUPS}
    for row in rows:
        groups[_group_of(row)].append(row)
    return groups


def _group_of(row: FieldRow) -> str:
    verdict = row.verdict
    if row.lost:
        return LOST
    if verdict == "mismatch":
        return UNCOUNTED
    if verdict in ("v2_only", "v3_only"):
        return ONE_SIDED
    return AGREES if verdict in FAMILIES[AGREES] else NOT_JUDGED


def _head(recording: Recording, groups: Mapping[str, Sequence[FieldRow]]) -> str:
    vehicle = recording.pair
    labels = {name: label for name, label in COUNTED.items() if groups[name] or name != UNCOUNTED}
    counts = ", ".join(f"{len(groups[name]):,} {label}" for name, label in labels.items())
    return (
        f'<p class="head"><strong>{escape(f"{vehicle.make} {vehicle.powertrain}".strip())}</strong> · Smartcar id '
        f"<code>{escape(vehicle.vehicle_id)}</code> · your id <code>{escape(vehicle.local_vehicle_id)}</code> · "
        f"read {recording.at.day} {recording.at:%b %Y, %H:%M:%S} (all times UTC)"
        f"<br>{escape(counts)}{_times(recording)}</p>"
    )


def _times(recording: Recording) -> str:
    answers = (("V2", recording.v2), ("V3", recording.v3))
    times = [f"{name} took {answer.seconds * 1000:,.0f} ms" for name, answer in answers if isinstance(answer, Document)]
    failed = [f"{name} failed: {answer}" for name, answer in answers if not isinstance(answer, Document)]
    return "".join(f"<br>{escape(line)}" for line in (", ".join(times), *failed) if line)


def _group(name: str, rows: Sequence[FieldRow], fields: Mapping[str, Field], recording: Recording) -> str:
    title = f"{name}: {thousands(len(rows), 'fields')}"
    shown = "".join(_lines(name, rows, fields, recording))
    if name == ONE_SIDED:
        return f"<details><summary>{title}</summary>{shown}</details>"
    return f'<div class="group" role="heading" aria-level="3">{title}</div>{shown}'


def _lines(name: str, rows: Sequence[FieldRow], fields: Mapping[str, Field], recording: Recording) -> Iterator[str]:
    """Yield one line per field; fields without a value on either version share one line per reason."""
    without_value: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.v2_value is None and row.v3_value is None:
            without_value.setdefault((row.verdict, row.reason), []).append(row.field)
        else:
            yield _line(name, row, fields.get(row.field), recording)
    for (verdict, reason), names in without_value.items():
        why = _why(name, verdict, reason, "")
        yield f'<div class="row"><div class="several name">{escape(", ".join(names))}</div>{why}</div>'


def _line(name: str, row: FieldRow, field: Field | None, recording: Recording) -> str:
    parts = parts_of(field, row, recording) if field and field.parts else []
    values = part_by_part(parts) if parts else f"{side(row, 'v2', field)}{side(row, 'v3', field)}"
    note = " · ".join(filter(None, [apart(row), "" if row.scored or name == ONE_SIDED else "not counted"]))
    why = _why(name, row.verdict, row.reason, note)
    cls = "row lost" if name == LOST else "row"
    return f'<div class="{cls}"><div class="name">{escape(row.field)}</div>{values}{why}</div>'


def _why(group: str, verdict: str, reason: str, note: str) -> str:
    cls, sign = MARKS[group]
    pill = f'<span class="pill {cls}">{sign} {escape(verdict.replace("_", " "))}</span>'
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<div class="why">{pill} {escape(reason)}{small}</div>'


def bodies(recording: Recording) -> str:
    """Return the bodies of a redacted recording as folded JSON; an error instead of a missing body."""
    return "".join(
        f"<details><summary>{name} (private values removed)</summary><pre>{escape(_text(answer))}</pre></details>"
        for name, answer in _answers(recording)
    )


def by_hand(recording: Recording, origins: Origins) -> str:
    """Return, folded, both calls as shell commands (tokens as variables) and the request ids for a support ticket."""
    ids = "".join(
        f"<li>{name}: <code>{escape(answer.request_id or 'none')}</code></li>" for name, answer in _answers(recording)
    )
    return (
        "<details><summary>Repeat these calls, or contact Smartcar support</summary>"
        f"<pre>{escape(curl_v2(recording, origins))}\n\n{escape(curl_v3(recording, origins))}</pre>"
        f"<p>Request ids of the answers above:</p><ul>{ids}</ul></details>"
    )


def curl_v2(recording: Recording, origins: Origins) -> str:
    """Return the V2 batch as a shell command; ``$V2_TOKEN`` is the user's token."""
    paths = recording.asked or [str(mapping(row).get("path")) for row in _responses(recording)]
    body = json.dumps({"requests": [{"path": path} for path in paths or ["/"]]})
    url = f"{origins.api}/v2.0/vehicles/{quote(recording.pair.vehicle_id, safe='')}/batch"
    return (
        f"curl -i {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $V2_TOKEN" \\\n'
        "  -H 'sc-unit-system: metric' -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )


def curl_v3(recording: Recording, origins: Origins) -> str:
    """Return the V3 signals call as a shell command; ``$APPLICATION_TOKEN`` is the application's token."""
    vehicle = recording.pair
    url = f"{origins.vehicle_api_v3}/v3/vehicles/{quote(vehicle.vehicle_id, safe='')}/signals"
    return (
        f"curl -i {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $APPLICATION_TOKEN" \\\n'
        f"  -H {shlex.quote(f'sc-user-id: {vehicle.smartcar_user_id}')}"
    )


def _answers(recording: Recording) -> Iterator[tuple[str, Answer]]:
    for part in recording.earlier:
        yield f"V2 batch, {part.at.day} {part.at:%b}", part.v2
        yield f"V3 signals, {part.at.day} {part.at:%b}", part.v3
    yield "V2 batch", recording.v2
    yield "V3 signals", recording.v3
    if recording.again is not None:
        yield "V3 signals, second read", recording.again


def _responses(recording: Recording) -> list[object]:
    rows = mapping(recording.v2.body).get("responses") if isinstance(recording.v2, Document) else None
    return rows if isinstance(rows, list) else []


def _text(answer: Answer) -> str:
    return json.dumps(answer.body, indent=2, ensure_ascii=False) if isinstance(answer, Document) else str(answer)
