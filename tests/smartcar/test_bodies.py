"""Real answers, from a folder given with ``--bodies``: each is read without loss, or refused as the error it is.

The folder has ``v2/``, ``v3/`` and ``webhooks/``. A file that is a list of mock records (``method``,
``vehicle_path``, ``status``, ``response``) stands for the first one's response.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.errors import (
    AuthenticationError,
    NotFoundError,
    NotPermittedError,
    NotSmartcarError,
    RateLimitError,
    SmartcarError,
)
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.fields.paths import getter
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.connections import read_connection
from tests.smartcar.scripted import Answer

ERRORS = {
    401: AuthenticationError,
    403: NotPermittedError,
    404: NotFoundError,
    429: RateLimitError,
}


@dataclass(frozen=True)
class Body:
    """One file: its name, HTTP status and JSON; ``content`` is what goes over the wire."""

    name: str
    status: int
    json: Any

    @property
    def content(self) -> str:
        """The body as text; nothing at all where there is none."""
        return "" if self.json is None else json.dumps(self.json)


def read_file(path: Path) -> Body:
    """A file as an answer."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(document, list) and document and "vehicle_path" in document[0]:
        return Body(path.name, document[0].get("status", 200), document[0]["response"])
    return Body(path.name, status_of(document), document)


def status_of(document: Any) -> int:
    """The HTTP status a bare body tells itself; 200 where it tells none."""
    if not isinstance(document, dict):
        return 200
    listed = document.get("errors")
    told = listed[0].get("status") if listed else document.get("statusCode")
    return int(told or 200)


@pytest.fixture(scope="session")
def bodies(request: pytest.FixtureRequest) -> dict[str, list[Body]]:
    """All bodies by their folder's name; without ``--bodies`` the test is skipped."""
    folder = request.config.getoption("--bodies")
    if not folder:
        pytest.skip("real answers are tried with --bodies DIR")
    found = {name: [read_file(path) for path in sorted(Path(folder, name).glob("*.json"))] for name in ("v2", "v3")}
    found["webhooks"] = [Body(path.name, 0, path) for path in sorted(Path(folder, "webhooks").glob("*.json"))]
    assert all(found.values()), f"{folder} has no answers in v2, v3 or webhooks"
    return found


def chosen(bodies: list[Body], *members: str) -> Iterator[Body]:
    """The successful bodies that have one of these members."""
    for body in bodies:
        if body.status < 400 and isinstance(body.json, dict) and any(member in body.json for member in members):
            yield body


def test_every_batch_item_is_read(bodies, server, v2):
    """Each item of a V2 batch keeps its code, body, times, unit system and error."""
    batches = list(chosen(bodies["v2"], "responses"))
    assert batches
    for body in batches:
        server.play("*", Answer(body.content))
        rows = body.json["responses"]
        items = v2.batch("t-1", "v1", [row["path"] for row in rows]).items
        assert len(rows) == len(items), body.name
        for row in rows:
            item, headers, error = items[row["path"]], row.get("headers", {}), row["body"]
            assert (row["code"], row["body"]) == (item.code, item.body), body.name
            for name, read in (("sc-data-age", item.data_age), ("sc-fetched-at", item.fetched_at)):
                assert (name in headers) == (read is not None), (body.name, row["path"])
            assert headers.get("sc-unit-system", "metric") == item.unit_system
            if row["code"] >= 400:
                assert error.get("type", error.get("error")) == item.error_type
                assert error["code"] == item.error_code
                resolution = error.get("resolution")
                assert (resolution["type"] if isinstance(resolution, dict) else resolution) == item.resolution


def test_every_signal_is_read(bodies, server, v3):
    """Each signal of a list keeps its status, error, body and times, and the vehicle its attributes."""
    lists = [body for body in chosen(bodies["v3"], "included") if isinstance(body.json["data"], list)]
    assert lists
    for body in lists:
        server.play("*", Answer(body.content))
        rows = body.json["data"]
        found = v3.signals("v1", "u1")
        assert body.json["meta"]["totalCount"] == len(rows) == len(found.signals), body.name
        assert body.json["included"]["vehicle"]["attributes"].items() <= found.vehicle.items()
        for row in rows:
            same_signal(row, found.signals[row["id"]])


def test_every_single_signal_is_read(bodies, server, v3):
    """A signal asked for alone is read like one of a list."""
    singles = [
        body
        for body in chosen(bodies["v3"], "data")
        if isinstance(body.json["data"], dict) and body.json["data"]["type"] == "signal"
    ]
    assert singles
    for body in singles:
        server.play("*", Answer(body.content))
        same_signal(body.json["data"], v3.signal("v1", "u1", body.json["data"]["id"]))


def same_signal(row: dict[str, Any], read: Any) -> None:
    """The signal says what the row says."""
    inner, meta = row["attributes"], row.get("meta", {})
    error = inner["status"].get("error", {})
    assert (row["id"], inner["status"]["value"], inner.get("body")) == (read.code, read.status, read.body)
    assert (error.get("type"), error.get("code")) == (read.error_type, read.error_code), row["id"]
    assert (json_values.parse(meta.get("oemUpdatedAt")), json_values.parse(meta.get("retrievedAt"))) == (
        read.oem_updated_at,
        read.retrieved_at,
    )
    assert ("oemUpdatedAt" in meta) == (read.oem_updated_at is not None), row["id"]


