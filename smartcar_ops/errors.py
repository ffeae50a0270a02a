"""All errors of the kit as one tree; each class has the exit code that it leads to.

::

    SmartcarOpsError                2  something outside the kit failed
    ├── SettingsError               5  a missing, malformed or contradictory setting
    │   ├── ParameterError          5  an unknown notebook parameter, or a wrong type
    │   └── PlanError               5  a plan that was edited or made elsewhere
    ├── LockedError                 4  another run holds the lock
    ├── DatabaseError               2  the company's database: unreachable, a table or a right missing
    ├── NotebookError               2  a cell failed or timed out
    │   └── StoppedError            2  the run was ended from outside: a signal, a killed kernel
    └── SmartcarError               2  an error response of Smartcar, or no response
        ├── UnreachableError           no response at all
        ├── NotSmartcarError           a response that is not Smartcar's (a proxy page, a truncated body)
        ├── AuthenticationError        401
        │   └── RefusedAlikeError      V2 refuses every token in the same way
        ├── NotPermittedError          403
        ├── NotFoundError              404
        ├── RateLimitError             429
        ├── V2StoppedError             410 from V2, or SMARTCAR_V2=off; V2 gets no more calls
        ├── AllowanceSpentError        the run's budget of units is spent; nothing was sent
        ├── VehicleLimitError          the vehicle's [limits] are used up; nothing was sent
        ├── ServiceIllError            so many calls failed that the service must be down; the run ends
        └── BillingError               430

0, 1 and 3 are no errors: each act's result has its own ``exit_code``, and ``smartcar-ops --help`` lists all six.

Messages name the value, what was expected and the next step. They never contain a token, a secret,
a VIN or a location.
"""

from __future__ import annotations

import os
import re


class SmartcarOpsError(Exception):
    """The root of the tree: catch it to catch every error that the kit raises on purpose."""

    exit_code = 2


class SettingsError(SmartcarOpsError):
    """A setting is missing, malformed or contradictory; found before any connection is made."""

    exit_code = 5


class ParameterError(SettingsError):
    """A notebook parameter is unknown, or has a wrong type or value."""


class PlanError(SettingsError):
    """A plan was edited, or belongs to another database, phase or service."""


class LockedError(SmartcarOpsError):
    """Another run holds the lock; the message names it."""

    exit_code = 4


class DatabaseError(SmartcarOpsError):
    """The company's database can't be reached, or a table, a column or a permission is missing."""


class NotebookError(SmartcarOpsError):
    """A notebook's cell failed with an error outside this tree, or timed out."""


class StoppedError(NotebookError):
    """A run was stopped from outside: by SIGTERM or Ctrl-C, or because its kernel was killed."""


class SmartcarError(SmartcarOpsError):
    """Smartcar returned an error, or did not respond.

    ``status`` is the HTTP status (None if there was no response). ``type``, ``code``, ``request_id`` and
    ``resolution`` come from Smartcar's response, None if they are missing. ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        resolution: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.request_id = request_id
        self.resolution = resolution
        self.retry_after = retry_after


class UnreachableError(SmartcarError):
    """No response at all: the host is unknown, refuses the connection or is too slow."""


class NotSmartcarError(SmartcarError):
    """A response that is not Smartcar's: a proxy's page, a truncated body."""


class AuthenticationError(SmartcarError):
    """401: the credentials or the token are not accepted, or no longer."""


class RefusedAlikeError(AuthenticationError):
    """V2 refuses every token in the same way, so the cause is not the single token."""


class NotPermittedError(SmartcarError):
    """403: the application or the user has no permission for this."""


class NotFoundError(SmartcarError):
    """404: no such vehicle, signal or path."""


class RateLimitError(SmartcarError):
    """429: too many requests for the application or the vehicle."""


class V2StoppedError(SmartcarError):
    """V2 has stopped: it returned 410, or SMARTCAR_V2 is off. It gets no more calls."""


class AllowanceSpentError(SmartcarError):
    """The run's budget of units is spent. Nothing was sent; the next run continues here."""


class VehicleLimitError(SmartcarError):
    """The units that ``[limits]`` allows for one vehicle are used up. Nothing was sent; a later run continues here."""


class ServiceIllError(SmartcarError):
    """So many calls failed that the cause is the service, not one vehicle. Nothing was sent, and the run ends."""


class BillingError(SmartcarError):
    """430: the plan does not allow this request."""


def by_name(name: str) -> type[SmartcarOpsError] | None:
    """Return the class of the tree with this name, or None: gives a notebook's failure its exit code."""
    classes: list[type[SmartcarOpsError]] = [SmartcarOpsError]
    while classes:
        found = classes.pop()
        if found.__name__ == name:
            return found
        classes.extend(found.__subclasses__())
    return None


def outcome_of(error: BaseException) -> tuple[int, str]:
    """Return (exit code, sentence) for the error that ended a command; 2 if it is not in the tree.

    The text of any other error is left out, because it may contain secrets or personal data; only its kind and place
    are named.
    """
    if isinstance(error, SmartcarOpsError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 2, "Stopped."
    return 2, f"smartcar-ops: {in_words(error)}."


def in_words(error: BaseException) -> str:
    """Return an error outside the tree in words: the system's message if it has one, otherwise its kind and place."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, ImportError):
        return f"{f'the package {error.name}' if error.name else 'a package'} can't be loaded; reinstall the kit"
    if isinstance(error, OSError) and error.errno:
        return f"{error.filename}: {os.strerror(error.errno)}" if error.filename else os.strerror(error.errno)
    place = _place(error)
    return f"it failed with {type(error).__name__}{f' in {place}' if place else ''}; this is a bug in the kit"


def of_cell(name: str, text: str) -> str:
    """Return the error of a notebook's cell in words: its kind, and the system's message if it has an error number."""
    number = re.match(r"\[Errno (\d+)\]", text)
    return f"{name} ({os.strerror(int(number[1]))})" if number else name


def _place(error: BaseException) -> str:
    """Return the innermost line of the kit in the traceback, as ``cli.py, line 12``; empty if there is none."""
    place, trace = "", error.__traceback__
    while trace is not None:
        _, kit, path = trace.tb_frame.f_code.co_filename.replace(os.sep, "/").rpartition("/smartcar_ops/")
        place = f"{path}, line {trace.tb_lineno}" if kit else place
        trace = trace.tb_next
    return place
