"""Which vehicles a run reads: a slice of the fleet; if the run is killed, the next one continues the same slice.

Vehicles are taken from the strata (make x powertrain) in turn, one of each first. A stratum of which enough is known
is not read further.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from smartcar_ops.compare.vehicles import LinkedVehicle, Stratum, VehicleKey
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.errors import ParameterError


@dataclass(frozen=True)
class SelectionSpec:
    """The run's parameters: how many vehicles to read (0: all), and whether to read recorded ones again (``fresh``)."""

    vehicles: int = 25
    seed: int = 0
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.vehicles < 0:
            raise ParameterError(f"parameters: vehicles is {self.vehicles}; expected 0 (all) or more.")


@dataclass(frozen=True)
class Selection:
    """The slice that a run reads, and which vehicles were recorded before it or by an interrupted run of it."""

    name: str
    spec: SelectionSpec
    before: frozenset[VehicleKey]
    """Recorded by earlier slices."""
    read: frozenset[VehicleKey]
    """Recorded by an interrupted run of this slice."""
    incomplete: frozenset[VehicleKey] = frozenset()
    """Recorded without an answer, or only in part."""
    unfinished: frozenset[VehicleKey] = frozenset()
    """Recorded in part because of a limit; these are read first."""

    @property
    def already_recorded(self) -> frozenset[VehicleKey]:
        """The vehicles that were recorded before and are not read again, whatever is chosen."""
        return frozenset() if self.spec.fresh else self.before - self.incomplete

    def choose(
        self, linked: Sequence[LinkedVehicle], closed: Collection[Stratum] = (), used_up: Collection[str] = ()
    ) -> list[LinkedVehicle]:
        """Return the vehicles of the slice, including those that an interrupted run of it has already read.

        New ones need a live V2 token and are never in ``used_up``, the vehicles whose [limits] allow no call today.
        The same parameters choose the same vehicles, independent of which others are linked.
        """
        done = [vehicle for vehicle in linked if vehicle.key in self.read]
        left_out = self.read | self.already_recorded
        recorded: Counter[Stratum] = Counter(vehicle.stratum for vehicle in linked if vehicle.key in left_out)
        candidates = [
            vehicle
            for vehicle in linked
            if vehicle.token and vehicle.key not in left_out and vehicle.vehicle_id not in used_up
        ]
        if self.spec.vehicles:
            candidates = [vehicle for vehicle in candidates if vehicle.stratum not in closed]
        ranked = self._ranked(candidates, recorded)
        wanted = max(0, self.spec.vehicles - len(done)) if self.spec.vehicles else len(ranked)
        return done + ranked[:wanted]

    def _ranked(self, candidates: Sequence[LinkedVehicle], recorded: Counter[Stratum]) -> list[LinkedVehicle]:
        """Return the candidates read in part first, then those never read; strata in turn, random within a stratum.

        ``recorded`` is the number of recordings by stratum: the strata with the fewest come first.
        """
        turns, ranks = recorded.copy(), dict[VehicleKey, tuple[bool, bool, int, str]]()
        draw_keys = {vehicle.key: _draw_key(self.spec.seed, vehicle) for vehicle in candidates}
        for vehicle in sorted(candidates, key=lambda vehicle: draw_keys[vehicle.key]):
            turns[vehicle.stratum] += 1
            ranks[vehicle.key] = (
                vehicle.key not in self.unfinished,
                vehicle.key in self.incomplete,
                turns[vehicle.stratum],
                draw_keys[vehicle.key],
            )
        return sorted(candidates, key=lambda vehicle: ranks[vehicle.key])


def begin(recordings: Recordings, linked: Sequence[LinkedVehicle], spec: SelectionSpec) -> Selection:
    """Return the slice left open by a run with the same parameters, otherwise a new one; writes nothing.

    A new slice gets a unique name, so that two comparisons in the same session or second do not share recordings.
    """
    open_, index = recordings.open_slice(), recordings.index()
    name = uuid.uuid4().hex
    if open_ is not None and open_.get("wish") == _stored_spec(spec):
        name = str(open_["name"])
    keys = {vehicle.key for vehicle in linked}
    unfinished = frozenset(recordings.unfinished() & keys)
    read = frozenset(key for key, (slice_, _) in index.items() if slice_ == name and key in keys - unfinished)
    incomplete = unfinished | {key for key, (_, answered) in index.items() if not answered and key in keys - read}
    before = frozenset(key for key in index if key in keys and key not in read)
    return Selection(name, spec, before, read, incomplete, unfinished)


def remember(recordings: Recordings, chosen: Selection) -> None:
    """Store that the slice is being read: a killed run leaves it open."""
    recordings.remember_slice({"name": chosen.name, "wish": _stored_spec(chosen.spec)})


def close(recordings: Recordings) -> None:
    """Store that the slice was read to its end."""
    recordings.remember_slice(None)


def _stored_spec(spec: SelectionSpec) -> Mapping[str, object]:
    return {"vehicles": spec.vehicles, "seed": spec.seed, "fresh": spec.fresh}


def _draw_key(seed: int, vehicle: LinkedVehicle) -> str:
    """Return a vehicle's pseudorandom sort key, independent of all other vehicles."""
    return hashlib.sha256(f"{seed} {vehicle.vehicle_id} {vehicle.local_vehicle_id}".encode()).hexdigest()
