"""What both versions are turned into: each state, units, times, and what is no value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from smartcar_ops.errors import (
    AuthenticationError,
    BillingError,
    NotFoundError,
    NotPermittedError,
    NotSmartcarError,
    RateLimitError,
    SmartcarError,
    UnreachableError,
)
from smartcar_ops.fields.field_map import Field, Place, field_map
from smartcar_ops.fields.normalize import fold
from smartcar_ops.fields.readers import is_number_as_text, read_v2, read_v3
from smartcar_ops.fields.reading import Reading
from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.v2 import read_batch
from smartcar_ops.smartcar.v3 import Signals, read_signal
from tests.smartcar.scripted import signal

FIELDS = {row.id: row for row in field_map().fields}
ODOMETER, CHARGE, PLUGGED = FIELDS["odometer"], FIELDS["battery-percent"], FIELDS["charge-plugged"]
STATE, MAKE, YEAR, VIN = (FIELDS[name] for name in ("charge-state", "vehicle-make", "vehicle-year", "vin"))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AGE = {"sc-data-age": "2026-01-02T03:04:05.000Z"}


def by_v2(field: Field, body: object, code: int = 200, **headers: str) -> Reading:
    """The field read from a batch with one item."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    item = {"path": field.v2.source, "code": code, "body": body, "headers": {**AGE, **names}}
    return read_v2(field, read_batch({"responses": [item]}))


def by_v3(field: Field, body: object = None, **options: object) -> Reading:
    """The field read from one signal."""
    row = signal(field.v3.source, body, oemUpdatedAt="2026-01-02T03:04:05Z", **options)
    return read_v3(field, Signals({field.v3.source: read_signal(row)}))


def by_vehicle(field: Field, value: object) -> Reading:
    """The field read from the vehicle's attributes."""
    return read_v3(field, Signals({}, {field.v3.member: value}))


def state_and_value_and_unit(read: Reading) -> tuple:
    """These members of a reading."""
    return read.state, read.value, read.unit


def value_and_converted(read: Reading) -> tuple:
    """These members of a reading."""
    return read.value, read.converted


def state_and_reason(read: Reading) -> tuple:
    """These members of a reading."""
    return read.state, read.reason


def state_and_value(read: Reading) -> tuple:
    """These members of a reading."""
    return read.state, read.value


def state_and_at(read: Reading) -> tuple:
    """These members of a reading."""
    return read.state, read.at


def test_a_value_of_v2():
    """A value keeps its JSON form, is comparable, has its unit and the maker's time."""
    assert Reading("value", 1234.5, 1234.5, "km", False, AT) == by_v2(ODOMETER, {"distance": 1234.5})


def test_a_value_of_v3():
    """The signal's own unit counts."""
    assert Reading("value", 1234, 1234.0, "km", False, AT) == by_v3(ODOMETER, {"value": 1234, "unit": "kilometers"})


def test_a_share_of_v2_is_a_percentage():
    """V2's 0 to 1 and V3's 0 to 100 become the same number, the first one by conversion."""
    assert Reading("value", 0.68, 68.0, "percent", True, AT) == by_v2(CHARGE, {"percentRemaining": 0.68})
    assert Reading("value", 68, 68.0, "percent", False, AT) == by_v3(CHARGE, {"value": 68, "unit": "percent"})


def test_imperial_answers():
    """Miles become kilometres where V2 says imperial; a share stays a share."""
    read = by_v2(ODOMETER, {"distance": 100}, sc_unit_system="imperial")
    assert (160.9344, "km", True) == (read.value, read.unit, read.converted)
    assert 50.0 == by_v2(CHARGE, {"percentRemaining": 0.5}, sc_unit_system="imperial").value
    assert 160.9344 == by_v3(ODOMETER, {"value": 100, "unit": "miles"}).value


@pytest.mark.parametrize("raw", [0.57, 1, 1.0, 0.001])
def test_a_share_of_v3_without_a_unit(raw):
    """A number up to 1 without a unit may be a share or a percentage: it is no value, and kept as it came."""
    read = by_v3(CHARGE, {"value": raw})
    assert ("no_value", raw, "V3 gives no unit, so this may be a fraction or a percentage") == (
        read.state,
        read.raw,
        read.reason,
    )


