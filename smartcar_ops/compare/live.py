"""Comparisons that read vehicles on both versions now: more of the fleet in each run, or a single vehicle."""

from __future__ import annotations

import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from smartcar_ops.audit import resolver
from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.audit.token_owners import TokenOwners
from smartcar_ops.compare import recording, tokens_on_v3
from smartcar_ops.compare.compare import Compare, OnRead, log
from smartcar_ops.compare.judging import gate
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.reading import selection
from smartcar_ops.compare.reading.dispatcher import record_fleet
from smartcar_ops.compare.reading.replay import write_recordings
from smartcar_ops.compare.reading.selection import Selection, SelectionSpec
from smartcar_ops.compare.reading.worker import RemoteRecorder
from smartcar_ops.compare.recording import ReadResult, Recorder, Recording
from smartcar_ops.compare.replayed import StoredVehicle
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum, VehicleKey, linked_vehicles, unlisted_vehicles
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.recordings import Recordings, StoredRecording
from smartcar_ops.errors import ParameterError, SmartcarError, V2StoppedError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.smartcar.http.rate_limit import Budget, Cost
from smartcar_ops.text import thousands

LISTS = ("connections",)
"""The sources that are queried before the first vehicle if no connection is known."""

PRICED = 50
"""Vehicles of a stratum used for the average cost per vehicle."""

Seen = Callable[[Recording], None]


@dataclass
class Choice:
    """The linked vehicles, the ones this run reads, and the judge, which has judged earlier recordings."""

    linked: Sequence[LinkedVehicle]
    population: Mapping[Stratum, int]
    slice: Selection
    judge: Judge
    vehicles: Sequence[LinkedVehicle] = ()
    """The vehicles of this run."""
    judged: list[Set[VehicleKey]] = field(default_factory=list)
    """The keys of the recordings that were judged, in that order."""
    done: Set[VehicleKey] = frozenset()
    """Those that an interrupted run with the same parameters has already read."""

    @property
    def to_read(self) -> list[LinkedVehicle]:
        """The vehicles that are still to be read."""
        return [vehicle for vehicle in self.vehicles if vehicle.key not in self.done]


