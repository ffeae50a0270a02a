"""The panel of the comparison: one vehicle, more of the fleet, and the losses by field and make."""

from __future__ import annotations

import ipywidgets as widgets

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.report.fleet import FleetReport
from smartcar_ops.compare.report.fleet_panel import FleetPanel
from smartcar_ops.compare.report.heat_panel import HeatPanel
from smartcar_ops.compare.report.vehicle_panel import VehiclePanel
from smartcar_ops.display.widgets import Panel, muted
from smartcar_ops.session import Session


class ComparePanel(Panel):
    """Three parts that work side by side: ``vehicle``, ``fleet`` and ``heat``; a replay has no fleet to read."""

    def __init__(self, session: Session, compare: Compare) -> None:
        super().__init__()
        self.vehicle = VehiclePanel(session, compare)
        self.heat = HeatPanel(session)
        self.fleet = None if compare.more(0) is None else FleetPanel(session, compare, self.heat.show)
        if isinstance(compare.report(), FleetReport):
            self.heat.show(compare)
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {session.where}.')}</div>")
        parts = [part for part in (self.vehicle, self.fleet, self.heat) if part is not None]
        for part in parts:
            part.box.layout.border_top = "1px solid var(--jp-border-color2, #ccc)"
            part.box.layout.padding = "0 0 8px 0"
        self.box = widgets.VBox([where, *(part.box for part in parts)])

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the work of every part."""
        for part in (self.vehicle, self.fleet, self.heat):
            if part is not None:
                part.wait(seconds)

    def _enable(self) -> None:
        """Do nothing: each part enables its own buttons."""
