"""One way to send: allowance before, a record after, retries where repeating is safe and useful.

A sync client per thread: one shared client under 64 threads managed less than half the calls a second,
and an async client a tenth.
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
from typing import Any, Protocol
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
from smartcar_ops.smartcar.http import bounds, journal
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.http.rate_limit import Budget
from smartcar_ops.smartcar.http.retries import CircuitBreaker, in_words, wait_before_repeating

log = logging.getLogger("smartcar_ops.smartcar")

ATTEMPTS = 3
"""How often one request is sent at most."""


UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What means that there was no answer, or no address to ask."""


@dataclass(frozen=True)
class Request:
    """One request; ``template`` is the path with its ids replaced, the only part that is recorded."""

    api: str
    method: str
    url: str
    template: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: Mapping[str, str] | None = field(default=None, repr=False)
    json: Any = field(default=None, repr=False)
    units: int = 1
    free: bool = False
    """True where the request does not draw on the application's bucket (the token endpoints)."""
    timeout: float | None = None
    """Seconds; None: the transport's own."""
    vehicle: str = field(default="", repr=False)
    """Smartcar's id of the vehicle that it asks about; empty where it asks about none."""
    reads: int = 1
    """How often it asks that vehicle: each path of a batch, however Smartcar counts it."""


class Meter(Protocol):
    """Counts what is asked of each vehicle; see `Transport.meter`."""

    def cap(self, make: str) -> int | None:
        """The most that a vehicle of this make may be asked in a day; None where nothing binds."""

    def left(self, vehicle_id: str) -> int | None:
        """What may still be asked of the vehicle now; None where nothing binds."""

    def take(self, vehicle_id: str, units: int) -> None:
        """Counts what is about to be asked; VehicleLimitError where it is too much."""

    def give_back(self, vehicle_id: str, units: int) -> None:
        """Takes back what was counted and not sent."""


