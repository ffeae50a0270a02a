"""One way to send, over real HTTP: retries, the record of calls, the allowance, a client per thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from email.utils import formatdate

import httpx
import pytest
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from smartcar_ops.errors import (
    AllowanceSpentError,
    AuthenticationError,
    BillingError,
    NotFoundError,
    NotPermittedError,
    NotSmartcarError,
    RateLimitError,
    ServiceIllError,
    SmartcarError,
    UnreachableError,
)
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from smartcar_ops.smartcar.http.transport import Request, Transport
from tests.smartcar.scripted import Answer, Scripted

GOOD = Answer({"fine": True}, headers={"sc-request-id": "r-9"})


class WaitingError(Exception):
    """Raised in place of a wait."""


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """How long the first retry would wait; raises WaitingError instead of waiting."""
    found: list[float] = []

    def hook(details: RetryDetails) -> None:
        found.append(details.wait_for)
        raise WaitingError

    set_on_retry_hooks([hook])
    yield found
    set_on_retry_hooks(None)


def ask(server: Scripted, **changed: object) -> Request:
    """A request with ids and a token in it."""
    values = {
        "api": "v3",
        "method": "GET",
        "url": f"{server.url}/vehicles/car-1/signals",
        "template": "/vehicles/{id}/signals",
        "headers": {"authorization": "Bearer t0ken"},
    }
    return Request(**{**values, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(server, transport, status):
    """Limits and gateway errors are tried again, and the good answer is the result."""
    server.play("*", Answer({}, status), Answer({}, status), GOOD)
    assert {"fine": True} == transport.json(ask(server))
    assert 3 == len(server.asked)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_three_attempts_and_no_more(server, transport, status):
    """A failure that stays is raised after the third attempt, with its status."""
    server.play("*", Answer({"type": "UPSTREAM"}, status))
    with pytest.raises(SmartcarError) as caught:
        transport.json(ask(server))
    assert (status, 3) == (caught.value.status, len(server.asked))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SmartcarError),
        (401, AuthenticationError),
        (403, NotPermittedError),
        (404, NotFoundError),
        (409, SmartcarError),
        (430, BillingError),
        (500, SmartcarError),
        (501, SmartcarError),
    ],
)
def test_what_stays_wrong_is_not_repeated(server, transport, status, error):
    """What a repetition can't cure is sent once; a 500 too, for each try may be charged."""
    server.play("*", Answer({"type": "SOME_TYPE"}, status))
    with pytest.raises(error) as caught:
        transport.json(ask(server))
    assert (error, 1) == (type(caught.value), len(server.asked))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, {"type": "UPSTREAM", "code": "RATE_LIMIT", "resolution": {"type": "RETRY_LATER"}}),
        (502, {"type": "UPSTREAM", "resolution": {"type": "CONTACT_SUPPORT"}}),
        (503, {"type": "SERVER", "resolution": "REAUTHENTICATE"}),
        (500, {"type": "SERVER", "resolution": {"type": "RETRY_LATER"}}),
    ],
)
def test_what_smartcar_says_would_help_decides(server, transport, status, body):
    """The maker's own limit, and what only a person can cure, is sent once although its status may pass."""
    server.play("*", Answer(body, status))
    with pytest.raises(SmartcarError):
        transport.json(ask(server))
    assert 1 == len(server.asked)


def test_an_ill_service_ends_the_run(server, transport):
    """After ten calls without a proper answer nothing more is sent to that API; another API is not concerned."""
    server.play("*", Answer("<html>", 500))
    for _ in range(10):
        with pytest.raises(NotSmartcarError):
            transport.json(ask(server))
    sent = len(server.asked)
    with pytest.raises(ServiceIllError, match="10 of the last 10 calls to v3 failed"):
        transport.json(ask(server))
    assert sent == len(server.asked)
    with pytest.raises(NotSmartcarError):
        transport.json(ask(server, api="v2"))


def test_one_ill_car_ends_no_run(server, transport):
    """A car that fails for ever among cars that answer leaves the circuit closed."""
    server.play("/ill", Answer({"type": "SERVER"}, 500))
    server.play("*", GOOD)
    for _ in range(20):
        transport.json(ask(server))
        transport.json(ask(server))
        with pytest.raises(SmartcarError):
            transport.json(ask(server, url=f"{server.url}/ill"))
    assert 60 == len(server.asked)


