"""The comparison as its notebook drives it: choose, show the cost, read, judge."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from smartcar_ops.audit import resolver
from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.audit.token_owners import TokenOwners
from smartcar_ops.compare import recording, tokens_on_v3
from smartcar_ops.compare.judging import strata
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.reading import selection
from smartcar_ops.compare.reading.dispatcher import record_fleet
from smartcar_ops.compare.reading.replay import Replay, write_recordings
from smartcar_ops.compare.reading.worker import RemoteRecorder
from smartcar_ops.compare.recording import ReadResult, Recorder, Recording
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum, linked_vehicles, unlisted_vehicles
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.recordings import Kept, Recordings
from smartcar_ops.database.ledger.runs import Act
from smartcar_ops.errors import ParameterError, SmartcarError, V2StoppedError
from smartcar_ops.fields.field_map import company_fields
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings.logs import counts, seconds_since
from smartcar_ops.smartcar.http.rate_limit import Budget, Cost
from smartcar_ops.storage import run_folder

log = logging.getLogger("smartcar_ops.compare")

NOTEBOOK = "10_compare_v2_v3"
PRICED = 50
"""Vehicles of a stratum by which its price a vehicle is told."""


class Compare:
    """Reads the chosen vehicles on both versions and judges them beside all that were read before; writes nothing.

    With ``replay`` (a run's folder, its name, or ``latest``) it judges that run's recordings and calls nobody.
    SettingsError for a rule that can't be used, ParameterError for an unknown vehicle.
    """

    def __init__(
        self,
        session: Session,
        *,
        vehicles: int = 25,
        vehicle_id: str = "",
        seed: int = 0,
        fresh: bool = False,
        replay: str = "",
        max_calls: int = 0,
        max_minutes: float = 10,
        show_private: bool = False,
    ) -> None:
        self.session = session
        self.fields = company_fields(session.settings.layout)
        self._max_calls, self._max_minutes, self._show_private = max_calls, max_minutes, show_private
        self._replayed_from = replay
        self.vehicle_id = vehicle_id.strip().lower()
        self.looked: list[Recording] = []
        """The recordings of the one vehicle that was asked for."""
        self.user_token_on_v3: str | None = None
        self.before = _last_lost(session)
        self.asked = SourceReport()
        """What one of the versions gave no answer for."""
        self.replay = Replay(replayed_folder(session.settings.reports, replay)) if replay else None
        if self.replay:
            self.linked, self.chosen = list[LinkedVehicle](), list[LinkedVehicle]()
            self._population = self.replay.linked()
            self.result = self._judging().done(self._population)
            return
        self._recordings = Recordings(session.ledger)
        self._questions = Questions[LinkedVehicle, Recording]("compare", session.ledger, self.asked, session.now)
        self._owners = TokenOwners(session.ledger, session.v2, session.now)
        self._wish = selection.SelectionSpec(vehicles, vehicle_id, seed, fresh)
        self._listing = resolver.resolver_for(session)
        self.must_list = not self._listing.knows_connections()
        """Whether no connection is known: they are then listed first, and the vehicles chosen by what is found."""
        self._look()

    def _look(self) -> None:
        """Looks at what is linked now, judges what was recorded before, and chooses what is read; calls nobody."""
        session = self.session
        self.linked = linked_vehicles(session.company, session.ledger, session.now)
        self._population = strata.population(pair.stratum for pair in self.linked)
        self.slice = selection.begin(self._recordings, self.linked, self._wish)
        self._judged, self._judged_keys = self._judging(), list[Set[tuple[str, str]]]()
        self._judge(self.slice.settled)
        self.chosen = [] if self.must_list else self._choose()
        self._judge(self.slice.before - self.slice.settled - {pair.key for pair in self.chosen})
        done = frozenset() if self.vehicle_id else self.slice.read  # somebody who looks wants to see it now
        self.to_read = [pair for pair in self.chosen if pair.key not in done]
        self.result = self._judging().done(self._population)
        chosen, linked = f"{len(self.to_read):,}", f"{len(self.linked):,}"
        log.info("%s of %s linked vehicles are to be read", chosen, linked)

    def _choose(self) -> list[LinkedVehicle]:
        """The vehicles of this run; one that was given up lately only where it is asked for by its id."""
        linked = self.linked if self.vehicle_id else self._questions.to_put(self.linked, _subject)
        closed = self._judged.closed(self._population)
        return self.slice.choose(linked, closed, self.session.meter.used_up())

    def cost(self) -> Cost:
        """What reading, and listing the connections where none are known, will cost at most; nothing for a replay."""
        if self.replay or not self.must_list:
            return self.cost_of([] if self.replay else self.to_read)
        session = self.session
        found = unlisted_vehicles(session.company, session.ledger, session.now)
        wanted = 1 if self.vehicle_id else self._wish.vehicles or len(found)
        reading = self.cost_of(found[:wanted]).units
        return session.priced({**self._listing.cost(LISTS).units, **reading})

    def cost_of(self, pairs: Sequence[LinkedVehicle]) -> Cost:
        """What reading these vehicles in a run of their own would cost at most; nothing for a replay.

        Nor anything once V2 has stopped: then nothing is read.
        """
        if self.replay or not pairs or self._owners.stopped:
            return self.session.priced({})
        priced = self.session.priced({**self._units_of(pairs), "user token on V3": tokens_on_v3.UNITS})
        over = recording.days(pairs, self.session.v2, self.fields, pages=self._judged.pages)
        notes = [f"a {make} takes up to {days} days, for [limits] splits its V2 batch" for make, days in over.items()]
        return replace(priced, notes=tuple(notes))

    def looking_at(self, vehicle_id: str) -> Compare:
        """The same comparison of one vehicle alone."""
        return Compare(
            self.session,
            vehicle_id=vehicle_id,
            replay=self._replayed_from,
            max_calls=self._max_calls,
            max_minutes=self._max_minutes,
            show_private=self._show_private,
        )

    def vehicles_to_look_at(self) -> list[LinkedVehicle]:
        """The linked vehicles; of a replay those that were recorded."""
        if not self.replay:
            return self.linked
        names = ["vehicle_id", "local_vehicle_id", "make", "powertrain"]
        return [
            LinkedVehicle(**row, smartcar_user_id="", token=None)
            for part in self.result.vehicles.parts()
            for row in part.loc[part["state"] == "read", names].to_dict("records")
        ]

    def units_a_vehicle(self, stratum: Stratum) -> float | None:
        """What a vehicle of the stratum costs at most on average, by its first ones; None where none is linked."""
        cars = list(islice((pair for pair in self.linked if pair.stratum == stratum), PRICED))
        return sum(self._units_of(cars).values()) / len(cars) if cars else None

    def _units_of(self, pairs: Sequence[LinkedVehicle]) -> dict[str, int]:
        return recording.cost(pairs, self.session.v2, self._owners, self.fields, pages=self._judged.pages)

    def read(
        self,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        *,
        remote: bool = False,
    ) -> Comparison:
        """Reads and judges; SmartcarError where V2 answers for no vehicle at all.

        ``executor`` takes the place of the session's threads. With ``remote``, its workers are other processes, perhaps
        on other machines: each gets batches of vehicles and opens clients of its own (docs/scale.md).
        """
        if self.replay:
            return self._replayed(self.replay)
        self._refuse_stopped()
        if remote and (executor is None or self.vehicle_id or self._show_private):
            raise ParameterError(
                "parameters: remote reads a fleet with an executor of other processes, which bring back nothing "
                "private; give it an executor, and neither vehicle_id nor show_private."
            )
        started, seen = time.perf_counter(), dict[tuple[str, str], Recording]()
        with self.session.spending(self._max_calls, self._max_minutes) as budget:
            if self.must_list:
                self._list()
            self._refuse_nothing_to_read()
            reached = self._record(progress, executor, seen, budget, remote=remote)
        log.info("read: %s in %.1f s", reached.outcome, seconds_since(started))
        reached.refuse_silence()
        self._questions.answered([local for local, _ in reached.keys - reached.unanswered.keys()])
        self._questions.failed({local: error for (local, _), error in reached.unanswered.items()})
        missing = [pair for pair in self.to_read if pair.key not in reached.keys]
        if not missing:
            selection.close(self._recordings, self.slice)
        self._judge_slice(reached, seen)
        self._skip(missing, reached)
        self.result = self._judged.done(self._population)
        self._log_verdicts()
        return self.result

    def save(self) -> None:
        """Keeps the tables and the recordings in the run's folder."""
        found = self.result
        recordings = self.replay.table if self.replay else write_recordings(self._kept())
        tables = {"recordings": recordings, "strata": found.strata, "unanswered": self.asked.table()}
        self.session.save(fields=found.fields, vehicles=found.vehicles, **tables)

    def finish(self) -> Outcome:
        """Ends the session with the verdict; exit code 3 where no vehicle is linked."""
        if not self.replay and not self.linked:
            return self.session.finish(
                "No vehicle is linked to a connection; 20_audit_user_ids links them by tokens and VINs.",
                exit_code=3,
                complete=self.asked.complete,
                **self.asked.summary(),
                vehicles=0,
                verdicts={},
                scored=0,
                judged=0,
            )
        return self.session.finish(
            self.result.verdict,
            exit_code=self.result.exit_code,
            complete=self.result.complete and self.asked.complete,
            unanswered=self.result.not_read + self.asked.unanswered,
            gave_up=self.asked.gave_up,
            **self.result.summary(),
            **self._to_look_back_at(),
            read_now=0 if self.replay else len(self.to_read) - self.result.not_read,
            user_token_on_v3=self.user_token_on_v3,
        )

    # --- reading -----------------------------------------------------------------------------------------

    def _record(
        self,
        progress: Callable[[int, int], None] | None,
        executor: Executor | None,
        seen: dict[tuple[str, str], Recording],
        budget: Budget,
        *,
        remote: bool,
    ) -> ReadResult:
        session = self.session
        if not self.to_read:
            return ReadResult()
        selection.remember(self._recordings, self.slice)
        if remote and executor:
            return self._record_remotely(progress, executor, budget)
        recorder = Recorder(session.v2, session.v3, self._owners, self._recordings, self.fields, self.slice.name)
        keep = (lambda found: seen.update({found.pair.key: found})) if self._show_private else None
        with ExitStack() as stack:
            threads = executor or stack.enter_context(session.threads())
            reached = recording.record_all(self.to_read, recorder, threads, progress=progress, seen=keep)
            self._compare_tokens(reached)
        return reached

    def _record_remotely(
        self, progress: Callable[[int, int], None] | None, executor: Executor, budget: Budget
    ) -> ReadResult:
        session = self.session
        recorder = RemoteRecorder(session.settings, self.fields, self.slice.name, budget.until, self._judged.pages)
        reached = record_fleet(
            self.to_read, recorder, executor, budget, session.transport, self._price, progress=progress
        )
        self._compare_tokens(reached)
        return reached

    def _list(self) -> None:
        """Lists the connections, and looks again at what is linked."""
        with self.session.threads() as executor:
            self.asked.take_in(self._listing.ask(LISTS, executor))
        if self.asked.suspect:
            log.warning("the list of connections is in doubt and was not taken in; 20_audit_user_ids says why")
        self.must_list = False
        self._look()

    def _price(self, pairs: Sequence[LinkedVehicle]) -> int:
        """The most units that reading these vehicles can cost."""
        return sum(self._units_of(pairs).values())

    def _compare_tokens(self, reached: ReadResult) -> None:
        """The guide's own check, on one vehicle that both versions answered for."""
        pair = next((pair for pair in self.to_read if pair.key in reached.keys), None)
        if pair is not None and len(reached.silent) < len(reached.keys):
            self.user_token_on_v3 = tokens_on_v3.compare_tokens(self.session.v3, pair)

    def _refuse_nothing_to_read(self) -> None:
        if self.linked and not self.chosen and not self.slice.before:
            raise SmartcarError(
                f"smartcar: none of {len(self.linked):,} linked vehicles has a V2 token younger than two hours; "
                "refresh the tokens, or replay an earlier recording."
            )

    def _refuse_stopped(self) -> None:
        """V2StoppedError, before any call, where V2 has stopped and there is something to read."""
        why = v2_state.sentence(self.session.ledger) if self.to_read or self.must_list else ""
        if why and self.must_list:
            raise V2StoppedError(f"smartcar: {why} Nothing can be compared now; replay an earlier recording.")
        if why:
            ReadResult(wanted=len(self.to_read), stopped=V2StoppedError(why)).refuse_silence()

    def _to_look_back_at(self) -> dict[str, Any]:
        """What the next comparison of the fleet, and the progress report, compare with: not one vehicle, no replay."""
        whole = self.replay is None and not self.vehicle_id
        return {"lost": self.result.lost_cells()} if whole else {}

    # --- judging -----------------------------------------------------------------------------------------

    def _judging(self) -> Judge:
        session = self.session
        return Judge(self.fields, session.settings.layout, session.now, show_private=self._show_private)

    def _judge(self, keys: Set[tuple[str, str]]) -> None:
        """Judges what was recorded before this slice; of one vehicle that is looked at, only what is read now."""
        if self.vehicle_id:
            return
        self._judged_keys.append(keys)
        for kept in self._recordings.stream(keys):
            self._judged.add(recording.read_recording(kept.document))

    def _skip(self, missing: Sequence[LinkedVehicle], reached: ReadResult) -> None:
        """Notes the vehicles that were not reached, and why; what an earlier day told of them is judged."""
        in_part = {pair.key for pair in missing if pair.key in self.slice.unfinished}
        self._judge(in_part)
        left = [pair for pair in missing if pair.key not in in_part]
        limited = [pair for pair in left if pair.key in reached.limited]
        self._judged.skip(limited, "what [limits] allows this vehicle is used up for now")
        others = [pair for pair in left if pair.key not in reached.limited]
        self._judged.skip(others, *(["V2 had stopped before this vehicle"] if reached.stopped else []))

    def _judge_slice(self, reached: ReadResult, seen: dict[tuple[str, str], Recording]) -> None:
        keys = reached.keys if self.vehicle_id else reached.keys | self.slice.read
        self._judged_keys.append(keys)
        for kept in self._recordings.stream(keys):
            told = recording.read_recording(kept.document)
            self._judged.add(seen.get(told.pair.key, told))
            if self.vehicle_id:
                self.looked.append(seen.get(told.pair.key, told))

    def _kept(self) -> Iterator[Kept]:
        """The recordings that were judged, in that order."""
        for keys in self._judged_keys:
            yield from self._recordings.stream(keys)

    def _replayed(self, replay: Replay) -> Comparison:
        log.info("judging the recordings of an earlier run; nobody is asked")
        judging = self._judging()
        for found in replay.recordings():
            if self.vehicle_id in ("", found.pair.vehicle_id):
                judging.add(found)
                if self.vehicle_id:
                    self.looked.append(found)
        self.result = judging.done(self._population)
        self._log_verdicts()
        return self.result

    def _log_verdicts(self) -> None:
        log.info("judged: %s", counts(self.result.verdicts))


def replayed_folder(reports: Path, named: str) -> Path:
    """The folder that ``replay`` names; ParameterError where there is none."""
    wanted = run_folder.latest(reports, NOTEBOOK) if named == "latest" else None
    for path in (wanted, Path(named), reports / named):
        if path is not None and path.is_dir():
            return path
    raise ParameterError(
        f"parameters: replay is {named!r}, and there is no such folder; expected a run of {NOTEBOOK}, or latest."
    )


LISTS = ("connections",)
"""What is asked before the first vehicle where no connection is known."""


def _subject(pair: LinkedVehicle) -> list[str]:
    return [pair.local_vehicle_id]


def _last_lost(session: Session) -> dict[str, Counter[str]] | None:
    """What the last whole comparison found differing or lost, by stratum and field; None without one."""
    runs = [run for run in session.runs.all() if run.act == Act.COMPARE and "lost" in run.summary]
    return {name: Counter(cells) for name, cells in runs[-1].summary["lost"].items()} if runs else None
