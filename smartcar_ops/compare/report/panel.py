"""Choose a vehicle, see what looking costs, look: the same comparison that papermill makes with ``vehicle_id``."""

from __future__ import annotations

import html
import threading

import ipywidgets as widgets

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.display.widgets import WIDE, heading, indented, muted, telling
from smartcar_ops.session import Session

SHOWN = 200
"""Vehicles that are listed at once; typing makes room for others."""


class VehiclePanel:
    """A filter, a list of the linked vehicles, and Look; the work runs in a thread, so that the kernel stays free."""

    def __init__(self, session: Session, compare: Compare) -> None:
        self._session, self._compare = session, compare
        vehicles = compare.vehicles_to_look_at()
        self._vehicles = sorted(vehicles, key=lambda pair: (pair.token is None, *pair.stratum))
        self._found: list[LinkedVehicle] = []
        self._thread: threading.Thread | None = None
        self._working = False
        self.filter = widgets.Text(
            description="Filter",
            placeholder="Smartcar's id, your id, make or powertrain",
            layout=widgets.Layout(width=WIDE),
        )
        self.which = widgets.Select(description="Vehicle", rows=7, layout=widgets.Layout(width=WIDE))
        self.listed = widgets.HTML()
        self.cost = widgets.HTML()
        self.look = widgets.Button(
            description="Look",
            icon="search",
            button_style="primary",
            tooltip="Reads it on both versions; writes nothing",
        )
        self.status = widgets.HTML()
        self.shown = widgets.HTML()
        self.box = self._laid_out()
        self.filter.observe(lambda _: self._list(), "value")
        self.which.observe(lambda _: self._chosen(), "value")
        self.look.on_click(lambda _: self._press())
        with telling(self.status):
            self._list()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]

    def wait(self, seconds: float | None = None) -> None:
        """Waits for the look that the button started; for scripts and tests."""
        if self._thread is not None:
            self._thread.join(seconds)

    def close(self) -> None:
        """Takes the panel away."""
        self.box.close()

    @property
    def vehicle(self) -> LinkedVehicle | None:
        """The one that is chosen."""
        place = self.which.value
        return self._found[place] if place is not None and place < len(self._found) else None

    def _laid_out(self) -> widgets.VBox:
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {self._session.where}.')}</div>")
        line = widgets.Layout(border_top="1px solid var(--jp-border-color2, #ccc)", padding="0 0 8px 0")
        choose = [self.filter, self.which, indented(self.listed, widgets.HBox([self.look, self.cost]), self.status)]
        return widgets.VBox([where, widgets.VBox([heading("One vehicle"), *choose], layout=line), self.shown])

    # --- choosing ----------------------------------------------------------------------------------------

    def _list(self) -> None:
        """Lists the vehicles in which every word of the filter stands; the one chosen stays so while it is listed."""
        before, words = self.vehicle, self.filter.value.lower().split()
        found = [pair for pair in self._vehicles if all(word in _words(pair) for word in words)]
        self._found = found[:SHOWN]
        self.which.options = [(_label(pair), place) for place, pair in enumerate(self._found)]
        keys = [pair.key for pair in self._found]
        self.which.value = keys.index(before.key) if before and before.key in keys else 0 if keys else None
        more = f", the first {SHOWN} listed" if len(found) > SHOWN else ""
        self.listed.value = muted(f"{len(found):,} of {len(self._vehicles):,} vehicles{more}.")
        self._chosen()

    def _chosen(self) -> None:
        pair = self.vehicle
        self.look.disabled = pair is None or self._working
        self.cost.value = "" if pair is None else muted(self._compare.price(pair))

    # --- looking -----------------------------------------------------------------------------------------

    def _press(self) -> None:
        pair = self.vehicle
        if pair is None or self._working:
            return  # pressed twice, before the browser heard that the button is off
        self._working = self.look.disabled = True
        self.status.value, self.shown.value = f"Reading {html.escape(_label(pair))}…", ""
        self._thread = threading.Thread(target=self._guarded, args=(pair,), daemon=True, name="smartcar-ops look")
        self._thread.start()

    def _guarded(self, pair: LinkedVehicle) -> None:
        with telling(self.status):
            self._do_look(pair)
        self._working = False
        self._chosen()

    def _do_look(self, pair: LinkedVehicle) -> None:
        """What papermill does with this ``vehicle_id``."""
        looked = self._compare.looking_at(pair.vehicle_id)
        verdict = looked.read().verdict
        found = looked.report().one_vehicle()
        self.shown.value = str(getattr(found, "data", ""))
        self.status.value = html.escape(verdict)


def _label(pair: LinkedVehicle) -> str:
    return " · ".join(filter(None, (pair.make, pair.powertrain, pair.local_vehicle_id, pair.vehicle_id)))


def _words(pair: LinkedVehicle) -> str:
    return _label(pair).lower()
