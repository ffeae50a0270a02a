"""Reads vehicles on both versions, side by side, at the fewest calls, and keeps what came without what is private."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from smartcar_ops import errors
from smartcar_ops.audit.token_owners import UNITS, TokenOwner, TokenOwners
from smartcar_ops.compare.judging.verdicts import wants_another_read
from smartcar_ops.compare.redaction import Redactor
from smartcar_ops.compare.vehicles import LinkedVehicle, VehicleKey
from smartcar_ops.concurrency import bounded_map
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.recordings import Kept, Recordings
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

log = logging.getLogger("smartcar_ops.compare")

Answer = Document | SmartcarError

LIMITLESS = 1 << 30
"""More paths than there are."""


@dataclass(frozen=True)
class Recording:
    """What both versions answered about one vehicle, V3 perhaps twice.

    ``left_out`` are V2's paths that were not worth asking; ``owner`` is what the car's token said of itself;
    ``consent`` what the mirror of connections knows: the user, the permissions, that user's vehicles.

    Where a limit splits V2's paths over days, this is the newest part: ``asked`` are its paths, ``earlier`` the parts
    before it, each with a V3 reading of its own, and what is left out as ``limit`` is still to come.
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
        """The paths of V2 that are left for another day; none where this part has no answer: it is asked again."""
        return frozenset(path for path, why in self.left_out.items() if why == "limit" and self.answered)

    def part_of(self, path: str) -> Recording:
        """The part in which V2 was asked for a path; this one for what no part was asked for."""
        return next((part for part in self.earlier if path in part.asked), self)

    @property
    def answered(self) -> bool:
        """True where neither side failed as a whole; that V3 has nothing of a vehicle nobody feeds is an answer."""
        return isinstance(self.v2, Document) and (isinstance(self.v3, Document) or self.is_unfed)

    @property
    def is_unfed(self) -> bool:
        """Whether V3 has nothing of the vehicle, an empty list or 404, and no webhook is fed with it."""
        if self.pair.fed is not False:
            return False
        return isinstance(self.v3, NotFoundError) or not (
            isinstance(self.signals, SmartcarError) or self.signals.signals or self.signals.untold
        )

    @property
    def unanswered(self) -> SmartcarError | None:
        """Why a side has to be asked again: nothing, or not all, was said of the vehicle; None where it was."""
        for told in (self.v2, self.v3):
            if isinstance(told, SmartcarError) and is_no_answer(told):
                return told
        whole = isinstance(self.signals, SmartcarError) or not self.signals.untold
        return None if whole else NotSmartcarError("smartcar: V3 told fewer signals than it has.", code="NOT_WHOLE")

    @property
    def pages(self) -> int:
        """In how many requests V3's signals came."""
        return self.v3.pages if isinstance(self.v3, Document) else 1

    @property
    def requests(self) -> int:
        """Requests to both versions."""
        later = self.again.pages if isinstance(self.again, Document) else int(self.again is not None)
        return 1 + self.pages + later

    @cached_property
    def batch(self) -> BatchAnswer | SmartcarError:
        """V2's answers, with the token's own beside them."""
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
        """V3's signals as first read; none where 404 says that nobody feeds the vehicle."""
        if isinstance(self.v3, NotFoundError) and self.pair.fed is False:
            return Signals({}, connection=self.consent)
        return self._signals(self.v3)

    @cached_property
    def signals_again(self) -> Signals | SmartcarError | None:
        """V3's signals after V2, None where once was enough."""
        return None if self.again is None else self._signals(self.again)

    def _signals(self, told: Answer) -> Signals | SmartcarError:
        return replace(read_signals(told.body), connection=self.consent) if isinstance(told, Document) else told

    def redacted(self, secrets: Sequence[str] = ()) -> Recording:
        """The same without what is private: as it is kept, and judged unless somebody asks to see more."""
        redactor = Redactor(secrets)

        def clean(told: Answer | None, by: Callable[[Any], Any]) -> Any:
            return replace(told, body=by(told.body)) if isinstance(told, Document) else told

        v3 = clean(self.v3, redactor.signals)
        v2, again = clean(self.v2, redactor.batch), clean(self.again, redactor.signals)
        return replace(self, pair=replace(self.pair, token=None), v2=v2, v3=v3, again=again)

    def kept(self, slice_: str) -> Kept:
        """The recording as the ledger keeps it."""
        at = t.as_kept(self.at)
        pair = self.pair
        key = pair.local_vehicle_id, pair.vehicle_id
        return Kept(*key, slice_, self.answered, at, self.document(), len(self.open_paths))

    def document(self) -> dict[str, Any]:
        """The recording as JSON."""
        pair = self.pair
        return {
            "vehicle_id": pair.vehicle_id,
            "local_vehicle_id": pair.local_vehicle_id,
            "smartcar_user_id": pair.smartcar_user_id,
            "make": pair.make,
            "powertrain": pair.powertrain,
            "fed": pair.fed,
            "at": self.at.isoformat(),
            "left_out": dict(self.left_out),
            "owner": None if self.owner is None else {"user": self.owner.user, "vehicles": list(self.owner.vehicles)},
            "consent": dict(self.consent),
            "v2": _written(self.v2),
            "v3": _written(self.v3),
            "again": None if self.again is None else _written(self.again),
            "asked": list(self.asked),
            "earlier": [part.document() for part in self.earlier],
        }


