"""The doctor as a panel: the checks with their hints, and a button that checks again."""

from __future__ import annotations

import html

import ipywidgets as widgets

from smartcar_ops import doctor
from smartcar_ops.display.widgets import AMBER, GREEN, RED, Panel, indented, muted, pill
from smartcar_ops.doctor import CheckLine, Checkup
from smartcar_ops.settings.environment import Settings

COLOURS = {"pass": GREEN, "fail": RED, "unknown": AMBER}
ALL = "all"


class DoctorPanel(Panel):
    """Shows a checkup, all checks or those of one result, and repeats it with at most 5 calls."""

    def __init__(self, settings: Settings, found: Checkup) -> None:
        super().__init__()
        self._settings, self.found = settings, found
        self.only = widgets.ToggleButtons(description="Show", options=[ALL], tooltips=["Every check"])
        self.lines = widgets.HTML()
        self.again = widgets.Button(
            description="Check again",
            icon="refresh",
            button_style="primary",
            tooltip="Run every check once more; the ledger records what it spent",
        )
        cost = widgets.HTML(muted(f"Cost: {doctor.CALLS}."))
        self.box = widgets.VBox([self.only, self.lines, indented(widgets.HBox([self.again, cost]), self.status)])
        self.only.observe(lambda _: self._show(), "value")
        self.again.on_click(lambda _: self._start(self._do_check))
        self._list()

    def _enable(self) -> None:
        self.again.disabled = self._working

    def _do_check(self) -> None:
        """Run what the notebook and the command run, and record what it spent."""
        self.status.value = "Checking…"
        self.found = doctor.checkup(self._settings)
        doctor.note(self._settings, self.found.verdict, self.found.calls)
        self._list()

    def _list(self) -> None:
        """Offer the results that there are, with their numbers, and show the checks."""
        counts = {state: sum(line.state == state for line in self.found.lines) for state in COLOURS}
        before = self.only.value
        self.only.options = [(f"all {len(self.found.lines)}", ALL)] + [
            (f"{count} {state}", state) for state, count in counts.items() if count
        ]
        self.only.value = before if before in (ALL, *(state for state, count in counts.items() if count)) else ALL
        self.status.value = html.escape(self.found.verdict)
        self._show()

    def _show(self) -> None:
        shown = [line for line in self.found.lines if self.only.value in (ALL, line.state)]
        self.lines.value = f"<table style='line-height:1.5'>{''.join(map(_row, shown))}</table>"


def _row(line: CheckLine) -> str:
    cell = "padding:1px 14px 1px 0; text-align:left; vertical-align:top"
    hint = f"<div>{muted(f'Next: {line.next_step}.')}</div>" if line.next_step else ""
    return (
        f"<tr><td style='{cell}'>{pill(line.state, COLOURS[line.state])}</td>"
        f"<th scope='row' style='{cell}; font-weight:600'>{html.escape(line.question)}</th>"
        f"<td style='{cell}'>{html.escape(line.found)}{hint}</td></tr>"
    )
