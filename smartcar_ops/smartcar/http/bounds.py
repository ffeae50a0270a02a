"""What an answer may be at most: so many bytes, unpacked, and so long until its last byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

LARGEST = 32 * 1024 * 1024
"""Bytes of an answer, unpacked."""

LONGEST = 60.0
"""Seconds from the sending of a request to the last byte of its answer."""

PACKED = frozenset({"", "identity", "gzip", "deflate"})
"""How an answer may be packed: once, and so that a part of it unpacks to a thousand times its size at most."""


class UnboundedError(Exception):
    """An answer that is larger, or otherwise packed, than any of Smartcar's; its words say which."""


def read_whole(response: httpx.Response) -> httpx.Response:
    """The answer with its body, read part by part; UnboundedError as soon as it is too large."""
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in PACKED:
        raise UnboundedError("is packed in a way that was not asked for")
    kept = bytearray()
    for part in response.iter_bytes():
        kept += part
        if len(kept) > LARGEST:
            raise UnboundedError(f"is larger than {LARGEST // 1024**2} MiB")
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in UNPACKED_WITHOUT]
    return httpx.Response(response.status_code, headers=headers, content=bytes(kept), request=response.request)


UNPACKED_WITHOUT = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers of the body as it came over the wire."""


@dataclass(eq=False)
class Deadline:
    """When a client's answer has to be whole; ``passed`` says that it was not, and that the client was closed."""

    client: httpx.Client
    at: float
    passed: bool = False


class Deadlines:
    """Closes clients whose answers take too long: a client's own limits begin anew with every byte that comes.

    One thread watches for all, once a second, and only where something is sent.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._open: set[Deadline] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, client: httpx.Client) -> Iterator[Deadline]:
        """Within the block, the client is closed once the time is over."""
        deadline = Deadline(client, time.monotonic() + self._longest)
        with self._lock:
            self._open.add(deadline)
            if self._thread is None:
                self._ended.clear()
                self._thread = threading.Thread(target=self._watch, name="smartcar-deadlines", daemon=True)
                self._thread.start()
        try:
            yield deadline
        finally:
            with self._lock:
                self._open.discard(deadline)

    def end(self) -> None:
        """Watches no longer, until something is sent again."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._ended.set()
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._longest / 4)):
            with self._lock:
                late = [one for one in self._open if time.monotonic() > one.at]
            for one in late:
                one.passed = True
                one.client.close()
