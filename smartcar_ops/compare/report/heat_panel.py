"""The heat map of losses as buttons: a cell lists its vehicles, and shows one of them as it was recorded."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import partial

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.compare.compare import Compare
from smartcar_ops.compare.report.charts import Cell, Losses, losses_of
from smartcar_ops.compare.report.vehicle_panel import VehicleView
from smartcar_ops.display import heat
from smartcar_ops.display.picture import ink_on
from smartcar_ops.display.widgets import WIDE, Panel, heading, indented, muted
from smartcar_ops.session import Session
from smartcar_ops.text import thousands

BEHIND_A_CELL = 50
"""Vehicles of a cell that are listed."""

ALL_FIELDS = ""
"""The row of all fields of a make."""

NAME_WIDTH, CELL_WIDTH = "150px", "92px"


@dataclass(frozen=True)
class CellButton:
    """A cell that can be pressed: the field (or all) and the make it stands for."""

    field: str
    make: str
    button: widgets.Button


class HeatPanel(Panel):
    """One button per field and make, with the share lost in words; pressing one shows the vehicles behind it.

    It makes no call: the vehicles come from the comparison's tables, their answers from the recordings.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._compare: Compare | None = None
        self.cells: list[CellButton] = []
        self.grid = widgets.VBox()
        self.which = widgets.Select(description="Vehicle", rows=6, layout=widgets.Layout(width=WIDE))
        self.show_vehicle = widgets.Button(
            description="Show", icon="search", tooltip="Shows the selected vehicle as it was recorded; makes no call"
        )
        self.listed = widgets.HTML()
        self.view = VehicleView()
        self.behind = widgets.VBox([self.which, indented(self.listed, self.show_vehicle)])
        title = heading("Fields lost, by make: press a cell to see its vehicles")
        self.box = widgets.VBox([title, self.grid, self.status, self.behind, self.view.box])
        self.show_vehicle.on_click(lambda _: self._start(self._do_show))
        self.which.observe(lambda _: self._enable(), "value")
        self.show(None)

    def show(self, compare: Compare | None) -> None:
        """Show the losses of this comparison of a fleet; None, or one that read nothing: show nothing."""
        self._compare = compare if compare is not None and compare.result.scored else None
        self.box.layout.display = "none" if self._compare is None else ""
        self.behind.layout.display, self.status.value = "none", ""
        self.view.show(None)
        self.cells = []
        if self._compare is not None:
            result = self._compare.result
            self.grid.children = self._rows(losses_of(result.counts, result.order))
        self._enable()

    # --- the cells ---------------------------------------------------------------------------------------

    def _rows(self, losses: Losses) -> list[widgets.Widget]:
        makes = losses.worst_makes
        heads = [_name("", NAME_WIDTH), *(_name(make, CELL_WIDTH) for make in makes)]
        rows = [heads, [_name("all fields", NAME_WIDTH), *(self._cell(losses, ALL_FIELDS, make) for make in makes)]]
        for field in losses.lossy_fields:
            rows.append([_name(field, NAME_WIDTH), *(self._cell(losses, field, make) for make in makes)])
        drawn = [widgets.HBox(row, layout=widgets.Layout(overflow="hidden")) for row in rows]
        more = len(losses.makes) - len(makes)
        note = f" The {len(makes)} worst of {len(losses.makes):,} makes are shown." if more > 0 else ""
        words = f"Share of the judged or lost readings that differ or are lost, and of how many; – not judged.{note}"
        return [*drawn, widgets.HTML(muted(words))]

    def _cell(self, losses: Losses, field: str, make: str) -> widgets.Widget:
        cell = losses.at(field, make) if field else losses.of_make(make)
        layout = widgets.Layout(width=CELL_WIDTH, margin="1px", padding="0")
        if not cell.of:
            return widgets.HTML("<div style='text-align:center'>–</div>", layout=layout)
        button = widgets.Button(
            description=f"{heat.share_in_words(cell.lost, cell.of)} of {cell.of:,}",
            tooltip=f"{field or 'All fields'} on {make}: {_in_words(cell)}; lists its vehicles",
            layout=layout,
        )
        button.style.button_color = color = heat.color_of(cell.lost, cell.of)
        if cell.lost:
            button.style.text_color, button.style.font_weight = ink_on(color), "600"
        button.on_click(lambda _: self._start(partial(self._do_list, field, make)))
        self.cells.append(CellButton(field, make, button))
        return button

    def _enable(self) -> None:
        for cell in self.cells:
            cell.button.disabled = self._working
        self.show_vehicle.disabled = self._working or self.which.value is None

    # --- the vehicles behind a cell ----------------------------------------------------------------------

    def _do_list(self, field: str, make: str) -> None:
        """List the vehicles behind a cell and show the first of them."""
        compare = self._compare
        assert compare is not None, "there is a cell, so there is a comparison"
        name = f"{field or 'all fields'} on {make}"
        self.status.value = f"Looking for the vehicles of {html.escape(name)}…"
        found = (
            compare.result.vehicles_behind(make, field, BEHIND_A_CELL)
            if field
            else compare.result.vehicles_with_loss(make, BEHIND_A_CELL)
        )
        self.which.options = [(_line(make, row), row["vehicle_id"]) for row in _records(found)]
        first = f"; the first {BEHIND_A_CELL} are listed" if len(found) == BEHIND_A_CELL else ""
        self.listed.value = muted(f"{thousands(len(found), 'vehicles')}{first}.")
        self.behind.layout.display = "" if len(found) else "none"
        self.status.value = f"<b>{html.escape(name)}</b>"
        if len(found):
            self.which.value = found["vehicle_id"].iloc[0]
            self._do_show()
        else:
            self.view.show(None)
            self.status.value += ": no vehicle loses a field"

    def _do_show(self) -> None:
        """Show the selected vehicle from its recording; no call."""
        assert self._compare is not None, "there is a list, so there is a comparison"
        stored = self._compare.recorded(self.which.value, self._session)
        stored.read()
        self.view.show(stored.report())


def _name(words: str, width: str) -> widgets.HTML:
    side = "left" if width == NAME_WIDTH else "center"
    style = f"text-align:{side}; overflow-wrap:anywhere; line-height:1.3"
    return widgets.HTML(
        f"<div style='{style}'>{html.escape(words)}</div>", layout=widgets.Layout(width=width, margin="1px")
    )


def _in_words(cell: Cell) -> str:
    verb = "differs or is" if cell.lost == 1 else "differ or are"
    return f"{cell.lost:,} of {thousands(cell.of, 'readings')} {verb} lost"


def _line(make: str, row: dict[str, object]) -> str:
    """Return a vehicle as one line of the list: what it loses first."""
    what = str(row["verdict"]).replace("_", " ") if "verdict" in row else _fields_lost(row["lost"])
    words = (what, make, row["powertrain"], row["local_vehicle_id"], row["vehicle_id"])
    return " · ".join(str(word) for word in words if word)


def _fields_lost(count: object) -> str:
    return f"{thousands(int(str(count)), 'fields')} lost"


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
