"""One vehicle, field by field: grouped, worded, with units and times, and nothing private anywhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from smartcar_ops.compare.compare import Compare, open_comparison
from smartcar_ops.compare.recording import read_recording
from smartcar_ops.compare.report import values, vehicle
from smartcar_ops.errors import SmartcarError
from smartcar_ops.reports.notebook_html import cells_html
from tests.compare.report.conftest import Compared

Soup = BeautifulSoup


@pytest.fixture(scope="module")
def looked(compared: Compared) -> Compare:
    """A vehicle that loses something, looked at."""
    found = compared.fleet.looking_at(compared.vehicle_with_loss())
    found.read()
    return found


def soup(looked: Compare) -> Soup:
    """What is shown of it."""
    shown = looked.report().one_vehicle()
    assert shown is not None
    return BeautifulSoup(shown.data, "html.parser")


def lines(shown: Soup) -> dict[str, Tag]:
    """The lines of the view by the names of their fields."""
    return {name.get_text(): line for line in shown.select(".row") for name in line.select(".name")}


def test_every_field_is_shown_once(looked: Compare) -> None:
    """Each field of the comparison stands in exactly one line, those without a value with others of one reason."""
    told = [name for names in lines(soup(looked)) for name in names.split(", ")]
    assert sorted(looked.result.fields.frame()["field"]) == sorted(told)


def test_what_is_lost_comes_first(looked: Compare) -> None:
    """The groups come in a reader's order, what is only on one side folded; each says how many fields it has."""
    shown = soup(looked)
    groups = [tag.get_text().partition(":")[0] for tag in shown.select("[role=heading], details > summary")]
    assert ["Lost or differs", "Not judged", "Agrees", "On one version only"] == [
        name for name in groups if name in vehicle.GROUPS
    ]
    lost = looked.result.fields.frame().query("lost")["field"].tolist()
    assert lost == list(lines(shown))[: len(lost)]


def test_what_differs_and_is_not_counted_is_no_loss(looked: Compare) -> None:
    """Lost or differing are the fields that the gate counts; one that differs beside them has a group of its own."""
    rows = looked.result.fields.frame()

    def head() -> str:
        shown = vehicle.view(rows, looked.looked[0], looked.fields, looked.session.settings.origins)
        found = BeautifulSoup(shown.data, "html.parser").select_one(".head")
        return found.get_text() if found else ""

    assert f"{rows['lost'].sum()} lost or different, " in head()
    differing = int((rows["verdict"] == "mismatch").sum())
    rows["lost"] = False
    assert 0 < differing
    assert f"0 lost or different, {differing} different but not counted, " in head()


def test_a_verdict_is_a_word_and_a_sign(looked: Compare) -> None:
    """Each line names its verdict, so that nobody needs the colour."""
    verdicts = dict(zip(*(looked.result.fields.frame()[name] for name in ("field", "verdict")), strict=True))
    for name, line in lines(soup(looked)).items():
        expected = verdicts[name.split(", ")[0]].replace("_", " ")
        pill = line.select_one(".pill")
        assert pill is not None and pill.get_text()[0] in "✕○✓" and expected == pill.get_text()[2:]


def test_values_have_units_and_times(looked: Compare) -> None:
    """A number stands in the unit it was compared in, with the maker's time, and how far the two are apart."""
    rows = looked.result.fields.frame()
    row = rows[rows["v2_number"].notna() & rows["v3_number"].notna() & rows["v2_at"].notna()].iloc[0]
    told = lines(soup(looked))[row["field"]].get_text(" ")
    for side in ("v2", "v3"):
        assert values.number(row[f"{side}_number"], row[f"{side}_unit"]) in told
        assert f"{row[f'{side}_at']:%H:%M:%S}" in told
    assert "makers’ times" in told or "at the same time" in told


def test_many_values_stand_side_by_side(looked: Compare) -> None:
    """Doors are told place by place, on V3 in V2's words."""
    parts = [part.get_text("|") for part in lines(soup(looked))["doors"].select(".part")]
    assert "V2|V3" == parts[0].strip("|") and 4 == len(parts) - 1
    door = re.compile(r"(front|back)(Left|Right)\|(OPEN|CLOSED|LOCKED|UNKNOWN)\|(open|closed)")
    assert all(door.fullmatch(part) for part in parts[1:])


def test_nothing_private_is_in_it(compared: Compared, looked: Compare) -> None:
    """No VIN, token or place of the vehicle stands in the view, raw bodies and commands included."""
    shown = str(soup(looked))
    for row in compared.house.rows("vehicles"):
        assert [] == [row[name] for name in ("vin", "vehicle_access_token") if row[name] and row[name] in shown]
    application = compared.house.world.credentials
    assert application.client_secret not in shown
    (recording,) = looked.looked
    latitudes = re.findall(r'"latitude": (-?[\d.]+)', json.dumps(recording.redacted().document()))
    assert latitudes and {True} == {abs(float(latitude)) < 1 for latitude in latitudes}


