"""Which failed requests to retry, and after how long; `Transport` does so at most twice.

Two more retries are decided by their callers: `smartcar.pagination` asks for a page of a list once more if the error
may pass, and `smartcar.auth` repeats a request once with a new token after a 401.
"""

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
"""Temporary statuses: the next attempt may succeed, unless Smartcar's resolution says otherwise."""

NOT_RETRYABLE = frozenset({"REAUTHENTICATE", "CONTACT_SUPPORT"})
"""Resolutions for which a retry can't help."""

LONGEST_WAIT = 60.0
"""Maximum ``Retry-After`` in seconds; a longer one fails the call instead of blocking the run."""


def wait_before_repeating(error: Exception) -> bool | float:
    """Return False for no retry, True for a retry after a back-off with jitter, or the seconds to wait first.

    Never retried: a billing error (430), a missing permission, a 500 (each attempt may be charged) and the maker's
    own limit (502 RATE_LIMIT), which lasts longer than seconds.
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
    """Return whether a call's outcome means that the service is failing, not one car, user or maker."""
    if isinstance(error, UnreachableError | NotSmartcarError):
        return True
    return error is not None and error.status in (500, 503, 504)


def is_no_answer(error: SmartcarError) -> bool:
    """Return whether the error is about the service, the plan or the network, so that the question is still open."""
    if isinstance(error, UnreachableError | NotSmartcarError | RateLimitError | BillingError):
        return True
    return error.status is not None and error.status >= 500


def may_pass(error: SmartcarError) -> bool:
    """Return whether the same request may succeed within minutes.

    False if the plan, the maker or a person must act first.
    """
    if not is_no_answer(error) or isinstance(error, BillingError) or error.resolution in NOT_RETRYABLE:
        return False
    if isinstance(error, RateLimitError):
        return error.retry_after is None or error.retry_after <= LONGEST_WAIT
    return not (error.status == 502 and error.code == "RATE_LIMIT")


def in_words(error: SmartcarError) -> str:
    """Return an error as Smartcar's status, type and code, such as ``500 SERVER INTERNAL``; or its class name."""
    status = [str(error.status)] if error.status else []
    return " ".join([*status, *filter(None, (error.type, error.code))] or [type(error).__name__])[:64]


WINDOW = 20
"""How many of an API's last calls are considered."""

LEAST = 10
"""Minimum number of calls to judge by."""

SHARE = 0.5
"""Share of failed calls from which the service counts as failing."""


class CircuitBreaker:
    """Tracks the outcomes of calls by API, for all threads of a run."""

    def __init__(self) -> None:
        self._outcomes: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._lock = threading.Lock()

    def note(self, api: str, error: SmartcarError | None) -> None:
        """Record how a call ended, after its last attempt."""
        with self._lock:
            self._outcomes[api].append(is_service_failure(error))

    def check(self, api: str) -> None:
        """ServiceIllError if at least half of the API's last calls failed because of the service."""
        with self._lock:
            outcomes = self._outcomes[api]
            calls, failed = len(outcomes), sum(outcomes)
        if calls >= LEAST and failed >= calls * SHARE:
            raise ServiceIllError(
                f"smartcar: {failed} of the last {calls} calls to {api} failed, so the service is failing, not one "
                "car; the run ends here. All answers so far are kept. Run again later to continue."
            )