class LiveComparison(Compare):
    """A comparison that reads vehicles on both versions; the base of the fleet's and the single vehicle's."""

    def __init__(
        self, session: Session, *, max_calls: int = 0, max_minutes: float = 10, show_private: bool = False
    ) -> None:
        super().__init__(session, show_private=show_private)
        self._max_calls, self._max_minutes = max_calls, max_minutes
        self.asked = SourceReport()
        """The questions without an answer."""
        self.user_token_on_v3: tokens_on_v3.Found | None = None
        self._choice: Choice | None = None
        self._stopped = threading.Event()

    @cached_property
    def _recordings(self) -> Recordings:
        return Recordings(self.session.ledger)

    @cached_property
    def _questions(self) -> Questions[LinkedVehicle, Recording]:
        return Questions("compare", self.session.ledger, self.asked, self.session.now)

    @cached_property
    def _owners(self) -> TokenOwners:
        return TokenOwners(self.session.ledger, self.session.v2, self.session.now)

    @cached_property
    def _resolver(self) -> IdentityResolver:
        return resolver.resolver_for(self.session)

    # --- what is chosen ----------------------------------------------------------------------------------

    @cached_property
    def must_list(self) -> bool:
        """True if no connection is known: they are listed first, then the vehicles are chosen."""
        return not self._resolver.knows_connections()

    @property
    def choice(self) -> Choice:
        """The linked vehicles and those to read; looked up once, and again after connections are listed. No calls."""
        if self._choice is None:
            session = self.session
            linked = linked_vehicles(session.company, session.ledger, session.now)
            population = gate.population(vehicle.stratum for vehicle in linked)
            choice = Choice(linked, population, self._begin(linked), self._new_judge())
            self._choose(choice)
            log.info("%s of %s linked vehicles are to be read", f"{len(choice.to_read):,}", f"{len(linked):,}")
            self._choice = choice
        return self._choice

    @property
    def linked(self) -> Sequence[LinkedVehicle]:
        """The vehicles that are linked to a connection."""
        return self.choice.linked

    @property
    def chosen(self) -> Sequence[LinkedVehicle]:
        """The vehicles of this run."""
        return self.choice.vehicles

    @property
    def to_read(self) -> list[LinkedVehicle]:
        """The vehicles of this run that are still to be read."""
        return self.choice.to_read

    @property
    def slice(self) -> Selection:
        """The part of the fleet that this run reads, and what was recorded before it."""
        return self.choice.slice

    def population(self) -> Mapping[Stratum, int]:
        """Return how many vehicles are linked, by make and powertrain."""
        return self.choice.population

    @abstractmethod
    def _begin(self, linked: Sequence[LinkedVehicle]) -> Selection:
        """Return the selection to read from these vehicles, and what was recorded before."""

    @abstractmethod
    def _choose(self, choice: Choice) -> None:
        """Choose the vehicles of this run, and judge earlier recordings of the others."""

    @abstractmethod
    def _wanted(self) -> int:
        """Return how many vehicles are to be read once the connections are listed; 0: all."""

    # --- cost --------------------------------------------------------------------------------------------

    def cost(self) -> Cost:
        """Return the most that reading, and listing the connections if none are known, will cost."""
        if not self.must_list:
            return self.cost_of(self.to_read)
        session = self.session
        vehicles = unlisted_vehicles(session.company, session.ledger, session.now)
        reading = self.cost_of(vehicles[: self._wanted() or len(vehicles)]).units
        return session.priced({**self._resolver.cost(LISTS).units, **reading})

    def cost_of(self, pairs: Sequence[LinkedVehicle]) -> Cost:
        """Return the most that reading these vehicles in a run of their own would cost; nothing once V2 has stopped."""
        if not pairs or self._owners.stopped:
            return self.session.priced({})
        priced = self.session.priced({**self._units_of(pairs), "user token on V3": tokens_on_v3.UNITS})
        days_of = recording.days(pairs, self.session.v2, self.fields, pages=self.choice.judge.pages)
        notes = [
            f"one {make} takes up to {days} days, because [limits] splits its V2 batch"
            for make, days in days_of.items()
        ]
        return replace(priced, notes=tuple(notes))

    def price(self, pair: LinkedVehicle) -> str:
        """Return what reading one vehicle costs, and whether V2 can answer for it."""
        no_token = "" if pair.token else " V2 can't answer: the vehicle has no V2 token younger than two hours."
        return f"Cost: {self.cost_of([pair])}.{no_token}"

    def units_per_vehicle(self, stratum: Stratum) -> float | None:
        """Return the average of what the stratum's first vehicles cost at most; None if none is linked."""
        vehicles = list(islice((vehicle for vehicle in self.linked if vehicle.stratum == stratum), PRICED))
        return sum(self._units_of(vehicles).values()) / len(vehicles) if vehicles else None

    def _units_of(self, pairs: Sequence[LinkedVehicle]) -> dict[str, int]:
        return recording.cost(pairs, self.session.v2, self._owners, self.fields, pages=self.choice.judge.pages)

    # --- reading -----------------------------------------------------------------------------------------

    def read(self, progress: OnRead | None = None, executor: Executor | None = None) -> Comparison:
        """Read and judge; SmartcarError if V2 answers for no vehicle at all.

        ``executor`` replaces the session's threads.
        """

        def read_here(seen: Seen | None, budget: Budget) -> ReadResult:
            session, chosen = self.session, self.choice
            recorder = Recorder(session.v2, session.v3, self._owners, self._recordings, self.fields, chosen.slice.name)
            with ExitStack() as stack:
                threads = executor or stack.enter_context(session.threads())
                reached = recording.record_all(
                    chosen.to_read, recorder, threads, progress=progress, seen=seen, stopped=self._stopped
                )
                self._compare_tokens(reached)
            return reached

        return self._read(read_here)

    def stop(self) -> None:
        """End `read` early, from another thread: what was read by then is recorded and judged, the rest is left out.

        Vehicles that are being read are finished, unless they wait for the allowance.
        """
        self._stopped.set()
        self.session.transport.end()

    def _read(self, record: Callable[[Seen | None, Budget], ReadResult]) -> Comparison:
        """Read with ``record``, within this run's budget, and judge the recordings."""
        self._refuse_stopped()
        started, seen = time.perf_counter(), dict[VehicleKey, Recording]()
        keep = (lambda recorded: seen.update({recorded.pair.key: recorded})) if self._show_private else None
        with self.session.spending(self._max_calls, self._max_minutes) as budget:
            if self.must_list:
                self._list()
            self._refuse_nothing_to_read()
            reached = ReadResult()
            if self.to_read:
                self._remember()
                reached = record(keep, budget)
        log.info("read: %s in %.1f s", reached.outcome, seconds_since(started))
        reached.raise_if_v2_silent()
        self._questions.answered([local for local, _ in reached.keys - reached.unanswered.keys()])
        self._questions.failed({local: error for (local, _), error in reached.unanswered.items()})
        missing = [vehicle for vehicle in self.to_read if vehicle.key not in reached.keys]
        if not missing:
            self._close()
        self._judge_slice(reached, seen)
        self._skip(missing, reached)
        return self._conclude(self.choice.judge)

    def _list(self) -> None:
        """List the connections; afterwards the linked vehicles are looked up again."""
        with self.session.threads() as executor:
            self.asked.add(self._resolver.ask(LISTS, executor))
        if self.asked.suspect:
            log.warning("the list of connections is suspect and was not imported; 20_audit_user_ids shows why")
        self.must_list, self._choice = False, None

    def _remember(self) -> None:
        """Note that the reading began, so that the next run can continue it."""

    def _close(self) -> None:
        """Note that the reading is finished."""

    def _compare_tokens(self, reached: ReadResult) -> None:
        """Run the guide's own check of user tokens on V3, on one vehicle that was read."""
        vehicle = next((vehicle for vehicle in self.to_read if vehicle.key in reached.keys), None)
        if vehicle is not None and len(reached.silent) < len(reached.keys):
            self.user_token_on_v3 = tokens_on_v3.compare_tokens(self.session.v3, vehicle)

    def user_token_sentence(self) -> str:
        """Return whether V3 accepts a user's V2 token, as a sentence."""
        return tokens_on_v3.sentence(self.user_token_on_v3)

    def _refuse_nothing_to_read(self) -> None:
        if self.linked and not self.chosen and not self.slice.before:
            raise SmartcarError(
                f"smartcar: none of {thousands(len(self.linked), 'linked vehicles')} has a V2 token younger than two "
                "hours; refresh the tokens, or replay an earlier recording."
            )

    def _refuse_stopped(self) -> None:
        """V2StoppedError, before any call, if V2 has stopped and there is something to read."""
        why = v2_state.sentence(self.session.ledger) if self.must_list or self.to_read else ""
        if why and self.must_list:
            raise V2StoppedError(f"smartcar: {why} Nothing can be compared now; replay an earlier recording.")
        if why:
            ReadResult(wanted=len(self.to_read), stopped=V2StoppedError(why)).raise_if_v2_silent()

    # --- judging -----------------------------------------------------------------------------------------

    def _judge(self, choice: Choice, keys: Set[VehicleKey]) -> None:
        """Judge the recordings of these vehicles."""
        choice.judged.append(keys)
        for stored in self._recordings.stream(keys):
            choice.judge.add(recording.read_recording(stored.document))

    @abstractmethod
    def _judge_slice(self, reached: ReadResult, seen: Mapping[VehicleKey, Recording]) -> None:
        """Judge what was read now; ``seen`` are the unredacted recordings, if private values are shown."""

    @abstractmethod
    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        """List the vehicles that were not reached, with the reason."""

    def _note_skipped(self, missing: Iterable[LinkedVehicle], reached: ReadResult) -> None:
        judge, missing = self.choice.judge, list(missing)
        limited = [vehicle for vehicle in missing if vehicle.key in reached.limited]
        judge.skip(limited, "this vehicle's [limits] are used up for now")
        others = [vehicle for vehicle in missing if vehicle.key not in reached.limited]
        if reached.stopped:
            judge.skip(others, "V2 stopped before this vehicle was read")
        elif self._stopped.is_set():
            judge.skip(others, "the reading was stopped before this vehicle")
        else:
            judge.skip(others)

    # --- what is left behind -----------------------------------------------------------------------------

    def save(self) -> None:
        """Save the tables and the recordings that were judged in the run's folder."""
        self._save(recordings=write_recordings(self._judged_recordings()), unanswered=self.asked.table())

    def _judged_recordings(self) -> Iterator[StoredRecording]:
        """Yield the recordings that were judged, in that order."""
        for keys in self.choice.judged:
            yield from self._recordings.stream(keys)

    def finish(self) -> Outcome:
        """End the session with the verdict; exit code 3 if no vehicle is linked."""
        result, asked = self.result, self.asked
        if not self.linked:
            return self.session.finish(
                "No vehicle is linked to a connection; run 20_audit_user_ids to link them by token or VIN.",
                exit_code=3,
                complete=asked.complete,
                **asked.summary(),
                vehicles=0,
                verdicts={},
                scored=0,
                judged=0,
            )
        return self.session.finish(
            result.verdict,
            exit_code=result.exit_code,
            complete=result.complete and asked.complete,
            unanswered=result.not_read + asked.unanswered,
            gave_up=asked.gave_up,
            **result.summary(),
            **self._baseline(),
            read_now=len(self.to_read) - result.not_read,
            user_token_on_v3=self.user_token_on_v3,
        )

    def _baseline(self) -> dict[str, Any]:
        """Return what the next comparison of the fleet, and the progress report, compare with."""
        return {}

    def vehicles_to_look_at(self) -> Sequence[LinkedVehicle]:
        """Return the linked vehicles."""
        return self.linked

    def looking_at(self, vehicle_id: str, session: Session | None = None) -> VehicleComparison:
        """Return a comparison of one vehicle alone, within the same limits, in this session or another one."""
        limits = {"max_calls": self._max_calls, "max_minutes": self._max_minutes}
        return VehicleComparison(session or self.session, vehicle_id, **limits, show_private=self._show_private)

    def recorded(self, vehicle_id: str, session: Session | None = None) -> StoredVehicle:
        """Return a comparison of one vehicle by what the ledger last recorded of it; makes no calls."""
        return StoredVehicle(session or self.session, vehicle_id)

    def more(self, vehicles: int, session: Session | None = None) -> FleetComparison:
        """Return a comparison that reads so many more vehicles of the fleet (0: all), within the same limits."""
        limits = {"max_calls": self._max_calls, "max_minutes": self._max_minutes}
        spec = replace(self._spec, vehicles=vehicles)
        return FleetComparison(session or self.session, spec, **limits, show_private=self._show_private)

    def cost_of_more(self, vehicles: int) -> Cost:
        """Return the most that `more` will cost, by the linked vehicles and the recordings that are judged already."""
        more = self.more(vehicles)
        if self.must_list or more.must_list:
            return more.cost()
        selected = selection.begin(self._recordings, self.linked, more.spec)
        closed = () if more.spec.fresh else self.choice.judge.closed(self.choice.population)
        linked = self._questions.to_put(self.linked, _subject)
        chosen = selected.choose(linked, closed, self.session.meter.used_up())
        return self.cost_of([vehicle for vehicle in chosen if vehicle.key not in selected.read])

    @property
    def _spec(self) -> SelectionSpec:
        """What `more` selects, but for the number of vehicles."""
        return SelectionSpec()


