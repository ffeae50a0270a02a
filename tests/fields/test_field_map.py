"""The field map as data: every row is usable, every id its own, and a company may add rows of its own."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.resources import files
from typing import get_args

import pytest

from smartcar_ops.errors import SettingsError
from smartcar_ops.fields import field_map as fields
from smartcar_ops.fields.field_map import (
    CONNECTION,
    TOKEN_PATHS,
    VEHICLE,
    Changeability,
    PartsKind,
    ValueRule,
    field_map,
    read_row,
)
from smartcar_ops.fields.normalize import fold
from smartcar_ops.fields.units import CANONICAL, convert
from smartcar_ops.smartcar.signals import known_codes
from smartcar_ops.smartcar.v2 import READABLE

MAP = field_map()
ROWS = MAP.fields
RAW = tomllib.loads((files("smartcar_ops.fields") / "fields.toml").read_text(encoding="utf-8"))
PER_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
NUMBERS = ("number", "pressure")
MEASURED = (*NUMBERS, "place")


def test_ids_are_unique():
    """No two rows share an id; the file and the map have the same 58 rows in the same order."""
    ids = [row.id for row in ROWS]
    assert 58 == len(ids) == len(set(ids))
    assert [raw["id"] for raw in RAW["field"]] == ids


@PER_ROW
def test_every_row_is_well_formed(row):
    """Ids, paths and codes are in Smartcar's form, rules and changes are known words, tolerances are not negative."""
    assert re.fullmatch(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*", row.id)
    assert row.v2 or row.v3
    assert row.rule in get_args(ValueRule)
    assert row.parts in get_args(PartsKind)
    assert row.change in get_args(Changeability)
    assert row.confidence in {"high", "medium", "low"}
    assert row.absolute >= 0 <= row.relative
    assert row.apart is None or row.apart >= row.absolute
    if row.v2:
        assert row.v2.source in (*READABLE, *TOKEN_PATHS)
    if row.v3:
        for place in (row.v3, *row.v3.others):
            codes = place.codes or (place.source,)
            assert set(codes) <= known_codes() | {VEHICLE, CONNECTION, "diagnostics-*"}


@PER_ROW
def test_units_and_folds_fit_the_rule(row):
    """Only what is measured has units, tolerances and a direction; only text is folded; units are of one kind."""
    units = {place.unit for place in (row.v2, row.v3) if place and place.unit}
    if row.rule not in MEASURED:
        assert (set(), 0, 0, False) == (units, row.absolute, row.relative, row.grows)
    if row.rule in NUMBERS:
        assert 1 == len({convert(1.0, unit)[1] for unit in units})
        assert {unit.lower() for unit in units} <= set(CANONICAL)
    assert set(row.fold) <= {"case", "blanks", "punctuation"}
    assert row.rule == "text" or not (row.fold or row.aliases)
    assert row.rule in ("set", "multiset", "listed") or not any(p.keys for p in (row.v2, row.v3) if p)


@PER_ROW
def test_aliases_lead_to_what_is_compared(row):
    """An alias is written as folding leaves it, and leads to a word that no alias changes again."""
    for alias, meant in row.aliases.items():
        assert meant == fold(alias, row) == fold(meant, row)


def test_the_paths_of_a_batch():
    """A batch asks each V2 path of a vehicle once, and nothing that is a token's."""
    paths = MAP.v2_paths
    assert len(paths) == len(set(paths))
    assert {row.v2.source for row in ROWS if row.v2} == {*paths, *TOKEN_PATHS}
    assert set(READABLE) == set(paths)


def test_scored_means_on_both_sides():
    """A row is scored where both versions have the field and the two surely mean the same."""
    assert {row.id for row in ROWS if row.v2 and row.v3} == {row.id for row in ROWS if row.scored} | {
        "battery-capacity-old"
    }
    assert 42 == sum(row.scored for row in ROWS)


def test_every_signal_has_a_row():
    """Each of the documented signals is compared, or listed as V3's own."""
    told = {code for row in ROWS if row.v3 for place in (row.v3, *row.v3.others) for code in place.codes}
    told |= {place.source for row in ROWS if row.v3 for place in (row.v3, *row.v3.others)}
    assert set() == known_codes() - told - set(MAP.systems.values())


def test_systems_lead_to_signals():
    """Each system of V2's has a documented signal of V3's."""
    assert set(MAP.systems.values()) <= known_codes()
    assert all(name.startswith("SYSTEM_") for name in MAP.systems)


def test_the_maps_version_is_a_day():
    """The version says how old the knowledge is."""
    assert date(2026, 1, 1) <= date.fromisoformat(MAP.version)


# --- what is asked of a vehicle ---------------------------------------------------------------------------

ALL_SCOPES = tuple({needs.permission for needs in MAP.needs.values()})


def test_a_path_that_says_what_it_needs_is_one_that_is_asked():
    """Every path but the permissions themselves needs a scope, and no other path is named."""
    assert {*MAP.v2_paths} - {"/permissions"} == set(MAP.needs)


@pytest.mark.parametrize(
    ("powertrain", "left_out"),
    [
        ("BEV", {"/fuel", "/engine/oil"}),
        ("ICE", {"/battery", "/battery/capacity", "/battery/nominal_capacity", "/charge", "/charge/limit"}),
        ("HEV", {"/charge", "/charge/limit"}),
        ("PHEV", set()),
        ("", set()),
    ],
)
def test_what_a_powertrain_lacks_is_not_asked(powertrain, left_out):
    """No fuel of a battery car, no battery of a combustion car; of an unknown one everything."""
    paths, lacks = MAP.paths_for("TESLA", powertrain, ALL_SCOPES)
    assert dict.fromkeys(left_out, "powertrain") == lacks
    assert set(MAP.v2_paths) - left_out == set(paths)


def test_what_is_not_granted_is_not_asked():
    """Paths whose scope the connection lacks are left out; permissions that are not known leave out none."""
    paths, lacks = MAP.paths_for("TESLA", "", ("read_odometer", "read_vin"))
    assert {"/odometer", "/vin", "/permissions"} == set(paths)
    assert {"permission"} == set(lacks.values())
    assert ({}, MAP.v2_paths) == tuple(reversed(MAP.paths_for("TESLA", "", ())))


# --- rows of the company's own ----------------------------------------------------------------------------

OWN = {
    "id": "wattage",
    "make": "tesla",
    "v2": {"path": "/tesla/charge", "member": "wattage", "unit": "kW"},
    "v3": {"code": "charge-wattage", "member": "value", "unit": "watts"},
    "rule": "number",
    "change": "volatile",
    "tolerance": {"relative": 0.05},
}


def test_a_row_of_the_companys_own_is_one_of_its_makes():
    """A row with a make is judged, and its path asked, for that make alone."""
    extended = MAP.extended([OWN])
    assert "wattage" in {row.id for row in extended.of("TESLA")}
    assert "wattage" not in {row.id for row in extended.of("KIA")}
    assert "/tesla/charge" in extended.paths_for("TESLA", "BEV", ())[0]
    assert "/tesla/charge" not in extended.paths_for("KIA", "BEV", ())[0]
    assert MAP.v2_paths == extended.v2_paths


def test_a_row_with_an_id_of_the_kits_takes_its_place():
    """Without a make, a company's row replaces the kit's of the same id."""
    own = {**RAW["field"][0], "fold": ["case"]}
    extended = MAP.extended([own])
    assert [("case",)] == [row.fold for row in extended.fields if row.id == "vin"]
    assert len(MAP.fields) == len(extended.fields)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rule": "nummer"}, "rule is 'nummer'; expected one of number"),
        ({"change": "often"}, "change is 'often'"),
        ({"tolerence": 1}, "has no key 'tolerence'"),
        ({"tolerance": {"much": 1}}, "tolerance has no key 'much'"),
        ({"v2": {"path": "tesla/charge"}}, "a path that begins with /"),
        ({"v2": {"path": "/tesla/charge", "member": "a[b"}}, "is not a path into a body"),
        ({"v3": {"member": "value"}}, "v3 needs a code"),
        ({"v2": None, "v3": None}, "an id, and v2 or v3"),
        ({"id": ""}, "an id, and v2 or v3"),
        ({"v2": 7}, "can't be used"),
    ],
)
def test_a_row_that_cant_be_read_is_a_setting_that_is_wrong(changed, words):
    """A misspelt key, rule or path is exit 5 in one sentence that names the row."""
    with pytest.raises(SettingsError, match=re.escape(words)) as caught:
        MAP.extended([{**OWN, **changed}])
    assert "settings: [[field]]" in str(caught.value)


def test_every_key_of_a_row_is_read():
    """A key that nothing reads would be a rule that never holds."""
    with pytest.raises(ValueError, match="has no key"):
        read_row({**OWN, "grow": True})
    assert set(fields.Field.__dataclass_fields__) >= fields.PLAIN_KEYS | fields.LISTS | fields.TOLERANCE_KEYS
