"""Ids at the edge: what is one, what is none, and that nothing else gets in."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartcar_ops.smartcar.http.oddities import Oddities
from smartcar_ops.smartcar.ids import external_id, read_id, read_one, smartcar_id
from smartcar_ops.text import NIL

SOME = "f3a1e8a4-0000-4000-8000-00000000000a"


@given(made=st.uuids(), upper=st.booleans(), blanks=st.sampled_from(["", " ", "\t", "\n"]))
def test_every_uuid_but_the_nil_one_is_an_id(made: uuid.UUID, upper: bool, blanks: str) -> None:
    """Trimmed, in lower case, whatever its version."""
    text = str(made).upper() if upper else str(made)
    assert (None if made.int == 0 else str(made)) == smartcar_id(f"{blanks}{text}{blanks}")


@pytest.mark.parametrize(
    "value",
    [
        *("undefined", "null", "None", "NaN", "[object Object]", "", " ", NIL, NIL.upper()),
        *(SOME[:35], SOME + "0", SOME.replace("-", ""), f"{{{SOME}}}", f"urn:uuid:{SOME}", f"{SOME},{SOME}"),
        *(SOME.replace("f", "g"), SOME.replace("0", "\u0660"), SOME.replace("-", "\u2010"), f"{SOME}\n{SOME}"),
        *(None, 0, 7, 1.5, True, [], [SOME], {}, {"id": SOME}, SOME.encode()),
    ],
)
def test_whatever_is_no_uuid_is_none(value: Any) -> None:
    """Slips, cut-off and decorated ids, other digits and other types name nobody."""
    odd = Oddities()
    assert smartcar_id(value) is None
    assert read_id(value, "x", odd) is None
    assert ({} if value in (None, "") else {"x: no id of Smartcar": 1}) == odd.counts


@pytest.mark.parametrize(
    ("value", "found"),
    [("7", "7"), (7, "7"), ("x" * 191, "x" * 191), ("x" * 192, None), ("Jörg ", "Jörg "), ("a\tb", None), (" ", None)],
)
def test_an_external_id_is_the_companys_own_text(value: Any, found: str | None) -> None:
    """As it came, where it can be a key of a table: printable, at most 191 characters."""
    assert found == external_id(value)


@pytest.mark.parametrize(
    ("values", "found", "problem"),
    [
        ([None, ""], None, False),
        ([SOME, None, SOME.upper()], SOME, False),
        ([SOME, SOME.replace("a", "b")], None, True),
        ([SOME, "undefined"], None, True),
        ([NIL], None, True),
    ],
)
def test_several_places_give_one_id_or_a_problem(values: list[Any], found: str | None, problem: bool) -> None:
    """One id where they agree; none, with the reason, where they differ or one of them is no id."""
    told, why = read_one(values)
    assert (found, problem) == (told, bool(why))
