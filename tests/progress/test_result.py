"""How far the migration is, told from the ledger alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.audit import buckets
from smartcar_ops.backfill import runner
from smartcar_ops.compare import recording
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import ParameterError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.progress import blockers
from smartcar_ops.progress.days import day_to_look_back_to, parse_day
from smartcar_ops.progress.measure import measure
from smartcar_ops.progress.result import ProgressResult
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import units_to_come
from tests.support.histories import past_snapshot
from tests.support.house import House
from tests.support.recorded import owners, readable, record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALLOWANCE = Allowance()


def told(house: House, **changes: Any) -> ProgressResult:
    """The progress now, under the documented allowance."""
    options: dict[str, Any] = {"now": house.now, "deadline": "2999-12-01", "as_of": "", **changes}
    days = {
        "deadline": parse_day("deadline", options.pop("deadline")),
        "day": day_to_look_back_to(options.pop("as_of"), options["now"]),
    }
    return measure(house.company, house.ledger, house.linker(), house.v2, ALLOWANCE, **options, **days)


def noted(house: House, run: str, act: str, at: datetime, calls: dict[str, int] | None = None, **summary: Any) -> None:
    """A run of the past, as the notebooks note them."""
    runs = Runs(house.ledger)
    runs.start(run, "n", act)
    runs.finish(run, "done", summary, calls)
    with house.ledger.begin() as connection:
        moved = t.runs.update().where(t.runs.c.run_id == run).values(started=at.replace(tzinfo=None))
        connection.execute(moved)
    if act == "audit" and "buckets" in summary:
        past_snapshot(house.ledger, at, summary["buckets"], complete=summary.get("complete", True))


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
    runner.apply(house.company, house.ledger, house.plan(), "b1")
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


# --- after a backfill ----------------------------------------------------------------------------------------


def audited(house: House, ago: timedelta = timedelta(seconds=30)) -> dict[str, int]:
    """Asks, audits and notes the audit, as the notebook does; the counts."""
    house.ask()
    counts = house.audit().counts
    noted(house, "audit", "audit", house.now - ago, buckets=counts)
    return counts


@pytest.mark.parametrize("database", ["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.slow)])
def test_after_a_backfill_everybody_is_judged_again_without_a_call(
    make_house: Callable[..., House], database: str
) -> None:
    """What an audit would count now, without one; how many values were written is told; an undo is seen, too."""
    house = make_house(database).expand().play_callbacks()
    counts = audited(house)
    sent = len(house.sandbox.arrivals)
    wrote = runner.apply(house.company, house.ledger, house.plan(), "b1").count("written")
    report = told(house)
    assert (house.truth["buckets"]["before"], house.truth["buckets"]["after"]) == (report.before, report.now)
    assert (wrote, wrote) == (report.written_since, report.summary()["written_since"])
    assert report.now["ready"] == 0 < counts["ready"]
    assert not [words for words in report.blockers()["blocker"] if "ready to be backfilled" in words]
    assert (
        f"{wrote} values written or undone since the audit: these users were judged again, without calls."
        in report.verdict
    )
    back = runner.undo(house.company, house.ledger, "b1", "u1").count("written")
    report = told(house)
    assert (counts, wrote + back) == (report.now, report.written_since)
    assert sent == len(house.sandbox.arrivals)


def test_a_written_id_is_mapped_only_where_a_connection_names_it(house: House) -> None:
    """What was written and is confirmed by no connection any more is counted as unconfirmed."""
    audited(house)
    runner.apply(house.company, house.ledger, house.plan(), "b1")
    assert told(house).mapped > told(house).before["mapped"]
    house.ledger.record_connections([], complete=True, now=house.now.replace(tzinfo=None))
    report = told(house)
    assert (0, house.audit().counts) == (report.mapped, report.now)


def test_without_a_write_the_numbers_are_the_audits(house: House) -> None:
    """The last audit's counts, whatever the company changed meanwhile; nothing was written since."""
    counts = audited(house)
    house.execute("DELETE FROM vehicles")
    report = told(house)
    assert (counts, 0) == (report.now, report.written_since)
    assert "written or undone" not in report.verdict


def test_without_an_audit_a_backfill_is_told_all_the_same(house: House) -> None:
    """Exit 3: there are no buckets to show, and how much was written is said."""
    house.ask()
    wrote = runner.apply(house.company, house.ledger, house.plan(), "b1").count("written")
    report = told(house)
    assert (3, 0, wrote) == (report.exit_code, report.total, report.written_since)
    assert f"no audit to report on, although {wrote} values were written" in report.verdict


@pytest.mark.parametrize(("hours", "words"), [(23, ""), (25, "The audit is old (25 hours ago)"), (80, "(3 days ago)")])
def test_an_old_audit_is_in_the_verdict(house: House, hours: int, words: str) -> None:
    """Older than a day, it is said in the verdict, and to audit again is the first thing to do."""
    noted(house, "a", "audit", NOW - timedelta(hours=hours), buckets=counted(mapped=3, ready=1))
    report = told(house, now=NOW)
    assert words in report.verdict
    first = report.blockers()["blocker"][0]
    assert bool(words) == ("audit again" in report.verdict) == first.startswith("the audit is old")


