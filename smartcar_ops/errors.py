"""Everything that can go wrong, as one tree; each error knows the exit code it means.

::

    SmartcarOpsError                2  the world failed
    ├── SettingsError               5  a missing, ill-formed or contradictory setting
    │   ├── ParameterError          5  an unknown or ill-typed notebook parameter
    │   └── PlanError               5  an edited or foreign plan
    ├── LockedError                 4  another run holds the lock
    ├── DatabaseError               2  the company's database: unreachable, a table or a right missing
    ├── NotebookError               2  a cell failed or ran out of time
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