def read_recording(told: Mapping[str, Any]) -> Recording:
    """A recording from its JSON."""
    names = ("vehicle_id", "local_vehicle_id", "smartcar_user_id", "make", "powertrain")
    owner, again = told["owner"], told["again"]
    return Recording(
        pair=LinkedVehicle(**{name: told[name] for name in names}, token=None, fed=told["fed"]),
        at=datetime.fromisoformat(told["at"]),
        v2=_read(told["v2"]),
        v3=_read(told["v3"]),
        again=None if again is None else _read(again),
        left_out=told["left_out"],
        owner=None if owner is None else TokenOwner(owner["user"], tuple(owner["vehicles"])),
        consent=told["consent"],
        asked=tuple(told.get("asked", ())),
        earlier=tuple(map(read_recording, told.get("earlier", ()))),
    )


class Recorder:
    """Reads one vehicle after the other on both versions and keeps each at once; any number of threads may share it."""

    def __init__(
        self, v2: V2, v3: V3, owners: TokenOwners, recordings: Recordings, fields: FieldMap, slice_: str
    ) -> None:
        self._v2, self._v3, self._owners = v2, v3, owners
        self._recordings, self._fields, self._slice = recordings, fields, slice_

    def __call__(self, pair: LinkedVehicle) -> Recording:
        """Reads a vehicle: its token's owner, V3, one V2 batch, and V3 again only where a volatile field differs.

        Where a limit allows only a part of the batch, the rest is left for another day, and read beside a V3 reading of
        that day. A side that fails is kept as its error. Raised, with nothing kept: AllowanceSpentError,
        VehicleLimitError, ServiceIllError, V2StoppedError, a refused application token, and that V2 refuses every token
        alike.
        """
        found = self.read(pair)
        self._recordings.keep(found.redacted([pair.token or ""]).kept(self._slice))
        return found

    def read(self, pair: LinkedVehicle) -> Recording:
        """Reads a vehicle and keeps nothing."""
        owner = self._owner(pair)
        if isinstance(owner, TokenOwner) and owner.user and owner.user in pair.consents:
            pair = pair.under(owner.user)
        paths, left_out = self._fields.paths_for(pair.make, pair.powertrain, pair.permissions)
        earlier = self._parts(pair)
        open_ = [path for path in paths if not any(path in part.asked for part in earlier)]
        first = self._signals(pair)
        now = self._v2.paths_now(pair.vehicle_id, open_, first.pages if isinstance(first, Document) else 1)
        recording = Recording(
            pair=pair,
            at=datetime.now(UTC),
            v2=self._batch(pair, owner, open_[:now]),
            v3=first,
            left_out={**left_out, **dict.fromkeys(open_[now:], "limit")},
            owner=owner if isinstance(owner, TokenOwner) else None,
            consent=_consent(pair, owner),
            asked=tuple(open_[:now]),
            earlier=earlier,
        )
        return replace(recording, again=self._again(pair)) if self._moving(recording) else recording

    def _parts(self, pair: LinkedVehicle) -> tuple[Recording, ...]:
        """What was asked of the vehicle on earlier days, where a limit left a part of it open."""
        if self._v2.paths_a_day(pair.make, LIMITLESS) == LIMITLESS:
            return ()
        kept = self._recordings.unfinished_one(pair.key)
        if kept is None:
            return ()
        newest = read_recording(kept)
        return *newest.earlier, replace(newest, earlier=())

    def _again(self, pair: LinkedVehicle) -> Answer | None:
        """V3 once more; None where the vehicle's limit does not allow it."""
        try:
            return self._signals(pair)
        except VehicleLimitError:
            return None

    def _moving(self, recording: Recording) -> bool:
        v2, v3 = recording.batch, recording.signals
        if isinstance(v2, SmartcarError) or isinstance(v3, SmartcarError):
            return False
        rows = self._fields.of(recording.pair.make)
        return any(wants_another_read(row, read_v2(row, v2), read_v3(row, v3)) for row in rows if row.scored)

    def _signals(self, pair: LinkedVehicle) -> Answer:
        try:
            return self._v3.signals_document(pair.vehicle_id, pair.smartcar_user_id)
        except (AllowanceSpentError, AuthenticationError, ServiceIllError, VehicleLimitError):
            raise
        except SmartcarError as error:
            return error

    def _owner(self, pair: LinkedVehicle) -> TokenOwner | SmartcarError:
        if not pair.token:
            return AuthenticationError("smartcar: this vehicle has no V2 token younger than two hours.", status=401)
        try:
            return self._owners.of(_car(pair))
        except (AllowanceSpentError, RefusedAlikeError, ServiceIllError, V2StoppedError):
            raise
        except SmartcarError as error:
            return error

    def _batch(self, pair: LinkedVehicle, owner: TokenOwner | SmartcarError, paths: Sequence[str]) -> Answer:
        if isinstance(owner, SmartcarError):
            return owner
        if owner.user is None:
            return AuthenticationError("smartcar: V2 refuses this vehicle's token.", status=401)
        try:
            return self._v2.batch_document(pair.token or "", pair.vehicle_id, paths)
        except V2StoppedError:
            self._owners.note_stop()
            raise
        except (AllowanceSpentError, ServiceIllError, VehicleLimitError):
            raise
        except SmartcarError as error:
            return error


