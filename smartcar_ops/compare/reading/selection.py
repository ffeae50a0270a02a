"""Which vehicles a run reads: a slice of the fleet that a killed run leaves open and the next one goes on with.

Strata (make x powertrain) take turns: one recording of each first, then breadth. A stratum of which enough is known
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
    """What a run was asked to read: so many vehicles (0: all); ``fresh``: also those recorded before."""

    vehicles: int = 25
    seed: int = 0
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.vehicles < 0:
            raise ParameterError(f"parameters: vehicles is {self.vehicles}; expected 0 (all) or more.")


@dataclass(frozen=True)
class Selection:
    """The slice that a run reads: its name, what was recorded before it, and what an earlier try of it has."""

    name: str
    spec: SelectionSpec
    before: frozenset[VehicleKey]
    read: frozenset[VehicleKey]
    tried: frozenset[VehicleKey] = frozenset()
    unfinished: frozenset[VehicleKey] = frozenset()
    """Of those tried, what a limit left in part; these go first."""

    @property
    def settled(self) -> frozenset[VehicleKey]:
        """What was recorded before and is not read again, whatever is chosen."""
        return frozenset() if self.spec.fresh else self.before - self.tried

    def choose(
        self, linked: Sequence[LinkedVehicle], closed: Collection[Stratum] = (), used_up: Collection[str] = ()
    ) -> list[LinkedVehicle]:
        """The vehicles of the slice, those an earlier try has among them; only such as V2 can answer for.

        None of ``used_up``, of which [limits] lets nothing be asked today.

        The same parameters draws the same vehicles, whichever others come and go.
        """
        done = [pair for pair in linked if pair.key in self.read]
        left_out = self.read | self.settled
        known: Counter[Stratum] = Counter(pair.stratum for pair in linked if pair.key in left_out)
        candidates = [
            pair for pair in linked if pair.token and pair.key not in left_out and pair.vehicle_id not in used_up
        ]
        if self.spec.vehicles:
            candidates = [pair for pair in candidates if pair.stratum not in closed]
        drawn = self._ranked(candidates, known)
        wanted = max(0, self.spec.vehicles - len(done)) if self.spec.vehicles else len(drawn)
        return done + drawn[:wanted]

    def _ranked(self, candidates: Sequence[LinkedVehicle], known: Counter[Stratum]) -> list[LinkedVehicle]:
        """Candidates by turn: first those read in part, then those never tried, then by strata and by lot.

        The strata with the fewest recordings come first.
        """
        turns, places = known.copy(), dict[VehicleKey, tuple[bool, bool, int, str]]()
        lots = {pair.key: _draw_key(self.spec.seed, pair) for pair in candidates}
        for pair in sorted(candidates, key=lambda pair: lots[pair.key]):
            turns[pair.stratum] += 1
            in_part = pair.key in self.unfinished
            places[pair.key] = (not in_part, pair.key in self.tried, turns[pair.stratum], lots[pair.key])
        return sorted(candidates, key=lambda pair: places[pair.key])


def begin(recordings: Recordings, linked: Sequence[LinkedVehicle], spec: SelectionSpec) -> Selection:
    """The slice left open by a run with the same parameters, else a new one; writes nothing.

    A new one has a name of its own: two comparisons of one session, or of the same second, share no reading.
    """
    open_, index = recordings.open_slice(), recordings.index()
    name = uuid.uuid4().hex
    if open_ is not None and open_.get("wish") == _as_kept(spec):
        name = str(open_["name"])
    keys = {pair.key for pair in linked}
    unfinished = frozenset(recordings.unfinished() & keys)
    read = frozenset(key for key, (slice_, _) in index.items() if slice_ == name and key in keys - unfinished)
    tried = unfinished | {key for key, (_, answered) in index.items() if not answered and key in keys - read}
    before = frozenset(key for key in index if key in keys and key not in read)
    return Selection(name, spec, before, read, tried, unfinished)


def remember(recordings: Recordings, chosen: Selection) -> None:
    """Notes that the slice is being read: a run that is killed leaves it open."""
    recordings.remember_slice({"name": chosen.name, "wish": _as_kept(chosen.spec)})


def close(recordings: Recordings) -> None:
    """Notes that the slice is read to its end."""
    recordings.remember_slice(None)


def _as_kept(spec: SelectionSpec) -> Mapping[str, object]:
    return {"vehicles": spec.vehicles, "seed": spec.seed, "fresh": spec.fresh}


def _draw_key(seed: int, pair: LinkedVehicle) -> str:
    """A vehicle's lot in a draw: the same whoever else takes part."""
    return hashlib.sha256(f"{seed} {pair.vehicle_id} {pair.local_vehicle_id}".encode()).hexdigest()
