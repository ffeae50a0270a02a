"""Sends every request: takes from the allowance first, retries if that is safe and useful, records the call.

Each thread has its own synchronous client: with 64 threads, one shared client made less than half as many calls per
second, and an async client a tenth.
"""

from __future__ import annotations

import email.utils
import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import stamina

from smartcar_ops import __version__
from smartcar_ops.errors import (
    AllowanceSpentError,
    NotSmartcarError,
    RateLimitError,
    SmartcarError,
    UnreachableError,
    VehicleLimitError,
)
from smartcar_ops.settings import network
from smartcar_ops.smartcar.error_responses import body_of, failure
from smartcar_ops.smartcar.http import bounds
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.http.rate_limit import Budget
from smartcar_ops.smartcar.http.retries import CircuitBreaker, in_words, wait_before_repeating
from smartcar_ops.storage import journal

log = logging.getLogger("smartcar_ops.smartcar")

ATTEMPTS = 3
"""Maximum number of attempts per request."""


UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""Errors that mean there was no response, or no valid address."""


@dataclass(frozen=True)
class Request:
    """One request; ``template`` is the path without its ids, the only part of the URL that is recorded."""

    api: str
    method: str
    url: str
    template: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: Mapping[str, str] | None = field(default=None, repr=False)
    json: Mapping[str, object] | None = field(default=None, repr=False)
    units: int = 1
    free: bool = False
    """True if the request does not count against the application's bucket (the token endpoints)."""
    timeout: float | None = None
    """Seconds; None for the transport's own."""
    vehicle: str = field(default="", repr=False)
    """Smartcar's id of the vehicle that is read; empty if none is."""
    reads: int = 1
    """How many reads of that vehicle it makes: one per path of a batch, however Smartcar counts it."""


class Meter(Protocol):
    """Counts the reads of each vehicle; see `Transport.meter`."""

    def cap(self, make: str) -> int | None:
        """Return the maximum reads per day of a vehicle of this make; None if there is no limit."""

    def left(self, vehicle_id: str) -> int | None:
        """Return how many reads the vehicle has left now; None if there is no limit."""

    def take(self, vehicle_id: str, units: int) -> None:
        """Count reads that are about to be sent; VehicleLimitError if they exceed the limit."""

    def give_back(self, vehicle_id: str, units: int) -> None:
        """Subtract reads that were counted but not sent."""


@dataclass(frozen=True)
class Call:
    """The record of a request that was sent: no id of a car or a person, no token.

    ``at`` is when it was sent (UTC); ``error`` and ``code`` are Smartcar's, or the kit's error class if it gave none.
    """

    at: datetime
    api: str
    template: str
    status: int | None
    units: int
    error: str | None
    code: str | None
    request_id: str | None
    seconds: float