@pytest.mark.parametrize(("code", "held"), [("SMARTCAR_API", True), ("VEHICLE", False)])
def test_a_limit_of_the_application_holds_everybody(server, transport, code, held):
    """A 429 of the application stops every caller of its bucket; one of a vehicle concerns that vehicle."""
    server.play("*", Answer({"type": "RATE_LIMIT", "code": code}, 429, {"retry-after": "90"}))
    budget = Budget(TokenBucket(Allowance()), max_minutes=1)
    with transport.spending(budget):
        with pytest.raises(RateLimitError):
            transport.json(ask(server))
        with pytest.raises(AllowanceSpentError if held else RateLimitError):
            transport.json(ask(server))


def test_retry_after_in_seconds_is_kept_to(server, waits):
    """The wait before the next attempt is what Retry-After says, not the back-off."""
    server.play("*", Answer({"type": "RATE_LIMIT"}, 429, {"retry-after": "37"}))
    with pytest.raises(WaitingError):
        Transport().json(ask(server))
    assert [37.0] == waits


def test_without_retry_after_the_wait_is_short(server, waits):
    """Without the header the back-off counts, and is at most five seconds."""
    server.play("*", Answer({"type": "RATE_LIMIT"}, 429))
    with pytest.raises(WaitingError):
        Transport().json(ask(server))
    assert 0.2 <= waits[0] <= 5


def test_retry_after_of_nothing_is_a_retry(server, transport):
    """``Retry-After: 0`` means at once, not never."""
    server.play("*", Answer({}, 429, {"retry-after": "0"}), GOOD)
    assert {"fine": True} == transport.json(ask(server))


@pytest.mark.parametrize("header", ["61", "86400", "inf", formatdate(4e9, usegmt=True)])
def test_a_long_retry_after_ends_the_call(server, transport, header):
    """A wait of more than a minute is not waited for: the error comes at once and tells how long."""
    server.play("*", Answer({"type": "RATE_LIMIT", "code": "VEHICLE"}, 429, {"retry-after": header}))
    with pytest.raises(RateLimitError) as caught:
        transport.json(ask(server))
    assert 1 == len(server.asked)
    assert caught.value.retry_after > 60
    assert ("RATE_LIMIT", "VEHICLE") == (caught.value.type, caught.value.code)


def test_nobody_there(transport, unused_port):
    """A host that refuses is tried three times and is an UnreachableError that names it and the next step."""
    request = Request("v2", "GET", f"http://127.0.0.1:{unused_port}/vehicles/car-1/odometer", "/vehicles/{id}/odometer")
    with pytest.raises(
        UnreachableError, match=r"127\.0\.0\.1 gave no answer to GET /vehicles/\{id\}/odometer"
    ) as caught:
        transport.json(request)
    assert "check the network and the origin" in str(caught.value)
    assert [None] * 3 == [call.status for call in transport.calls]


def test_an_answer_that_breaks_off(server, transport):
    """A body shorter than announced is no answer."""
    server.play("*", Answer({"a": 1}, headers={"content-length": "99"}), GOOD)
    transport_ = Transport(timeout=0.2)
    assert {"fine": True} == transport_.json(ask(server))
    transport_.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a\x00b", "http://[::1/x", "http://127.0.0.1:70000/"])
def test_an_address_that_is_none(transport, url):
    """An address that can't be one is an error of the tree, not a traceback."""
    with pytest.raises(UnreachableError):
        transport.json(Request("v3", "GET", url, "/x"))


def test_a_redirect_is_not_followed(server, transport):
    """A redirect is no answer of Smartcar, and the token does not follow it."""
    server.play("*", Answer("", 302, {"location": f"{server.url}/elsewhere"}))
    with pytest.raises(NotSmartcarError):
        transport.json(ask(server))
    assert ["/vehicles/car-1/signals"] == server.paths()


def test_the_record_of_a_call(server, transport):
    """A call is kept by its template, status, units and request id; no id of a car and no token is in it."""
    server.play("*", GOOD)
    transport.json(ask(server, units=4))
    call = transport.calls[0]
    assert ("v3", "/vehicles/{id}/signals", 200, 4, None, "r-9") == (
        call.api,
        call.template,
        call.status,
        call.units,
        call.error,
        call.request_id,
    )
    assert 0 <= call.seconds
    assert not [word for word in ("car-1", "t0ken") if word in repr(transport.calls)]


