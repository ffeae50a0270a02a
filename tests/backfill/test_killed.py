"""Killed with SIGKILL at any moment, and started again: every change is made once, and none beside the plan."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database.ledger.runs import Runs
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import Act

DEAD_OR_DONE = (None, (0, ""))
"""How an act that is to die ends; one may need a statement less than the one that was counted."""

Moments = Callable[[int], list[int]]
"""Of so many statements and commits, those before which an act dies."""

Rows = dict[str, list[dict[str, Any]]]


def prepared(make_house: Callable[..., House], kind: str, users: int) -> tuple[House, Plan, Path]:
    """A company that was asked about, its plan, and the plan's file."""
    house = make_house(kind, users=users).expand().play_callbacks()
    house.ask()
    plan, path = house.plan(), house.root / "plan.parquet"
    plan.save(path)
    return house, plan, path


def company_rows(house: House) -> Rows:
    """Every row of the company's own tables."""
    return {table: house.rows(table) for table in ("users", "vehicles")}


def ids(house: House) -> list[tuple[str, str | None]]:
    """What is stored of Smartcar's; the times of two worlds made one after the other are not the same."""
    users = [(str(row["id"]), row["smartcar_user_id"]) for row in house.rows("users")]
    return users + [(str(row["id"]), row["smartcar_vehicle_id"]) for row in house.rows("vehicles")]


def carried_out(before: Rows, plan: Plan) -> Rows:
    """The rows with exactly the plan's changes in them."""
    wanted = {(change.table, change.row_id, change.column): change.after for change in plan.changes()}
    return {
        table: [{name: wanted.get((table, str(row["id"]), name), row[name]) for name in row} for row in before[table]]
        for table in before
    }


def standing(house: House) -> Counter[tuple[str, str, str]]:
    """How often each (table, row, column) is recorded as written by an apply and not put back since."""
    applies = {run.run_id for run in Runs(house.ledger).all("apply")}
    rows = [row for row in house.rows("smartcar_ops_changes") if row["run_id"] in applies]
    rows = [row for row in rows if row["outcome"] == "written" and not row["undone_by"]]
    return Counter((row["table_name"], row["row_id"], row["column_name"]) for row in rows)


def once(plan: Plan) -> Counter[tuple[str, str, str]]:
    """Every change of a plan, once."""
    return Counter((change.table, change.row_id, change.column) for change in plan.changes())


def kill(act: Act, chance: random.Random, batches: int) -> None:
    """Ends an act after so many batches: between two of them, or somewhere in the next."""
    assert act.go()
    for _ in range(batches):
        act.release()
        assert act.go()
    act.kill(chance.choice([None, chance.uniform(0, 0.02)]))


def kill_and_resume(house: House, name: str, target: Path | str, kills: int, seed: int) -> int:
    """Kills an act so many times, starting it again each time at once, then lets it end; its exit code."""
    chance = random.Random(seed)
    for number in range(kills):
        act = Act(house, name, target, f"{name}-{number}", batch_size=4)
        if number % 3 == 2:
            act = dying(house, name, target, f"{name}-{number}", act, chance)
        else:
            kill(act, chance, chance.randint(1, 3))
        assert act.outcome is None
    last = Act(house, name, target, f"{name}-last", batch_size=4).finish()
    assert last is not None, "nobody killed it"
    assert "" == last[1]
    return last[0]


def dying(house: House, name: str, target: Path | str, run_id: str, waiting: Act, chance: random.Random) -> Act:
    """The same act, which dies by itself before some statement of its first batches."""
    waiting.kill()
    act = Act(house, name, target, f"{run_id}-dying", batch_size=4, dies_before=chance.randint(1, 60))
    act.finish()
    return act


def interrupted(house: House, name: str) -> set[str]:
    """How the killed runs are noted: an act that died before it noted its start is not known."""
    return {run.status for run in Runs(house.ledger).all(name) if not run.run_id.endswith("-last")}


def killed_while_applying(make_house: Callable[..., House], kind: str, kills: int, users: int) -> None:
    """Kills an apply, resumes it, and holds what is there against an identical company that nobody disturbed."""
    calm, plan, _ = prepared(make_house, kind, users)
    runner.apply(calm.company, calm.ledger, plan, "calm")
    house, plan, path = prepared(make_house, kind, users)
    before = company_rows(house)
    assert ids(calm) != ids(house)
    assert 0 == kill_and_resume(house, "apply", path, kills, seed=kills)
    assert (3, "") == Act(house, "apply", path, "apply-after-the-last").finish()
    assert ids(calm) == ids(house)
    assert carried_out(before, plan) == company_rows(house)
    assert once(plan) == standing(house)
    assert {"interrupted"} == interrupted(house, "apply") - {"done"}
    assert ([], []) == (house.rows("smartcar_ops_stage"), house.rows("smartcar_ops_locks"))


