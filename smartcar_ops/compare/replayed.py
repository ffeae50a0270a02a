"""Recordings of an earlier run, judged again: nobody is asked, and it costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path

from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.compare.compare import NOTEBOOK, Compare, OnRead, log
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.reading.replay import Replay
from smartcar_ops.compare.recording import Recording
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum
from smartcar_ops.errors import ParameterError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.storage import run_folder


class ReplayedFleet(Compare):
    """All recordings of a run's folder; ``named`` is the folder, its name, or ``latest``."""

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
        """Return nothing: it was recorded. SettingsError if the folder has no recordings, or a rule can't be used."""
        _ = self.recordings, self.fields
        return self.session.priced({})

    def read(self, progress: OnRead | None = None, executor: Executor | None = None) -> Comparison:
        """Judge each recording as it is judged today; SettingsError for one that can't be read."""
        log.info("judging the recordings of an earlier run; nobody is asked")
        judge = self._new_judge()
        for found in self._chosen():
            judge.add(found)
        return self._conclude(judge)

    def save(self) -> None:
        """Keep the tables, and the recordings as they were kept."""
        self._save(recordings=self.recordings.table, unanswered=SourceReport().table())

    def finish(self) -> Outcome:
        """End the session with the verdict; no later comparison looks back at this one."""
        found = self.result
        return self.session.finish(
            found.verdict,
            exit_code=found.exit_code,
            complete=found.complete,
            unanswered=found.not_read,
            gave_up=0,
            **found.summary(),
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

    def looking_at(self, vehicle_id: str) -> ReplayedVehicle:
        """Return one vehicle of the same recordings."""
        return ReplayedVehicle(self.session, self._named, vehicle_id, show_private=self._show_private)

    def price(self, pair: LinkedVehicle) -> str:
        """Return that it costs nothing."""
        return "Looking costs nothing: it was recorded."

    def _chosen(self) -> Iterator[Recording]:
        return self.recordings.recordings()


class ReplayedVehicle(ReplayedFleet):
    """One vehicle's recordings out of a run's folder."""

    def __init__(self, session: Session, named: str, vehicle_id: str, *, show_private: bool = False) -> None:
        super().__init__(session, named, show_private=show_private)
        self.vehicle_id = vehicle_id

    def report(self) -> Report:
        """Return the report of one vehicle."""
        from smartcar_ops.compare.report.vehicle import VehicleReport

        return VehicleReport(self)

    def _chosen(self) -> Iterator[Recording]:
        for found in super()._chosen():
            if found.pair.vehicle_id == self.vehicle_id:
                self.looked.append(found)
                yield found


def replayed_folder(reports: Path, named: str) -> Path:
    """Return the folder that ``replay`` names; ParameterError if there is none."""
    wanted = run_folder.latest(reports, NOTEBOOK) if named == "latest" else None
    for path in (wanted, Path(named), reports / named):
        if path is not None and path.is_dir():
            return path
    raise ParameterError(
        f"parameters: replay is {named!r}, and there is no such folder; expected a run of {NOTEBOOK}, or latest."
    )
