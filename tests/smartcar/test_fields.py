"""The field map as data: every row is usable, every id its own."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.resources import files
from typing import get_args

import pytest

from smartcar_ops.smartcar.fields import Change, field_map
from smartcar_ops.smartcar.readings import VEHICLE, fold
from smartcar_ops.smartcar.units import CANONICAL

ROWS = field_map().fields
RAW = tomllib.loads((files("smartcar_ops.smartcar") / "fields.toml").read_text(encoding="utf-8"))["field"]
KEYS = {"id", "v2", "v3", "rule", "change", "confidence", "fold", "aliases", "tolerance", "grows"}
PER_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def test_ids_are_unique():
    """No two rows share an id; the file and the map have the same rows in the same order."""
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert [raw["id"] for raw in RAW] == ids


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: raw["id"])
def test_no_row_has_a_misspelt_key(raw):
    """A key that nothing reads would be a rule that never holds."""
    assert set() == set(raw) - KEYS
    assert set() == set(raw.get("tolerance", {})) - {"absolute", "relative"}
    assert set() == set(raw.get("v2", {})) - {"path", "member", "unit"}
    assert set() == set(raw.get("v3", {})) - {"code", "member", "unit"}


@PER_ROW
def test_every_row_is_well_formed(row):
    """Ids and codes are in Smartcar's form, rules and changes are known words, tolerances are not negative."""
    assert re.fullmatch(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*", row.id)
    assert row.v2 or row.v3
    assert row.rule in {"number", "integer", "text", "enum", "boolean"}
    assert row.change in get_args(Change)
    assert row.confidence in {"high", "medium", "low"}
    assert row.absolute >= 0 <= row.relative
    if row.v2:
        assert row.v2.source.startswith("/")
        assert row.v2.member
    if row.v3:
        assert VEHICLE == row.v3.source or re.fullmatch(r"[a-z]+-[a-z]+", row.v3.source)
        assert row.v3.member


@PER_ROW
def test_units_and_folds_fit_the_rule(row):
    """Only numbers have units, tolerances and a direction; only text is folded; both sides' units are of one kind."""
    units = {place.unit for place in (row.v2, row.v3) if place and place.unit}
    if row.rule != "number":
        assert (set(), 0, 0, False) == (units, row.absolute, row.relative, row.grows)
    assert units <= set(CANONICAL)
    assert len({CANONICAL[unit][0] for unit in units}) <= 1
    assert set(row.fold) <= {"case", "blanks", "punctuation"}
    assert row.rule == "text" or not (row.fold or row.aliases)


@PER_ROW
def test_aliases_lead_to_what_is_compared(row):
    """An alias is written as folding leaves it, and leads to a word that no alias changes again."""
    for alias, meant in row.aliases.items():
        assert meant == fold(alias, row) == fold(meant, row)


def test_no_two_rows_read_the_same_place():
    """Each place of either version belongs to one row."""
    for side in ("v2", "v3"):
        places = [(place.source, place.member) for row in ROWS if (place := getattr(row, side))]
        assert len(places) == len(set(places))


def test_the_paths_of_a_batch():
    """A batch asks each V2 path once, in the map's order."""
    paths = field_map().v2_paths
    assert len(paths) == len(set(paths))
    assert {row.v2.source for row in ROWS if row.v2} == set(paths)
    assert ROWS[0].v2.source == paths[0]


def test_scored_means_on_both_sides():
    """A row is scored where both versions have the field, and some rows are on one side alone."""
    assert {row.id for row in ROWS if row.v2 and row.v3} == {row.id for row in ROWS if row.scored}
    assert any(not row.scored for row in ROWS)


def test_the_maps_version_is_a_day():
    """The version says how old the knowledge is."""
    assert date(2026, 1, 1) <= date.fromisoformat(field_map().version)
