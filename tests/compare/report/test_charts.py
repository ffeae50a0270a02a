"""The heat map: which field is lost on which make, of how many readings, and what is not drawn."""

from __future__ import annotations

import re

import pandas as pd

from smartcar_ops.compare.report import charts
from smartcar_ops.display import heat
from tests.compare.report.conftest import Compared
from tests.support.pictures import words

ORDER = ("vin", "odometer", "battery-range", "fuel-range")


def counts(*rows: tuple[str, str, str, int, int]) -> pd.DataFrame:
    """A comparison's counts: make, field, verdict, readings, and how many of them are lost."""
    told = [(make, "BEV", field, True, verdict, fields, lost) for make, field, verdict, fields, lost in rows]
    return pd.DataFrame(told, columns=["make", "powertrain", "field", "scored", "verdict", "fields", "lost"])


SMALL = counts(
    ("BMW", "vin", "equal", 8, 0),
    ("BMW", "odometer", "equal", 6, 0),
    ("BMW", "odometer", "mismatch", 2, 2),
    ("BMW", "fuel-range", "not_capable", 8, 0),
    ("FORD", "vin", "equal", 1204, 0),
    ("FORD", "odometer", "not_capable", 1204, 0),
)


def test_a_cell_has_the_share_lost_and_of_how_many() -> None:
    """Two of eight odometers are 25% of 8; a sample of thousands is told in short."""
    shown = words(charts.loss_by_make(SMALL, ORDER))
    assert "of 8" == shown[shown.index("25%") + 1]
    assert "of 1.2k" in shown


def test_what_nobody_could_judge_is_no_zero() -> None:
    """A make without a judged reading of a field has a dash, one without a loss has 0% on a colour of its own."""
    picture = charts.loss_by_make(SMALL, ORDER)
    shown = words(picture)
    odometer = shown.index("odometer")
    assert ["25%", "of 8", "–"] == shown[odometer + 1 : odometer + 4]
    assert "odometer: BMW 25% of 8, FORD not judged" in picture.description
    assert 1 == picture.drawing.count(f'class="cell" style="background:{heat.NO_LOSS}"')  # FORD's of all fields


def test_fields_without_a_loss_are_a_sentence() -> None:
    """Rows are the fields that lose something, in the map's order; the others are counted, the silent ones named."""
    lost = pd.concat([SMALL, counts(("FORD", "vin", "mismatch", 1, 1))])
    shown = words(charts.loss_by_make(lost, ORDER))
    assert ["vin", "odometer"] == [text for text in shown if text in ORDER]
    assert "1 more field: no loss on any of these makes." not in shown
    assert "Not judged on any of these makes: fuel-range." in shown
    assert "1 more field: no loss on any of these makes." in words(charts.loss_by_make(SMALL, ORDER))


def test_the_title_names_the_worst_cell() -> None:
    """The title says how many fields lose something, and where most."""
    assert "1 of 3 fields differ or are lost on some make; worst: odometer on BMW, 25% of 8" == (
        charts.loss_by_make(SMALL, ORDER).title
    )


def test_no_loss_at_all_is_said() -> None:
    """Without a loss there is the row of all fields alone, and the title says none."""
    picture = charts.loss_by_make(counts(("BMW", "vin", "equal", 3, 0)), ORDER)
    assert "None of 1 field differs or is lost on any make" == picture.title
    assert {"all fields", "0%", "of 3", "1 field: no loss on BMW."} <= set(words(picture))


def test_of_many_makes_the_worst_are_drawn() -> None:
    """Nine makes: the seven that lose most, worst first, and the others in a sentence; all are in the description."""
    makes = [f"MAKE-{number}" for number in range(9)]
    rows = [(make, "vin", "mismatch", number + 1, number + 1) for number, make in enumerate(makes)]
    picture = charts.loss_by_make(counts(*rows, *((make, "vin", "equal", 10, 0) for make in makes)), ORDER)
    assert makes[:1:-1] == [text for text in words(picture) if text.startswith("MAKE-")]
    assert "The 7 worst of 9 makes are shown; the others lose 3 of 23 readings." in words(picture)
    assert "MAKE-0 9% of 11" in picture.description


def test_it_names_every_field_that_loses_something(compared: Compared) -> None:
    """On a company's own comparison the rows are the fields with a loss, in the map's order, and nothing is loaded."""
    found = compared.fleet.result
    picture = charts.loss_by_make(found.counts, found.order)
    lost = {field for cells in found.lost_cells().values() for field in cells}
    assert lost
    assert [field for field in found.order if field in lost] == [text for text in words(picture) if text in lost]
    assert [] == re.findall(r"(?:href|src)=|url\(", picture._repr_html_())
