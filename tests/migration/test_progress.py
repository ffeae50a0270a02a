"""How far the migration is, told from the ledger alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.access import Allowance
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.runs import Runs
from smartcar_ops.errors import ParameterError
from smartcar_ops.migration import backfilling, buckets, progress, recording
from smartcar_ops.smartcar.fields import field_map
from tests.house import House
from tests.recorded import owners, readable, record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALLOWANCE = Allowance()


def told(house: House, **changes: Any) -> progress.Progress:
    """The progress now, under the documented allowance."""
    options: dict[str, Any] = {"now": house.now, "deadline": "2999-12-01", **changes}
    return progress.progress(house.company, house.ledger, house.linker(), house.v2, ALLOWANCE, **options)


def noted(house: House, run: str, act: str, at: datetime, calls: dict[str, int] | None = None, **summary: Any) -> None:
    """A run of the past, as the notebooks note them."""
    runs = Runs(house.ledger)
    runs.start(run, "n", act)
    runs.finish(run, "done", summary, calls)
    with house.ledger.begin() as connection:
        moved = t.runs.update().where(t.runs.c.run_id == run).values(started=at.replace(tzinfo=None))
        connection.execute(moved)


def counted(**counts: int) -> dict[str, int]:
    """Users by bucket."""
    return buckets.complete(counts)


def test_without_an_audit_there_is_nothing_to_tell(house: House) -> None:
    """Exit 3, and a sentence that says what to run first."""
    report = told(house)
    assert (3, 0) == (report.exit_code, report.total)
    assert "run 20_audit_user_ids first" in report.verdict


def test_before_and_now_stand_side_by_side(house: House) -> None:
    """Before is the last audit ahead of the first apply, now is the last audit; neither costs a call."""
    house.ask()
    first = house.audit().counts
    noted(house, "a1", "audit", house.now - timedelta(hours=3), buckets=counted(unasked=60))
    noted(house, "a2", "audit", house.now - timedelta(hours=2), buckets=first)
    backfilling.apply(house.company, house.ledger, house.plan(), "b1")
    with house.ledger.begin() as connection:
        moment = (house.now - timedelta(hours=1)).replace(tzinfo=None)
        connection.execute(t.runs.update().where(t.runs.c.run_id == "b1").values(started=moment))
    noted(house, "a3", "audit", house.now - timedelta(minutes=5), buckets=house.audit().counts)
    sent = len(house.sandbox.arrivals)
    report = told(house)
    assert house.truth["buckets"]["before"] == report.before
    assert house.truth["buckets"]["after"] == report.now
    assert report.now["mapped"] == report.mapped > report.before["mapped"]
    assert (60, report.mapped / 60) == (report.total, report.share)
    assert "audited within the last hour" == report.age
    assert sent == len(house.sandbox.arrivals)


def test_as_of_tells_an_earlier_day_and_writes_nothing(house: House) -> None:
    """The same report as of a past day: the last audit up to its end, later ones unseen, no row changed."""
    for day, mapped in ((20, 1), (21, 2), (22, 3)):
        at = datetime(2026, 11, day, 23, 0, tzinfo=UTC)
        noted(house, f"a{day}", "audit", at, {"v3": day}, buckets=counted(mapped=mapped, ready=10 - mapped))
    before = {name: house.rows(name) for name in house.tables()}
    assert 3 == told(house, now=NOW).mapped
    report = told(house, now=NOW, as_of="2026-11-21")
    assert (2, {"v3": 41}) == (report.mapped, report.calls)
    assert datetime(2026, 11, 21, 23, tzinfo=UTC) == report.audited_at
    assert 3 == told(house, now=NOW, as_of="2026-11-19").exit_code
    assert before == {name: house.rows(name) for name in house.tables()}


@pytest.mark.parametrize(
    ("deadline", "counts", "code"),
    [
        ("2026-12-01", {"mapped": 3, "ready": 1}, 0),
        ("2026-11-23", {"mapped": 3, "ready": 1}, 1),
        ("2026-11-01", {"mapped": 3, "reconnect": 1}, 1),
        ("2026-11-01", {"mapped": 3, "no_vehicles": 1}, 0),
    ],
)
def test_a_passed_deadline_with_open_users_says_no(
    house: House, deadline: str, counts: dict[str, int], code: int
) -> None:
    """The deadline has passed when its day begins; it is a no only while some user is open."""
    noted(house, "a", "audit", NOW - timedelta(hours=1), buckets=counted(**counts))
    report = told(house, now=NOW, deadline=deadline)
    assert code == report.exit_code
    assert ("has passed" in report.verdict) == (deadline != "2026-12-01")


def test_the_next_steps_name_every_open_bucket_with_its_number(house: House) -> None:
    """What to do next: one sentence for each open bucket, backfilling first; none when all is done."""
    open_counts = {name: place for place, name in enumerate(progress.NEXT_STEPS, start=2)}
    noted(house, "a", "audit", NOW - timedelta(hours=1), buckets=counted(mapped=5, no_vehicles=4, **open_counts))
    report = told(house, now=NOW)
    steps = report.next_steps()
    assert sum(open_counts.values()) == report.open
    assert len(open_counts) == len(steps)
    assert f"Backfill {open_counts['ready']} users." in steps[0]
    assert all(sum(f" {number} " in step for step in steps) == 1 for number in open_counts.values())
    noted(house, "b", "audit", NOW - timedelta(minutes=1), buckets=counted(mapped=5, no_vehicles=4))
    assert [] == told(house, now=NOW).next_steps()


def test_running_and_failed_beginnings_do_not_count(house: House) -> None:
    """An audit that still runs, or left no counts, is no audit to report on."""
    Runs(house.ledger).start("running", "n", "audit")
    noted(house, "failed", "audit", house.now - timedelta(hours=1))
    assert 3 == told(house, now=house.now + timedelta(hours=1)).exit_code


@pytest.mark.parametrize(
    ("now", "units"),
    [
        (datetime(2026, 11, 30, 23, 0, tzinfo=UTC), 120 + 60 * 2),
        (datetime(2026, 11, 23, 0, 0, tzinfo=UTC), 120 + 8 * 24 * 60 * 2),
        (datetime(2026, 12, 1, 0, 0, tzinfo=UTC), 0),
        (datetime(2026, 12, 5, 0, 0, tzinfo=UTC), 0),
    ],
)
def test_units_to_come_are_a_bucket_and_its_refills(now: datetime, units: int) -> None:
    """Until the deadline's day begins come a full bucket and 2 a minute; after it, none."""
    assert units == progress.units_to_come(ALLOWANCE, now, progress.parse_day("deadline", "2026-12-01"))


def test_what_is_needed_shrinks_as_it_is_done(make_house: Callable[..., House]) -> None:
    """Before asking, linking needs units and recording none; after it, recording each linked car, less those read."""
    house = make_house(users=40).expand()
    noted(house, "a", "audit", house.now - timedelta(hours=1), buckets=counted(unasked=40))
    fresh = told(house).needed
    assert fresh["linking"] > 0 == fresh["recording"]
    house.ask()
    linked = told(house).needed
    assert linked["linking"] < fresh["linking"]
    assert linked["recording"] > 0
    noted(house, "c", "compare", house.now - timedelta(minutes=5), by_field={"vin": {"equal": 2}}, lost={})
    first = readable(house)[:2]
    cost = sum(recording.cost(first, house.v2, owners(house), field_map()).values())
    record(house, first, [])
    report = told(house)
    assert linked["recording"] - cost == report.needed["recording"]
    assert 2 == report.by_field.loc["vin", "equal"]


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "01.12.2026"])
def test_a_day_that_is_none_is_refused(text: str) -> None:
    """A deadline that is no ISO day is exit 5, with the value and what was expected."""
    with pytest.raises(ParameterError, match="expected a day such as 2026-12-01"):
        progress.parse_day("deadline", text)
