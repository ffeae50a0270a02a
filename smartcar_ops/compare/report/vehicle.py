"""One vehicle, field by field: V2 beside V3, coloured and worded by verdict, with the raw bodies beneath.

Plain HTML that a report and JupyterLab show alike; no token, and no VIN or place unless private values were asked for.
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

from smartcar_ops.compare.recording import Answer, Recording
from smartcar_ops.compare.report.charts import AGREES, FAMILIES, LOST, NOT_JUDGED
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.report.values import FieldValues, apart, part_by_part, parts_of, side
from smartcar_ops.display import tables
from smartcar_ops.fields.field_map import Field, FieldMap
from smartcar_ops.settings.credentials import Origins
from smartcar_ops.smartcar.documents import Document
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.compare.live import VehicleComparison
    from smartcar_ops.compare.replayed import ReplayedVehicle

UNCOUNTED, ONE_SIDED = "Differs, and is not counted", "Only on one side"
GROUPS = (LOST, UNCOUNTED, NOT_JUDGED, AGREES, ONE_SIDED)
COUNTED = {
    LOST: "lost or differing",
    UNCOUNTED: "differing that are not counted",
    NOT_JUDGED: "not judged",
    AGREES: "agree",
    ONE_SIDED: "only on one side",
}
MARKS = {
    LOST: ("lost", "✕"),
    UNCOUNTED: ("open", "✕"),
    NOT_JUDGED: ("open", "○"),
    AGREES: ("agrees", "✓"),
    ONE_SIDED: ("open", "○"),
}
"""Each group's class and sign: a verdict can be told without its colour."""


class VehicleReport(Report):
    """The sections of a look at one vehicle."""

    compare: VehicleComparison | ReplayedVehicle

    def one_vehicle(self) -> HTML:
        """The vehicle that was asked for, once for each of the company's cars that it is."""
        compare = self.compare
        if not compare.looked:
            return tables.sentence(f"Vehicle {compare.vehicle_id} was not read: no answer, no recording of it")
        rows = compare.result.fields.frame()
        origins = compare.session.settings.origins
        views = [
            view(rows[rows["local_vehicle_id"] == found.pair.local_vehicle_id], found, compare.fields, origins)
            for found in compare.looked
        ]
        return tables.together(*views)


def view(rows: pd.DataFrame, recording: Recording, fields: FieldMap, origins: Origins) -> HTML:
    """One recording's judged fields, grouped; beneath them, folded, the raw bodies and how to ask again by hand."""
    by_id = {field.id: field for field in fields.of(recording.pair.make)}
    groups = _grouped([{str(name): value for name, value in row.items()} for row in rows.to_dict("records")])
    shown = "".join(_group(name, groups[name], by_id, recording) for name in GROUPS if groups[name])
    safe = recording.redacted([recording.pair.token or ""])
    body = f"{_head(recording, groups)}{shown}{bodies(safe)}{by_hand(safe, origins)}"
    return HTML(f'<style>{_css()}</style><div class="smartcar-vehicle">{body}</div>')  # type: ignore[no-untyped-call]


@cache
def _css() -> str:
    return (resources.files(__package__) / "vehicle.css").read_text(encoding="utf-8")


# --- groups -----------------------------------------------------------------------------------------------


def _grouped(rows: Iterable[FieldValues]) -> dict[str, list[FieldValues]]:
    groups: dict[str, list[FieldValues]] = {name: [] for name in GROUPS}
    for row in rows:
        groups[_group_of(row)].append(row)
    return groups


def _group_of(row: FieldValues) -> str:
    verdict = row["verdict"]
    if row["lost"]:
        return LOST
    if verdict == "mismatch":
        return UNCOUNTED
    if verdict in ("v2_only", "v3_only"):
        return ONE_SIDED
    return AGREES if verdict in FAMILIES[AGREES] else NOT_JUDGED


def _head(recording: Recording, groups: Mapping[str, Sequence[FieldValues]]) -> str:
    pair = recording.pair
    told = {name: words for name, words in COUNTED.items() if groups[name] or name != UNCOUNTED}
    counts = ", ".join(f"{len(groups[name]):,} {words}" for name, words in told.items())
    return (
        f'<p class="head"><strong>{escape(f"{pair.make} {pair.powertrain}".strip())}</strong> · Smartcar’s '
        f"<code>{escape(pair.vehicle_id)}</code> · yours <code>{escape(pair.local_vehicle_id)}</code> · "
        f"read {recording.at.day} {recording.at:%b %Y, %H:%M:%S} (all times UTC)"
        f"<br>{escape(counts)}{_took(recording)}</p>"
    )


def _took(recording: Recording) -> str:
    timed = (("V2", recording.v2), ("V3", recording.v3))
    told = [f"{name} took {told.seconds * 1000:,.0f} ms" for name, told in timed if isinstance(told, Document)]
    failed = [f"{name} failed: {told}" for name, told in timed if not isinstance(told, Document)]
    return "".join(f"<br>{escape(words)}" for words in (", ".join(told), *failed) if words)


