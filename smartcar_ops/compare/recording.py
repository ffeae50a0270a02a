"""Read vehicles on both versions with the fewest calls, and save the answers without private values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from threading import Event
from typing import Any

from smartcar_ops import errors
from smartcar_ops.audit.token_owners import UNITS, TokenOwner, TokenOwners
from smartcar_ops.compare.judging.verdicts import wants_another_read
from smartcar_ops.compare.redaction import Redactor
from smartcar_ops.compare.vehicles import LinkedVehicle, VehicleKey
from smartcar_ops.concurrency import bounded_map
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.recordings import Recordings, StoredRecording
from smartcar_ops.database.tables import Car
from smartcar_ops.errors import (
    AllowanceSpentError,
    AuthenticationError,
    NotFoundError,
    NotSmartcarError,
    RefusedAlikeError,
    ServiceIllError,
    SmartcarError,
    V2StoppedError,
    VehicleLimitError,
)
from smartcar_ops.fields.field_map import FieldMap
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.settings.logs import counts
from smartcar_ops.smartcar.documents import Document
from smartcar_ops.smartcar.http.retries import is_no_answer, may_pass
from smartcar_ops.smartcar.signals import Signals, read_signals
from smartcar_ops.smartcar.v2 import V2, BatchAnswer, BatchItem, read_batch
from smartcar_ops.smartcar.v3 import V3
from smartcar_ops.storage.run_log import Milestones
from smartcar_ops.text import thousands

log = logging.getLogger("smartcar_ops.compare")

Answer = Document | SmartcarError

LIMITLESS = 1 << 30
"""A number of paths larger than any batch."""


@dataclass(frozen=True)
class Recording:
    """The answers of both versions about one vehicle; V3 may have been read twice.

    ``left_out`` are V2's paths that were not requested, with the reason; ``owner`` is the user and vehicles of the
    vehicle's V2 token; ``consent`` is what the stored connection has: the user, the permissions, the user's vehicles.

    If a limit splits V2's paths over several days, this is the newest part: ``asked`` are its paths, ``earlier`` the
    previous parts, each with its own V3 reading, and the paths left out for ``limit`` are still to be requested.
    """

    pair: LinkedVehicle
    at: datetime
    v2: Answer
    v3: Answer
    again: Answer | None = None
    left_out: Mapping[str, Any] = field(default_factory=dict)
    owner: TokenOwner | None = None
    consent: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    earlier: tuple[Recording, ...] = ()

    @property
    def open_paths(self) -> frozenset[str]:
        """V2's paths left for another day; empty if this part has no answer, because then it is read again."""
        return frozenset(path for path, why in self.left_out.items() if why == "limit" and self.answered)

    def part_of(self, path: str) -> Recording:
        """Return the part that requested a path; this one if none did."""
        return next((part for part in self.earlier if path in part.asked), self)

    @property
    def answered(self) -> bool:
        """True if both versions answered; no data on V3 counts as an answer if the vehicle has no subscription."""
        return isinstance(self.v2, Document) and (isinstance(self.v3, Document) or self.is_unsubscribed)

    @property
    def is_unsubscribed(self) -> bool:
        """True if V3 has no data (an empty list or 404) and the vehicle has no webhook subscription."""
        if self.pair.subscribed is not False:
            return False
        return isinstance(self.v3, NotFoundError) or not (
            isinstance(self.signals, SmartcarError) or self.signals.signals or self.signals.not_received
        )

    @property
    def unanswered(self) -> SmartcarError | None:
        """Why a version has to be read again (no answer, or an incomplete one); None if both answered in full."""
        for answer in (self.v2, self.v3):
            if isinstance(answer, SmartcarError) and is_no_answer(answer):
                return answer
        is_complete = isinstance(self.signals, SmartcarError) or not self.signals.not_received
        if is_complete:
            return None
        return NotSmartcarError("smartcar: V3 returned fewer signals than it has.", code="NOT_WHOLE")

    @property
    def pages(self) -> int:
        """How many requests V3's signals took."""
        return self.v3.pages if isinstance(self.v3, Document) else 1

    @property
    def requests(self) -> int:
        """The number of requests to both versions."""
        second = self.again.pages if isinstance(self.again, Document) else int(self.again is not None)
        return 1 + self.pages + second

    @cached_property
    def batch(self) -> BatchAnswer | SmartcarError:
        """V2's answers, including the user and vehicles of the token."""
        if not isinstance(self.v2, Document):
            return self.v2
        items = dict(read_batch(self.v2.body).items)
        if self.owner and self.owner.user:
            items["/user"] = BatchItem("/user", 200, {"id": self.owner.user})
            if "vehicles" in self.consent:
                items["/vehicles"] = BatchItem("/vehicles", 200, {"vehicles": list(self.owner.vehicles)})
        return BatchAnswer(items, self.left_out)

    @cached_property
    def signals(self) -> Signals | SmartcarError:
        """V3's signals as first read; empty for a 404 if the vehicle has no webhook subscription."""
        if isinstance(self.v3, NotFoundError) and self.pair.subscribed is False:
            return Signals({}, connection=self.consent)
        return self._signals(self.v3)

    @cached_property
    def signals_again(self) -> Signals | SmartcarError | None:
        """V3's signals of the second read; None if there was none."""
        return None if self.again is None else self._signals(self.again)

    def _signals(self, answer: Answer) -> Signals | SmartcarError:
        return replace(read_signals(answer.body), connection=self.consent) if isinstance(answer, Document) else answer

    def redacted(self, secrets: Sequence[str] = ()) -> Recording:
        """Return the recording without private values, as it is stored."""
        redactor = Redactor(secrets)

        def clean(answer: Answer | None, redact: Callable[[Any], Any]) -> Any:
            return replace(answer, body=redact(answer.body)) if isinstance(answer, Document) else answer

        v3 = clean(self.v3, redactor.signals)
        v2, again = clean(self.v2, redactor.batch), clean(self.again, redactor.signals)
        return replace(self, pair=replace(self.pair, token=None), v2=v2, v3=v3, again=again)

    def stored(self, slice_: str) -> StoredRecording:
        """Return the recording as the ledger stores it."""
        at = t.as_kept(self.at)
        return StoredRecording(*self.pair.key, slice_, self.answered, at, self.document(), len(self.open_paths))

    def document(self) -> dict[str, Any]:
        """Return the recording as JSON."""
        vehicle = self.pair
        return {
            "vehicle_id": vehicle.vehicle_id,
            "local_vehicle_id": vehicle.local_vehicle_id,
            "smartcar_user_id": vehicle.smartcar_user_id,
            "make": vehicle.make,
            "powertrain": vehicle.powertrain,
            "fed": vehicle.subscribed,
            "at": self.at.isoformat(),
            "left_out": dict(self.left_out),
            "owner": None if self.owner is None else {"user": self.owner.user, "vehicles": list(self.owner.vehicles)},
            "consent": dict(self.consent),
            "v2": _answer_to_json(self.v2),
            "v3": _answer_to_json(self.v3),
            "again": None if self.again is None else _answer_to_json(self.again),
            "asked": list(self.asked),
            "earlier": [part.document() for part in self.earlier],
        }


