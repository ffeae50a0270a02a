"""The new names of modules that users' own notebooks may still import by an earlier name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from smartcar_ops.errors import SettingsError

KIT = "smartcar_ops"
_PLACES = """
company.ledger         database.ledger.ledger
company.records        database.ledger.change_log
company.runs           database.ledger.runs
company.tables         database.tables
connecting             settings.startup
layout                 settings.layout
migration.auditing     audit.audit
migration.backfilling  backfill.runner
migration.buckets      audit.buckets
migration.checkup      doctor
migration.comparison   compare.judging.comparison
migration.deciding     backfill.decisions
migration.linking      audit.resolver
migration.pairing      compare.vehicles
migration.plans        backfill.plan
migration.progress     progress.progress
migration.sources      audit.sources
migration.verdicts     compare.judging.verdicts
reporting.backfill     backfill.backfill
reporting.bundles      storage.run_folder
reporting.capture      capture.capture
reporting.charts       audit.charts
reporting.compare      compare.compare
reporting.fleet_view   compare.report.fleet
reporting.panels       backfill.panel
reporting.phases       schema.schema
reporting.progress_view progress.report
reporting.runs         notebook_runs
reporting.showing      display.tables
reporting.vehicle_panel compare.report.panel
reporting.vehicle_view compare.report.vehicle
smartcar.allowance     smartcar.http.rate_limit
smartcar.fields        fields.field_map
smartcar.transport     smartcar.http.transport
"""
MOVED = {f"{KIT}.{old}": f"{KIT}.{new}" for old, new in (line.split() for line in _PLACES.strip().splitlines())}
"""Earlier name -> current name."""

GONE = {f"{KIT}.{folder}" for folder in ("company", "migration", "reporting")}
"""Removed folders. Each imports as an empty package, so that an import from it can be answered with the new name."""


class _MovedFinder:
    """The last finder of the import system: it gets only the names that no other finder knows."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return an empty package for a removed folder. SettingsError, with the new name, if the module has moved."""
        if name in MOVED:
            raise SettingsError(f"settings: {name} has moved; import {MOVED[name]} instead.")
        return ModuleSpec(name, None, is_package=True) if name in GONE else None


def install() -> None:
    """From now on, an import by an earlier name fails with one sentence."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(_MovedFinder())
