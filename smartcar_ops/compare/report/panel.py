"""Choose a vehicle, see the cost, compare it: the same comparison that papermill runs with ``vehicle_id``."""

from __future__ import annotations

import html

import ipywidgets as widgets

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.display.widgets import WIDE, Panel, heading, indented, muted, telling
from smartcar_ops.session import Session, acting
from smartcar_ops.text import thousands

SHOWN = 200
"""Vehicles listed at once; the filter reaches the others."""


class VehiclePanel(Panel):
    """A filter, a list of the linked vehicles and a Look button; a look runs in a thread, so the kernel stays free."""

    def __init__(self, session: Session, compare: Compare) -> None:
        super().__init__()
        self._session, self._compare = session, compare
        vehicles = compare.vehicles_to_look_at()
        self._vehicles = sorted(vehicles, key=lambda vehicle: (vehicle.token is None, *vehicle.stratum))
        self._matching: list[LinkedVehicle] = []
        self.filter = widgets.Text(
            description="Filter",
            placeholder="Smartcar id, your id, make or powertrain",
            layout=widgets.Layout(width=WIDE),
        )
        self.which = widgets.Select(description="Vehicle", rows=7, layout=widgets.Layout(width=WIDE))
        self.listed = widgets.HTML()
        self.cost = widgets.HTML()
        self.look = widgets.Button(
            description="Look",
            icon="search",
            button_style="primary",
            tooltip="Reads this vehicle on V2 and V3; writes nothing",
        )
        self.shown = widgets.HTML()
        self.box = self._laid_out()
        self.filter.observe(lambda _: self._list(), "value")
        self.which.observe(lambda _: self._enable(), "value")
        self.look.on_click(lambda _: self._press())
        with telling(self.status):
            self._list()

    @property
    def vehicle(self) -> LinkedVehicle | None:
        """The vehicle that is selected; None if none is."""
        index = self.which.value
        return self._matching[index] if index is not None and index < len(self._matching) else None

    def _laid_out(self) -> widgets.VBox:
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {self._session.where}.')}</div>")
        line = widgets.Layout(border_top="1px solid var(--jp-border-color2, #ccc)", padding="0 0 8px 0")
        choose = [self.filter, self.which, indented(self.listed, widgets.HBox([self.look, self.cost]), self.status)]
        return widgets.VBox([where, widgets.VBox([heading("One vehicle"), *choose], layout=line), self.shown])

    # --- choosing ----------------------------------------------------------------------------------------

    def _list(self) -> None:
        """List the vehicles that match every word of the filter; keep the selection while it is listed."""
        before, words = self.vehicle, self.filter.value.lower().split()
        matching = [vehicle for vehicle in self._vehicles if all(word in _words(vehicle) for word in words)]
        self._matching = matching[:SHOWN]
        self.which.options = [(_label(vehicle), index) for index, vehicle in enumerate(self._matching)]
        keys = [vehicle.key for vehicle in self._matching]
        self.which.value = keys.index(before.key) if before and before.key in keys else 0 if keys else None
        more = f"; the first {SHOWN} are listed" if len(matching) > SHOWN else ""
        self.listed.value = muted(f"{len(matching):,} of {thousands(len(self._vehicles), 'vehicles')}{more}.")
        self._enable()

    def _enable(self) -> None:
        vehicle = self.vehicle
        self.look.disabled = vehicle is None or self._working
        self.cost.value = "" if vehicle is None else muted(self._compare.price(vehicle))

    # --- looking -----------------------------------------------------------------------------------------

    def _press(self) -> None:
        if (vehicle := self.vehicle) is not None:
            self._start(lambda: self._do_look(vehicle))

    def _do_look(self, vehicle: LinkedVehicle) -> None:
        """Run the comparison that papermill runs with this ``vehicle_id``."""
        self.status.value, self.shown.value = f"Reading {html.escape(_label(vehicle))}…", ""
        with acting(self._session.notebook, self._session.settings) as session:
            comparison = self._compare.looking_at(vehicle.vehicle_id, session)
            verdict = comparison.read().verdict
            shown = comparison.report().one_vehicle()
            comparison.save()
            comparison.finish()
        self.shown.value = str(getattr(shown, "data", ""))
        self.status.value = html.escape(verdict)


def _label(vehicle: LinkedVehicle) -> str:
    return " · ".join(filter(None, (vehicle.make, vehicle.powertrain, vehicle.local_vehicle_id, vehicle.vehicle_id)))


def _words(vehicle: LinkedVehicle) -> str:
    return _label(vehicle).lower()
