"""Vehicles read on both versions now, and judged: of a fleet some more each time, or one alone."""

from __future__ import annotations

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
from smartcar_ops.compare.judging import strata
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.reading import selection
from smartcar_ops.compare.reading.dispatcher import record_fleet
from smartcar_ops.compare.reading.replay import write_recordings
from smartcar_ops.compare.reading.selection import Selection, SelectionSpec
from smartcar_ops.compare.reading.worker import RemoteRecorder
from smartcar_ops.compare.recording import ReadResult, Recorder, Recording
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum, VehicleKey, linked_vehicles, unlisted_vehicles
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.recordings import Kept, Recordings
from smartcar_ops.errors import ParameterError, SmartcarError, V2StoppedError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.smartcar.http.rate_limit import Budget, Cost

LISTS = ("connections",)
"""What is asked before the first vehicle if no connection is known."""

PRICED = 50
"""Vehicles of a stratum of which the average price per vehicle is taken."""

Seen = Callable[[Recording], None]


@dataclass
class Choice:
    """What is linked now, what of it this run reads, and the judge that has judged what was recorded before."""

    linked: Sequence[LinkedVehicle]
    population: Mapping[Stratum, int]
    slice: Selection
    judge: Judge
    vehicles: Sequence[LinkedVehicle] = ()
    """The vehicles of this run."""
    judged: list[Set[VehicleKey]] = field(default_factory=list)
    """The keys of the recordings that were judged, in that order."""
    done: Set[VehicleKey] = frozenset()
    """Those that an interrupted run of the same kind has read already."""

    @property
    def to_read(self) -> list[LinkedVehicle]:
        """The vehicles that are still to be read."""
        return [pair for pair in self.vehicles if pair.key not in self.done]