@pytest.mark.parametrize(
    ("body", "value"), [({"value": 57}, 57.0), ({"value": 0}, 0.0), ({"value": 1, "unit": "%"}, 1.0)]
)
def test_a_percentage_that_is_clear(body, value):
    """Above 1, nought, and anything with a unit is what it says."""
    assert ("value", value, "percent") == state_and_value_and_unit(by_v3(CHARGE, body))


def test_a_fraction_that_v3_names():
    """A share that calls itself a fraction is converted."""
    assert (57.0, True) == value_and_converted(by_v3(CHARGE, {"value": 0.57, "unit": "fraction"}))


def test_an_unknown_unit_stays():
    """A unit nobody knows is not guessed."""
    assert "parsec" == by_v3(ODOMETER, {"value": 7, "unit": "parsec"}).unit


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (400, "no_value"),
        (401, "failed"),
        (403, "not_permitted"),
        (404, "no_value"),
        (409, "no_value"),
        (429, "failed"),
        (430, "failed"),
        (500, "failed"),
        (501, "not_capable"),
        (502, "failed"),
        (503, "failed"),
        (504, "failed"),
    ],
)
def test_every_code_of_an_item(code, state):
    """401, 429, 430 and most 5xx are failures, 403 not permitted, 501 not capable, the rest no value."""
    read = by_v2(ODOMETER, {"type": "TYPE", "code": "CODE"}, code)
    assert (state, None, f"V2 {code} TYPE CODE") == (read.state, read.value, read.reason)


def test_an_item_that_is_missing():
    """A batch that left a path out failed for that path."""
    assert "failed" == read_v2(ODOMETER, read_batch({"responses": []})).state


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UnreachableError("x"), "failed"),
        (NotSmartcarError("x", status=200), "failed"),
        (NotSmartcarError("x", status=404), "failed"),
        (AuthenticationError("x", status=401), "failed"),
        (AuthenticationError("x"), "failed"),
        (RateLimitError("x", status=429), "failed"),
        (BillingError("x", status=430), "failed"),
        (SmartcarError("x", status=500), "failed"),
        (SmartcarError("x", status=501), "not_capable"),
        (NotPermittedError("x", status=403), "not_permitted"),
        (NotFoundError("x", status=404), "no_value"),
        (SmartcarError("x", status=409), "no_value"),
    ],
)
def test_an_error_in_place_of_an_answer(error, state):
    """A whole call that failed says the same of every field on either side."""
    assert {(state, "x")} == {
        (read.state, read.reason) for read in (read_v2(ODOMETER, error), read_v3(ODOMETER, error))
    }


def test_a_field_the_version_does_not_have():
    """Without a counterpart there is no value, whatever was answered."""
    assert "no_value" == read_v2(FIELDS["powertrain"], read_batch({"responses": []})).state
    assert "no_value" == read_v3(replace(ODOMETER, v3=None), Signals({})).state
    assert "no_value" == read_v2(FIELDS["powertrain"], UnreachableError("x")).state


def test_a_signal_never_ingested():
    """A code that is missing is no value."""
    assert ("no_value", "V3 has not ingested this signal") == state_and_reason(read_v3(ODOMETER, Signals({})))


