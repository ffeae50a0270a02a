"""The comparison's panel, pressed from Python; in a browser it is pressed by the operator's walk."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, open_comparison
from smartcar_ops.compare.live import FleetComparison
from smartcar_ops.compare.report.panel import ComparePanel
from smartcar_ops.compare.report.vehicle_panel import VehiclePanel
from smartcar_ops.database.ledger.runs import Act
from smartcar_ops.session import Session
from smartcar_ops.storage import run_folder
from tests.support.house import House


@pytest.fixture
def session(house: House) -> Iterator[Session]:
    """A session on the house, everything asked."""
    house.ask()
    opened = Session(NOTEBOOK, house.settings)
    yield opened
    opened.transport.close()
    opened.company.engine.dispose()


def units(session: Session) -> int:
    """The units that the panel's looks have spent, as the ledger has them."""
    return sum(run.calls.get(api, 0) for run in session.runs.all(Act.COMPARE) for api in ("v2", "v3"))


def press(panel: VehiclePanel) -> None:
    """Presses Look and waits for what it started."""
    assert not panel.look.disabled
    panel.look.click()
    panel.wait(60)


def test_a_vehicle_is_found_by_any_of_its_words(session: Session) -> None:
    """Typing narrows the list by ids, make and powertrain, in any order; nothing found locks the button."""
    panel = VehiclePanel(session, open_comparison(session, vehicles=1))
    every = len(panel.which.options)
    panel.filter.value = "bev TESLA"
    assert 0 < len(panel.which.options) < every
    assert {True} == {"TESLA · BEV" in label for label, _ in panel.which.options}
    wanted = panel.vehicle
    panel.filter.value = ""
    assert wanted == panel.vehicle
    panel.filter.value = wanted.vehicle_id[:13]
    assert [wanted.vehicle_id] == [label.split(" · ")[-1] for label, _ in panel.which.options]
    panel.filter.value = "no such car"
    assert (0, True, "") == (len(panel.which.options), panel.look.disabled, panel.cost.value)
    panel.filter.value, panel.user.value = "", f" {wanted.user_id} "
    his = {vehicle.vehicle_id for vehicle in panel._vehicles if vehicle.user_id == wanted.user_id}
    assert his == {label.split(" · ")[-1] for label, _ in panel.which.options}
    assert panel.listed.value.count(f"{len(his)} of {every} vehicles")
    panel.user.value = "nobody"
    assert (0, True) == (len(panel.which.options), panel.look.disabled)


def test_looking_shows_the_vehicle_and_costs_what_was_said(session: Session) -> None:
    """Look reads the chosen vehicle at no more than was told, shows it field by field, and may be pressed again."""
    panel = VehiclePanel(session, open_comparison(session, vehicles=1))
    assert "none" == panel.only_differences.layout.display
    pair = panel.vehicle
    said = open_comparison(session, vehicle_id=pair.vehicle_id).cost()
    assert str(said) in panel.cost.value
    press(panel)
    assert "1 vehicle read on both versions" in panel.status.value
    assert "smartcar-vehicle" in panel.shown.value and pair.vehicle_id in panel.shown.value
    assert "sc-user-id" in panel.shown.value and "$V2_TOKEN" in panel.shown.value
    spent = units(session)
    assert 0 < spent <= said.total
    everything = panel.shown.value
    panel.only_differences.value = True
    assert len(panel.shown.value) < len(everything)
    assert "Agrees: " not in panel.shown.value and "Agrees: " in everything
    panel.only_differences.value = False
    assert (everything, spent) == (panel.shown.value, units(session))
    press(panel)
    assert spent < units(session)
    assert "smartcar-vehicle" in panel.shown.value


def test_a_failure_is_one_sentence(house: House, session: Session) -> None:
    """Where V2 can't answer, the panel says so before and after, and Look works again."""
    panel = VehiclePanel(session, open_comparison(session, vehicles=1))
    silent = next(place for place, pair in enumerate(panel._matching) if pair.token is None)
    panel.which.value = silent
    assert "it has no" not in panel.cost.value and "no V2 token younger than two hours" in panel.cost.value
    press(panel)
    assert "V2 answered for none of 1 vehicle " in panel.status.value
    assert ("", False) == (panel.shown.value, panel.look.disabled)


def test_a_replay_is_looked_at_without_a_call(session: Session) -> None:
    """Over a replay the panel lists what was recorded, and looking sends nothing; there is no fleet to read."""
    first = open_comparison(session, vehicles=2)
    first.read()
    first.save()
    first.finish()
    replayed = open_comparison(session, replay=str(session.folder))
    replayed.read()
    panel = ComparePanel(session, replayed)
    assert {pair.vehicle_id for pair in first.chosen} == {pair.vehicle_id for pair in panel.vehicle._matching}
    assert (None, "none") == (panel.fleet, panel.vehicle.user.layout.display)
    before = len(session.transport.calls)
    press(panel.vehicle)
    assert "smartcar-vehicle" in panel.vehicle.shown.value
    panel.heat.cells[0].button.click()
    panel.wait(60)
    assert "smartcar-vehicle" in panel.heat.view.shown.value or "no vehicle loses" in panel.heat.status.value
    assert (before, True) == (len(session.transport.calls), "costs nothing" in panel.vehicle.cost.value)


