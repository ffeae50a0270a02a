"""Vehicles of a house read on both versions, and judged: what tests of comparisons share."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd

from smartcar_ops.audit.token_owners import TokenOwners
from smartcar_ops.compare import recording, vehicles
from smartcar_ops.compare.judging import gate
from smartcar_ops.compare.judging.comparison import Comparison
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.reading import selection
from smartcar_ops.compare.reading.selection import Selection, SelectionSpec
from smartcar_ops.compare.recording import ReadResult, Recorder, Recording
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.fields.field_map import company_fields, field_map
from smartcar_ops.settings.layout import Layout
from tests.support.house import House


class Compared:
    """A comparison with its tables in memory."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.fields: pd.DataFrame = comparison.fields.frame()
        self.vehicles: pd.DataFrame = comparison.vehicles.frame()
        self.strata = comparison.strata[comparison.strata["vehicles"] > 0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comparison, name)


def owners(house: House) -> TokenOwners:
    """What knows whose a token is."""
    return TokenOwners(house.ledger, house.v2, house.now)


def begin(house: House, wish: SelectionSpec) -> Selection:
    """The slice that a run would read."""
    linked = vehicles.linked_vehicles(house.company, house.ledger, house.now)
    return selection.begin(Recordings(house.ledger), linked, wish)


def record(house: House, chosen: list[LinkedVehicle], seen: list[Recording], slice_: str = "run") -> ReadResult:
    """Reads vehicles on both versions."""
    recorder = Recorder(house.v2, house.v3, owners(house), Recordings(house.ledger), field_map(), slice_)
    with ThreadPoolExecutor(4) as executor:
        return recording.record_all(chosen, recorder, executor, seen=seen.append)


def pairs(house: House) -> list[LinkedVehicle]:
    """The vehicles that are linked."""
    return vehicles.linked_vehicles(house.company, house.ledger, house.now)


def readable(house: House) -> list[LinkedVehicle]:
    """Those of them that V2 can answer for."""
    return begin(house, SelectionSpec(0)).choose(pairs(house))


def judged(house: House, recordings: Iterable[Recording], *, show_private: bool = False, **layout: Any) -> Compared:
    """The comparison of these recordings under a layout's sections."""
    names = Layout.model_validate(layout)
    judging = Judge(company_fields(names), names, house.now, show_private=show_private)
    for found in recordings:
        judging.add(found)
    return Compared(judging.done(gate.population(pair.stratum for pair in pairs(house))))
