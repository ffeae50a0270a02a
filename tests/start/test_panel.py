"""The doctor's panel: each check with colour, word and hint; pressed again, it checks again and records the cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smartcar_ops import doctor
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.start.panel import DoctorPanel
from tests.support.house import House


def test_checks_are_shown_and_repeated(make_house: Callable[..., House]) -> None:
    """Before and after expand: the words change, the cost is said before and recorded after, the filter narrows."""
    house = make_house(users=20)
    panel = DoctorPanel(house.settings, doctor.checkup(house.settings))
    assert doctor.CALLS in str(panel.box.children[2].children[0].children[1].value)
    assert "before, the kit&#x27;s tables do not exist yet" in panel.lines.value
    assert "Next: before a backfill, run 40_schema_phases" in panel.lines.value
    every = panel.lines.value.count("<tr>")
    states = {state for _, state in panel.only.options} - {"all"}
    assert every == 18 and "unknown" in states
    panel.only.value = "unknown"
    assert 0 < panel.lines.value.count("<tr>") == panel.lines.value.count(">unknown<") < every
    house.expand()
    panel.again.click()
    panel.wait(60)
    assert not panel.again.disabled
    panel.only.value = "all"
    assert "expanded, the kit&#x27;s tables exist" in panel.lines.value
    assert "checks pass" in panel.status.value
    (run,) = Runs(house.open_ledger()).all("doctor")
    assert 0 < sum(run.calls.values()) <= 5


@pytest.mark.parametrize(
    "changed", [{"SMARTCAR_CLIENT_SECRET": "<wrong>"}, {"SMARTCAR_IAM_ORIGIN": "http://127.0.0.1:1"}]
)
def test_a_failure_is_a_red_line_with_its_hint(make_house: Callable[..., House], changed: dict[str, str]) -> None:
    """In word and colour; the secret is nowhere."""
    settings = make_house(users=10).read_settings(**changed)
    panel = DoctorPanel(settings, doctor.checkup(settings))
    panel.only.value = "fail"
    assert ">fail<" in panel.lines.value and "application token" in panel.lines.value
    assert "wrong" not in panel.lines.value
    assert "fail" in panel.status.value


def test_what_nobody_foresaw_is_one_sentence(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """And the button works again."""
    settings = make_house(users=10).settings
    panel = DoctorPanel(settings, doctor.checkup(settings))

    def broken(*_: object) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(doctor, "checkup", broken)
    panel.again.click()
    panel.wait(60)
    assert "The kit failed with ValueError" in panel.status.value and "secret" not in panel.status.value
    assert not panel.again.disabled