def test_an_incomplete_audit_never_takes_the_place_of_a_whole_one_of_its_day(house: House) -> None:
    """Of a day the last complete audit is taken; one that did not reach everything only where there is no other."""
    morning, noon = NOW - timedelta(hours=6), NOW - timedelta(hours=1)
    noted(house, "old", "audit", NOW - timedelta(hours=30), buckets=counted(mapped=1), complete=True)
    noted(house, "part", "audit", noon, buckets=counted(unasked=9), complete=False)
    report = told(house, now=NOW)
    assert (9, True) == (report.now["unasked"], "did not reach everything" in report.verdict)
    noted(house, "whole", "audit", morning, buckets=counted(mapped=5), complete=True)
    assert (5, True) == ((report := told(house, now=NOW)).mapped, report.snapshot is not None)
    assert "did not reach everything" not in report.verdict


# --- as of an earlier day ------------------------------------------------------------------------------------


def test_as_of_tells_an_earlier_day_and_writes_nothing(house: House) -> None:
    """The same report as of a past day: the last audit up to its end, later ones unseen, no row changed."""
    for day, mapped in ((20, 1), (21, 2), (22, 3)):
        at = datetime(2026, 11, day, 23, 0, tzinfo=UTC)
        noted(house, f"a{day}", "audit", at, {"v3": day}, buckets=counted(mapped=mapped, ready=10 - mapped))
    before = {name: house.rows(name) for name in house.tables()}
    assert 3 == told(house, now=NOW).mapped
    report = told(house, now=NOW, as_of="2026-11-21")
    assert (2, {"v3": 41}) == (report.mapped, report.calls)
    assert report.snapshot is not None
    assert datetime(2026, 11, 21, 23, tzinfo=UTC) == report.snapshot.at
    assert report.verdict.startswith("As of 2026-11-21: 2 of 10 users")
    assert 3 == told(house, now=NOW, as_of="2026-11-19").exit_code
    assert before == {name: house.rows(name) for name in house.tables()}


def test_as_of_has_one_clock(house: House) -> None:
    """Days and units left are those that were left when the day ended; what was needed then is not known."""
    noted(house, "a", "audit", datetime(2026, 11, 20, 1, tzinfo=UTC), buckets=counted(mapped=1))
    report = told(house, now=NOW, as_of="2026-11-20", deadline="2026-11-30")
    assert (9.0, 120 + 9 * 24 * 60 * 2, None) == (report.days_left, report.to_come, report.needed)
    assert "audited 23 hours ago" in report.age
    today = told(house, now=NOW, as_of="2026-11-23", deadline="2026-11-30")
    assert (6.5, NOW, True) == (today.days_left, today.moment, today.needed is not None)


def test_as_of_sees_no_later_write(house: House) -> None:
    """A backfill of a later day is in no number of an earlier one."""
    counts = audited(house, timedelta(days=3))
    runner.apply(house.company, house.ledger, house.plan(), "b1")
    day = (house.now - timedelta(days=2)).date().isoformat()
    report = told(house, as_of=day)
    assert (counts, counts, 0) == (report.now, report.before, report.written_since)
    assert told(house).written_since > 0


def test_a_day_to_come_can_not_be_looked_back_to(house: House) -> None:
    """The future is exit 5, with the last day that can be named; today can."""
    tomorrow = (NOW + timedelta(days=1)).date().isoformat()
    with pytest.raises(ParameterError, match="as_of is '2026-11-24', which is in the future; expected 2026-11-23"):
        told(house, now=NOW, as_of=tomorrow)
    assert 5 == ParameterError.exit_code
    assert "2026-11-23" == told(house, now=NOW, as_of="2026-11-23").as_of


# --- what is left --------------------------------------------------------------------------------------------


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


def test_the_blockers_name_every_open_bucket_with_its_number(house: House) -> None:
    """What is in the way: one line for each open bucket, backfilling first; none of them when all is done."""
    assert set(buckets.LEFT) == set(blockers.BY_BUCKET)
    open_counts = {name: place for place, name in enumerate(blockers.BY_BUCKET, start=2)}
    noted(house, "a", "audit", NOW - timedelta(hours=1), buckets=counted(mapped=5, no_vehicles=4, **open_counts))
    report = told(house, now=NOW)
    *steps, compare = report.blockers()["blocker"]
    assert compare == "V2 and V3 have not been compared"
    assert sum(open_counts.values()) == report.left == report.total - report.mapped - report.now["no_vehicles"]
    assert len(open_counts) == len(steps)
    assert steps[0].startswith(f"{open_counts['ready']} users ready to be backfilled")
    assert all(sum(step.startswith(f"{number} ") for step in steps) == 1 for number in open_counts.values())
    assert all(command.startswith("smartcar-ops ") for command in report.blockers()["commands"].explode())
    noted(house, "b", "audit", NOW - timedelta(minutes=1), buckets=counted(mapped=5, no_vehicles=4))
    assert [compare] == list(told(house, now=NOW).blockers()["blocker"])


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
    assert units == units_to_come(ALLOWANCE, now, datetime(2026, 12, 1, tzinfo=UTC))


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
    assert 2 == report.compared.loc["vin", "equal"]


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "01.12.2026"])
def test_a_day_that_is_none_is_refused(text: str) -> None:
    """A deadline that is no ISO day is exit 5, with the value and what was expected."""
    with pytest.raises(ParameterError, match="expected a day such as 2026-12-01"):
        parse_day("deadline", text)