def read_recording(document: Mapping[str, Any]) -> Recording:
    """Return a recording from its JSON."""
    names = ("vehicle_id", "local_vehicle_id", "smartcar_user_id", "make", "powertrain")
    owner, again = document["owner"], document["again"]
    return Recording(
        pair=LinkedVehicle(**{name: document[name] for name in names}, token=None, subscribed=document["fed"]),
        at=datetime.fromisoformat(document["at"]),
        v2=_answer_from_json(document["v2"]),
        v3=_answer_from_json(document["v3"]),
        again=None if again is None else _answer_from_json(again),
        left_out=document["left_out"],
        owner=None if owner is None else TokenOwner(owner["user"], tuple(owner["vehicles"])),
        consent=document["consent"],
        asked=tuple(document.get("asked", ())),
        earlier=tuple(map(read_recording, document.get("earlier", ()))),
    )


class Recorder:
    """Reads vehicles on both versions and saves each recording at once; may be shared by any number of threads."""

    def __init__(
        self, v2: V2, v3: V3, owners: TokenOwners, recordings: Recordings, fields: FieldMap, slice_: str
    ) -> None:
        self._v2, self._v3, self._owners = v2, v3, owners
        self._recordings, self._fields, self._slice = recordings, fields, slice_

    def __call__(self, vehicle: LinkedVehicle) -> Recording:
        """Read a vehicle and save the recording.

        Reads the owner of its token, V3, one V2 batch, and V3 again only if a volatile field differs. If a limit allows
        only a part of the batch, the rest is left for another day and is then compared with that day's V3 reading. If
        one version fails, its error is recorded. Raised, with nothing saved: AllowanceSpentError, VehicleLimitError,
        ServiceIllError, V2StoppedError, AuthenticationError for the application token, and RefusedAlikeError.
        """
        recording = self.read(vehicle)
        self._recordings.keep(recording.redacted([vehicle.token or ""]).stored(self._slice))
        return recording

    def read(self, vehicle: LinkedVehicle) -> Recording:
        """Read a vehicle and save nothing."""
        owner = self._owner(vehicle)
        if isinstance(owner, TokenOwner) and owner.user and owner.user in vehicle.consents:
            vehicle = vehicle.under(owner.user)
        paths, left_out = self._fields.paths_for(vehicle.make, vehicle.powertrain, vehicle.permissions)
        earlier = self._parts(vehicle)
        open_ = [path for path in paths if not any(path in part.asked for part in earlier)]
        first = self._signals(vehicle)
        now = self._v2.paths_now(vehicle.vehicle_id, open_, first.pages if isinstance(first, Document) else 1)
        recording = Recording(
            pair=vehicle,
            at=datetime.now(UTC),
            v2=self._batch(vehicle, owner, open_[:now]),
            v3=first,
            left_out={**left_out, **dict.fromkeys(open_[now:], "limit")},
            owner=owner if isinstance(owner, TokenOwner) else None,
            consent=_consent(vehicle, owner),
            asked=tuple(open_[:now]),
            earlier=earlier,
        )
        return replace(recording, again=self._again(vehicle)) if self._needs_second_read(recording) else recording

    def _parts(self, vehicle: LinkedVehicle) -> tuple[Recording, ...]:
        """Return the vehicle's recordings of earlier days, if a limit left paths open."""
        if self._v2.paths_a_day(vehicle.make, LIMITLESS) == LIMITLESS:
            return ()
        document = self._recordings.unfinished_one(vehicle.key)
        if document is None:
            return ()
        newest = read_recording(document)
        return *newest.earlier, replace(newest, earlier=())

    def _again(self, vehicle: LinkedVehicle) -> Answer | None:
        """Read V3 a second time; None if the vehicle's limit does not allow it."""
        try:
            return self._signals(vehicle)
        except VehicleLimitError:
            return None

    def _needs_second_read(self, recording: Recording) -> bool:
        v2, v3 = recording.batch, recording.signals
        if isinstance(v2, SmartcarError) or isinstance(v3, SmartcarError):
            return False
        fields = self._fields.of(recording.pair.make)
        return any(
            wants_another_read(field, read_v2(field, v2), read_v3(field, v3)) for field in fields if field.scored
        )

    def _signals(self, vehicle: LinkedVehicle) -> Answer:
        try:
            return self._v3.signals_document(vehicle.vehicle_id, vehicle.smartcar_user_id)
        except (AllowanceSpentError, AuthenticationError, ServiceIllError, VehicleLimitError):
            raise
        except SmartcarError as error:
            return error

    def _owner(self, vehicle: LinkedVehicle) -> TokenOwner | SmartcarError:
        if not vehicle.token:
            return AuthenticationError("smartcar: this vehicle has no V2 token younger than two hours.", status=401)
        try:
            return self._owners.of(_car(vehicle))
        except (AllowanceSpentError, RefusedAlikeError, ServiceIllError, V2StoppedError):
            raise
        except SmartcarError as error:
            return error

    def _batch(self, vehicle: LinkedVehicle, owner: TokenOwner | SmartcarError, paths: Sequence[str]) -> Answer:
        if isinstance(owner, SmartcarError):
            return owner
        if owner.user is None:
            return AuthenticationError("smartcar: V2 refuses this vehicle's token.", status=401)
        try:
            return self._v2.batch_document(vehicle.token or "", vehicle.vehicle_id, paths)
        except V2StoppedError:
            self._owners.note_stop()
            raise
        except (AllowanceSpentError, ServiceIllError, VehicleLimitError):
            raise
        except SmartcarError as error:
            return error


