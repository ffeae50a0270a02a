"""Bodies that no service should send: every reader gives an answer, a counted oddity, or an error of the tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.smartcar.connections import read_connection
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.inbound import read_event, read_redirect
from smartcar_ops.smartcar.management import read_managed, read_subscription
from smartcar_ops.smartcar.pagination import read_page, read_single
from smartcar_ops.smartcar.signals import Signals, read_signal, vehicle_attributes
from smartcar_ops.smartcar.v2 import V2, read_batch
from smartcar_ops.smartcar.v3 import V3
from tests.smartcar.scripted import Answer, Scripted

MEMBERS = st.sampled_from(
    [
        *("data", "id", "type", "attributes", "relationships", "user", "vehicle", "meta", "links", "next", "body"),
        *("value", "unit", "status", "code", "error", "errors", "responses", "path", "headers", "totalCount"),
        *("createdAt", "permissions", "year", "userId", "vehicleId", "triggers", "eventType", "challenge"),
        *("oemUpdatedAt", "sc-data-age", "resolution", "requestId", "debug", "connections", "paging", "cursor"),
    ]
)
CODES = st.sampled_from(
    ["odometer-traveleddistance", "vehicleidentification-vin", "/odometer", "/", "/battery", "SUCCESS"]
)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | CODES
BODIES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS, inner, max_size=6), max_leaves=25
)


def judged(body: Any) -> None:
    """Every field of the map, read from a batch and from signals made of the body."""
    rows = body if isinstance(body, list) else [body]
    signals = (read_signal(row, Oddities()) for row in rows)
    answer = Signals(
        {signal.code: signal for signal in signals}, vehicle_attributes(body if isinstance(body, dict) else {})
    )
    batch = read_batch({"responses": rows})
    for field in field_map().fields:
        read_v3(field, answer)
        read_v2(field, batch)


READERS: dict[str, Callable[[Any], Any]] = {
    "connection": lambda body: read_connection(body, Oddities()),
    "managed": read_managed,
    "subscription": read_subscription,
    "page": lambda body: read_page(body, "http://h/v3/connections", "connections"),
    "single": read_single,
    "event": lambda body: read_event(json.dumps(body)),
    "fields": judged,
}


@pytest.mark.parametrize("name", READERS)
@given(body=BODIES)
@settings(deadline=None)
def test_any_json_is_read_or_refused(name: str, body: Any) -> None:
    """Wrong types, huge numbers and missing members end in an answer or an error of the tree."""
    try:
        READERS[name](body)
    except SmartcarOpsError:
        return


@given(raw=st.binary(max_size=60) | st.text(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_an_event_or_refused(raw: bytes | str) -> None:
    """Truncated JSON and invalid UTF-8 are refused as no event."""
    try:
        read_event(raw)
    except SmartcarOpsError:
        return


@given(url=st.text(max_size=60) | st.builds("https://c.example/cb?{}={}".format, MEMBERS, st.text(max_size=20)))
@settings(deadline=None)
def test_any_text_is_a_redirect_or_refused(url: str) -> None:
    """Whatever stands where a redirect should is read or refused."""
    try:
        read_redirect(url)
    except SmartcarOpsError:
        return


WIRE = {
    "truncated": b'{"data":[{"id":"a',
    "invalid UTF-8": b'{"data":"\xff\xfe"}',
    "deep": b"[" * 100_000,
    "deep objects": b'{"data":' * 50_000,
    "a huge number": b'{"data":[{"attributes":{"vehicle":{"year":1' + b"0" * 5_000 + b"}}}]}",
    "10 MB": b'{"data":[' + b",".join([b'{"id":"x","attributes":{"code":"y","body":{"value":1}}}'] * 190_000) + b"]}",
    "nothing": b"",
    "null": b"null",
}


SLOWLY = pytest.param("10 MB", marks=pytest.mark.slow)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("name", [name for name in WIRE if name != "10 MB"] + [SLOWLY])
def test_any_body_on_the_wire(server: Scripted, v2: V2, v3: V3, name: str, status: int) -> None:
    """Broken, deep, huge and empty bodies with any status end in an answer or an error of the tree."""
    server.play("*", Answer(WIRE[name], status))
    acts: tuple[Callable[[], Any], ...] = (
        lambda: v3.connections("live"),
        lambda: v3.signals("v1", "u1"),
        lambda: v3.vin("v1", "u1"),
        lambda: v2.user("t"),
        lambda: v2.vehicles("t"),
        lambda: v2.batch("t", "v1", ["/vin"]),
    )
    for act in acts:
        try:
            act()
        except SmartcarOpsError:
            continue


@given(body=BODIES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_error_body(server: Scripted, body: Any) -> None:
    """Whatever JSON comes with a refusal, it is an error of the tree with its status."""
    server.play("*", Answer(json.dumps(body), 409))
    transport = Transport(attempts=1)
    with pytest.raises(SmartcarOpsError) as caught:
        V2(transport, server.url).user("t")
    transport.close()
    assert 409 == caught.value.status  # type: ignore[attr-defined]