@dataclass(frozen=True)
class Call:
    """What is kept of a request that was sent: no id of a car or a person, no token.

    ``at`` is when it was sent (UTC); ``error`` and ``code`` are Smartcar's words, or the kit's where it gave none.
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

    ``calls`` is the record of all that was sent, ``spent`` its sum by API in units; ``oddities`` counts the shapes
    that the readers had not seen before. Each request is noted in the run's journal, or in ``noted_in``.
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
        self._journal = noted_in or journal.of_this_run()
        self._breaker = CircuitBreaker()
        self.clock_skew: float | None = None
        """Seconds that this machine's clock is ahead of the last answer's own date; None where none told it."""
        self.calls: list[Call] = []
        self.oddities = Oddities()
        self.meter: Meter | None = None
        """What counts, and ends, the asking of one vehicle; nothing does without one."""

    @contextmanager
    def spending(self, budget: Budget) -> Iterator[None]:
        """Within this block, every request is taken from ``budget``, in every thread."""
        before, self._budget = self._budget, budget
        budget.bucket.begin()
        try:
            yield
        finally:
            self._budget = before

    @property
    def spent(self) -> dict[str, int]:
        """Units spent so far, by API."""
        units: Counter[str] = Counter()
        with self._lock:
            for call in self.calls:
                units[call.api] += call.units
        return dict(sorted(units.items()))

    def hand_over(self) -> tuple[list[Call], dict[str, int]]:
        """The calls and the oddities so far, which begin anew: a worker process tells them to the run it works for."""
        with self._lock:
            calls, self.calls = self.calls, []
        return calls, self.oddities.taken()

    def take_in(self, calls: Iterable[Call], oddities: Mapping[str, int]) -> None:
        """Adds what a worker process handed over to this record."""
        taken = list(calls)
        for call in taken:
            self._journal.note(call.api, call.units)
        with self._lock:
            self.calls.extend(taken)
        self.oddities.add(oddities)

    def json(self, request: Request) -> Any:
        """The JSON body of a successful answer; a SmartcarError otherwise."""
        return body_of(self.send(request))

    def send(self, request: Request) -> httpx.Response:
        """A successful answer, after up to three attempts; a SmartcarError otherwise.

        ServiceIllError, with nothing sent, where the last calls of this API say that the service is ill.
        """
        self._breaker.check(request.api)
        try:
            response = self._repeated(request)
        except (AllowanceSpentError, VehicleLimitError):
            raise
        except SmartcarError as error:
            self._breaker.note(request.api, error)
            if wait_before_repeating(error):
                told = request.api, request.method, request.template, self._attempts, in_words(error)
                log.info("%s %s %s: given up after %d attempts: %s", *told)
            raise
        self._breaker.note(request.api, None)
        return response

    def end(self) -> None:
        """Lets no call wait for the allowance any longer: the run is being ended."""
        if self._budget:
            self._budget.bucket.end()

    def close(self) -> None:
        """Closes every thread's client."""
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
        self._journal.note(request.api, request.units)
        at, started = datetime.now(UTC), time.perf_counter()
        response, problem = self._answer(request)
        self._record(request, at, time.perf_counter() - started, response, problem)
        self.clock_skew = _skew(response, at) if response is not None else self.clock_skew
        if isinstance(problem, RateLimitError):
            self._obey(problem)
        if problem is not None:
            raise problem
        assert response is not None
        return response

    def _take(self, request: Request) -> None:
        """Takes what the request costs, from its vehicle's own limit and from the budget; both or none."""
        metered = self.meter if request.vehicle else None
        if metered:
            metered.take(request.vehicle, request.reads)
        if not self._budget or request.free:
            return
        try:
            self._budget.take(request.units)
        except AllowanceSpentError:
            if metered:
                metered.give_back(request.vehicle, request.reads)
            raise

    def _answer(self, request: Request) -> tuple[httpx.Response | None, SmartcarError | None]:
        """The answer, and the error that it or its absence means: never neither."""
        with self._deadlines.watching(self._client()) as deadline:
            try:
                response = self._whole(deadline.client, request, request.timeout or self._timeout)
            except bounds.UnboundedError as error:
                return None, NotSmartcarError(f"{_no_answer(request)} that can be used: it {error}. Check the origin.")
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError, RuntimeError) as error:
                if deadline.passed:
                    return None, NotSmartcarError(f"{_no_answer(request)} that ended in time. Check the origin.")
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
        """The answer with all of its body, and how long that took."""
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
            found = bounds.read_whole(response)
        found.elapsed = timedelta(seconds=time.perf_counter() - started)
        return found

    def _obey(self, error: RateLimitError) -> None:
        """Holds every caller of the application's bucket; a vehicle's own limit holds nobody else."""
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
        told = response.headers.get("sc-request-id") if response is not None else None
        call = Call(
            at=at,
            api=request.api,
            template=request.template,
            status=response.status_code if response is not None else None,
            units=request.units,
            error=(problem.type or type(problem).__name__) if problem else None,
            code=problem.code if problem else None,
            request_id=problem.request_id if problem else told,
            seconds=seconds,
        )
        with self._lock:
            self.calls.append(call)
        said = call.api, request.method, call.template, call.status or call.error, call.units, call.seconds * 1000
        log.debug("%s %s %s: %s, %d units, %.0f ms", *said)


class _Routes(httpx.BaseTransport):
    """Each host directly or by the proxy that the environment names for it; each way is opened when first used."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str, int | None], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        way = self._ways.get((url.scheme, url.host, url.port))
        if way is None:
            proxy = network.proxy_for(str(url))
            checked = _certificates() if url.scheme == "https" else False
            way = httpx.HTTPTransport(verify=checked, proxy=proxy.url if proxy else None)
            self._ways[url.scheme, url.host, url.port] = way
        return way.handle_request(request)

    def close(self) -> None:
        for way in list(self._ways.values()):  # another thread may open one meanwhile
            way.close()


@cache
def _certificates() -> ssl.SSLContext:
    """What every thread's client trusts; read once, for that takes longer than a call on a near network."""
    return network.trusted() or httpx.create_ssl_context(trust_env=False)


def _skew(response: httpx.Response, at: datetime) -> float | None:
    """Seconds between the moment a request was sent and the date of its answer; to the second, as dates are."""
    try:
        told = email.utils.parsedate_to_datetime(response.headers["date"])
        return (at - told).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


def _no_answer(request: Request) -> str:
    """That nothing came of a request, for people, and by which proxy it went."""
    through = f" through {proxy.variable}" if (proxy := network.proxy_for(request.url)) else ""
    return f"smartcar: {_host(request.url)} gave no answer{through} to {request.method} {request.template}"


def _host(url: str) -> str:
    """The host of an address, for people; the address may be none."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"
