"""Plants the differences between V2 and V3, each with the verdict that a comparison must find."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from smartcar_ops.sandbox.differences import access, body, driving, energy, identity, time, units, upkeep
from smartcar_ops.sandbox.differences.fields import fields_told, parts_told, whole_signal
from smartcar_ops.sandbox.differences.kind import Kind
from smartcar_ops.sandbox.fleet.model import Difference, LocalVehicle
from smartcar_ops.sandbox.fleet.seeded import one_in

TRUE_SHARE = 0.03
HARMLESS_SHARE = 0.1
LOST = ("mismatch", "v2_only", "not_permitted")
"""The verdicts of true differences. Other fields that such a kind changes may still agree."""
CALM = 6
"""One car in this many is left unchanged."""
# The kinds with the most requirements come first, while most cars are still free.
_SUBJECTS = (
    units,
    access,
    driving,
    energy,
    identity,
    time,
    body,
    upkeep,
)
TRUE_KINDS: tuple[Kind, ...] = tuple(kind for subject in _SUBJECTS for kind in subject.TRUE_KINDS)
HARMLESS_KINDS: tuple[Kind, ...] = tuple(kind for subject in _SUBJECTS for kind in subject.HARMLESS_KINDS)


class Free:
    """The (car, field) pairs without a planted difference."""

    def __init__(self, vehicles: list[LocalVehicle]) -> None:
        self.pairs = {(v.car.id, field) for v in vehicles for field in fields_told(v.car)}

    def struck(self, kind: Kind, vehicle: LocalVehicle, field: str) -> list[str]:
        """Return the fields the kind would change there; none if it does not fit or one of them is taken."""
        car = vehicle.car
        if (car.id, field) not in self.pairs or not kind.fits(vehicle, field):
            return []
        fields = [f for f in kind.reach(field) if parts_told(car, f)]
        return fields if all((car.id, f) in self.pairs for f in fields) else []

    def take(self, vehicle: LocalVehicle, fields: list[str]) -> None:
        """Mark these fields as taken, and all fields of the same signals: they share a time and a status."""
        for field in fields:
            self.pairs -= {(vehicle.car.id, other) for other in whole_signal(field)}


class Sowing:
    """Plants kinds of difference in turn, all true or all harmless; `found`: what was planted, in order."""

    def __init__(
        self, rng: random.Random, kinds: tuple[Kind, ...], vehicles: list[LocalVehicle], free: Free, *, planted: bool
    ) -> None:
        self.rng, self.free, self.planted = rng, free, planted
        self.places = [(kind, _places(rng, kind, vehicles)) for kind in kinds]
        self.found: list[Difference] = []

    def go_round(self, wanted: float = math.inf) -> None:
        """Plant each kind once, or stop when `wanted` pairs are planted."""
        for kind, places in self.places:
            if len(self.found) < wanted:
                self.found += self._strike(kind, places)

    def fill(self, wanted: float) -> None:
        """Repeat `go_round` until `wanted` pairs are planted or no place is left."""
        before = -1
        while before < len(self.found) < wanted:
            before = len(self.found)
            self.go_round(wanted)

    def _strike(self, kind: Kind, places: Iterator[tuple[LocalVehicle, str]]) -> list[Difference]:
        """Plant the kind at the next free place. Return the differences; none if no place is left."""
        for vehicle, field in places:
            if fields := self.free.struck(kind, vehicle, field):
                kind.change(vehicle.car, field, self.rng)
                self.free.take(vehicle, fields)
                return [self._difference(vehicle, f, kind) for f in fields]
        return []

    def _difference(self, vehicle: LocalVehicle, field: str, kind: Kind) -> Difference:
        verdict = kind.verdict(field)
        return Difference(vehicle, field, kind.name, self.planted and verdict in LOST, verdict)


def plant(rng: random.Random, vehicles: list[LocalVehicle]) -> list[Difference]:
    """Plant differences on `vehicles` (linked to a connection, with living tokens). Return what was planted.

    About 3% of the (car, field) pairs that have a value become true differences and 10% harmless ones. Every kind
    occurs at least once if there is a car for it.
    """
    free = Free(vehicles)
    pairs = len(free.pairs)
    restless = [vehicle for vehicle in vehicles if not one_in(CALM, "calm", vehicle.car.id)]
    true = Sowing(rng, TRUE_KINDS, restless, free, planted=True)
    harmless = Sowing(rng, HARMLESS_KINDS, restless, free, planted=False)
    true.go_round()
    harmless.go_round()
    true.fill(pairs * TRUE_SHARE)
    harmless.fill(pairs * HARMLESS_SHARE)
    return true.found + harmless.found


def _places(rng: random.Random, kind: Kind, vehicles: list[LocalVehicle]) -> Iterator[tuple[LocalVehicle, str]]:
    """Yield every car with every field that the kind may target. The car changes at each step, the field if it can."""
    cars, fields = rng.sample(vehicles, len(vehicles)), rng.sample(kind.fields, len(kind.fields))
    for turn in range(len(fields)):
        for place, vehicle in enumerate(cars):
            yield vehicle, fields[(place + turn) % len(fields)]
