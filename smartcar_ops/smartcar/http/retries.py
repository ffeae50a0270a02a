"""Which failed requests are worth repeating, and after how long."""

from __future__ import annotations

import threading
from collections import defaultdict, deque

from smartcar_ops.errors import (
    BillingError,
    NotSmartcarError,
    RateLimitError,
    ServiceIllError,
    SmartcarError,
    UnreachableError,
)

PASSING = frozenset({429, 502, 503, 504})
"""Statuses that may be over at the next attempt, unless Smartcar says what else would help."""

NOT_RETRYABLE = frozenset({"REAUTHENTICATE", "CONTACT_SUPPORT"})
"""Resolutions that no repetition can replace."""

LONGEST_WAIT = 60.0
"""Seconds; a longer ``Retry-After`` ends the call instead of holding the run."""


def wait_before_repeating(error: Exception) -> bool | float:
    """False: leave it; True: after a back-off with jitter; a number: after so many seconds.

    A billing answer (430) and a missing permission are never repeated, nor is a 500 (each try may be charged) or
    the maker's own limit (502 RATE_LIMIT): seconds don't lift it.
    """
    if isinstance(error, UnreachableError):
        return True
    if not isinstance(error, SmartcarError) or error.status is None or error.resolution in NOT_RETRYABLE:
        return False
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_WAIT else False
    if error.status == 502 and error.code == "RATE_LIMIT":
        return False
    return error.status in PASSING


def is_service_failure(error: SmartcarError | None) -> bool:
    """Whether a call's outcome speaks of a service that is ill, not of one car, one user or one maker."""
    if isinstance(error, UnreachableError | NotSmartcarError):
        return True
    return error is not None and error.status in (500, 503, 504)


def is_no_answer(error: SmartcarError) -> bool:
    """Whether a question is still open after this error: it speaks of the service, the plan or the network, and says
    nothing of what was asked."""
    if isinstance(error, UnreachableError | NotSmartcarError | RateLimitError | BillingError):
        return True
    return error.status is not None and error.status >= 500


def may_pass(error: SmartcarError) -> bool:
    """Whether the same question may be answered within minutes: not where the plan, the maker or a person must act."""
    if not is_no_answer(error) or isinstance(error, BillingError) or error.resolution in NOT_RETRYABLE:
        return False
    if isinstance(error, RateLimitError):
        return error.retry_after is None or error.retry_after <= LONGEST_WAIT
    return not (error.status == 502 and error.code == "RATE_LIMIT")


def in_words(error: SmartcarError) -> str:
    """An error in Smartcar's few words, such as ``500 SERVER INTERNAL``; the kit's own where it gave none."""
    told = [str(error.status)] if error.status else []
    return " ".join([*told, *filter(None, (error.type, error.code))] or [type(error).__name__])[:64]


WINDOW = 20
"""How many of the last calls of an API are looked at."""

LEAST = 10
"""Fewer calls than this say nothing."""

SHARE = 0.5


class CircuitBreaker:
    """Watches the outcomes of calls by API, for all threads of a run."""

    def __init__(self) -> None:
        self._outcomes: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._lock = threading.Lock()

    def note(self, api: str, error: SmartcarError | None) -> None:
        """Notes how a call ended, after its last attempt."""
        with self._lock:
            self._outcomes[api].append(is_service_failure(error))

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
