"""Sixty days of one company's life, by a clock that moves on: what the history and the reports tell of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from smartcar_ops.audit.audit import Audit
from smartcar_ops.audit.buckets import NAMES
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.history.days import History
from smartcar_ops.progress.progress import Progress
from smartcar_ops.session import Session
from tests.conftest import new_database
from tests.support.house import House

FIRST = datetime(2026, 9, 1, 6, tzinfo=UTC)
LENGTH = 60
WITHOUT_RUNS = range(20, 27)
SETBACK = 33
DATABASES = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.slow),
    pytest.param("mariadb", marks=pytest.mark.slow),
]


@dataclass
class Life:
    """What happened: for each day with an audit, the bucket of every user."""

    house: House
    told: dict[date, dict[str, str]]
    days: list[datetime]


class Clock:
    """The time of every session."""

    def __init__(self) -> None:
        self.now = FIRST


@pytest.fixture(scope="module")
def patched() -> Iterator[Clock]:
    """Sessions live at the clock's time."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "now", property(lambda _: clock.now))
        yield clock


def audited(house: House, clock: Clock, moment: datetime) -> dict[str, str]:
    """An audit at this time, as the notebook makes it: everybody's bucket."""
    clock.now = moment
    audit = Audit(Session("20_audit_user_ids", house.settings), confirm=False)
    users = audit.result.users
    audit.finish()
    return dict(zip(users["user_id"], users["bucket"], strict=True))


def reported(house: House, clock: Clock, moment: datetime, **options: Any) -> Progress:
    """The progress report at this time."""
    clock.now = moment
    progress = Progress(Session("90_progress_report", house.settings), deadline="2026-12-01", **options)
    progress.measure()
    return progress


@pytest.fixture(scope="module", params=DATABASES)
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, patched: Clock) -> Iterator[Life]:
    """A company that gets on with it, but for a week without runs, a setback, and users who join."""
    folder = tmp_path_factory.mktemp("life")
    house = House(new_database(request, folder, request.param), folder / "house").expand()
    house.ask()
    chance, told, days = random.Random(5), dict[date, dict[str, str]](), list[datetime]()
    waiting = [row for row in house.plan().changes() if row.table == "users"]
    chance.shuffle(waiting)
    done: list[str] = []
    for number in range(LENGTH):
        moment = FIRST + timedelta(days=number)
        for row in [waiting.pop() for _ in range(min(len(waiting), chance.choice([0, 0, 0, 1, 1, 2])))]:
            set_id(house, row.row_id, row.after)
            done.append(row.row_id)
        if number == SETBACK:
            for name in done[:4]:
                set_id(house, name, None)
        if number % 13 == 12:
            house.execute("INSERT INTO users (id, email, name) VALUES (:id, 'a@b.example', 'A')", id=90_000 + number)
        if number not in WITHOUT_RUNS:
            told[moment.date()] = audited(house, patched, moment)
            days.append(moment)
    yield Life(house, told, days)
    house.close()


def set_id(house: House, row_id: str, smartcar_user_id: str | None) -> None:
    """What the company's own code does to a row."""
    house.execute("UPDATE users SET smartcar_user_id = :new WHERE id = :id", new=smartcar_user_id, id=int(row_id))


def test_buckets_add_up_every_day(life: Life) -> None:
    """Each day's snapshot counts what was true that day; days without an audit are gaps."""
    history = History(life.house.ledger).all()
    assert [day.date() for day in life.days] == [day.day for day in history]
    for day in history:
        states = [*life.told[day.day].values()]
        assert {name: states.count(name) for name in NAMES} == day.counts
        assert len(states) == sum(day.counts.values()) == sum(sum(made.values()) for made in day.makes.values())
        assert day.has_states and day.complete


def test_who_moved_between_any_two_days_is_the_truth(life: Life) -> None:
    """Whatever the two days, whoever was set back, joined, or was done."""
    for earlier, later in itertools.combinations(range(LENGTH), 2):
        days = FIRST.date() + timedelta(days=earlier), FIRST.date() + timedelta(days=later)
        was, now = (life.told[max(known for known in life.told if known <= day)] for day in days)
        true = {(user, was.get(user), now.get(user)) for user in {*was, *now} if was.get(user) != now.get(user)}
        assert true == {move[:3] for move in user_states.moves(life.house.ledger, *days)}, days


def test_the_report_of_the_last_day(life: Life, patched: Clock) -> None:
    """It has a forecast, a pace, and tells what changed since the audit before."""
    progress = reported(life.house, patched, life.days[-1] + timedelta(hours=1))
    result, report = progress.result, progress.report()
    assert len(life.days) == len(progress.history()) == 53
    assert result.forecast.median or result.forecast.why
    assert result.pace.actual is not None and result.pace.needed is not None
    assert "audited 1 hour ago" in result.verdict.replace("within the last hour", "1 hour ago")
    chart = report.burn_down()
    assert f"{result.left} users left on 30 Oct 2026" in chart.title  # type: ignore[union-attr]
    assert [row.day for row in result.history] == [day.date() for day in life.days]


def test_an_earlier_days_report_is_of_that_day(life: Life, patched: Clock) -> None:
    """As of the day of the setback: who fell back, by name, and no later day in any number."""
    day = FIRST + timedelta(days=SETBACK)
    progress = reported(life.house, patched, life.days[-1] + timedelta(hours=1), as_of=day.date().isoformat())
    result = progress.result
    was, now = (life.told[moment.date()] for moment in (day - timedelta(days=1), day))
    back = [user for user, bucket in was.items() if bucket == "mapped" != now[user]]
    assert 4 == len(back) == result.since.back
    assert sorted(back, key=int) == result.since.fell_back["user_id"].tolist()
    assert day.date() == result.history[-1].day
    assert [*now.values()].count("mapped") == result.mapped


def test_the_first_day_has_no_forecast(life: Life, patched: Clock) -> None:
    """One audit is no pace; the report says so and draws what there is."""
    progress = reported(life.house, patched, life.days[-1], as_of=FIRST.date().isoformat())
    result, report = progress.result, progress.report()
    assert result.forecast.median is None
    assert "so far there are audits on 1 day" in str(report.forecast().data)  # type: ignore[no-untyped-call]
    assert "There is no earlier audit" in str(result.since)
    assert "needs audits on two days" in str(report.over_time().data)  # type: ignore[union-attr]