class LiveComparison(Compare):
    """Reads vehicles on both versions; what a fleet and one vehicle do differently is left to them."""

    def __init__(
        self, session: Session, *, max_calls: int = 0, max_minutes: float = 10, show_private: bool = False
    ) -> None:
        super().__init__(session, show_private=show_private)
        self._max_calls, self._max_minutes = max_calls, max_minutes
        self.asked = SourceReport()
        """What one of the versions gave no answer for."""
        self.user_token_on_v3: tokens_on_v3.Found | None = None
        self._choice: Choice | None = None

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
        """Whether no connection is known: they are listed first, and the vehicles chosen by what is found."""
        return not self._resolver.knows_connections()

    @property
    def choice(self) -> Choice:
        """What is linked and what is read, looked up once, and again after the connections were listed; no calls."""
        if self._choice is None:
            session = self.session
            linked = linked_vehicles(session.company, session.ledger, session.now)
            population = strata.population(pair.stratum for pair in linked)
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
        """Those of them that are still to be read."""
        return self.choice.to_read

    @property
    def slice(self) -> Selection:
        """What of the fleet this run reads, and what was recorded before it."""
        return self.choice.slice

    def population(self) -> Mapping[Stratum, int]:
        """Return how many vehicles are linked, by make and powertrain."""
        return self.choice.population

    @abstractmethod
    def _begin(self, linked: Sequence[LinkedVehicle]) -> Selection:
        """Return what is to be read of these, and what was recorded of them before."""

    @abstractmethod
    def _choose(self, choice: Choice) -> None:
        """Choose the vehicles of this run, and judge what was recorded of others."""

    @abstractmethod
    def _wanted(self) -> int:
        """Return how many vehicles are to be read once the connections are listed; 0: all."""

    # --- cost --------------------------------------------------------------------------------------------

    def cost(self) -> Cost:
        """Return the most that reading, and listing the connections if none are known, will cost."""
        if not self.must_list:
            return self.cost_of(self.to_read)
        session = self.session
        found = unlisted_vehicles(session.company, session.ledger, session.now)
        reading = self.cost_of(found[: self._wanted() or len(found)]).units
        return session.priced({**self._resolver.cost(LISTS).units, **reading})

    def cost_of(self, pairs: Sequence[LinkedVehicle]) -> Cost:
        """Return the most that reading these vehicles in a run of their own would cost; nothing once V2 has stopped."""
        if not pairs or self._owners.stopped:
            return self.session.priced({})
        priced = self.session.priced({**self._units_of(pairs), "user token on V3": tokens_on_v3.UNITS})
        over = recording.days(pairs, self.session.v2, self.fields, pages=self.choice.judge.pages)
        notes = [f"a {make} takes up to {days} days, for [limits] splits its V2 batch" for make, days in over.items()]
        return replace(priced, notes=tuple(notes))

    def price(self, pair: LinkedVehicle) -> str:
        """Return what reading one vehicle costs, and whether V2 can answer for it."""
        silent = "" if pair.token else " V2 can't answer: the car has no V2 token younger than two hours."
        return f"Looking costs {self.cost_of([pair])}.{silent}"

    def units_per_vehicle(self, stratum: Stratum) -> float | None:
        """Return the average of what the stratum's first vehicles cost at most; None if none is linked."""
        cars = list(islice((pair for pair in self.linked if pair.stratum == stratum), PRICED))
        return sum(self._units_of(cars).values()) / len(cars) if cars else None

    def _units_of(self, pairs: Sequence[LinkedVehicle]) -> dict[str, int]:
        return recording.cost(pairs, self.session.v2, self._owners, self.fields, pages=self.choice.judge.pages)

    # --- reading -----------------------------------------------------------------------------------------

    def read(self, progress: OnRead | None = None, executor: Executor | None = None) -> Comparison:
        """Read and judge; SmartcarError if V2 answers for no vehicle at all.

        ``executor`` takes the place of the session's threads.
        """

        def read_here(seen: Seen | None, budget: Budget) -> ReadResult:
            session, chosen = self.session, self.choice
            recorder = Recorder(session.v2, session.v3, self._owners, self._recordings, self.fields, chosen.slice.name)
            with ExitStack() as stack:
                threads = executor or stack.enter_context(session.threads())
                reached = recording.record_all(chosen.to_read, recorder, threads, progress=progress, seen=seen)
                self._compare_tokens(reached)
            return reached

        return self._read(read_here)

    def _read(self, record: Callable[[Seen | None, Budget], ReadResult]) -> Comparison:
        """Read by ``record``, within the budget of this act, and judge what came."""
        self._refuse_stopped()
        started, seen = time.perf_counter(), dict[VehicleKey, Recording]()
        keep = (lambda found: seen.update({found.pair.key: found})) if self._show_private else None
        with self.session.spending(self._max_calls, self._max_minutes) as budget:
            if self.must_list:
                self._list()
            self._refuse_nothing_to_read()
            reached = ReadResult()
            if self.to_read:
                self._remember()
                reached = record(keep, budget)
        log.info("read: %s in %.1f s", reached.outcome, seconds_since(started))
        reached.refuse_silence()
        self._questions.answered([local for local, _ in reached.keys - reached.unanswered.keys()])
        self._questions.failed({local: error for (local, _), error in reached.unanswered.items()})
        missing = [pair for pair in self.to_read if pair.key not in reached.keys]
        if not missing:
            self._close()
        self._judge_slice(reached, seen)
        self._skip(missing, reached)
        return self._conclude(self.choice.judge)

    def _list(self) -> None:
        """List the connections, so that it is looked up again what is linked."""
        with self.session.threads() as executor:
            self.asked.take_in(self._resolver.ask(LISTS, executor))
        if self.asked.suspect:
            log.warning("the list of connections is in doubt and was not taken in; 20_audit_user_ids says why")
        self.must_list, self._choice = False, None

    def _remember(self) -> None:
        """Note that the reading began, so that the next run can go on from it."""

    def _close(self) -> None:
        """Note that the reading came to its end."""

    def _compare_tokens(self, reached: ReadResult) -> None:
        """Do the guide's own check, on one vehicle that both versions answered for."""
        pair = next((pair for pair in self.to_read if pair.key in reached.keys), None)
        if pair is not None and len(reached.silent) < len(reached.keys):
            self.user_token_on_v3 = tokens_on_v3.compare_tokens(self.session.v3, pair)

    def user_token_sentence(self) -> str:
        """Return what became of sending V3 a user's V2 token."""
        return tokens_on_v3.sentence(self.user_token_on_v3)

    def _refuse_nothing_to_read(self) -> None:
        if self.linked and not self.chosen and not self.slice.before:
            raise SmartcarError(
                f"smartcar: none of {len(self.linked):,} linked vehicles has a V2 token younger than two hours; "
                "refresh the tokens, or replay an earlier recording."
            )

    def _refuse_stopped(self) -> None:
        """V2StoppedError, before any call, if V2 has stopped and there is something to read."""
        why = v2_state.sentence(self.session.ledger) if self.must_list or self.to_read else ""
        if why and self.must_list:
            raise V2StoppedError(f"smartcar: {why} Nothing can be compared now; replay an earlier recording.")
        if why:
            ReadResult(wanted=len(self.to_read), stopped=V2StoppedError(why)).refuse_silence()

    # --- judging -----------------------------------------------------------------------------------------

    def _judge(self, choice: Choice, keys: Set[VehicleKey]) -> None:
        """Judge what was recorded of these."""
        choice.judged.append(keys)
        for kept in self._recordings.stream(keys):
            choice.judge.add(recording.read_recording(kept.document))

    @abstractmethod
    def _judge_slice(self, reached: ReadResult, seen: Mapping[VehicleKey, Recording]) -> None:
        """Judge what was read now; ``seen`` are the recordings as they came, if private values are shown."""

    @abstractmethod
    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        """Note the vehicles that were not reached, and why."""

    def _note_skipped(self, missing: Iterable[LinkedVehicle], reached: ReadResult) -> None:
        judge, missing = self.choice.judge, list(missing)
        limited = [pair for pair in missing if pair.key in reached.limited]
        judge.skip(limited, "what [limits] allows this vehicle is used up for now")
        others = [pair for pair in missing if pair.key not in reached.limited]
        judge.skip(others, *(["V2 had stopped before this vehicle"] if reached.stopped else []))

    # --- what is left behind -----------------------------------------------------------------------------

    def save(self) -> None:
        """Keep the tables and the recordings that were judged."""
        self._save(recordings=write_recordings(self._kept()), unanswered=self.asked.table())

    def _kept(self) -> Iterator[Kept]:
        """Yield the recordings that were judged, in that order."""
        for keys in self.choice.judged:
            yield from self._recordings.stream(keys)

    def finish(self) -> Outcome:
        """End the session with the verdict; exit code 3 if no vehicle is linked."""
        found, asked = self.result, self.asked
        if not self.linked:
            return self.session.finish(
                "No vehicle is linked to a connection; 20_audit_user_ids links them by tokens and VINs.",
                exit_code=3,
                complete=asked.complete,
                **asked.summary(),
                vehicles=0,
                verdicts={},
                scored=0,
                judged=0,
            )
        return self.session.finish(
            found.verdict,
            exit_code=found.exit_code,
            complete=found.complete and asked.complete,
            unanswered=found.not_read + asked.unanswered,
            gave_up=asked.gave_up,
            **found.summary(),
            **self._to_look_back_at(),
            read_now=len(self.to_read) - found.not_read,
            user_token_on_v3=self.user_token_on_v3,
        )

    def _to_look_back_at(self) -> dict[str, Any]:
        """Return what the next comparison of the fleet, and the progress report, compare with."""
        return {}

    def vehicles_to_look_at(self) -> Sequence[LinkedVehicle]:
        """Return the linked vehicles."""
        return self.linked

    def looking_at(self, vehicle_id: str) -> VehicleComparison:
        """Return a comparison of one vehicle alone, within the same limits."""
        limits = {"max_calls": self._max_calls, "max_minutes": self._max_minutes}
        return VehicleComparison(self.session, vehicle_id, **limits, show_private=self._show_private)


