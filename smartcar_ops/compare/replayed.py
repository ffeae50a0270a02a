"""Comparisons that judge the recordings of an earlier run again; they make no calls and cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path

from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.compare.compare import NOTEBOOK, Compare, OnRead, log
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.reading.replay import Replay
from smartcar_ops.compare.recording import Recording, read_recording
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.errors import ParameterError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.storage import run_folder


class ReplayedFleet(Compare):
    """Judges all recordings of a run; ``named`` is the run's folder, the folder's name, or ``latest``."""

    def __init__(self, session: Session, named: str, *, show_private: bool = False) -> None:
        super().__init__(session, show_private=show_private)
        self._named = named
        self._folder = replayed_folder(session.settings.reports, named)

    @cached_property
    def recordings(self) -> Replay:
        """The recordings of the folder; SettingsError if it has none."""
        return Replay(self._folder)

    def population(self) -> Mapping[Stratum, int]:
        """Return how many vehicles were linked then."""
        return self.recordings.linked()

    def cost(self) -> Cost:
        """Return a cost of 0 units. SettingsError if the folder has no recordings, or a setting can't be used."""
        _ = self.recordings, self.fields
        return self.session.priced({})

    def read(self, progress: OnRead | None = None, executor: Executor | None = None) -> Comparison:
        """Judge each recording by today's settings; SettingsError for one that can't be read."""
        log.info("judging the recordings of an earlier run; no calls are made")
        judge = self._new_judge()
        for recording in self._chosen():
            judge.add(recording)
        return self._conclude(judge)

    def save(self) -> None:
        """Save the tables and the unchanged recordings in the run's folder."""
        self._save(recordings=self.recordings.table, unanswered=SourceReport().table())

    def finish(self) -> Outcome:
        """End the session with the verdict; later comparisons do not compare with this one."""
        result = self.result
        return self.session.finish(
            result.verdict,
            exit_code=result.exit_code,
            complete=result.complete,
            unanswered=result.not_read,
            gave_up=0,
            **result.summary(),
            read_now=0,
            user_token_on_v3=None,
        )

    def report(self) -> Report:
        """Return the report of a fleet."""
        from smartcar_ops.compare.report.fleet import FleetReport

        return FleetReport(self)

    def vehicles_to_look_at(self) -> Sequence[LinkedVehicle]:
        """Return the vehicles that were recorded."""
        names = ["vehicle_id", "local_vehicle_id", "make", "powertrain"]
        return [
            LinkedVehicle(**row, smartcar_user_id="", token=None)
            for part in self.result.vehicles.parts()
            for row in part.loc[part["state"] == "read", names].to_dict("records")
        ]

    def looking_at(self, vehicle_id: str, session: Session | None = None) -> ReplayedVehicle:
        """Return a comparison of one vehicle from the same recordings, in this session or another one."""
        return ReplayedVehicle(session or self.session, self._named, vehicle_id, show_private=self._show_private)

    def recorded(self, vehicle_id: str, session: Session | None = None) -> ReplayedVehicle:
        """Return `looking_at`: it makes no calls either."""
        return self.looking_at(vehicle_id, session)

    def price(self, pair: LinkedVehicle) -> str:
        """Return a sentence that it costs nothing."""
        return "This costs nothing: the vehicle was already recorded."

    def _chosen(self) -> Iterator[Recording]:
        return self.recordings.recordings()


class ReplayedVehicle(ReplayedFleet):
    """Judges the recordings of one vehicle from a run's folder."""

    def __init__(self, session: Session, named: str, vehicle_id: str, *, show_private: bool = False) -> None:
        super().__init__(session, named, show_private=show_private)
        self.vehicle_id = vehicle_id

    def report(self) -> Report:
        """Return the report of one vehicle."""
        from smartcar_ops.compare.report.vehicle import VehicleReport

        return VehicleReport(self)

    def _chosen(self) -> Iterator[Recording]:
        for recording in super()._chosen():
            if recording.pair.vehicle_id == self.vehicle_id:
                self.looked.append(recording)
                yield recording


class StoredVehicle(ReplayedVehicle):
    """Judges what the ledger last recorded of one vehicle, whichever run read it."""

    def __init__(self, session: Session, vehicle_id: str) -> None:
        Compare.__init__(self, session)
        self.vehicle_id = vehicle_id

    def population(self) -> Mapping[Stratum, int]:
        """Return nothing: a single vehicle says nothing about its make."""
        return {}

    def cost(self) -> Cost:
        """Return a cost of 0 units. SettingsError if a setting can't be used."""
        _ = self.fields
        return self.session.priced({})

    def save(self) -> None:
        """Save nothing: the run that read the vehicle has saved it."""

    def _chosen(self) -> Iterator[Recording]:
        stored = Recordings(self.session.ledger)
        for one in stored.stream(stored.of_vehicle(self.vehicle_id)):
            self.looked.append(read_recording(one.document))
            yield self.looked[-1]


def replayed_folder(reports: Path, named: str) -> Path:
    """Return the folder of the run to replay; ParameterError if it does not exist."""
    latest = run_folder.latest(reports, NOTEBOOK) if named == "latest" else None
    for path in (latest, Path(named), reports / named):
        if path is not None and path.is_dir():
            return path
    raise ParameterError(
        f"parameters: replay is {named!r}, and there is no such folder; expected a run of {NOTEBOOK}, or latest."
    )
