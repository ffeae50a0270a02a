"""The panel that looks at one vehicle, pressed from Python; in a browser it is pressed by the operator's walk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, open_comparison
from smartcar_ops.compare.report.panel import VehiclePanel
from smartcar_ops.database.ledger.runs import Act
from smartcar_ops.session import Session
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


def test_looking_shows_the_vehicle_and_costs_what_was_said(session: Session) -> None:
    """Look reads the chosen vehicle at no more than was told, shows it field by field, and may be pressed again."""
    panel = VehiclePanel(session, open_comparison(session, vehicles=1))
    pair = panel.vehicle
    said = open_comparison(session, vehicle_id=pair.vehicle_id).cost()
    assert str(said) in panel.cost.value
    press(panel)
    assert "1 vehicle read on both versions" in panel.status.value
    assert "smartcar-vehicle" in panel.shown.value and pair.vehicle_id in panel.shown.value
    spent = units(session)
    assert 0 < spent <= said.total
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
    """Over a replay the panel lists what was recorded, and looking sends nothing."""
    first = open_comparison(session, vehicles=2)
    first.read()
    first.save()
    first.finish()
    replayed = open_comparison(session, replay=str(session.folder))
    replayed.read()
    panel = VehiclePanel(session, replayed)
    assert {pair.vehicle_id for pair in first.chosen} == {pair.vehicle_id for pair in panel._matching}
    before = len(session.transport.calls)
    press(panel)
    assert "smartcar-vehicle" in panel.shown.value
    assert (before, True) == (len(session.transport.calls), "costs nothing" in panel.cost.value)
