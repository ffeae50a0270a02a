"""The pretend Smartcar: an ASGI application, and an HTTP server that runs in a thread until stopped or idle."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from smartcar_ops.sandbox.address import address_of, remove_address, write_address
from smartcar_ops.sandbox.api import home
from smartcar_ops.sandbox.api.auth import connect, tokens
from smartcar_ops.sandbox.api.churn import Shifts
from smartcar_ops.sandbox.api.directory import Key
from smartcar_ops.sandbox.api.management import connections, subscriptions, webhooks
from smartcar_ops.sandbox.api.management import v2 as management_v2
from smartcar_ops.sandbox.api.state import Clock, State, utc_now
from smartcar_ops.sandbox.api.v2 import commands as v2_commands
from smartcar_ops.sandbox.api.v2 import routes as v2
from smartcar_ops.sandbox.api.v3 import commands as v3_commands
from smartcar_ops.sandbox.api.v3 import routes as v3
from smartcar_ops.sandbox.company import make_company_file
from smartcar_ops.sandbox.environment import environment
from smartcar_ops.sandbox.faults.faults import behaviour_of, check_faults, strikes_of
from smartcar_ops.sandbox.faults.interceptors import Strike
from smartcar_ops.sandbox.fleet.model import Connection
from smartcar_ops.sandbox.wire_errors import V2Error, V3Error, answer_unknown_path, answer_wire_error
from smartcar_ops.sandbox.world import World, build_world

HOST = "127.0.0.1"
ENDPOINTS = (
    *(connect, tokens, connections, subscriptions, v3, v3_commands),
    *(management_v2, v2_commands, v2, webhooks, home),
)
"""Modules with ``routes``. The first route that matches a path answers."""


def build_app(
    world: World, faults: Iterable[str] = (), clock: Clock = utc_now, shifts: Shifts | None = None
) -> Starlette:
    """Return the whole pretend Smartcar as an application. Raises ValueError for an unknown fault.

    `clock` returns the time that decides whether tokens have expired.
    """
    names = check_faults(faults)
    behaviour = behaviour_of(names)
    state, arrivals = State(world, clock, behaviour, shifts), Arrivals()
    gate = Middleware(Gate, arrivals=arrivals, strikes=strikes_of(names, behaviour), delay=behaviour.delay)
    app = Starlette(
        routes=[route for module in ENDPOINTS for route in module.routes],
        middleware=[gate],
        exception_handlers={
            V2Error: answer_wire_error,
            V3Error: answer_wire_error,
            404: answer_unknown_path,
            405: answer_unknown_path,
        },
    )
    app.state.sandbox, app.state.arrivals, app.state.faults = state, arrivals, names
    return app


class _Server(uvicorn.Server):
    """A uvicorn server that sets `answering` once it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


class Sandbox:
    """A pretend Smartcar on 127.0.0.1, served from a thread of this process."""

    def __init__(
        self,
        world: World,
        faults: Iterable[str] = (),
        port: int = 0,
        clock: Clock = utc_now,
        shifts: Shifts | None = None,
    ) -> None:
        self.world = world
        self._app = build_app(world, faults, clock, shifts)
        self._socket = _listen(port)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)

    def __repr__(self) -> str:
        return f"Sandbox({self.url}, {self.world!r})"

    @property
    def nonce(self) -> str:
        """Return the value that /health returns on this server and on no other."""
        return self._state.nonce

    @property
    def stop_asked(self) -> threading.Event:
        """Return the event that is set when somebody posts the nonce to /stop."""
        return self._state.stop_asked

    @property
    def connections(self) -> list[Connection]:
        """Return the current connections in every mode, newest first: the world's, and what changed since."""
        return list(self._state.directory.all)

    @property
    def arrived(self) -> list[Key]:
        """Return (user id, vehicle id) of every connection added since the start, in order."""
        return list(self._state.directory.arrived)

    @property
    def left(self) -> list[Key]:
        """Return (user id, vehicle id) of every connection removed since the start, in order."""
        return list(self._state.directory.left)

    @property
    def arrivals(self) -> list[Arrival]:
        """Return every request so far, as (monotonic seconds, method, path)."""
        return self._arrivals.all()

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last request other than /health."""
        return self._arrivals.idle_seconds

    @property
    def _state(self) -> State:
        state: State = self._app.state.sandbox
        return state

    @property
    def _arrivals(self) -> Arrivals:
        arrivals: Arrivals = self._app.state.arrivals
        return arrivals

    def environment(self, database_url: str) -> dict[str, str]:
        """Return the environment variables that point the kit at this sandbox and at `database_url`."""
        return environment(self.url, database_url, self.world.credentials)

    def start(self) -> None:
        """Start serving. Return once the server accepts requests; raise RuntimeError if that takes over 10 seconds."""
        self._thread.start()
        if not self._server.answering.wait(10):
            raise RuntimeError(f"sandbox: the server at {self.url} did not start within 10 s")

    def end(self) -> None:
        """Tell the server to end, without waiting for it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """End the server and wait for it, at most 10 seconds."""
        self.end()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(port: int) -> socket.socket:
    """Return a bound socket. Raises OSError if the port is taken."""
    # If the protocol is given as TCP, asyncio turns Nagle's algorithm off, which saves 40 ms per answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def running(
    world: World,
    faults: Iterable[str] = (),
    port: int = 0,
    clock: Clock = utc_now,
    shifts: Shifts | None = None,
) -> Iterator[Sandbox]:
    """Run a sandbox for the length of a `with` block. Port 0: any free port; `shifts`: limits of `pages-shift`."""
    sandbox = Sandbox(world, faults, port, clock, shifts)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()


