"""A circuit breaker: where the service itself is ill, a run ends instead of spending its allowance on errors."""

from __future__ import annotations

import threading
from collections import defaultdict, deque

from smartcar_ops.errors import ServiceIllError, SmartcarError
from smartcar_ops.smartcar.http.retries import is_ill

WINDOW = 20
"""How many of the last calls of an API are looked at."""

LEAST = 10
"""Fewer calls than this say nothing."""

SHARE = 0.5


class Breaker:
    """Watches the outcomes of calls by API, for all threads of a run."""

    def __init__(self) -> None:
        self._outcomes: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._lock = threading.Lock()

    def note(self, api: str, error: SmartcarError | None) -> None:
        """Notes how a call ended, after its last attempt."""
        with self._lock:
            self._outcomes[api].append(is_ill(error))

    def check(self, api: str) -> None:
        """ServiceIllError, before anything is sent, where at least half of the API's last calls say that it is ill."""
        with self._lock:
            outcomes = self._outcomes[api]
            calls, ill = len(outcomes), sum(outcomes)
        if calls >= LEAST and ill >= calls * SHARE:
            raise ServiceIllError(
                f"smartcar: {ill} of the last {calls} calls of {api} got no proper answer, so the service is ill, not "
                "a car; the run ends here. What was answered is kept; run again later, it goes on from there."
            )
