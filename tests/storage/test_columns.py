"""What the columns of the tables mean: no column that the kit writes is without its sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

import smartcar_ops
from smartcar_ops.audit import decision_sheet
from smartcar_ops.audit.result import ORPHAN_COLUMNS, USER_COLUMNS
from smartcar_ops.audit.sources import QUESTION_TYPES
from smartcar_ops.backfill.plan import PLAN_COLUMNS
from smartcar_ops.backfill.runner import CHANGE_COLUMNS
from smartcar_ops.capture.result import COLUMNS as CAPTURE_COLUMNS
from smartcar_ops.compare.judging import gate
from smartcar_ops.compare.judging.judge import FIELD_TYPES, VEHICLE_TYPES
from smartcar_ops.compare.reading.replay import RECORDING_TYPES
from smartcar_ops.progress import snapshots
from smartcar_ops.smartcar.http.transport import Call
from smartcar_ops.storage import columns

WRITTEN: dict[str, Iterable[str]] = {
    "calls": [field.name for field in fields(Call)],
    "unanswered": QUESTION_TYPES,
    "users": USER_COLUMNS,
    "decisions": decision_sheet.COLUMNS,
    "orphans": ORPHAN_COLUMNS,
    "captured": CAPTURE_COLUMNS,
    "plan": PLAN_COLUMNS,
    "changes": CHANGE_COLUMNS,
    "fields": FIELD_TYPES,
    "vehicles": VEHICLE_TYPES,
    "strata": gate.COLUMNS,
    "recordings": RECORDING_TYPES,
    "history": snapshots.COLUMNS,
}
ROOT = Path(smartcar_ops.__file__).parent


@pytest.mark.parametrize("table", WRITTEN)
def test_every_written_column_has_its_sentence(table: str) -> None:
    """The dictionary has exactly the columns that the kit writes, in their order, each with a type and a sentence."""
    of = columns.tables()[table].columns
    assert list(WRITTEN[table]) == list(of)
    assert {"text", "integer", "number", "boolean", "time", "day"} >= {column.type for column in of.values()}
    assert [] == [
        name for name, column in of.items() if not (column.means[:1].isupper() and column.means.endswith("."))
    ]
    assert columns.tables()[table].means.endswith(".")


def test_every_saved_table_is_in_the_dictionary() -> None:
    """Whatever the kit saves by name has its part of the dictionary, and nothing else is there."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    saved = {
        keyword.arg
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("save", "_save")
        for keyword in call.keywords
        if keyword.arg
    }
    assert {"unanswered", "changes", "fields", "calls", "captured", "recordings"} <= saved
    assert set(WRITTEN) == set(columns.tables()) >= saved