@dataclass
class ReadResult:
    """The result of reading vehicles.

    ``keys`` are the vehicles whose recordings are saved, ``silent`` those without an answer from V2, ``unanswered``
    those that have to be read again, ``limited`` those whose own limit was used up. ``wanted`` is how many were to be
    read; ``stopped`` is V2's answer that it has stopped.
    """

    keys: set[VehicleKey] = field(default_factory=set)
    silent: dict[VehicleKey, SmartcarError] = field(default_factory=dict)
    unanswered: dict[VehicleKey, SmartcarError] = field(default_factory=dict)
    wanted: int = 0
    stopped: V2StoppedError | None = None
    limited: set[VehicleKey] = field(default_factory=set)

    def add(self, recording: Recording) -> None:
        """Add a recording; a second one of the same vehicle replaces the first."""
        key = recording.pair.key
        self.keys.add(key)
        for errors_by_key, error in ((self.silent, recording.v2), (self.unanswered, recording.unanswered)):
            errors_by_key.pop(key, None)
            if isinstance(error, SmartcarError):
                errors_by_key[key] = error

    def to_read_again(self, chosen: Sequence[LinkedVehicle]) -> list[LinkedVehicle]:
        """Return the vehicles without an answer whose error may have passed by now."""
        return [vehicle for vehicle in chosen if (error := self.unanswered.get(vehicle.key)) and may_pass(error)]

    @property
    def outcome(self) -> str:
        """The result in counts, for the log."""
        return counts(
            {
                "vehicles": len(self.keys),
                "without an answer from V2": len(self.silent),
                "to read again": len(self.unanswered),
                "stopped by their own limit": len(self.limited),
            }
        )

    def raise_if_v2_silent(self) -> None:
        """Raise SmartcarError if vehicles were to be read and V2 answered for none of them."""
        if (self.keys or self.stopped) and len(self.silent) == len(self.keys):
            first = self.stopped or next(iter(self.silent.values()))
            kind = V2StoppedError if self.stopped else SmartcarError
            raise kind(
                f"smartcar: V2 answered for none of {thousands(max(self.wanted, len(self.keys)), 'vehicles')} (first "
                f"error: {first}) Nothing can be compared now; replay an earlier recording.",
                status=first.status,
            )