def test_failures_are_recorded_too(server, transport):
    """Each attempt is a call of its own, with Smartcar's word for the failure and the id from the body."""
    server.play("*", Answer({"type": "UPSTREAM", "requestId": "r-1"}, 502), Answer("<html>", 503), GOOD)
    transport.json(ask(server, units=2))
    assert [(502, "UPSTREAM", "r-1"), (503, "NotSmartcarError", None), (200, None, "r-9")] == [
        (call.status, call.error, call.request_id) for call in transport.calls
    ]
    assert {"v3": 6} == transport.spent


def test_units_are_summed_by_api(server, transport):
    """``spent`` is the sum of units by API, in the order of the names."""
    server.play("*", GOOD)
    for api, units in (("v3", 1), ("iam", 1), ("v3", 5), ("v2", 10)):
        transport.json(ask(server, api=api, units=units))
    assert [("iam", 1), ("v2", 10), ("v3", 6)] == list(transport.spent.items())


def test_a_spent_budget_sends_nothing(server, transport):
    """With the budget spent nothing goes out, except what is free."""
    server.play("*", GOOD)
    with transport.spending(Budget(TokenBucket(Allowance()), max_calls=3)):
        transport.json(ask(server, units=3))
        with pytest.raises(AllowanceSpentError):
            transport.json(ask(server))
        transport.json(ask(server, free=True))
    assert 2 == len(server.asked)
    transport.json(ask(server))
    assert 3 == len(server.asked)


def test_every_attempt_is_paid(server, transport):
    """A retry takes its units as the first attempt did, and stops where the budget does."""
    server.play("*", Answer({}, 503))
    with (
        transport.spending(Budget(TokenBucket(Allowance()), max_calls=2)),
        pytest.raises(AllowanceSpentError),
    ):
        transport.json(ask(server))
    assert 2 == len(server.asked)


def test_the_outer_budget_counts_again_after_the_inner(server, transport):
    """A block of spending within another puts the outer budget back."""
    server.play("*", GOOD)
    bucket = TokenBucket(Allowance())
    with transport.spending(Budget(bucket, max_calls=1)):
        with transport.spending(Budget(bucket, max_calls=5)):
            transport.json(ask(server, units=5))
        transport.json(ask(server))
        with pytest.raises(AllowanceSpentError):
            transport.json(ask(server))


def test_every_thread_has_a_client_and_close_closes_them(server, transport, opened_clients):
    """Two threads at once use two clients; one thread uses one; closing closes all of them."""
    server.play("*", GOOD)
    gate = threading.Barrier(2, timeout=5)

    def work() -> None:
        transport.json(ask(server))
        gate.wait()
        transport.json(ask(server))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (2, 4) == (len(opened_clients), len(server.asked))
    transport.close()
    assert [True, True] == [client.is_closed for client in opened_clients]


def test_a_closed_transport_can_be_used_again(server, transport):
    """Sending after close opens a new client instead of failing."""
    server.play("*", GOOD)
    transport.json(ask(server))
    transport.close()
    assert {"fine": True} == transport.json(ask(server))


def test_retries_are_switched_on():
    """Nothing in this suite or in the kit has switched retrying off."""
    assert stamina.is_active()


@pytest.fixture
def opened_clients(monkeypatch) -> list[httpx.Client]:
    """Every HTTP client opened from here on."""
    opened: list[httpx.Client] = []

    class Watched(httpx.Client):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            opened.append(self)

    monkeypatch.setattr(httpx, "Client", Watched)
    return opened


@pytest.fixture
def unused_port() -> int:
    """A port nobody listens on."""
    scripted = Scripted()
    port = int(scripted.url.rpartition(":")[2])
    scripted.close()
    return port


def test_a_record_is_handed_over_once(server, transport):
    """What a worker process hands over is missing there, and counted where it is taken in."""
    server.play("*", GOOD)
    transport.json(ask(server))
    transport.oddities.note("signal: unknown code", "odometer-new")
    calls, oddities = transport.hand_over()
    assert ({}, {}) == (transport.spent, transport.oddities.counts)
    run = Transport()
    run.add(calls, oddities)
    run.add(calls, oddities)
    assert ({"v3": 2}, {"signal: unknown code odometer-new": 2}) == (run.spent, run.oddities.counts)