@pytest.mark.parametrize(
    ("error", "body", "state"),
    [
        ({"type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE"}, None, "not_capable"),
        ({"type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE"}, {"value": 7}, "not_capable"),
        ({"type": "PERMISSION", "code": "UNKNOWN"}, None, "not_permitted"),
        ({"type": "PERMISSION", "code": None}, {"value": 7}, "not_permitted"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {"value": 7, "unit": "km"}, "cached_error"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {"value": 0, "unit": "km"}, "cached_error"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {"value": False}, "cached_error"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {"value": None, "unit": "km"}, "no_value"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {"values": []}, "no_value"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, {}, "no_value"),
        ({"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, None, "no_value"),
        ({"type": "UPSTREAM", "code": "NO_RESPONSE"}, {"value": 7}, "cached_error"),
        (None, {"value": 7}, "cached_error"),
        (None, None, "no_value"),
    ],
)
def test_every_error_of_a_signal(error, body, state):
    """The type counts first; only then an old body with something in it is a cached error."""
    read = by_v3(ODOMETER, body, status="ERROR", error=error)
    assert (state, None, AT) == (read.state, read.value, read.at)
    assert read.reason.startswith(" ".join(["V3", *(word for word in (error or {}).values() if word)]))


def test_an_old_value_is_kept_as_it_came():
    """A cached error keeps the old body for people to see."""
    error = {"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}
    assert {"value": 53, "unit": "km"} == by_v3(ODOMETER, {"value": 53, "unit": "km"}, status="ERROR", error=error).raw


@pytest.mark.parametrize("status", ["UNAVAILABLE", "unavailable", "SOMETHING_NEW"])
def test_another_status_is_no_value(status):
    """UNAVAILABLE, and words not known yet, are no value even with a body."""
    read = by_v3(ODOMETER, {"value": 7, "unit": "km"}, status=status)
    assert ("no_value", f"V3 {status.upper()}") == (read.state, read.reason)


def test_a_signal_without_a_status_is_a_value():
    """Older bodies have no status; their value counts."""
    found = read_signal({"code": ODOMETER.v3.source, "body": {"value": 7, "unit": "km"}})
    assert ("value", 7.0) == state_and_value(read_v3(ODOMETER, Signals({found.code: found})))


@pytest.mark.parametrize("body", [{"value": None, "unit": "km"}, {}, None, [], {"other": 1}])
def test_success_with_null(body):
    """SUCCESS with null, with nothing, or without the member is no value."""
    assert ("no_value", "the value is null") == state_and_reason(by_v3(ODOMETER, body))


@pytest.mark.parametrize("body", [{"distance": None}, {}, None, [], "x"])
def test_a_good_item_with_null(body):
    """The same on V2."""
    assert ("no_value", AT) == state_and_at(by_v2(ODOMETER, body))


@pytest.mark.parametrize("raw", ["7", True, [7], {"a": 7}, float("nan"), float("inf"), -float("inf"), 10**400])
def test_what_is_no_number(raw):
    """Text, truth values, lists, NaN, infinities and numbers no float can hold are no number."""
    assert ("no_value", "the value is not a number") == state_and_reason(by_v2(ODOMETER, {"distance": raw}))


def test_zero_and_negative_are_numbers():
    """Nought is a value, not the lack of one."""
    assert [0.0, -1.5] == [by_v2(ODOMETER, {"distance": raw}).value for raw in (0, -1.5)]


@pytest.mark.parametrize(("raw", "value"), [(2024, 2024), ("2024", 2024), (" 2024 ", 2024)])
def test_whole_numbers(raw, value):
    """A year may be text."""
    assert ("value", value) == state_and_value(by_vehicle(YEAR, raw))


@pytest.mark.parametrize("raw", ["MMXXIV", "²", "", 2024.5, True, []])
def test_what_is_no_whole_number(raw):
    """Anything else is no year."""
    assert "no_value" == by_vehicle(YEAR, raw).state


@pytest.mark.parametrize(("raw", "state"), [(True, "value"), (False, "value"), ("true", "no_value"), (1, "no_value")])
def test_truth_values(raw, state):
    """Only JSON's own true and false are truth values; false is a value."""
    assert {state} == {by_v2(PLUGGED, {"isPluggedIn": raw}).state, by_v3(PLUGGED, {"value": raw}).state}


def test_enums_are_compared_without_case():
    """Enum words are trimmed and in upper case."""
    assert {"NOT_CHARGING"} == {
        by_v2(STATE, {"state": " not_charging"}).value,
        by_v3(STATE, {"value": "NOT_CHARGING"}).value,
    }


def test_text_is_folded_as_the_row_says():
    """Case, blanks and punctuation are put aside where the row says so, and nicknames of a make are the make."""
    assert {"VOLKSWAGEN"} == {by_vehicle(MAKE, raw).value for raw in ("Volkswagen", "vw", " VOLKSWAGEN ")}
    assert "ABC123" == by_v2(VIN, {"vin": " abc 123 "}).value
    model = FIELDS["vehicle-model"]
    assert {"ID4"} == {fold(raw, model) for raw in ("ID.4", "id 4", "Id-4", "ID_4")}


@pytest.mark.parametrize("raw", ["", "   ", 7, ["x"]])
def test_what_is_no_text(raw):
    """Blank text is no value."""
    assert "no_value" == by_vehicle(MAKE, raw).state


def test_the_vehicles_own_attributes_have_no_time():
    """The vehicle's attributes are told without the maker's time."""
    assert by_vehicle(MAKE, "KIA").at is None


def test_missing_times_are_none():
    """An item without headers and a signal without meta have no time."""
    item = {"path": "/odometer", "code": 200, "body": {"distance": 7}}
    assert read_v2(ODOMETER, read_batch({"responses": [item]})).at is None
    found = read_signal(signal(ODOMETER.v3.source, {"value": 7}))
    assert read_v3(ODOMETER, Signals({found.code: found})).at is None


def test_a_field_of_any_row_is_read_from_an_empty_answer():
    """No row of the map makes a traceback of an answer with nothing in it."""
    for row in FIELDS.values():
        states = {read_v2(row, read_batch({"responses": []})).state, read_v3(row, Signals({})).state}
        assert states <= {"failed", "no_value"}


def test_a_made_up_row_is_read_like_any_other():
    """Reading follows the row, not the row's name."""
    row = Field("x", Place("/x", "deep", "mi"), None, "number", "slow", "low")
    assert 16.09344 == by_v2(row, {"deep": 10}).value


@pytest.mark.parametrize(("share", "told"), [(73, "7,300"), (73.0, "7,300"), (1.2, "120"), (-0.1, "-10")])
def test_a_share_that_no_car_can_have_is_no_value_of_v2(share, told):
    """V2's percentage beyond full or below empty is V2's own slip: no value, named, and kept as it came."""
    read = by_v2(CHARGE, {"percentRemaining": share})
    assert ("no_value", share) == (read.state, read.raw)
    assert f"V2 gives {told}%, which is impossible" in read.reason


@pytest.mark.parametrize(("share", "percent"), [(0, 0.0), (1, 100.0), (1.04, 104.0)])
def test_full_and_empty_are_shares(share, percent):
    """Empty, full and a little more are what makers tell."""
    assert ("value", percent) == state_and_value_and_unit(by_v2(CHARGE, {"percentRemaining": share}))[:2]


def test_a_percentage_of_v3_that_no_car_can_have_stays_a_difference():
    """V3's own slip is not hidden: it stays a number, and differs."""
    assert ("value", 7300.0) == state_and_value_and_unit(by_v3(CHARGE, {"value": 7300, "unit": "percent"}))[:2]


@pytest.mark.parametrize(("raw", "number"), [("71.5", 71.5), (" 71 ", 71.0), ("7.15e1", 71.5), ("+71.50", 71.5)])
def test_a_number_as_text_on_v3_is_read(raw, number):
    """V3's numbers that come as text are numbers; what was told is kept as it came."""
    read = by_v3(CHARGE, {"value": raw, "unit": "percent"})
    assert ("value", raw, number, "percent") == (read.state, read.raw, read.value, read.unit)


@pytest.mark.parametrize("raw", ["", "71,5", "about 71", "0x47", "nan", "inf", "1e999", "7 1", "\u0667"])
def test_text_that_only_looks_like_a_number_is_none(raw):
    """Nobody guesses at a comma, a word or another alphabet's digits."""
    assert "no_value" == by_v3(CHARGE, {"value": raw, "unit": "percent"}).state


def test_numbers_as_text_in_every_kind_of_field():
    """A tire, a count and a place as text are read as well; a text share without a unit is as unclear as a number."""
    tires = {"values": [{"row": row, "column": column, "tirePressure": "230"} for row in (0, 1) for column in (0, 1)]}
    assert ("value", 230.0, "kPa") == state_and_value_and_unit(by_v3(FIELDS["tire-backLeft"], tires))
    assert ("value", 3.0, "count") == state_and_value_and_unit(by_v3(FIELDS["dtc-count"], {"value": "3"}))
    told = by_v3(FIELDS["location"], {"latitude": "52.1", "longitude": "13.2"})
    assert (52.1, 13.2) == told.value
    assert "V3 gives no unit, so this may be a fraction or a percentage" == by_v3(CHARGE, {"value": "0.57"}).reason


def test_numbers_as_text_are_counted():
    """Whoever reads an answer of V3 counts its numbers that came as text, by their signal."""
    odd = Oddities()
    for field, body in (
        (CHARGE, {"value": "71.5", "unit": "percent"}),
        (CHARGE, {"value": 71.5, "unit": "percent"}),
        (FIELDS["location"], {"latitude": "52.1", "longitude": 13.2}),
        (FIELDS["charge-state"], {"value": "7"}),
    ):
        read_signal(signal(field.v3.source, body), odd, is_number_as_text)
    assert {
        "signal: a number as text tractionbattery-stateofcharge": 1,
        "signal: a number as text location-preciselocation": 1,
    } == odd.counts