Arrival = tuple[float, str, str]


class Arrivals:
    """Every request received, as (monotonic seconds, method, path). Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Arrival] = []
        self._batched = 0
        self._active = time.monotonic()

    def add(self, method: str, path: str) -> None:
        """Record a request. Every path except /health counts as activity."""
        with self._lock:
            self._all.append((time.monotonic(), method, path))
            if path != "/health":
                self._active = time.monotonic()

    def add_batch(self, paths: int) -> None:
        """Record that a request was a batch of this many paths; each path counts as one request."""
        with self._lock:
            self._batched += paths - 1

    def units(self, free: Collection[str]) -> int:
        """Return the units used so far: one per request, one per path in a batch, none for the paths in ``free``."""
        with self._lock:
            return sum(path not in free for _, _, path in self._all) + self._batched

    def all(self) -> list[Arrival]:
        """Return a copy of the requests so far."""
        with self._lock:
            return list(self._all)

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last request other than /health."""
        with self._lock:
            return time.monotonic() - self._active


class Gate:
    """Middleware that records each request, then lets the faults replace the answer of the routes."""

    def __init__(self, app: ASGIApp, arrivals: Arrivals, strikes: list[Strike], delay: float) -> None:
        self.app, self.arrivals, self.strikes, self.delay = app, arrivals, strikes, delay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        self.arrivals.add(scope["method"], path)
        if self.delay and path != "/health":
            await asyncio.sleep(self.delay)
        # Call every strike for every request, so that each one's count does not depend on the others.
        answers = [answer for strike in self.strikes if (answer := strike(path)) is not None]
        await (answers or [self.app])[0](scope, receive, send)


def serve(
    port: int = 0,
    users: int = 300,
    seed: int = 0,
    faults: Iterable[str] = (),
    folder: Path | None = None,
    idle_minutes: float = 0,
) -> None:
    """Serve a new world on 127.0.0.1 until a signal, /stop, or `idle_minutes` (0: never) without a request.

    With a `folder`, write the address to `folder/sandbox.json` and the company's database next to it. Without one,
    the database is `.sandbox/port-<port>/company.sqlite`, and the `export` lines are printed.
    Raises ValueError for a bad value, OSError if the port is taken.
    """
    names = _check(port, idle_minutes, faults)
    world = build_world(users, seed)
    with running(world, names, port) as sandbox:
        _stop_on_signals(sandbox.stop_asked)
        if folder is None:
            _print_exports(sandbox)
            _wait(sandbox, idle_minutes)
            return
        database_url = make_company_file(folder, world)
        write_address(folder, address_of(world, sandbox.url, database_url, sandbox.nonce))
        try:
            _wait(sandbox, idle_minutes)
        finally:
            remove_address(folder, sandbox.nonce)


def _check(port: int, idle_minutes: float, faults: Iterable[str]) -> tuple[str, ...]:
    if not 0 <= port <= 65535:
        raise ValueError(f"sandbox: port is {port}, expected 0 (any free one) to 65535")
    if not 0 <= idle_minutes < float("inf"):
        raise ValueError(f"sandbox: idle-minutes is {idle_minutes}, expected 0 (never end) or more")
    return check_faults(faults)


def _print_exports(sandbox: Sandbox) -> None:
    database_url = make_company_file(Path(".sandbox") / f"port-{sandbox.url.rpartition(':')[2]}", sandbox.world)
    print(f"Pretend Smartcar at {sandbox.url} (Ctrl-C ends it). To use it:")
    for name, value in sandbox.environment(database_url).items():
        print(f"export {name}={value}")
    print("export SMARTCAR_ALLOWANCE_BURST=1000000")  # a pretend Smartcar has no rate limit to respect
    print(end="", flush=True)


def _wait(sandbox: Sandbox, idle_minutes: float) -> None:
    """Return when the sandbox is asked to stop or has been idle for long enough."""
    limit = idle_minutes * 60
    tick = min(1.0, max(limit / 4, 0.05)) if limit else 1.0
    while not sandbox.stop_asked.wait(tick):
        if limit and sandbox.idle_seconds >= limit:
            return


def _stop_on_signals(stop: threading.Event) -> None:
    """Let SIGINT and SIGTERM set `stop`. Does nothing outside the main thread, where Python allows no handlers."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
