"""The pretend Smartcar as an ASGI application, and as a real HTTP server in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from . import (
    connect,
    connections,
    iam,
    management,
    pages,
    subscriptions,
    user_tokens,
    v2,
    v2_commands,
    v3,
    v3_commands,
    webhooks,
)
from .directory import Key
from .environment import environment
from .errors import V2Error, V3Error, answer_unknown_path, answer_wire_error
from .faults import behaviour_of, check_faults, strikes_of
from .gate import Arrival, Arrivals, Gate
from .records import Connection
from .shifting import Shifts
from .state import Clock, State, utc_now
from .world import World

HOST = "127.0.0.1"
V3_ROOMS = (connections, subscriptions, v3, v3_commands)
V2_ROOMS = (management, v2_commands, v2)


def build_app(
    world: World, faults: Iterable[str] = (), clock: Clock = utc_now, shifts: Shifts | None = None
) -> Starlette:
    """The whole pretend Smartcar; ValueError for an unknown fault. `clock` says when tokens are too old."""
    names = check_faults(faults)
    behaviour = behaviour_of(names)
    state, arrivals = State(world, clock, behaviour, shifts), Arrivals()
    gate = Middleware(Gate, arrivals=arrivals, strikes=strikes_of(names, behaviour), delay=behaviour.delay)
    rooms = (iam, connect, user_tokens, *V3_ROOMS, *V2_ROOMS, webhooks, pages)
    app = Starlette(
        routes=[route for room in rooms for route in room.routes],
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
    """A uvicorn server that says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


class Sandbox:
    """A running pretend Smartcar on 127.0.0.1, served from a thread of this process."""

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
        """What /health answers here and nowhere else."""
        return self._state.nonce

    @property
    def stop_asked(self) -> threading.Event:
        """Set once somebody posted the nonce to /stop."""
        return self._state.stop_asked

    @property
    def connections(self) -> list[Connection]:
        """The connections there are now, newest first, of every mode: the world's unless some came or went."""
        return list(self._state.directory.all)

    @property
    def arrived(self) -> list[Key]:
        """(user id, vehicle id) of every connection that came since the start, in order."""
        return list(self._state.directory.arrived)

    @property
    def left(self) -> list[Key]:
        """(user id, vehicle id) of every connection that went since the start, in order."""
        return list(self._state.directory.left)

    @property
    def arrivals(self) -> list[Arrival]:
        """Every request so far, as (monotonic seconds, method, path)."""
        return self._arrivals.all()

    @property
    def idle_seconds(self) -> float:
        """How long ago the last request but /health came in."""
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
        """The environment variables which point the kit at this sandbox and at `database_url`."""
        return environment(self.url, database_url, self.world.credentials)

    def start(self) -> None:
        """Serve; returns once it answers. RuntimeError if it does not within 10 seconds."""
        self._thread.start()
        if not self._server.answering.wait(10):
            raise RuntimeError(f"sandbox: the server at {self.url} did not start within 10 s")

    def end(self) -> None:
        """Have the server end, and do not wait for it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """End the server and wait for it."""
        self.end()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(port: int) -> socket.socket:
    """A bound socket; OSError where the port is taken."""
    # Named as TCP, asyncio switches off Nagle's algorithm: 40 ms an answer otherwise.
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
    """A sandbox for the length of a `with` block; port 0 takes any free one, `shifts` bounds `pages-shift`."""
    sandbox = Sandbox(world, faults, port, clock, shifts)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()
