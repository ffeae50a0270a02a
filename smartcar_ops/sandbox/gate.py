"""What every request passes first: it is noted, delayed and struck by the faults in force."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from .strikes import Strike

Arrival = tuple[float, str, str]


class Arrivals:
    """Every request that came in: (monotonic seconds, method, path). Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Arrival] = []
        self._batched = 0
        self._active = time.monotonic()

    def add(self, method: str, path: str) -> None:
        """Note a request; all but /health count as activity."""
        with self._lock:
            self._all.append((time.monotonic(), method, path))
            if path != "/health":
                self._active = time.monotonic()

    def add_batch(self, paths: int) -> None:
        """Note that a request was a batch of so many paths: each counts as one."""
        with self._lock:
            self._batched += paths - 1

    def units(self, free: Collection[str]) -> int:
        """What all requests so far took, a unit each and in a batch one a path; those to ``free`` paths took none."""
        with self._lock:
            return sum(path not in free for _, _, path in self._all) + self._batched

    def all(self) -> list[Arrival]:
        """A copy of what came in so far."""
        with self._lock:
            return list(self._all)

    @property
    def idle_seconds(self) -> float:
        """How long ago the last request but /health came in."""
        with self._lock:
            return time.monotonic() - self._active


class Gate:
    """Middleware: notes each request, then lets the faults strike before the routes answer."""

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
        # Every strike sees every request, so that each counts alike whatever the others do.
        answers = [answer for strike in self.strikes if (answer := strike(path)) is not None]
        await (answers or [self.app])[0](scope, receive, send)