def record_all(
    chosen: Sequence[LinkedVehicle],
    recorder: Callable[[LinkedVehicle], Recording],
    executor: Executor,
    *,
    progress: Callable[[int, int], None] | None = None,
    seen: Callable[[Recording], None] | None = None,
    stopped: Event | None = None,
) -> ReadResult:
    """Read the vehicles in parallel until the budget ends, V2 has stopped, or ``stopped`` is set.

    Those not reached are missing.

    Vehicles without an answer from one version are read once more at the end. The first vehicle is read alone: if V2
    has stopped, one call shows it. ``seen`` is called with each recording, private values included.
    """
    reached, milestones = ReadResult(wanted=len(chosen)), Milestones(log, "vehicles read")

    def record(vehicle: LinkedVehicle) -> Recording:
        if stopped is not None and stopped.is_set():
            raise AllowanceSpentError("allowance: the reading was stopped before this vehicle.")
        try:
            return recorder(vehicle)
        except V2StoppedError as error:
            reached.stopped = error
            raise
        except VehicleLimitError:
            reached.limited.add(vehicle.key)
            raise

    def read(wanted: Sequence[LinkedVehicle]) -> None:
        for outcome in bounded_map(executor, record, wanted, stop_on=(AllowanceSpentError, V2StoppedError)):
            if isinstance(outcome, Recording):
                reached.add(outcome)
                if seen:
                    seen(outcome)
            milestones.reached(len(reached.keys), len(chosen))
            if progress:
                progress(len(reached.keys), len(chosen))

    for part in (chosen[:1], chosen[1:]):
        if not reached.stopped:
            read(part)
    again = [] if reached.stopped else reached.to_read_again(chosen)
    if again:
        log.info("reading %s once more, because an answer was missing", thousands(len(again), "vehicles"))
    with suppress(ServiceIllError):  # a second failure of the same vehicles is no sign that the service is ill
        read(again)
    return reached