@pytest.mark.parametrize(("kind", "kills"), [("sqlite", 5), ("postgresql", 3)])
def test_a_killed_apply_goes_on_where_it_stopped(make_house: Callable[..., House], kind: str, kills: int) -> None:
    """However often it is killed, the company ends as if nobody had, and each change is recorded once."""
    killed_while_applying(make_house, kind, kills, users=100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_an_apply_killed_twenty_times_goes_on(make_house: Callable[..., House], kind: str) -> None:
    """The same with twenty kills, on every database."""
    killed_while_applying(make_house, kind, 20, users=300)


def killed_while_undoing(make_house: Callable[..., House], kind: str, kills: int, users: int) -> None:
    """Kills an undo, resumes it, and applies the plan again."""
    house, plan, path = prepared(make_house, kind, users)
    before = company_rows(house)
    runner.apply(house.company, house.ledger, plan, "run", batch_size=10)
    after = company_rows(house)
    assert 0 == kill_and_resume(house, "undo", "run", kills, seed=kills)
    assert before == company_rows(house)
    assert {"interrupted"} == interrupted(house, "undo")
    again = runner.apply(house.company, house.ledger, Plan.load(path, house.ledger.plan_key()), "again")
    assert len(plan.changes()) == again.count("written") == again.done
    assert after == company_rows(house)


@pytest.mark.parametrize(("kind", "kills"), [("sqlite", 3), ("postgresql", 2)])
def test_a_killed_undo_goes_on_where_it_stopped(make_house: Callable[..., House], kind: str, kills: int) -> None:
    """However often it is killed, the rows are as before the apply, and the plan can be applied to all of them."""
    killed_while_undoing(make_house, kind, kills, users=60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_an_undo_killed_twenty_times_goes_on(make_house: Callable[..., House], kind: str) -> None:
    """The same with twenty kills, on every database."""
    killed_while_undoing(make_house, kind, 20, users=300)


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_what_a_killed_undo_put_back_is_open_again(make_house: Callable[..., House], kind: str) -> None:
    """After half an undo, the plan applied again writes just the half that was put back."""
    house, plan, path = prepared(make_house, kind, 40)
    runner.apply(house.company, house.ledger, plan, "run")
    after = company_rows(house)
    kill(Act(house, "undo", "run", "undo"), random.Random(1), 3)
    (undo,) = Runs(house.ledger).all("undo")
    half = house.rows("smartcar_ops_changes")
    put_back = sum(row["run_id"] == "undo" for row in half)
    assert len(plan.changes()) > put_back >= 15
    again = runner.apply(house.company, house.ledger, Plan.load(path, house.ledger.plan_key()), "again")
    assert ("running", "interrupted") == (undo.status, Runs(house.ledger).all("undo")[0].status)
    assert put_back == again.count("written") == again.done
    assert after == company_rows(house)
    assert once(plan) == standing(house)


def each_moment(make_house: Callable[..., House], kind: str, *, applying: Moments, undoing: Moments) -> None:
    """Kills an apply, then an undo, before the statements and commits that are chosen of all there are."""
    house, plan, path = prepared(make_house, kind, 20)
    before = company_rows(house)
    calm = Act(house, "apply", path, "calm-apply", batch_size=20)
    assert (0, "") == calm.finish()
    after = company_rows(house)
    back = Act(house, "undo", "calm-apply", "calm-undo", batch_size=20)
    assert (0, "") == back.finish()
    assert before == company_rows(house)
    for moment in applying(calm.statements):
        run = f"apply-{moment}"
        assert Act(house, "apply", path, run, batch_size=20, dies_before=moment).finish() in DEAD_OR_DONE
        runner.apply(house.company, house.ledger, plan, f"{run}-rest")
        assert (once(plan), after) == (standing(house), company_rows(house)), moment
        for part in (run, f"{run}-rest"):
            if Runs(house.ledger).one(part):
                runner.undo(house.company, house.ledger, part, f"undo-{part}")
        assert (Counter(), before) == (standing(house), company_rows(house)), moment
    for moment in undoing(back.statements):
        run = f"forth-{moment}"
        runner.apply(house.company, house.ledger, plan, run)
        assert Act(house, "undo", run, f"back-{moment}", batch_size=20, dies_before=moment).finish() in DEAD_OR_DONE
        runner.undo(house.company, house.ledger, run, f"back-{moment}-rest")
        assert (Counter(), before) == (standing(house), company_rows(house)), moment


def test_no_moment_is_a_bad_one_to_be_killed(make_house: Callable[..., House]) -> None:
    """Killed before some statements of an apply, or before the last ones of an undo, nothing is lost or done twice."""
    chance = random.Random(7)
    each_moment(
        make_house,
        "sqlite",
        applying=lambda most: chance.sample(range(1, most), 4),
        undoing=lambda most: list(range(most - 1, most - 12, -1)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_no_moment_at_all_is_a_bad_one_to_be_killed(make_house: Callable[..., House], kind: str) -> None:
    """The same before every single statement and commit, on every database."""
    every: Moments = lambda most: list(range(1, most))  # noqa: E731
    each_moment(make_house, kind, applying=every, undoing=every)