@dataclass
class ReadResult:
    """What a reading came to: the vehicles whose recording is kept, V2's failures among them, and what either version
    has to be asked again.

    ``wanted`` are all that were to be read; ``stopped`` is the answer by which V2 said that it has stopped; ``limited``
    are vehicles whose own limit ended first.
    """

    keys: set[VehicleKey] = field(default_factory=set)
    silent: dict[VehicleKey, SmartcarError] = field(default_factory=dict)
    unanswered: dict[VehicleKey, SmartcarError] = field(default_factory=dict)
    wanted: int = 0
    stopped: V2StoppedError | None = None
    limited: set[VehicleKey] = field(default_factory=set)

    def add(self, found: Recording) -> None:
        """Takes in a vehicle that was read, perhaps once more."""
        key = found.pair.key
        self.keys.add(key)
        for noted, error in ((self.silent, found.v2), (self.unanswered, found.unanswered)):
            noted.pop(key, None)
            if isinstance(error, SmartcarError):
                noted[key] = error

    def to_read_again(self, chosen: Sequence[LinkedVehicle]) -> list[LinkedVehicle]:
        """Those of the vehicles that may be answered for by now."""
        return [pair for pair in chosen if (error := self.unanswered.get(pair.key)) and may_pass(error)]

    @property
    def outcome(self) -> str:
        """What the reading came to, in counts."""
        told = {
            "vehicles": len(self.keys),
            "without an answer of V2": len(self.silent),
            "to ask again": len(self.unanswered),
            "held up by their own limit": len(self.limited),
        }
        return counts(told)

    def refuse_silence(self) -> None:
        """SmartcarError where vehicles were to be read and V2 answered for none of them."""
        if (self.keys or self.stopped) and len(self.silent) == len(self.keys):
            first = self.stopped or next(iter(self.silent.values()))
            kind = V2StoppedError if self.stopped else SmartcarError
            raise kind(
                f"smartcar: V2 answered for none of {max(self.wanted, len(self.keys))} vehicles (the first: {first}) "
                "Nothing can be compared now; replay an earlier recording.",
                status=first.status,
            )


