"""The sections of a comparison's notebook; a section that returns None is left out of the page."""

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
    """The sections of every comparison; those that only a fleet or only one vehicle has return None here."""

    def __init__(self, compare: Compare) -> None:
        self.compare = compare

    def verdicts(self) -> Shown:
        """Return the verdicts of every field that counts, one bar per field."""

    def not_counted(self) -> Shown:
        """Return the verdicts of the fields that the gate does not count."""

    def losses(self) -> Shown:
        """Return the heat map of losses by field and make."""

    def gate(self) -> Shown:
        """Return every stratum that was read, with its shares and whether it is ready to switch."""

    def worst_strata(self) -> Shown:
        """Return the strata with the largest share of losses, each with vehicles to look at."""

    def differences(self) -> Shown:
        """Return the first lost or different fields."""

    def one_sided(self) -> Shown:
        """Return the fields that only one version has."""

    def since_last_run(self) -> Shown:
        """Return what broke and what was fixed since the last comparison of the fleet."""

    def open_strata(self) -> Shown:
        """Return the strata that need more vehicles."""

    def one_vehicle(self) -> Shown:
        """Return one vehicle, field by field."""

    def calls_and_speed(self) -> Shown:
        """Return how long each version took to answer, and the requests and units per vehicle."""
        result = self.compare.result
        if not any(len(seconds) for seconds in result.seconds.values()):
            return tables.sentence("Neither version answered for any vehicle")
        units = sum(self.compare.session.v2.batch_units(paths) * count for paths, count in result.batches.items())
        units += result.requests - result.read
        sentence = (
            f"{thousands(result.read, 'vehicles')} took {thousands(result.requests, 'requests')} and "
            f"{thousands(units, 'units')}: {result.requests / result.read:.1f} requests and {units / result.read:.1f} "
            "units per vehicle, not counting new tokens"
        )
        user_token = self.compare.user_token_sentence()
        return tables.together(
            self._speed(), tables.sentence(sentence), tables.sentence(user_token) if user_token else None
        )

    def _speed(self) -> HTML | None:
        """Return how long the answers took; None except for a fleet."""
        return None


def quantile_in_ms(seconds: Sequence[float], quantile: float) -> int:
    """Return a quantile of times in milliseconds."""
    return round(1000 * float(pd.Series(list(seconds)).quantile(quantile)))
