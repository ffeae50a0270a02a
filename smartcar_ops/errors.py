"""Everything that can go wrong, as one tree; each error knows the exit code it means.

::

    SmartcarOpsError                2  the world failed
    ├── SettingsError               5  a missing, ill-formed or contradictory setting
    │   ├── ParameterError          5  an unknown or ill-typed notebook parameter
    │   └── PlanError               5  an edited or foreign plan
    ├── LockedError                 4  another run holds the lock
    ├── DatabaseError               2  the company's database: unreachable, a table or a right missing
    ├── NotebookError               2  a cell failed or ran out of time
    │   └── StoppedError            2  the run was ended from outside: a signal, a killed kernel
    └── SmartcarError               2  an answer of Smartcar, or none
        ├── UnreachableError           no answer at all
        ├── NotSmartcarError           an answer that is not Smartcar's (a proxy page, a broken body)
        ├── AuthenticationError        401
        │   └── RefusedAlikeError      every V2 token that was asked is refused alike
        ├── NotPermittedError          403
        ├── NotFoundError              404
        ├── RateLimitError             429
        ├── V2StoppedError             410 of V2, or SMARTCAR_V2=off: nothing more is asked of it
        ├── AllowanceSpentError        the act's own budget of units is spent; nothing was sent
        ├── VehicleLimitError          what [limits] allows a vehicle is used up; nothing was sent
        ├── ServiceIllError            so many calls failed that the service is ill; the run ends
        └── BillingError               430

Messages name the value, what was expected, and the next step, and never hold a token, a secret,
a VIN or a place.
"""

from __future__ import annotations

import os
import re


class SmartcarOpsError(Exception):
    """The root; catching it catches all that the kit raises on purpose."""

    exit_code = 2


class SettingsError(SmartcarOpsError):
    """Known wrong before any connection: a setting is missing, ill-formed or contradictory."""

    exit_code = 5


class ParameterError(SettingsError):
    """A notebook parameter is unknown or has the wrong type or value."""


class PlanError(SettingsError):
    """A plan was edited, or belongs to another database, phase or service."""


class LockedError(SmartcarOpsError):
    """Another run holds the lock; the message names it."""

    exit_code = 4


class DatabaseError(SmartcarOpsError):
    """The company's database is unreachable, or lacks a table, a column or a right."""


class NotebookError(SmartcarOpsError):
    """A notebook's cell failed for a reason outside the tree, or ran out of time."""


class StoppedError(NotebookError):
    """A run was ended from outside: by SIGTERM or Ctrl-C, or its kernel was killed."""


class SmartcarError(SmartcarOpsError):
    """Smartcar answered with an error, or not at all.

    ``status`` is the HTTP status (None without an answer); ``type``, ``code``, ``request_id`` and
    ``resolution`` are Smartcar's own words, None where it gave none. ``retry_after`` is in seconds.
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
    """No answer at all: the host is unknown, refuses, or is too slow."""


class NotSmartcarError(SmartcarError):
    """An answer that is not Smartcar's: a proxy's page, a truncated body."""


class AuthenticationError(SmartcarError):
    """401: the credentials or the token are not, or no longer, accepted."""


class RefusedAlikeError(AuthenticationError):
    """V2 refuses every token that was asked, and alike: that says something of the asking, not of the tokens."""


class NotPermittedError(SmartcarError):
    """403: the application or the user has not granted this."""


class NotFoundError(SmartcarError):
    """404: no such vehicle, signal or path."""


class RateLimitError(SmartcarError):
    """429: too many requests for the application or the vehicle."""


class V2StoppedError(SmartcarError):
    """V2 has stopped: it answered 410, or SMARTCAR_V2 is off. Nothing more is asked of it."""


class AllowanceSpentError(SmartcarError):
    """The act's budget of units is spent; nothing was sent, and the next run goes on from here."""


class VehicleLimitError(SmartcarError):
    """What ``[limits]`` allows one vehicle is used up; nothing was sent, and a later run goes on from here."""


class ServiceIllError(SmartcarError):
    """So many calls failed that the service is ill, not a car; nothing was sent, and the run ends."""


class BillingError(SmartcarError):
    """430: the plan does not allow this request."""


def by_name(name: str) -> type[SmartcarOpsError] | None:
    """The class of the tree with this name, or None: how a notebook's failure finds its exit code."""
    classes: list[type[SmartcarOpsError]] = [SmartcarOpsError]
    while classes:
        found = classes.pop()
        if found.__name__ == name:
            return found
        classes.extend(found.__subclasses__())
    return None


def told(error: BaseException) -> tuple[int, str]:
    """(exit code, sentence) for whatever ended a command: what is not in the tree is 2, the world failed.

    Never the text of a foreign error, which may hold a secret or people's data; only what and where it was.
    """
    if isinstance(error, SmartcarOpsError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 2, "Stopped."
    return 2, f"smartcar-ops: {in_words(error)}."


def in_words(error: BaseException) -> str:
    """A foreign error in words: the system's own for a full disk and its like, else the kind and the place."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, ImportError):
        return f"the package {error.name or 'it needs'} can't be loaded; install the kit anew"
    if isinstance(error, OSError) and error.errno:
        return f"{error.filename}: {os.strerror(error.errno)}" if error.filename else os.strerror(error.errno)
    place = _place(error)
    return f"it failed with {type(error).__name__}{f' in {place}' if place else ''}; that is a fault of the kit itself"


def of_cell(name: str, text: str) -> str:
    """A foreign error of a notebook's cell, in words: its kind, and the system's own words where it has a number."""
    number = re.match(r"\[Errno (\d+)\]", text)
    return f"{name} ({os.strerror(int(number[1]))})" if number else name


def _place(error: BaseException) -> str:
    """The last line of the kit that an error passed through, as ``cli.py, line 12``; empty if none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        _, kit, path = trace.tb_frame.f_code.co_filename.replace(os.sep, "/").rpartition("/smartcar_ops/")
        found = f"{path}, line {trace.tb_lineno}" if kit else found
        trace = trace.tb_next
    return found