def test_the_fleet_is_read_at_the_cost_shown_and_each_loss_leads_to_its_vehicles(session: Session) -> None:
    """The cost follows the number; Read leaves a run with its folder, tables and a heat map whose cells open cars."""
    panel = ComparePanel(session, open_comparison(session, vehicles=1))
    fleet, heat = panel.fleet, panel.heat
    assert fleet is not None and "none" == heat.box.layout.display
    first = fleet.cost.value
    fleet.number.value = 12
    said = open_comparison(session, vehicles=12).cost()
    assert first != fleet.cost.value and str(said) in fleet.cost.value
    assert (False, True) == (fleet.read.disabled, fleet.stop.disabled)
    fleet.read.click()
    panel.wait(60)
    assert "12 vehicles read on both versions" in fleet.status.value
    assert "The gate, by make and powertrain" in fleet.found.value and "sc-picture" in fleet.found.value
    assert (False, True, "none") == (fleet.read.disabled, fleet.stop.disabled, fleet.bar.layout.display)
    assert 0 < units(session) <= said.total + 2
    folder = run_folder.latest(session.settings.reports, NOTEBOOK)
    assert folder is not None and {"fields.parquet", "recordings.parquet"} <= {path.name for path in folder.iterdir()}
    assert "" == heat.box.layout.display
    sent = units(session)
    cell = next(cell for cell in heat.cells if cell.field and not cell.button.description.startswith("0%"))
    assert re.fullmatch(r"[<>]?\d+% of [\d,]+", cell.button.description)
    assert f"{cell.field} on {cell.make}" in cell.button.tooltip
    cell.button.click()
    panel.wait(60)
    assert f"<b>{cell.field} on {cell.make}</b>" == heat.status.value
    label, shown = heat.which.options[0]
    assert label.startswith(("mismatch", "v2 only", "not permitted")) and shown in label
    assert "smartcar-vehicle" in heat.view.shown.value and shown in heat.view.shown.value
    heat.which.value = heat.which.options[-1][1]
    heat.show_vehicle.click()
    panel.wait(60)
    assert heat.which.value in heat.view.shown.value
    row = next(cell for cell in heat.cells if not cell.field)
    row.button.click()
    panel.wait(60)
    assert re.match(r"\d+ fields? lost", heat.which.options[0][0])
    assert sent == units(session)


def test_stop_keeps_what_was_read(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop ends the reading: what was read is judged and kept, and the next run goes on with the rest."""
    panel = ComparePanel(session, open_comparison(session, vehicles=1))
    fleet = panel.fleet
    assert fleet is not None
    shown: list[str] = []
    on_read = fleet._on_read

    def stop_at_once(done: int, of: int) -> None:
        on_read(done, of)
        shown.append(fleet.line.value)
        fleet.stop.click()

    monkeypatch.setattr(fleet, "_on_read", stop_at_once)
    fleet.number.value = 0
    every = len(open_comparison(session, vehicles=0).to_read)
    fleet.read.click()
    panel.wait(60)
    assert re.match(rf"1 of {every} vehicles read; about ", shown[0])
    assert "This run is not complete; run it again to continue." in fleet.status.value
    assert re.match("1 vehicle read on both versions", fleet.status.value)
    rest = open_comparison(session, vehicles=0)
    assert isinstance(rest, FleetComparison)
    assert every - 1 == len(rest.to_read)
    folder = run_folder.latest(session.settings.reports, NOTEBOOK)
    assert folder is not None
    assert "the reading was stopped before this vehicle" in run_folder.Bundle(folder)["vehicles"]["reason"].tolist()


def test_a_fleet_that_can_not_be_read_is_one_sentence(session: Session, house: House) -> None:
    """Where V2 is silent, the panel says so, the run is recorded as failed, and Read may be pressed again."""
    panel = ComparePanel(session, open_comparison(session, vehicles=1))
    assert panel.fleet is not None
    house.sandbox.end()
    panel.fleet.number.value = 2
    panel.fleet.read.click()
    panel.wait(120)
    assert "color:var(--jp-error-color1" in panel.fleet.status.value and "Traceback" not in panel.fleet.status.value
    assert ("", False, True) == (panel.fleet.found.value, panel.fleet.read.disabled, panel.fleet.stop.disabled)
    assert ["failed"] == [str(run.status) for run in session.runs.all(Act.COMPARE)]