def test_what_was_asked_for_with_private_values_is_still_redacted_in_the_bodies(compared: Compared) -> None:
    """With show_private the VIN stands in its line, and in no body."""
    open_ = open_comparison(compared.fleet.session, vehicle_id=compared.vehicle_with_loss(), show_private=True)
    open_.read()
    shown = soup(open_)
    local = open_.looked[0].pair.local_vehicle_id
    vin = next(row["vin"] for row in compared.house.rows("vehicles") if str(row["id"]) == local)
    assert vin in lines(shown)["vin"].get_text()
    assert vin not in "".join(tag.get_text() for tag in shown.select("pre"))


def test_the_call_can_be_made_again_by_hand(looked: Compare) -> None:
    """Two commands name the vehicle, its user and the paths that were asked, tokens as variables, with request ids."""
    (recording,) = looked.looked
    told = soup(looked).get_text()
    assert 2 == told.count("curl -i ")
    assert f"/v3/vehicles/{recording.pair.vehicle_id}/signals" in told
    assert f"sc-user-id: {recording.pair.smartcar_user_id}" in told
    assert '"$V2_TOKEN"' not in told and "Bearer $V2_TOKEN" in told and "Bearer $APPLICATION_TOKEN" in told
    assert '{"path": "/odometer"}' in told
    assert f"V2 batch: {recording.v2.request_id}" in told
    assert f"V3 signals: {recording.v3.request_id or 'none'}" in told


def test_a_side_that_failed_is_told(looked: Compare) -> None:
    """In place of a body stands the error, above the fields too, as text."""
    (recording,) = looked.looked
    failed = replace(recording, v2=SmartcarError("smartcar: <b>503</b>", status=503, request_id="of-the-failure"))
    shown = vehicle.view(looked.result.fields.frame(), failed, looked.fields, looked.session.settings.origins)
    assert "V2 failed: smartcar: &lt;b&gt;503&lt;/b&gt;" in shown.data
    assert "<b>503" not in shown.data and "of-the-failure" in shown.data


def test_a_replay_shows_the_same(compared: Compared, looked: Compare) -> None:
    """From its JSON alone a recording is shown as it was when it was read."""
    (recording,) = looked.looked
    again = read_recording(json.loads(json.dumps(recording.redacted().document())))
    origins = looked.session.settings.origins
    rows = looked.result.fields.frame()
    assert vehicle.view(rows, recording, looked.fields, origins).data == (
        vehicle.view(rows, again, looked.fields, origins).data
    )


def test_a_report_keeps_it_as_it_is(looked: Compare) -> None:
    """The page's own cleaning takes nothing away: no script, no address, the style stays."""
    import nbformat

    shown = looked.report().one_vehicle()
    assert shown is not None
    output = nbformat.v4.new_output("display_data", {"text/html": shown.data})
    page = cells_html(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])]))
    assert BeautifulSoup(shown.data, "html.parser").get_text() in BeautifulSoup(page, "html.parser").get_text()
    assert "smartcar-vehicle .row" in page


def test_without_a_vehicle_there_is_nothing(compared: Compared) -> None:
    """A comparison of the fleet has no one vehicle."""
    assert None is compared.fleet.report().one_vehicle()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "yes"),
        (None, "–"),
        ("NOT_CHARGING", "NOT_CHARGING"),
        ([], "none"),
        (["a", 2], "a, 2"),
        ([{"code": "P0302"}, {"code": "P0171"}], "P0302; P0171"),
        ([{"taskId": "5", "taskDescription": "inspection"}], "5: inspection"),
        ({"charge-amperage": {"value": 32, "unit": "ampere"}}, "charge-amperage: 32 ampere"),
        ({"lowvoltagebattery-stateofcharge": {"value": 80, "unit": "percent"}}, "lowvoltagebattery-stateofcharge: 80%"),
        ([{"totalCost": 108.0, "currency": "USD"}], "totalCost 108.0, currency USD"),
    ],
)  # fmt: skip
def test_values_are_told_in_few_words(value: Any, words: str) -> None:
    """JSON of any shape is one readable line."""
    assert words == values.in_short(value)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(119892.7, "km", "119,892.7 km"), (68.0, "percent", "68%"), (2021.0, None, "2021"), (3.0, "count", "3")],
)
def test_numbers_have_their_unit(value: float, unit: str | None, words: str) -> None:
    """A number is told with its unit; a year without commas."""
    assert words == values.number(value, unit)


def test_ids_from_outside_can_not_break_out_of_a_command(looked: Compare) -> None:
    """A user id with a quote stays one argument of the shell."""
    (recording,) = looked.looked
    evil = replace(recording, pair=replace(recording.pair, smartcar_user_id="x'; rm -rf ~; '"))
    assert "'sc-user-id: x'\"'\"'; rm -rf ~; '\"'\"''" in vehicle.curl_v3(evil, looked.session.settings.origins)