class FleetComparison(LiveComparison):
    """Some more vehicles of every make and powertrain, judged beside all that were read before."""

    def __init__(self, session: Session, spec: SelectionSpec, **limits: Any) -> None:
        super().__init__(session, **limits)
        self.spec = spec

    def read(
        self, progress: OnRead | None = None, executor: Executor | None = None, *, remote: bool = False
    ) -> Comparison:
        """Read and judge, as `LiveComparison.read`.

        With ``remote``, the executor's workers are other processes, perhaps on other machines: each gets batches of
        vehicles and opens clients of its own (docs/scale.md).
        """
        if not remote:
            return super().read(progress, executor)
        if executor is None or self._show_private:
            raise ParameterError(
                "parameters: remote reads a fleet with an executor of other processes, which bring back nothing "
                "private; give it an executor, and neither vehicle_id nor show_private."
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

    def _begin(self, linked: Sequence[LinkedVehicle]) -> Selection:
        return selection.begin(self._recordings, linked, self.spec)

    def _choose(self, choice: Choice) -> None:
        """Choose by turns of the strata; a vehicle that was given up lately only if it is asked for by its id."""
        chosen = choice.slice
        self._judge(choice, chosen.settled)
        if not self.must_list:
            linked = self._questions.to_put(choice.linked, _subject)
            closed = choice.judge.closed(choice.population)
            choice.vehicles = chosen.choose(linked, closed, self.session.meter.used_up())
        self._judge(choice, chosen.before - chosen.settled - {pair.key for pair in choice.vehicles})
        choice.done = chosen.read

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
        for kept in self._recordings.stream(keys):
            found = recording.read_recording(kept.document)
            self.choice.judge.add(seen.get(found.pair.key, found))

    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        """Note why; what an earlier day recorded of those read in part is judged."""
        in_part = {pair.key for pair in missing if pair.key in self.slice.unfinished}
        self._judge(self.choice, in_part)
        self._note_skipped((pair for pair in missing if pair.key not in in_part), reached)

    def _to_look_back_at(self) -> dict[str, Any]:
        return {"lost": self.result.lost_cells()}


class VehicleComparison(LiveComparison):
    """One vehicle, read now whatever was recorded of it; ParameterError, once it works, if it is not linked."""

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
        choice.vehicles = [pair for pair in choice.linked if pair.vehicle_id == self.vehicle_id]
        if not choice.vehicles:
            raise ParameterError(f"parameters: vehicle_id {self.vehicle_id!r} is no linked vehicle; audit first.")

    def _wanted(self) -> int:
        return 1

    def _judge_slice(self, reached: ReadResult, seen: Mapping[VehicleKey, Recording]) -> None:
        self.choice.judged.append(reached.keys)
        for kept in self._recordings.stream(reached.keys):
            found = recording.read_recording(kept.document)
            self.looked.append(seen.get(found.pair.key, found))
            self.choice.judge.add(self.looked[-1])

    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        self._note_skipped(missing, reached)


def _subject(pair: LinkedVehicle) -> list[str]:
    return [pair.local_vehicle_id]
