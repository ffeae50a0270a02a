"""What a comparison's notebook shows, section by section; a section that shows nothing is left out of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML

from smartcar_ops.display import tables
from smartcar_ops.display.picture import Picture
from smartcar_ops.text import thousands

if TYPE_CHECKING:
    from smartcar_ops.compare.compare import Compare

Shown = Picture | HTML | None


class Report:
    """The sections of every comparison; those that only a fleet or only one vehicle has show nothing here."""

    def __init__(self, compare: Compare) -> None:
        self.compare = compare

    def verdicts(self) -> Shown:
        """What became of every field that counts, one bar per field."""

    def not_counted(self) -> Shown:
        """What became of the fields that the gate does not count."""

    def losses(self) -> Shown:
        """The heat map, make by field."""

    def gate(self) -> Shown:
        """Every stratum that was read: its shares, and what the gate says."""

    def worst_strata(self) -> Shown:
        """The strata that lose most, with vehicles to look at."""

    def differences(self) -> Shown:
        """The first fields that differ or are lost."""

    def one_sided(self) -> Shown:
        """The fields that only one version has."""

    def since_last_run(self) -> Shown:
        """What is newly broken and what healed since the last comparison of the fleet."""

    def open_strata(self) -> Shown:
        """The strata of which too little is known."""

    def one_vehicle(self) -> Shown:
        """One vehicle, field by field."""

    def calls_and_speed(self) -> Shown:
        """How long each version took to answer, and what a vehicle took in requests and units."""
        found = self.compare.result
        if not any(len(seconds) for seconds in found.seconds.values()):
            return tables.sentence("Neither version answered for any vehicle")
        units = sum(self.compare.session.v2.batch_units(paths) * many for paths, many in found.batches.items())
        units += found.requests - found.read
        told = (
            f"{thousands(found.read, 'vehicles')} took {thousands(found.requests, 'requests')} and "
            f"{thousands(units, 'units')}: {found.requests / found.read:.1f} requests and {units / found.read:.1f} "
            "units a vehicle, new tokens left out"
        )
        user_token = self.compare.user_token_sentence()
        return tables.together(
            self._speed(), tables.sentence(told), tables.sentence(user_token) if user_token else None
        )

    def _speed(self) -> HTML | None:
        """How long the answers took, over many vehicles."""
        return None


def quantile_in_ms(seconds: Sequence[float], quantile: float) -> int:
    """Return a quantile of times in milliseconds."""
    return round(1000 * float(pd.Series(list(seconds)).quantile(quantile)))
