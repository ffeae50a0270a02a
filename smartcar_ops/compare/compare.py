"""The comparison that notebook 10 runs: cost, read, save, finish; of the fleet or one vehicle, live or replayed."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.recording import Recording
from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum
from smartcar_ops.database.ledger.runs import Act
from smartcar_ops.fields.field_map import FieldMap, company_fields
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings.logs import counts
from smartcar_ops.smartcar.http.rate_limit import Cost

if TYPE_CHECKING:
    from smartcar_ops.compare.live import FleetComparison
    from smartcar_ops.compare.report.report import Report

log = logging.getLogger("smartcar_ops.compare")

NOTEBOOK = "10_compare_v2_v3"
OnRead = Callable[[int, int], None]
"""Called with (vehicles read, vehicles in total)."""


def open_comparison(
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
) -> Compare:
    """Return the comparison for a notebook's parameters; makes no query and no call yet.

    ParameterError for an invalid value, or if ``replay`` is not a run.
    """
    from smartcar_ops.compare.live import FleetComparison, VehicleComparison
    from smartcar_ops.compare.reading.selection import SelectionSpec
    from smartcar_ops.compare.replayed import ReplayedFleet, ReplayedVehicle

    wanted = vehicle_id.strip().lower()
    if replay and wanted:
        return ReplayedVehicle(session, replay, wanted, show_private=show_private)
    if replay:
        return ReplayedFleet(session, replay, show_private=show_private)
    limits = {"max_calls": max_calls, "max_minutes": max_minutes, "show_private": show_private}
    if wanted:
        return VehicleComparison(session, wanted, **limits)
    return FleetComparison(session, SelectionSpec(vehicles, seed, fresh), **limits)


class Compare(ABC):
    """The base of every comparison. It writes nothing to the company's tables.

    SettingsError for a [[field]], [tolerance] or [[waiver]] that can't be used; raised at the first use, not when
    constructed.
    """

    def __init__(self, session: Session, *, show_private: bool = False) -> None:
        self.session, self._show_private = session, show_private
        self.looked: list[Recording] = []
        """The recordings of a single vehicle; those of a fleet stay on disk."""
        self._result: Comparison | None = None

    @cached_property
    def fields(self) -> FieldMap:
        """The fields that are compared, with the company's own rows and tolerances."""
        return company_fields(self.session.settings.layout)

    @cached_property
    def before(self) -> Mapping[str, Mapping[str, int]] | None:
        """How many fields the last comparison of the fleet lost, by stratum and field; None if there is none."""
        runs = [run for run in self.session.runs.all(Act.COMPARE) if "lost" in run.summary]
        return {name: Counter(cells) for name, cells in runs[-1].summary["lost"].items()} if runs else None

    @property
    def result(self) -> Comparison:
        """What was judged so far; empty before `read`."""
        if self._result is None:
            self._result = self._new_judge().done(self.population())
        return self._result

    @abstractmethod
    def population(self) -> Mapping[Stratum, int]:
        """Return how many vehicles are linked, by make and powertrain."""

    @abstractmethod
    def cost(self) -> Cost:
        """Return the most that `read` will cost."""

    @abstractmethod
    def read(self, progress: OnRead | None = None, executor: Executor | None = None) -> Comparison:
        """Read and judge."""

    @abstractmethod
    def save(self) -> None:
        """Save the tables and the recordings in the run's folder."""

    @abstractmethod
    def finish(self) -> Outcome:
        """End the session with the verdict."""

    @abstractmethod
    def report(self) -> Report:
        """Return the sections that the notebook shows."""

    @abstractmethod
    def vehicles_to_look_at(self) -> Sequence[LinkedVehicle]:
        """Return the vehicles that `looking_at` can show."""

    @abstractmethod
    def looking_at(self, vehicle_id: str, session: Session | None = None) -> Compare:
        """Return the same comparison of a single vehicle, in this session or another one."""

    @abstractmethod
    def recorded(self, vehicle_id: str, session: Session | None = None) -> Compare:
        """Return a comparison of a single vehicle by what was last recorded of it; makes no calls."""

    def more(self, vehicles: int, session: Session | None = None) -> FleetComparison | None:
        """Return a comparison that reads so many more vehicles of the fleet (0: all); None if this one reads none."""
        return None

    def cost_of_more(self, vehicles: int) -> Cost:
        """Return the most that `more` will cost, by the vehicles that this comparison knows."""
        return self.session.priced({})

    @abstractmethod
    def price(self, pair: LinkedVehicle) -> str:
        """Return what comparing one vehicle costs, as a sentence."""

    def units_per_vehicle(self, stratum: Stratum) -> float | None:
        """Return the average of what vehicles of the stratum cost at most; None if that is not known."""
        return None

    def user_token_sentence(self) -> str:
        """Return whether V3 accepts a user's V2 token, as a sentence; empty if this comparison does not check it."""
        return ""

    def _new_judge(self) -> Judge:
        session = self.session
        return Judge(self.fields, session.settings.layout, session.now, show_private=self._show_private)

    def _conclude(self, judge: Judge) -> Comparison:
        self._result = judge.done(self.population())
        log.info("judged: %s", counts(self._result.verdicts))
        return self._result

    def _save(self, **tables: Any) -> None:
        result = self.result
        self.session.save(fields=result.fields, vehicles=result.vehicles, strata=result.strata, **tables)
