"""Choose a vehicle, see the cost, compare it: the same comparison that papermill runs with ``vehicle_id``."""

from __future__ import annotations

import html

import ipywidgets as widgets

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.report.report import Report
from smartcar_ops.compare.report.vehicle import VehicleReport
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.display.widgets import WIDE, Panel, heading, indented, muted, telling
from smartcar_ops.session import Session, acting
from smartcar_ops.text import thousands

SHOWN = 200
"""Vehicles listed at once; the filters reach the others."""


class VehicleView:
    """One vehicle field by field, with a check box that leaves only what differs; it draws again what was read."""

    def __init__(self) -> None:
        self._report: VehicleReport | None = None
        self.only_differences = widgets.Checkbox(
            description="Only differences",
            indent=False,
            tooltip="Lists only the fields that differ or are lost; reads nothing again",
            layout=widgets.Layout(display="none"),
        )
        self.shown = widgets.HTML()
        self.box = widgets.VBox([self.only_differences, self.shown])
        self.only_differences.observe(lambda _: self._draw(), "value")

    def show(self, report: Report | None) -> None:
        """Show the vehicle of this report; None: show nothing."""
        self._report = report if isinstance(report, VehicleReport) else None
        self._draw()

    def _draw(self) -> None:
        report = self._report
        self.only_differences.layout.display = "none" if report is None else ""
        if report is None:
            self.shown.value = ""
        else:
            shown = report.only_differences() if self.only_differences.value else report.one_vehicle()
            self.shown.value = str(shown.data)


class VehiclePanel(Panel):
    """Two filters, a list of the linked vehicles and a Look button; a look runs in a thread, so the kernel stays free.

    A look is a run of its own.
    """

    def __init__(self, session: Session, compare: Compare) -> None:
        super().__init__()
        self._session, self._compare = session, compare
        vehicles = compare.vehicles_to_look_at()
        self._vehicles = sorted(vehicles, key=lambda vehicle: (vehicle.token is None, *vehicle.stratum))
        self._matching: list[LinkedVehicle] = []
        self.user = widgets.Text(
            description="Your user",
            placeholder="your id of one user; empty: of all",
            layout=widgets.Layout(width=WIDE),
        )
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
        self.view = VehicleView()
        self.only_differences, self.shown = self.view.only_differences, self.view.shown
        if not any(vehicle.user_id for vehicle in self._vehicles):
            self.user.layout.display = "none"  # recordings do not name your users
        choose = [self.user, self.filter, self.which]
        looking = indented(self.listed, widgets.HBox([self.look, self.cost]), self.status)
        self.box = widgets.VBox([heading("One vehicle"), *choose, looking, self.view.box])
        for field in (self.user, self.filter):
            field.observe(lambda _: self._list(), "value")
        self.which.observe(lambda _: self._enable(), "value")
        self.look.on_click(lambda _: self._press())
        with telling(self.status):
            self._list()

    @property
    def vehicle(self) -> LinkedVehicle | None:
        """The vehicle that is selected; None if none is."""
        index = self.which.value
        return self._matching[index] if index is not None and index < len(self._matching) else None

    # --- choosing ----------------------------------------------------------------------------------------

    def _list(self) -> None:
        """List the user's vehicles that match every word of the filter; keep the selection while it is listed."""
        before, user, words = self.vehicle, self.user.value.strip(), self.filter.value.lower().split()
        matching = [
            vehicle
            for vehicle in self._vehicles
            if (not user or vehicle.user_id == user) and all(word in label_of(vehicle).lower() for word in words)
        ]
        self._matching = matching[:SHOWN]
        self.which.options = [(label_of(vehicle), index) for index, vehicle in enumerate(self._matching)]
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
        self.status.value = f"Reading {html.escape(label_of(vehicle))}…"
        self.view.show(None)
        with acting(self._session.notebook, self._session.settings) as session:
            comparison = self._compare.looking_at(vehicle.vehicle_id, session)
            verdict = comparison.read().verdict
            self.view.show(comparison.report())
            comparison.save()
            comparison.finish()
        self.status.value = html.escape(verdict)


def label_of(vehicle: LinkedVehicle) -> str:
    """Return a vehicle as one line of a list: make, powertrain, your user, your id and Smartcar's."""
    user = f"user {vehicle.user_id}" if vehicle.user_id else ""
    words = (vehicle.make, vehicle.powertrain, user, vehicle.local_vehicle_id, vehicle.vehicle_id)
    return " · ".join(filter(None, words))
