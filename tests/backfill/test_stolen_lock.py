"""Two acts with one lock: one that stood still for too long, and one that took the lock over meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database.ledger.runs import Run, Runs
from tests.backfill.test_killed import carried_out, company_rows, once, prepared, standing
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import Act

BATCH = 2
STALE = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', beat, '-2 minutes') || '000'",
    "postgresql": "beat - interval '2 minutes'",
    "mariadb": "beat - INTERVAL 2 MINUTE",
}
"""The beat of a lock, two minutes earlier."""

LOST = ("was taken over", "has taken over", "holds the lock")
Outcome = tuple[int, str] | None
Ended = tuple[Outcome, Outcome]


def silence(house: House) -> None:
    """Makes the lock that of a holder somewhere else that has not beaten for two minutes, though it lives."""
    stale = STALE[house.company.engine.dialect.name]
    house.execute(f"UPDATE smartcar_ops_locks SET beat = {stale}, process = 'elsewhere 1'")


def after(act: Act, batches: int) -> None:
    """Lets an act begin, and write so many batches."""
    assert act.go()
    for _ in range(batches):
        act.release()
        assert act.go()


@dataclass(frozen=True)
class Theft:
    """Two acts with the same target, the second of which takes the lock of the first."""

    house: House
    robbed: Act
    thief: Act
    chance: random.Random

    @classmethod
    def of(cls, house: House, name: str, target: Path | str, number: int) -> Theft:
        """Both are there, and have not begun; the seed is printed."""
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"{name} {number}: seed {seed}")
        runs = (f"{name}-{number}-robbed", f"{name}-{number}-thief")
        return cls(house, *(Act(house, name, target, run, batch_size=BATCH) for run in runs), random.Random(seed))

    def in_the_middle(self) -> Ended:
        """The first is stopped wherever it is, and goes on a while after the second has begun: how each ended."""
        batches = self.chance.randint(0, 15)
        after(self.robbed, batches)
        if batches:
            silence(self.house)
        self.robbed.pause(self.chance.uniform(0, 0.03))
        return self.side_by_side(self.chance.uniform(0, 1))

    def between_batches(self) -> Ended:
        """The first stands still between two batches until the second has written some: how each ended."""
        after(self.robbed, self.chance.randint(1, 15))
        silence(self.house)
        after(self.thief, self.chance.randint(1, 8))
        self.thief.release()
        self.robbed.release()
        ended = self.side_by_side(0)
        assert ended[0] and 4 == ended[0][0], "its lock was taken over while it stood still"
        return ended

    def side_by_side(self, resumed_after: float) -> Ended:
        """Lets the two run at once, the first from where it was stopped."""
        with ThreadPoolExecutor(2) as executor:
            second = executor.submit(self.thief.finish)
            self.robbed.resume(resumed_after)
            return executor.submit(self.robbed.finish).result(), second.result()

    def rows(self, run: str) -> list[dict[str, Any]]:
        """What a run recorded."""
        return [row for row in self.house.rows("smartcar_ops_changes") if row["run_id"] == run]

    def runs(self) -> Iterator[tuple[str, Run]]:
        """The two runs as the ledger has them; one that was refused at once is not in it."""
        for act in (self.robbed, self.thief):
            run = Runs(self.house.ledger).one(act.run_id)
            if run:
                yield act.run_id, run

    def check(self, ended: Ended) -> None:
        """At most one lost the lock: it says so and notes no end, and nothing of it is later than the other's start."""
        print(ended)
        codes = {act.run_id: outcome for act, outcome in zip((self.robbed, self.thief), ended, strict=True)}
        lost = [name for name, outcome in codes.items() if outcome and 4 == outcome[0]]
        assert len(lost) <= 1
        for name, outcome in codes.items():
            assert outcome is not None
            assert any(word in outcome[1] for word in LOST) if name in lost else (outcome[0] in (0, 3)), outcome
        for name, run in self.runs():
            assert (run.status == "done") is (name not in lost), run.status
            assert len(self.rows(name)) == run.written + run.skipped + run.failed
        if self.robbed.run_id in lost:
            started = str(dict(self.runs())[self.thief.run_id].started)
            assert all(str(row["at"]) <= started for row in self.rows(self.robbed.run_id))

    def undo(self) -> None:
        """Puts back what both wrote, what was written last first."""
        for name in (self.thief.run_id, self.robbed.run_id):
            if name in dict(self.runs()):
                runner.undo(self.house.company, self.house.ledger, name, f"{name}-back")


def steal(make_house: Callable[..., House], kind: str, tries: int, users: int) -> None:
    """So many thefts from applies in one company, each of them undone."""
    house, plan, path = prepared(make_house, kind, users)
    before = company_rows(house)
    for number in range(tries):
        theft = Theft.of(house, "apply", path, number)
        theft.check(theft.in_the_middle() if number % 3 else theft.between_batches())
        assert carried_out(before, plan) == company_rows(house)
        assert once(plan) == standing(house)
        theft.undo()
        assert (before, Counter()) == (company_rows(house), standing(house))


def steal_undos(make_house: Callable[..., House], kind: str, tries: int, users: int) -> None:
    """So many thefts from undos of an apply, after each of which the plan is applied again."""
    house, plan, path = prepared(make_house, kind, users)
    before = company_rows(house)
    for number in range(tries):
        wanted = Plan.load(path, house.ledger.plan_key())
        runner.apply(house.company, house.ledger, wanted, f"run-{number}")
        assert once(plan) == standing(house)
        theft = Theft.of(house, "undo", f"run-{number}", number)
        theft.check(theft.in_the_middle() if number % 3 else theft.between_batches())
        assert (before, Counter()) == (company_rows(house), standing(house))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_two_acts_with_one_lock_one_writes(make_house: Callable[..., House], kind: str) -> None:
    """Each row gets its own id from one of the two; the one that lost the lock ends with exit 4; both can be undone."""
    steal(make_house, kind, 2, 60)


def test_of_two_undos_with_one_lock_one_writes(make_house: Callable[..., House]) -> None:
    """Each row is put back by one of the two, and the one that lost the lock ends with exit 4."""
    steal_undos(make_house, "sqlite", 1, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_of_two_acts_with_one_lock_one_writes_always(make_house: Callable[..., House], kind: str) -> None:
    """The same fifty times, on every database."""
    steal(make_house, kind, 50, 100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_of_two_undos_with_one_lock_one_writes_always(make_house: Callable[..., House], kind: str) -> None:
    """The same ten times, on every database."""
    steal_undos(make_house, kind, 10, 100)