def record_all(
    chosen: Sequence[LinkedVehicle],
    recorder: Callable[[LinkedVehicle], Recording],
    executor: Executor,
    *,
    progress: Callable[[int, int], None] | None = None,
    seen: Callable[[Recording], None] | None = None,
) -> ReadResult:
    """Reads the vehicles side by side until the budget ends, or V2 has stopped, and once more those that one version
    gave no answer for; those not reached are missing.

    The first is read alone: where V2 has stopped, one call tells. ``seen`` gets each recording as it came, with what
    is private.
    """
    reached, milestones = ReadResult(wanted=len(chosen)), Milestones(log, "vehicles read")

    def record(pair: LinkedVehicle) -> Recording:
        try:
            return recorder(pair)
        except V2StoppedError as error:
            reached.stopped = error
            raise
        except VehicleLimitError:
            reached.limited.add(pair.key)
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
        log.info("reading %s vehicles once more that had no answer", f"{len(again):,}")
    with suppress(ServiceIllError):  # that what failed fails again says nothing of the service
        read(again)
    return reached


def cost(
    chosen: Sequence[LinkedVehicle], v2: V2, owners: TokenOwners, fields: FieldMap, *, pages: int = 1
) -> dict[str, int]:
    """Units that reading these vehicles today costs at most: each new token's owner, V3 twice, one V2 batch.

    ``pages`` is in how many requests V3's signals are known to come.
    """
    tokens = {pair.token for pair in chosen if pair.token and owners.known(pair.token) is None}
    asked = (_paths(pair, fields) for pair in chosen)
    today = sum(
        v2.batch_units(v2.paths_a_day(pair.make, paths, pages)) for pair, paths in zip(chosen, asked, strict=True)
    )
    units = {"tokens": UNITS * len(tokens), "v2": today, "v3": 2 * pages * len(chosen)}
    return {name: count for name, count in units.items() if count}


def days(chosen: Sequence[LinkedVehicle], v2: V2, fields: FieldMap, *, pages: int = 1) -> dict[str, int]:
    """make -> how many days a vehicle of it takes at most, where its limit allows only a part of V2's paths a day."""
    found: dict[str, int] = {}
    for pair in chosen:
        paths = _paths(pair, fields)
        parts = -(-paths // v2.paths_a_day(pair.make, paths, pages)) if paths else 1
        if parts > 1:
            found[pair.make] = max(found.get(pair.make, 0), parts)
    return dict(sorted(found.items()))


def _paths(pair: LinkedVehicle, fields: FieldMap) -> int:
    """How many of V2's paths are worth asking of a vehicle."""
    return len(fields.paths_for(pair.make, pair.powertrain, pair.permissions)[0])


def _consent(pair: LinkedVehicle, owner: TokenOwner | SmartcarError) -> dict[str, Any]:
    """What V2's answers can be held against; of another user's consent only whose it is."""
    foreign = isinstance(owner, TokenOwner) and owner.user is not None and owner.user != pair.smartcar_user_id
    return {"user": pair.smartcar_user_id} if foreign else pair.consent


def _car(pair: LinkedVehicle) -> Car:
    """The pair as what its token's owner is asked for."""
    return Car(pair.local_vehicle_id, pair.user_id, pair.vehicle_id, None, pair.token, token_alive=True)


def _written(told: Answer) -> dict[str, Any]:
    if isinstance(told, Document):
        kept = {"body": told.body, "request_id": told.request_id, "seconds": round(told.seconds, 4)}
        return kept | ({"pages": told.pages} if told.pages > 1 else {})
    kept = {name: getattr(told, name) for name in ("status", "type", "code", "request_id", "resolution")}
    return {"error": type(told).__name__, "words": str(told), **kept}


def _read(told: Mapping[str, Any]) -> Answer:
    if "error" not in told:
        return Document(told["body"], told["request_id"], told["seconds"], told.get("pages", 1))
    named = errors.by_name(told["error"])
    cls = named if named is not None and issubclass(named, SmartcarError) else SmartcarError
    kept = {name: told[name] for name in ("status", "type", "code", "request_id", "resolution")}
    return cls(told["words"], **kept)