def cost(
    chosen: Sequence[LinkedVehicle], v2: V2, owners: TokenOwners, fields: FieldMap, *, pages: int = 1
) -> dict[str, int]:
    """Return the most units that reading these vehicles today costs, by source.

    Counts the owner of each new token, two V3 reads and one V2 batch. ``pages`` is how many requests V3's signals need,
    as far as known.
    """
    tokens = {vehicle.token for vehicle in chosen if vehicle.token and owners.known(vehicle.token) is None}
    today = sum(v2.batch_units(v2.paths_a_day(vehicle.make, _paths(vehicle, fields), pages)) for vehicle in chosen)
    units = {"tokens": UNITS * len(tokens), "v2": today, "v3": 2 * pages * len(chosen)}
    return {name: count for name, count in units.items() if count}


def days(chosen: Sequence[LinkedVehicle], v2: V2, fields: FieldMap, *, pages: int = 1) -> dict[str, int]:
    """Return make -> the most days one vehicle takes, for makes whose limit allows only a part of V2's paths a day."""
    days_of: dict[str, int] = {}
    for vehicle in chosen:
        paths = _paths(vehicle, fields)
        parts = -(-paths // v2.paths_a_day(vehicle.make, paths, pages)) if paths else 1
        if parts > 1:
            days_of[vehicle.make] = max(days_of.get(vehicle.make, 0), parts)
    return dict(sorted(days_of.items()))


def _paths(vehicle: LinkedVehicle, fields: FieldMap) -> int:
    """Return how many of V2's paths a vehicle's powertrain and permissions allow."""
    return len(fields.paths_for(vehicle.make, vehicle.powertrain, vehicle.permissions)[0])


def _consent(vehicle: LinkedVehicle, owner: TokenOwner | SmartcarError) -> dict[str, Any]:
    """Return what V2's answers are compared with; only the user if the token belongs to another one."""
    foreign = isinstance(owner, TokenOwner) and owner.user is not None and owner.user != vehicle.smartcar_user_id
    return {"user": vehicle.smartcar_user_id} if foreign else vehicle.consent


def _car(vehicle: LinkedVehicle) -> Car:
    return Car(vehicle.local_vehicle_id, vehicle.user_id, vehicle.vehicle_id, None, vehicle.token, token_alive=True)


ERROR_KEYS = ("status", "type", "code", "request_id", "resolution")


def _answer_to_json(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Document):
        document = {"body": answer.body, "request_id": answer.request_id, "seconds": round(answer.seconds, 4)}
        return document | ({"pages": answer.pages} if answer.pages > 1 else {})
    attributes = {name: getattr(answer, name) for name in ERROR_KEYS}
    return {"error": type(answer).__name__, "words": str(answer), **attributes}


def _answer_from_json(stored: Mapping[str, Any]) -> Answer:
    if "error" not in stored:
        return Document(stored["body"], stored["request_id"], stored["seconds"], stored.get("pages", 1))
    named = errors.by_name(stored["error"])
    cls = named if named is not None and issubclass(named, SmartcarError) else SmartcarError
    return cls(stored["words"], **{name: stored[name] for name in ERROR_KEYS})
