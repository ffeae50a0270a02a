"""The faults that strike requests in turn: limits and closed connections."""

from __future__ import annotations

import socket

import httpx
import pytest


def test_rate_limit_without_retry_after(play):
    """Every 7th data request is 429 and names no time."""
    caller = play("rate-limit-no-retry-after")
    answers = [caller.v3("/connections") for _ in range(14)]
    assert [7, 14] == [n for n, answer in enumerate(answers, 1) if answer.status_code == 429]
    assert "retry-after" not in answers[6].headers


def test_vehicle_rate_limit(play, newest):
    """Only requests about a vehicle count: the 7th is 429 RATE_LIMIT/VEHICLE with Retry-After in seconds."""
    caller = play("vehicle-rate-limit")
    assert {200} == {caller.v3("/connections").status_code for _ in range(8)}
    answers = [caller.v3(f"/vehicles/{newest.vehicle_id}") for _ in range(7)]
    assert [200] * 6 + [429] == [answer.status_code for answer in answers]
    error = answers[-1].json()["errors"][0]
    assert ("RATE_LIMIT", "VEHICLE", "1") == (error["type"], error["code"], answers[-1].headers["retry-after"])


def test_drop_connection(play):
    """Every 6th data request meets a closed connection and not one byte."""
    caller = play("drop-connection")
    for _ in range(5):
        assert 200 == caller.v3("/connections").status_code
    with pytest.raises(httpx.RemoteProtocolError):
        caller.v3("/connections")
    assert 200 == caller.v3("/connections").status_code


def test_drop_connection_is_a_real_close(play):
    """The peer of a raw socket reads the end of the stream and nothing before it."""
    caller = play("drop-connection")
    for _ in range(5):
        caller.v3("/connections")
    host, port = caller.sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.sendall(b"GET /v3/connections HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"" == peer.recv(1)


def test_faults_together_count_alike(play):
    """Each fault counts every data request, whatever the others do."""
    caller = play("server-500", "rate-limit")
    statuses = [caller.v3("/connections").status_code for _ in range(14)]
    assert [5, 10] == [n for n, status in enumerate(statuses, 1) if status == 500]
    assert [7, 14] == [n for n, status in enumerate(statuses, 1) if status == 429]