def test_every_field_of_the_map_has_a_state(bodies, server, v2, v3):
    """The map reads each of its fields from real batches and signals: a value where the body has one."""
    for body in chosen(bodies["v2"], "responses"):
        server.play("*", Answer(body.content))
        batch = v2.batch("t-1", "v1", [])
        for row in field_map().fields:
            item = batch.items.get(row.v2.source) if row.v2 else None
            if item and item.code == 200:
                present = getter(row.v2.member)(item.body) is not None
                assert ("value" if present else "no_value") == read_v2(row, batch).state, (body.name, row.id)
    for body in chosen(bodies["v3"], "included"):
        if not isinstance(body.json["data"], list):
            continue
        server.play("*", Answer(body.content))
        signals = v3.signals("v1", "u1")
        for row in field_map().fields:
            found = signals.signals.get(row.v3.source) if row.v3 else None
            if found and found.status == "SUCCESS":
                assert "value" == read_v3(row, signals).state, (body.name, row.id)


def test_every_connection_is_read(bodies, server, v3):
    """Each connection of a list, and each given alone, keeps its ids, vehicle, permissions and time."""
    seen = 0
    for body in chosen(bodies["v3"], "data"):
        rows = body.json["data"] if isinstance(body.json["data"], list) else [body.json["data"]]
        rows = [row for row in rows if row["type"] == "connection"]
        for row in rows:
            seen += 1
            read, vehicle = read_connection(row), row["attributes"]["vehicle"]
            related = row["relationships"]
            assert (row["id"], related["user"]["data"]["id"], related["vehicle"]["data"]["id"]) == (
                read.id,
                read.user_id,
                read.vehicle_id,
            )
            assert (vehicle["make"].upper(), vehicle["model"], vehicle["year"], vehicle["mode"]) == (
                read.make,
                read.model,
                read.year,
                read.mode,
            )
            assert vehicle["powertrainType"] == read.powertrain
            assert row["attributes"]["permissions"] == list(read.permissions)
            assert json_values.parse(row["meta"]["createdAt"]) == read.created_at is not None
        if rows and isinstance(body.json["data"], list):
            server.play("*", Answer(body.content))
            listing = v3.connections(rows[0]["attributes"]["vehicle"]["mode"])
            assert (len(rows), True) == (len(listing.connections), listing.complete)
    assert seen


def test_every_error_is_the_error_it_is(bodies, server, v2, v3):
    """Each error body is the class of its status, with its type, code, resolution and request id."""
    seen = 0
    for version in ("v2", "v3"):
        for body in bodies[version]:
            if body.status < 400:
                continue
            seen += 1
            server.play("*", Answer(body.content, body.status))
            with pytest.raises(SmartcarError) as caught:
                v2.user("t-1") if version == "v2" else v3.signals("v1", "u1")
            error, told = caught.value, body.json or {}
            told = told.get("errors", [told])[0]
            assert ERRORS.get(body.status, SmartcarError) is type(error), body.name
            assert (body.status, told.get("type"), told.get("code")) == (error.status, error.type, error.code)
            resolution = told.get("resolution")
            assert (resolution.get("type") if isinstance(resolution, dict) else resolution) == error.resolution
            debug = told.get("meta", {}).get("debug", {})
            assert told.get("requestId", debug.get("requestId")) == error.request_id, body.name
    assert seen


def test_a_200_that_is_not_smartcars_is_refused(bodies, server, v2, v3):
    """A proxy's JSON with 200 is taken neither for a batch nor for signals, connections or a user."""
    known = ("responses", "data", "connections", "access_token", "capacity", "doors")
    foreign = [
        body
        for body in bodies["v2"]
        if body.status == 200 and isinstance(body.json, dict) and not any(name in body.json for name in known)
    ]
    assert foreign
    acts = (
        lambda: v2.batch("t-1", "v1", ["/fuel"]),
        lambda: v2.user("t-1"),
        lambda: v2.vehicles("t-1"),
        lambda: v3.signals("v1", "u1"),
        lambda: v3.connections("live"),
    )
    for body in foreign:
        server.play("*", Answer(body.content))
        for act in acts:
            with pytest.raises(NotSmartcarError):
                act()


def test_token_answers_are_read(bodies, server, take_token):
    """Every token answer gives its token."""
    answers = [body for version in ("v2", "v3") for body in chosen(bodies[version], "access_token")]
    assert answers
    for body in answers:
        server.play("/oauth2/token", Answer(body.content))
        assert body.json["access_token"] == take_token()()


def test_other_bodies_of_v2_pass_unchanged(bodies, server, v2):
    """Bodies that only a batch item would hold come out of it as they went in."""
    known = ("responses", "access_token", "connections")
    others = [
        body
        for body in bodies["v2"]
        if body.status == 200 and not (isinstance(body.json, dict) and set(known) & set(body.json))
    ]
    for body in others:
        server.play("*", Answer({"responses": [{"path": "/x", "code": 200, "body": body.json}]}))
        assert body.json == v2.batch("t-1", "v1", ["/x"]).items["/x"].body


def test_webhooks_are_json(bodies):
    """Every webhook is JSON that says what kind of event it is."""
    for body in bodies["webhooks"]:
        assert json.loads(body.json.read_text(encoding="utf-8"))["eventType"] in {
            "VERIFY",
            "VEHICLE_STATE",
            "VEHICLE_ERROR",
        }