def _group(name: str, rows: Sequence[FieldValues], fields: Mapping[str, Field], recording: Recording) -> str:
    title = f"{name}: {thousands(len(rows), 'fields')}"
    shown = "".join(_lines(name, rows, fields, recording))
    if name == ONE_SIDED:
        return f"<details><summary>{title}</summary>{shown}</details>"
    return f'<div class="group" role="heading" aria-level="3">{title}</div>{shown}'


def _lines(name: str, rows: Sequence[FieldValues], fields: Mapping[str, Field], recording: Recording) -> Iterator[str]:
    """A line a field; those without a value on either side share one for each reason."""
    silent: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if pd.isna(row["v2_value"]) and pd.isna(row["v3_value"]):
            silent.setdefault((row["verdict"], row["reason"]), []).append(row["field"])
        else:
            yield _line(name, row, fields.get(row["field"]), recording)
    for (verdict, reason), names in silent.items():
        told = _why(name, verdict, reason, "")
        yield f'<div class="row"><div class="several name">{escape(", ".join(names))}</div>{told}</div>'


def _line(name: str, row: FieldValues, field: Field | None, recording: Recording) -> str:
    parts = parts_of(field, row, recording) if field and field.parts else []
    values = part_by_part(parts) if parts else f"{side(row, 'v2', field)}{side(row, 'v3', field)}"
    beside = " · ".join(filter(None, [apart(row), "" if row["scored"] or name == ONE_SIDED else "not counted"]))
    told = _why(name, row["verdict"], row["reason"], beside)
    cls = "row lost" if name == LOST else "row"
    return f'<div class="{cls}"><div class="name">{escape(row["field"])}</div>{values}{told}</div>'


def _why(group: str, verdict: str, reason: str, beside: str) -> str:
    cls, sign = MARKS[group]
    pill = f'<span class="pill {cls}">{sign} {escape(verdict.replace("_", " "))}</span>'
    small = f"<small>{escape(beside)}</small>" if beside else ""
    return f'<div class="why">{pill} {escape(reason)}{small}</div>'


def bodies(recording: Recording) -> str:
    """The bodies of a redacted recording as JSON, each folded; in place of a missing one, its error."""
    return "".join(
        f"<details><summary>{name}, without what is private</summary><pre>{escape(_text(told))}</pre></details>"
        for name, told in _answers(recording)
    )


def by_hand(recording: Recording, origins: Origins) -> str:
    """The two calls for a terminal, tokens as variables, and the request ids for a support ticket; folded."""
    ids = "".join(
        f"<li>{name}: <code>{escape(told.request_id or 'none was given')}</code></li>"
        for name, told in _answers(recording)
    )
    return (
        "<details><summary>Ask again by hand, or ask Smartcar’s support</summary>"
        f"<pre>{escape(curl_v2(recording, origins))}\n\n{escape(curl_v3(recording, origins))}</pre>"
        f"<p>Request ids of what is shown above:</p><ul>{ids}</ul></details>"
    )


def curl_v2(recording: Recording, origins: Origins) -> str:
    """The V2 batch as a command; ``$V2_TOKEN`` is the user's."""
    paths = [str(mapping(row).get("path")) for row in _responses(recording)]
    asked = json.dumps({"requests": [{"path": path} for path in paths or ["/"]]})
    url = f"{origins.api}/v2.0/vehicles/{quote(recording.pair.vehicle_id, safe='')}/batch"
    return (
        f"curl -i {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $V2_TOKEN" \\\n'
        "  -H 'sc-unit-system: metric' -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(asked)}"
    )


def curl_v3(recording: Recording, origins: Origins) -> str:
    """The V3 signals as a command; ``$APPLICATION_TOKEN`` is the application's."""
    pair = recording.pair
    url = f"{origins.vehicle_api_v3}/v3/vehicles/{quote(pair.vehicle_id, safe='')}/signals"
    return (
        f"curl -i {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $APPLICATION_TOKEN" \\\n'
        f"  -H {shlex.quote(f'sc-user-id: {pair.smartcar_user_id}')}"
    )


def _answers(recording: Recording) -> Iterator[tuple[str, Answer]]:
    for part in recording.earlier:
        yield f"V2’s batch of {part.at.day} {part.at:%b}", part.v2
        yield f"V3’s signals of {part.at.day} {part.at:%b}", part.v3
    yield "V2’s batch", recording.v2
    yield "V3’s signals", recording.v3
    if recording.again is not None:
        yield "V3’s signals, read again", recording.again


def _responses(recording: Recording) -> list[object]:
    rows = mapping(recording.v2.body).get("responses") if isinstance(recording.v2, Document) else None
    return rows if isinstance(rows, list) else []


def _text(told: Answer) -> str:
    return json.dumps(told.body, indent=2, ensure_ascii=False) if isinstance(told, Document) else str(told)
