"""Read more vehicles of the fleet: the number, its cost, progress, Stop; the comparison that papermill runs."""

from __future__ import annotations

import html
import time
from collections.abc import Callable

import ipywidgets as widgets

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.live import FleetComparison
from smartcar_ops.compare.report.report import Report, Shown
from smartcar_ops.display.picture import Picture
from smartcar_ops.display.widgets import Panel, heading, indented, lasting, muted, telling
from smartcar_ops.session import Session, acting
from smartcar_ops.text import thousands

DEFAULT_VEHICLES = 25
MOST_VEHICLES = 10_000_000
REDRAW_SECONDS = 0.2
"""Seconds between two updates of the progress: a message to the browser per vehicle would be slow."""

SECTIONS: dict[str, Callable[[Report], Shown]] = {
    "Verdicts": lambda report: report.verdicts(),
    "The gate, by make and powertrain": lambda report: report.gate(),
    "The worst makes and powertrains": lambda report: report.worst_strata(),
    "Fields that differ or are lost": lambda report: report.differences(),
}


class FleetPanel(Panel):
    """A number of vehicles with its cost, Read, Stop, and what was found. A reading is a run of its own.

    ``on_read`` is called with the comparison after each reading.
    """

    def __init__(self, session: Session, compare: Compare, on_read: Callable[[Compare], None]) -> None:
        super().__init__()
        self._session, self._compare, self._show_losses = session, compare, on_read
        self._reading: FleetComparison | None = None
        self._began = self._drawn = 0.0
        self.number = widgets.BoundedIntText(
            value=compare.spec.vehicles if isinstance(compare, FleetComparison) else DEFAULT_VEHICLES,
            min=0,
            max=MOST_VEHICLES,
            description="Vehicles",
            tooltip="How many more vehicles to read, each make and powertrain in turn; 0: all",
            layout=widgets.Layout(width="220px"),
        )
        self.cost = widgets.HTML()
        self.read = widgets.Button(
            description="Read",
            icon="play",
            button_style="primary",
            tooltip="Reads so many more vehicles on V2 and V3; writes nothing to your tables",
        )
        self.stop = widgets.Button(
            description="Stop",
            icon="stop",
            disabled=True,
            tooltip="Ends the reading; what was read is kept and judged",
        )
        self.bar = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%", display="none"))
        self.line = widgets.HTML()
        self.found = widgets.HTML()
        hint = widgets.HTML(muted("more to read; 0 reads all"))
        buttons = widgets.HBox([self.read, self.stop, self.cost])
        self.box = widgets.VBox(
            [
                heading("More of the fleet"),
                widgets.HBox([self.number, hint]),
                indented(buttons, self.bar, self.line, self.status),
                self.found,
            ]
        )
        self.number.observe(lambda _: self._price(), "value")
        self.read.on_click(lambda _: self._press())
        self.stop.on_click(lambda _: self._do_stop())
        self._price()
        self._enable()

    def _price(self) -> None:
        """Show what the number costs; no call."""
        self.cost.value = ""
        with telling(self.status):
            self.cost.value = muted(f"Cost: {self._compare.cost_of_more(self.number.value)}.")

    def _enable(self) -> None:
        self.read.disabled = self.number.disabled = self._working
        self.stop.disabled = not self._working

    # --- reading -----------------------------------------------------------------------------------------

    def _press(self) -> None:
        vehicles = self.number.value
        self._start(lambda: self._do_read(vehicles))

    def _do_read(self, vehicles: int) -> None:
        """Run the comparison that papermill runs with this number of vehicles."""
        self.status.value, self.found.value = "Choosing the vehicles…", ""
        self.bar.value, self.bar.layout.display = 0, ""
        try:
            with acting(self._session.notebook, self._session.settings) as session:
                comparison = self._compare.more(vehicles, session)
                assert comparison is not None, "the panel is not shown without a fleet to read"
                self._reading = comparison
                self.status.value = html.escape(f"Reading: {comparison.cost()}.")
                self._began = time.monotonic()
                comparison.read(self._on_read)
                self.found.value = _sections(comparison.report())
                comparison.save()
                outcome = comparison.finish()
            self._show_losses(comparison)
        finally:
            self._reading = None
            self.bar.layout.display, self.line.value = "none", ""
        self.status.value = html.escape(outcome.sentence)
        self._price()

    def _on_read(self, done: int, of: int) -> None:
        now = time.monotonic()
        if done < of and now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        self.bar.max, self.bar.value = max(of, 1), done
        left = (now - self._began) / done * (of - done) if done else 0.0
        rest = f"; about {lasting(left)} left" if done < of and left else ""
        self.line.value = html.escape(f"{done:,} of {thousands(of, 'vehicles')} read{rest}")

    def _do_stop(self) -> None:
        self.stop.disabled = True
        if self._reading is not None:
            self._reading.stop()
            self.status.value = "Stopping: the vehicles that are being read are finished, and what was read is kept…"


def _sections(report: Report) -> str:
    """Return the sections of a fleet's report, one below the other."""
    parts = []
    for title, section in SECTIONS.items():
        if (shown := section(report)) is not None:
            markup = shown._repr_html_() if isinstance(shown, Picture) else shown.data
            parts.append(f"<h4 style='margin:1em 0 .3em'>{html.escape(title)}</h4>{markup}")
    return "".join(parts)