class FleetComparison(LiveComparison):
    """Reads more vehicles of every make and powertrain, and judges them with all that were read before."""

    def __init__(self, session: Session, spec: SelectionSpec, **limits: Any) -> None:
        super().__init__(session, **limits)
        self.spec = spec

    def read(
        self, progress: OnRead | None = None, executor: Executor | None = None, *, remote: bool = False
    ) -> Comparison:
        """Read and judge, as `LiveComparison.read`.

        With ``remote``, the executor's workers are other processes, possibly on other machines: each gets batches of
        vehicles and opens its own clients (docs/scale.md).
        """
        if not remote:
            return super().read(progress, executor)
        if executor is None or self._show_private:
            raise ParameterError(
                "parameters: remote needs an executor of other processes, which return no private values; pass an "
                "executor, and neither vehicle_id nor show_private."
            )

        def read_there(seen: Seen | None, budget: Budget) -> ReadResult:
            session, chosen = self.session, self.choice
            recorder = RemoteRecorder(
                session.settings, self.fields, chosen.slice.name, budget.until, chosen.judge.pages
            )
            reached = record_fleet(
                chosen.to_read, recorder, executor, budget, session.transport, self._price, progress=progress
            )
            self._compare_tokens(reached)
            return reached

        return self._read(read_there)

    def report(self) -> Report:
        """Return the report of a fleet."""
        from smartcar_ops.compare.report.fleet import FleetReport

        return FleetReport(self)

    @property
    def _spec(self) -> SelectionSpec:
        return self.spec

    def _begin(self, linked: Sequence[LinkedVehicle]) -> Selection:
        return selection.begin(self._recordings, linked, self.spec)

    def _choose(self, choice: Choice) -> None:
        """Choose from the strata in turn; vehicles that were given up recently are left out."""
        selected = choice.slice
        self._judge(choice, selected.already_recorded)
        if not self.must_list:
            linked = self._questions.to_put(choice.linked, _subject)
            closed = choice.judge.closed(choice.population)
            choice.vehicles = selected.choose(linked, closed, self.session.meter.used_up())
        chosen = {vehicle.key for vehicle in choice.vehicles}
        self._judge(choice, selected.before - selected.already_recorded - chosen)
        choice.done = selected.read

    def _wanted(self) -> int:
        return self.spec.vehicles

    def _price(self, pairs: Sequence[LinkedVehicle]) -> int:
        """Return the most units that reading these vehicles can cost."""
        return sum(self._units_of(pairs).values())

    def _remember(self) -> None:
        selection.remember(self._recordings, self.slice)

    def _close(self) -> None:
        selection.close(self._recordings)

    def _judge_slice(self, reached: ReadResult, seen: Mapping[VehicleKey, Recording]) -> None:
        keys = reached.keys | self.slice.read
        self.choice.judged.append(keys)
        for stored in self._recordings.stream(keys):
            recorded = recording.read_recording(stored.document)
            self.choice.judge.add(seen.get(recorded.pair.key, recorded))

    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        """List the vehicles not reached; for those read in part, judge what an earlier day recorded."""
        in_part = {vehicle.key for vehicle in missing if vehicle.key in self.slice.unfinished}
        self._judge(self.choice, in_part)
        self._note_skipped((vehicle for vehicle in missing if vehicle.key not in in_part), reached)

    def _baseline(self) -> dict[str, Any]:
        return {"lost": self.result.lost_cells()}