class Transport:
    """Sends requests for all threads of a run; close it at the end.

    ``calls`` is the record of all requests sent, ``spent`` their units by API; ``oddities`` counts unknown data in
    the responses. Each request is also recorded in ``journal``, by default that of the run.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        attempts: int = ATTEMPTS,
        longest: float = bounds.LONGEST,
        noted_in: journal.Journal | None = None,
    ) -> None:
        self._timeout, self._attempts = timeout, attempts
        self._deadlines = bounds.Deadlines(longest)
        self._local = threading.local()
        self._clients: list[httpx.Client] = []
        self._lock = threading.Lock()
        self._budget: Budget | None = None
        self.journal = noted_in or journal.of_this_run()
        self._breaker = CircuitBreaker()
        self.clock_skew: float | None = None
        """Seconds that this machine's clock is ahead of the last response's date; None if no response had one."""
        self.calls: list[Call] = []
        self.oddities = Oddities()
        self.meter: Meter | None = None
        """Counts and limits the reads of each vehicle; None for no limit."""

    @contextmanager
    def spending(self, budget: Budget) -> Iterator[None]:
        """Take every request in this block from ``budget``, in every thread."""
        before, self._budget = self._budget, budget
        budget.bucket.begin()
        try:
            yield
        finally:
            self._budget = before

    @property
    def spent(self) -> dict[str, int]:
        """The units spent so far, by API."""
        units: Counter[str] = Counter()
        with self._lock:
            for call in self.calls:
                units[call.api] += call.units
        return dict(sorted(units.items()))

    def hand_over(self) -> tuple[list[Call], dict[str, int]]:
        """Return the calls and oddities so far and reset them; a worker process passes them to its run."""
        with self._lock:
            calls, self.calls = self.calls, []
        return calls, self.oddities.taken()

    def add(self, calls: Iterable[Call], oddities: Mapping[str, int]) -> None:
        """Add a worker process's calls and oddities to this record."""
        added = list(calls)
        for call in added:
            self.journal.note(call.api, call.units)
        with self._lock:
            self.calls.extend(added)
        self.oddities.add(oddities)

    def json(self, request: Request) -> object:
        """Return the JSON body of a successful response; SmartcarError otherwise."""
        return body_of(self.send(request))

    def send(self, request: Request) -> httpx.Response:
        """Return a successful response, after up to three attempts; SmartcarError otherwise.

        ServiceIllError, with nothing sent, if the last calls to this API show that the service is failing.
        """
        self._breaker.check(request.api)
        try:
            response = self._repeated(request)
        except (AllowanceSpentError, VehicleLimitError):
            raise
        except SmartcarError as error:
            self._breaker.note(request.api, error)
            if wait_before_repeating(error):
                values = request.api, request.method, request.template, self._attempts, in_words(error)
                log.info("%s %s %s: given up after %d attempts: %s", *values)
            raise
        self._breaker.note(request.api, None)
        return response

    def end(self) -> None:
        """Stop all calls from waiting for the allowance, because the run is being ended."""
        if self._budget:
            self._budget.bucket.end()

    def close(self) -> None:
        """Close every thread's client."""
        self._deadlines.end()
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _repeated(self, request: Request) -> httpx.Response:
        for attempt in stamina.retry_context(
            on=wait_before_repeating, attempts=self._attempts, timeout=None, wait_initial=0.2, wait_max=5
        ):
            with attempt:
                return self._once(request)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, request: Request) -> httpx.Response:
        self._take(request)
        self.journal.note(request.api, request.units)
        at, started = datetime.now(UTC), time.perf_counter()
        response, problem = self._answer(request)
        self._record(request, at, time.perf_counter() - started, response, problem)
        self.clock_skew = _skew(response, at) if response is not None else self.clock_skew
        if isinstance(problem, RateLimitError):
            self._pause(problem)
        if problem is not None:
            raise problem
        assert response is not None
        return response

    def _take(self, request: Request) -> None:
        """Take the request's cost from its vehicle's limit and from the budget; from both or from neither."""
        meter = self.meter if request.vehicle else None
        if meter:
            meter.take(request.vehicle, request.reads)
        if not self._budget or request.free:
            return
        try:
            self._budget.take(request.units)
        except AllowanceSpentError:
            if meter:
                meter.give_back(request.vehicle, request.reads)
            raise

    def _answer(self, request: Request) -> tuple[httpx.Response | None, SmartcarError | None]:
        """Return the response, if there was one, and the error, if it failed; at least one of them."""
        with self._deadlines.watching(self._client()) as deadline:
            try:
                response = self._whole(deadline.client, request, request.timeout or self._timeout)
            except bounds.UnboundedError as error:
                return None, NotSmartcarError(f"{_no_answer(request)} that can be used: it {error}. Check the origin.")
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError, RuntimeError) as error:
                if deadline.passed:
                    return None, NotSmartcarError(f"{_no_answer(request)} that was complete in time. Check the origin.")
                if not isinstance(error, UNREACHABLE):
                    raise
                return None, UnreachableError(
                    f"{_no_answer(request)} ({type(error).__name__}); check the network and the origin."
                )
        if response.is_success:
            return response, None
        return response, failure(response, f"{request.method} {request.template}", self.oddities)

    @staticmethod
    def _whole(client: httpx.Client, request: Request, timeout: float) -> httpx.Response:
        """Return the response with its whole body and the time that took."""
        started = time.perf_counter()
        with client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            params=dict(request.params) or None,
            data=dict(request.data) if request.data else None,
            json=request.json,
            timeout=timeout,
        ) as response:
            complete = bounds.read_whole(response)
        complete.elapsed = timedelta(seconds=time.perf_counter() - started)
        return complete

    def _pause(self, error: RateLimitError) -> None:
        """Pause the application's bucket for every caller, unless the limit is one vehicle's own."""
        if self._budget and error.code != "VEHICLE" and error.retry_after:
            self._budget.bucket.hold(error.retry_after)

    def _client(self) -> httpx.Client:
        client: httpx.Client | None = getattr(self._local, "client", None)
        if client is None or client.is_closed:
            headers = {"user-agent": f"smartcar-ops/{__version__}", "accept-encoding": "gzip, deflate"}
            client = httpx.Client(timeout=self._timeout, headers=headers, transport=_Routes(), trust_env=False)
            self._local.client = client
            with self._lock:
                self._clients.append(client)
        return client

    def _record(
        self,
        request: Request,
        at: datetime,
        seconds: float,
        response: httpx.Response | None,
        problem: SmartcarError | None,
    ) -> None:
        request_id = response.headers.get("sc-request-id") if response is not None else None
        call = Call(
            at=at,
            api=request.api,
            template=request.template,
            status=response.status_code if response is not None else None,
            units=request.units,
            error=(problem.type or type(problem).__name__) if problem else None,
            code=problem.code if problem else None,
            request_id=problem.request_id if problem else request_id,
            seconds=seconds,
        )
        with self._lock:
            self.calls.append(call)
        values = call.api, request.method, call.template, call.status or call.error, call.units, call.seconds * 1000
        log.debug("%s %s %s: %s, %d units, %.0f ms", *values)


class _Routes(httpx.BaseTransport):
    """Sends to each host directly or through its proxy from the environment; opens a transport on first use."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, str, int | None], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        transport = self._transports.get((url.scheme, url.host, url.port))
        if transport is None:
            proxy = network.proxy_for(str(url))
            verify = _certificates() if url.scheme == "https" else False
            transport = httpx.HTTPTransport(verify=verify, proxy=proxy.url if proxy else None)
            self._transports[url.scheme, url.host, url.port] = transport
        return transport.handle_request(request)

    def close(self) -> None:
        for transport in list(self._transports.values()):  # another thread may open one meanwhile
            transport.close()


@cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates that every client trusts; read once, because that takes longer than a fast call."""
    return network.trusted() or httpx.create_ssl_context(trust_env=False)


def _skew(response: httpx.Response, at: datetime) -> float | None:
    """Return the seconds from the response's date to the time its request was sent; None without a valid date."""
    try:
        date = email.utils.parsedate_to_datetime(response.headers["date"])
        return (at - date).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


def _no_answer(request: Request) -> str:
    """Return the start of an error message: no answer, from which host and through which proxy."""
    through = f" through {proxy.variable}" if (proxy := network.proxy_for(request.url)) else ""
    return f"smartcar: {_host(request.url)} gave no answer{through} to {request.method} {request.template}"


def _host(url: str) -> str:
    """Return the host of an address, for people; the address may be invalid."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"
