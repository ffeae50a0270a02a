"""What both versions answered about a vehicle, as it came without what is private, and how to ask again by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from html import escape
from urllib.parse import quote

from smartcar_ops.compare.recording import Recording, Told
from smartcar_ops.settings.credentials import Origins
from smartcar_ops.smartcar.documents import Document
from smartcar_ops.smartcar.error_responses import mapping


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


def _answers(recording: Recording) -> Iterator[tuple[str, Told]]:
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


def _text(told: Told) -> str:
    return json.dumps(told.body, indent=2, ensure_ascii=False) if isinstance(told, Document) else str(told)