class VehicleComparison(LiveComparison):
    """Reads one vehicle now, even if it was recorded before.

    ParameterError if it is not linked; raised at the first use, not when constructed.
    """

    def __init__(self, session: Session, vehicle_id: str, **limits: Any) -> None:
        super().__init__(session, **limits)
        self.vehicle_id = vehicle_id

    def report(self) -> Report:
        """Return the report of one vehicle."""
        from smartcar_ops.compare.report.vehicle import VehicleReport

        return VehicleReport(self)

    def _begin(self, linked: Sequence[LinkedVehicle]) -> Selection:
        return Selection(uuid.uuid4().hex, SelectionSpec(1, fresh=True), frozenset(), frozenset())

    def _choose(self, choice: Choice) -> None:
        if self.must_list:
            return
        choice.vehicles = [vehicle for vehicle in choice.linked if vehicle.vehicle_id == self.vehicle_id]
        if not choice.vehicles:
            raise ParameterError(
                f"parameters: vehicle_id {self.vehicle_id!r} is not a linked vehicle; run 20_audit_user_ids first."
            )

    def _wanted(self) -> int:
        return 1

    def _judge_slice(self, reached: ReadResult, seen: Mapping[VehicleKey, Recording]) -> None:
        self.choice.judged.append(reached.keys)
        for stored in self._recordings.stream(reached.keys):
            recorded = recording.read_recording(stored.document)
            self.looked.append(seen.get(recorded.pair.key, recorded))
            self.choice.judge.add(self.looked[-1])

    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        self._note_skipped(missing, reached)


def _subject(vehicle: LinkedVehicle) -> list[str]:
    return [vehicle.local_vehicle_id]
