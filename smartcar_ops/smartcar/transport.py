"""One way to send: allowance before, a record after, retries where repeating is safe and useful.

A sync client per thread: one shared client under 64 threads managed less than half the calls a second,
and an async client a tenth.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import stamina

from smartcar_ops import __version__
from smartcar_ops.errors import RateLimitError, SmartcarError, UnreachableError
from smartcar_ops.smartcar.allowance import Budget
from smartcar_ops.smartcar.failures import body_of, failure

RETRIED = frozenset({429, 502, 503, 504})
ATTEMPTS = 3
LONGEST_WAIT = 60.0
"""Seconds; a longer ``Retry-After`` ends the call instead of holding the run."""


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
    """True where the request does not draw on the application's bucket (the token endpoint)."""


@dataclass(frozen=True)
class Call:
    """What is kept of a request that was sent: no id of a car or a person, no token."""

    api: str
    template: str
    status: int | None
    units: int
    error: str | None
    request_id: str | None
    seconds: float


class Transport:
    """Sends requests for all threads of a run; close it at the end.

    ``budget`` is what the current act may spend; ``calls`` is the record, ``spent`` its sum by API in units.
    """

    def __init__(self, *, timeout: float = 30.0, attempts: int = ATTEMPTS) -> None:
        self._timeout, self._attempts = timeout, attempts
        self._local = threading.local()
        self._clients: list[httpx.Client] = []
        self._lock = threading.Lock()
        self._budget: Budget | None = None
        self.calls: list[Call] = []

    @contextmanager
    def spending(self, budget: Budget) -> Iterator[None]:
        """Within this block, every request is taken from ``budget``, in every thread."""
        before, self._budget = self._budget, budget
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

    def json(self, request: Request) -> Any:
        """The JSON body of a successful answer; a SmartcarError otherwise."""
        return body_of(self.send(request))

    def send(self, request: Request) -> httpx.Response:
        """A successful answer, after up to three attempts; a SmartcarError otherwise."""
        for attempt in stamina.retry_context(
            on=_wait, attempts=self._attempts, timeout=None, wait_initial=0.2, wait_max=5
        ):
            with attempt:
                return self._once(request)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def close(self) -> None:
        """Closes every thread's client."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _once(self, request: Request) -> httpx.Response:
        if self._budget and not request.free:
            self._budget.take(request.units)
        started = time.perf_counter()
        try:
            response = self._client().request(
                request.method,
                request.url,
                headers=dict(request.headers),
                params=dict(request.params) or None,
                data=dict(request.data) if request.data else None,
                json=request.json,
            )
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            unreachable = UnreachableError(
                f"smartcar: {_host(request.url)} gave no answer to {request.method} {request.template} "
                f"({type(error).__name__}); check the network and the origin."
            )
            self._record(request, started, None, unreachable)
            raise unreachable from None
        if response.is_success:
            self._record(request, started, response, None)
            return response
        problem = failure(response, f"{request.method} {request.template}")
        self._record(request, started, response, problem)
        raise problem

    def _client(self) -> httpx.Client:
        client: httpx.Client | None = getattr(self._local, "client", None)
        if client is None or client.is_closed:
            client = httpx.Client(timeout=self._timeout, headers={"user-agent": f"smartcar-ops/{__version__}"})
            self._local.client = client
            with self._lock:
                self._clients.append(client)
        return client

    def _record(
        self, request: Request, started: float, response: httpx.Response | None, problem: SmartcarError | None
    ) -> None:
        call = Call(
            api=request.api,
            template=request.template,
            status=response.status_code if response is not None else None,
            units=request.units,
            error=(problem.type or type(problem).__name__) if problem else None,
            request_id=(
                problem.request_id
                if problem
                else response.headers.get("sc-request-id")
                if response is not None
                else None
            ),
            seconds=time.perf_counter() - started,
        )
        with self._lock:
            self.calls.append(call)


def _host(url: str) -> str:
    """The host of an address, for people; the address may be none."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"


def _wait(error: Exception) -> bool | float:
    """Whether, or after how many seconds, a failed request is worth repeating."""
    if isinstance(error, UnreachableError):
        return True
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_WAIT else False
    return isinstance(error, SmartcarError) and error.status in RETRIED
