"""Answers that no service gives on purpose: too large, too slow, packed too well, nested too deep, held for ever."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from smartcar_ops.errors import NotSmartcarError, RateLimitError
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import DAY, HOUR, retry_after
from smartcar_ops.smartcar.http.bounds import LARGEST
from smartcar_ops.smartcar.http.rate_limit import LONGEST, BucketState, Budget, OwnStateStore, TokenBucket
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.smartcar.inbound import read_event
from tests.smartcar.scripted import Answer, Scripted

ZEROS = b"0" * (LARGEST + 1)


def ask(url: str) -> Request:
    """A request of V3."""
    return Request("v3", "GET", f"{url}/vehicles/car-1/signals", "/vehicles/{id}/signals")


@contextmanager
def dripping(before: bytes) -> Iterator[str]:
    """The URL of a server that answers with these bytes, and then a byte ten times a second until nobody listens."""
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        line, _ = listener.accept()
        with line:
            try:
                line.recv(65536)
                line.sendall(before)
                while not ended.wait(0.1):
                    line.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    "before",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nx-slow: "],
    ids=["its body", "its head"],
)
def test_an_answer_without_an_end_is_given_up(before: bytes) -> None:
    """However steadily its bytes come: after the time for a whole answer it is none, and is not asked for thrice."""
    transport, started = Transport(longest=0.4), time.monotonic()
    with dripping(before) as url, pytest.raises(NotSmartcarError, match="complete in time"):
        transport.json(ask(url))
    assert time.monotonic() - started < 5
    assert 1 == len(transport.calls)
    transport.close()


@pytest.mark.parametrize(
    ("body", "headers"),
    [(ZEROS, {}), (gzip.compress(ZEROS), {"content-encoding": "gzip"})],
    ids=["plain", "packed"],
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    server: Scripted, transport: Transport, body: bytes, headers: dict[str, str]
) -> None:
    """A byte more than the limit, unpacked, is no answer; the limit itself is one."""
    server.play("*", Answer(body, headers=headers))
    with pytest.raises(NotSmartcarError, match="larger than 32 MiB"):
        transport.send(ask(server.url))
    server.play("*", Answer(b"0" * 1000, headers={}))
    assert 1000 == len(transport.send(ask(server.url)).content)


def test_an_answer_packed_twice_is_not_unpacked(server: Scripted, transport: Transport) -> None:
    """Packed once more, 64 KiB could become gigabytes: that is refused before it is tried."""
    server.play("*", Answer(gzip.compress(gzip.compress(b"{}")), headers={"content-encoding": "gzip, gzip"}))
    with pytest.raises(NotSmartcarError, match="content encoding"):
        transport.send(ask(server.url))


def test_a_packed_answer_is_read_as_it_was_meant(server: Scripted, transport: Transport) -> None:
    """One gzip around it is what Smartcar may do; the time it took is told."""
    server.play("*", Answer(gzip.compress(b'{"fine": true}'), headers={"content-encoding": "gzip"}))
    response = transport.send(ask(server.url))
    assert {"fine": True} == response.json()
    assert response.elapsed.total_seconds() > 0


@pytest.mark.parametrize("depth", [64, 65, 900, 100_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_json_that_is_nested_too_deep_is_none(server: Scripted, transport: Transport, depth: int, pair: str) -> None:
    """64 levels are read, one more is no JSON of Smartcar's, in an answer and in a webhook."""
    text = "[" * depth + "]" * depth if pair == "[]" else '{"a":' * depth + "1" + "}" * depth
    server.play("*", Answer(text))
    if depth == 64:
        assert transport.json(ask(server.url)) == json_values.loads(text)
        return
    with pytest.raises(NotSmartcarError, match="instead of JSON"):
        transport.json(ask(server.url))
    with pytest.raises(NotSmartcarError, match="not an event"):
        read_event('{"eventType": "VERIFY", "data": ' + text + "}")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("3600", HOUR),
        ("3601", HOUR),
        ("120000", HOUR),
        ("86400", DAY),
        ("inf", HOUR),
        ("1e400", HOUR),
        ("nan", None),
        ("-5", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", HOUR),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_how_long_a_retry_after_may_be(header: str, seconds: float | None) -> None:
    """An hour at most, unless a day is plainly said."""
    assert seconds == retry_after(header)


def test_a_date_within_a_day_is_plainly_said() -> None:
    """A date is believed up to a day ahead, and one without a zone is UTC."""
    for text in (formatdate(time.time() + 20 * HOUR), formatdate(time.time() + 20 * HOUR).replace("-0000", "").strip()):
        assert 20 * HOUR == pytest.approx(retry_after(text), abs=60)
    assert HOUR == retry_after(formatdate(time.time() + 25 * HOUR, usegmt=True))


@pytest.mark.parametrize("header", ["inf", "Fri, 31 Dec 9999 23:59:59 GMT", "120000"])
def test_one_odd_header_does_not_hold_every_later_run(server: Scripted, header: str) -> None:
    """An application's pause is kept for an hour, however much was asked for."""
    server.play("*", Answer({"type": "RATE_LIMIT", "code": "SMARTCAR_API"}, 429, {"retry-after": header}))
    keeper, transport = OwnStateStore(), Transport()
    with transport.spending(Budget(TokenBucket(Allowance(), keeper))), pytest.raises(RateLimitError):
        transport.json(ask(server.url))
    assert HOUR == pytest.approx(TokenBucket(Allowance(), keeper).paused(), abs=5)
    transport.close()


@pytest.mark.parametrize("until", [float("inf"), 2.5e11, 1000.0 + LONGEST + 1])
def test_a_pause_that_an_older_kit_kept_is_not_believed(until: float) -> None:
    """Nothing is held for longer than a day, nor does a level from the far future stop the refills."""
    for level in (BucketState(5, 1000.0, until), BucketState(0, until)):
        bucket = TokenBucket(Allowance(burst=120, per_minute=60), OwnStateStore(level, lambda: 1000.0))
        assert 0 == bucket.paused()
    clock = [1000.0]
    bucket = TokenBucket(Allowance(burst=120, per_minute=60), OwnStateStore(BucketState(0, until), lambda: clock[0]))
    bucket.hold(0)
    clock[0] += 60
    assert 60 == bucket.level().units


def test_a_pause_can_be_ended() -> None:
    """Released, the next unit is given at once."""
    bucket = TokenBucket(Allowance(), OwnStateStore())
    bucket.hold(900)
    assert 900 == pytest.approx(bucket.paused(), abs=5)
    bucket.release()
    bucket.take(1, until=0)
    assert 0 == bucket.paused()
