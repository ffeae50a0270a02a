"""The history and who moved, as an analyst asks for them: from any folder, by the settings, without a call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import smartcar_ops
from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.errors import ParameterError
from smartcar_ops.storage.parquet import ParquetTable
from tests.support.house import House

DAYS = [datetime(2026, 11, day, 5, tzinfo=UTC) for day in (20, 21, 28)]
STATES = [
    {"1": "ready", "2": "mapped", "10": "ready"},
    {"1": "mapped", "2": "mapped", "10": "ready"},
    {"1": "mapped", "2": "reconnect", "11": "ready"},
]


@pytest.fixture
def lived(make_house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Three days with an audit, and a working folder that has nothing to do with them."""
    house = make_house(users=10).expand()
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    for at, states in zip(DAYS, STATES, strict=True):
        counts = buckets.complete({name: [*states.values()].count(name) for name in {*states.values()}})
        rows = ParquetTable({"user_id": "str", "bucket": "str"})
        rows.append(pd.DataFrame({"user_id": [*states], "bucket": [*states.values()]}))
        History(house.ledger).record(Snapshot(at, counts, True, calls={"v3": at.day}), rows.close())
    monkeypatch.chdir(tmp_path)
    return house


def test_the_history_has_a_row_per_day(lived: House) -> None:
    """The contract's columns, the days as text; a day without an audit has no row; nothing is sent."""
    sent = len(lived.sandbox.arrivals)
    history = smartcar_ops.history()
    columns = ["as_of", *buckets.NAMES, "total", "complete", "left", "decisions_open", "calls"]
    assert columns == list(history.columns)
    assert ["2026-11-20", "2026-11-21", "2026-11-28"] == history["as_of"].tolist()
    assert [2, 1, 2] == history["left"].tolist()
    assert [20, 21, 28] == history["calls"].tolist()
    assert (history[list(buckets.NAMES)].sum(axis=1) == history["total"]).all()
    assert sent == len(lived.sandbox.arrivals)


@pytest.mark.usefixtures("lived")
def test_who_moved_between_two_days() -> None:
    """From where, to where, and on which day it was first seen; who joined or left has no bucket on that side."""
    moved = smartcar_ops.diff("2026-11-20", "2026-11-28")
    assert ["user_id", "from_bucket", "to_bucket", "at"] == list(moved.columns)
    assert [
        ("1", "ready", "mapped", "2026-11-21"),
        ("2", "mapped", "reconnect", "2026-11-28"),
        ("10", "ready", None, "2026-11-28"),
        ("11", None, "ready", "2026-11-28"),
    ] == [tuple(None if pd.isna(value) else value for value in row) for row in moved.itertuples(index=False)]
    assert ["1"] == smartcar_ops.diff(DAYS[0].date(), DAYS[2].date() - timedelta(days=1))["user_id"].tolist()
    assert smartcar_ops.diff("2026-11-21", "2026-11-21").empty


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(
    ("days", "words"),
    [
        (("2026-11-28", "2026-11-20"), "2026-11-28 is after 2026-11-20; expected the earlier day first"),
        (("2026-11-19", "2026-11-28"), "nothing is known of 2026-11-19; everybody's bucket is known since 2026-11-20"),
        (("yesterday", "2026-11-28"), "diff is 'yesterday'; expected a day such as 2026-12-01"),
    ],
)
def test_a_day_that_makes_no_sense_is_one_sentence(days: tuple[str, str], words: str) -> None:
    """What was given, and what was expected; exit code 5."""
    with pytest.raises(ParameterError, match=words):
        smartcar_ops.diff(*days)
