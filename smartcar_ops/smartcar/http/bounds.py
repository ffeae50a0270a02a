"""Limits on a response: its size in bytes when decompressed, and the time until its last byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

LARGEST = 32 * 1024 * 1024
"""Maximum size of a decompressed response, in bytes."""

LONGEST = 60.0
"""Maximum seconds from sending a request to the last byte of its response."""

ACCEPTED_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""The content encodings accepted: a single compression that expands to at most about a thousand times its size."""


class UnboundedError(Exception):
    """A response that is too large or has an unexpected encoding; the message says which."""


def read_whole(response: httpx.Response) -> httpx.Response:
    """Return the response with its body, read in chunks; UnboundedError as soon as it is too large."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ACCEPTED_ENCODINGS:
        raise UnboundedError("has a content encoding that was not requested")
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > LARGEST:
            raise UnboundedError(f"is larger than {LARGEST // 1024**2} MiB")
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in ENCODING_HEADERS]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


ENCODING_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that describe the body as sent; they are dropped because the body is decompressed."""


@dataclass(eq=False)
class Deadline:
    """The time by which a client's response must be complete.

    ``passed`` is True if it was not complete by then, so the client was closed.
    """

    client: httpx.Client
    at: float
    passed: bool = False


class Deadlines:
    """Closes clients whose responses take too long; httpx's own time-outs restart with every byte received.

    One thread checks all clients once a second. It starts with the first request.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._open: set[Deadline] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, client: httpx.Client) -> Iterator[Deadline]:
        """Close the client if the block takes longer than the limit."""
        deadline = Deadline(client, time.monotonic() + self._longest)
        with self._lock:
            self._open.add(deadline)
            if self._thread is None:
                self._stopping.clear()
                self._thread = threading.Thread(target=self._watch, name="smartcar-deadlines", daemon=True)
                self._thread.start()
        try:
            yield deadline
        finally:
            with self._lock:
                self._open.discard(deadline)

    def end(self) -> None:
        """Stop the thread until the next request is sent."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(min(1.0, self._longest / 4)):
            with self._lock:
                late = [deadline for deadline in self._open if time.monotonic() > deadline.at]
            for deadline in late:
                deadline.passed = True
                deadline.client.close()
