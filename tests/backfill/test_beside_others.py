"""Beside others: the company's own clients write while the kit does, and two operators start at once."""

from __future__ import annotations

import getpass
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from smartcar_ops import notebook_runs
from smartcar_ops.backfill import runner as backfill_runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database import engines
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import Act

NEW = 900_000
COLUMNS = {"users": "smartcar_user_id", "vehicles": "smartcar_vehicle_id"}


def prepared(make_house: Callable[..., House], kind: str, users: int) -> tuple[House, Plan, Path]:
    """A company that was asked about, its plan, and the plan's file."""
    house = make_house(kind, users=users).expand().play_callbacks()
    house.ask()
    plan, path = house.plan(), house.root / "plan.parquet"
    plan.save(path)
    return house, plan, path


class Client(threading.Thread):
    """Another client of the company's database: writes ids, deletes people and cars, adds new ones, until told."""

    def __init__(self, house: House, plan: Plan, seed: int) -> None:
        super().__init__(daemon=True)
        self._engine = engines.writer(engines.create(house.url))
        self._chance, self._number = random.Random(seed), 0
        cars = {str(row["id"]): str(row["user_id"]) for row in house.rows("vehicles")}
        self._cars_of = {user: [car for car in cars if cars[car] == user] for user in set(cars.values())}
        self._rows = [(table, str(row["id"])) for table in COLUMNS for row in house.rows(table)]
        self._planned = [(change.table, change.row_id) for change in plan.changes()]
        self._turns, self._end = threading.Semaphore(0), threading.Event()
        self.values: dict[tuple[str, str], str | None] = {}
        """What it wrote last, by row; None where it deleted the row."""
        self.found: dict[tuple[str, str], str | None] = {}
        """What stood in a row when it first wrote or deleted it."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Acts as often as it is let, until it is told to end."""
        try:
            while self._turns.acquire() and not self._end.is_set():
                self._again(self._chance.choice([self._write, self._write, self._write, self._remove, self._add]))
        except BaseException as error:  # told to the test
            self.failure = error

    def let(self, turns: int) -> None:
        """Lets it act so many times more, while the kit goes on."""
        self._turns.release(turns)

    def end(self) -> None:
        """Ends the client."""
        self._end.set()
        self._turns.release()
        self.join()
        self._engine.dispose()
        assert self.failure is None

    def _again(self, act: Callable[[sa.Connection], dict[tuple[str, str], str | None]]) -> None:
        """One transaction; where the database makes it the victim of a deadlock, another takes its place."""
        self._number += 1
        before = dict(self.found)
        try:
            with self._engine.begin() as connection:
                written = act(connection)
        except OperationalError as error:
            assert any(word in str(error).lower() for word in ("deadlock", "locked"))
            self.found = before
        else:
            self.values |= written

    def _write(self, connection: sa.Connection) -> dict[tuple[str, str], str | None]:
        rows = [row for row in self._chance.choice([self._rows, self._planned]) if self.values.get(row, "") is not None]
        row, value = self._chance.choice(rows), f"others-{self._number}"
        self._look(connection, row)
        statement = f"UPDATE {row[0]} SET {COLUMNS[row[0]]} = :value WHERE id = :id"
        connection.execute(sa.text(statement), {"value": value, "id": int(row[1])})
        return {row: value}

    def _remove(self, connection: sa.Connection) -> dict[tuple[str, str], str | None]:
        users = [id for table, id in self._rows if table == "users" and self.values.get((table, id), "") is not None]
        user = self._chance.choice(users)
        gone = [("vehicles", car) for car in self._cars_of.get(user, [])]
        for row in [*gone, ("users", user)]:
            self._look(connection, row)
            connection.execute(sa.text(f"DELETE FROM {row[0]} WHERE id = :id"), {"id": int(row[1])})
        return dict.fromkeys([*gone, ("users", user)], None)

    def _add(self, connection: sa.Connection) -> dict[tuple[str, str], str | None]:
        id, value = NEW + self._number, self._chance.choice(["", f"new-{self._number}"])
        new: dict[str, Any] = {"id": id, "value": value}
        connection.execute(sa.text("INSERT INTO users (id, smartcar_user_id) VALUES (:id, :value)"), new)
        car = sa.text("INSERT INTO vehicles (id, user_id, smartcar_vehicle_id) VALUES (:id, :id, :value)")
        connection.execute(car, new)
        return {("users", str(id)): value, ("vehicles", str(id)): value}

    def _look(self, connection: sa.Connection, row: tuple[str, str]) -> None:
        lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
        query = sa.text(f"SELECT {COLUMNS[row[0]]} FROM {row[0]} WHERE id = :id{lock}")
        found = connection.execute(query, {"id": int(row[1])}).scalar_one()
        if int(row[1]) < NEW:
            self.found.setdefault(row, found)


def stored(house: House) -> dict[tuple[str, str], str | None]:
    """What stands in every row."""
    return {(table, str(row["id"])): row[column] for table, column in COLUMNS.items() for row in house.rows(table)}


def beside(make_house: Callable[..., House], kind: str, users: int, seed: int) -> None:
    """Lets another client write all the while an apply runs, and looks at every row afterwards."""
    house, plan, path = prepared(make_house, kind, users)
    before, wanted = stored(house), {(change.table, change.row_id): change.after for change in plan.changes()}
    act, client = Act(house, "apply", path, "run", batch_size=3), Client(house, plan, seed)
    client.start()
    while act.go():
        client.let(3)
        act.release()
    client.end()
    assert (0, "") == act.outcome
    expected: dict[tuple[str, str], str | None] = {**before, **wanted, **client.values}
    gone = {row for row, value in client.values.items() if value is None}
    assert {row: value for row, value in expected.items() if row not in gone} == stored(house)
    changes = house.rows("smartcar_ops_changes")
    outcomes = {(row["table_name"], row["row_id"]): row["outcome"] for row in changes}
    assert len(changes) == len(outcomes) == len(wanted)
    for row, outcome in outcomes.items():
        was_first = row in client.found and client.found[row] != wanted[row]
        assert ("skipped" if was_first else "written") == outcome
    assert {"skipped", "written"} == set(outcomes.values())


@pytest.mark.parametrize("kind", DATABASES)
def test_what_others_write_meanwhile_stays(make_house: Callable[..., House], kind: str) -> None:
    """Rows that others wrote before the kit came are skipped, those they wrote later hold theirs; none comes back."""
    beside(make_house, kind, users=60, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("seed", range(2, 7))
def test_what_others_write_stays_however_it_falls(make_house: Callable[..., House], kind: str, seed: int) -> None:
    """The same on a larger company, five times a database."""
    beside(make_house, kind, users=300, seed=seed)


@pytest.mark.parametrize("kind", DATABASES)
def test_of_two_operators_one_is_refused(make_house: Callable[..., House], kind: str) -> None:
    """Two applies that start at once: one runs, the other is exit 4 and names who, where and which run."""
    house, plan, path = prepared(make_house, kind, 20)
    for round in range(2):
        acts = [Act(house, "apply", path, f"{name}-{round}") for name in ("ada", "grace")]
        assert [True, True] == [act.go() for act in acts]
        for act in acts:
            act.release()
        runs_on = [act.go() for act in acts]
        assert [False, True] == sorted(runs_on)
        first, second = acts[runs_on.index(True)], acts[runs_on.index(False)]
        assert second.outcome is not None
        code, told = second.outcome
        assert 4 == code
        assert f"{getpass.getuser()} on {socket.gethostname()}" in told and f"run {first.run_id})" in told
        first.release()
        assert (0, "") == first.finish()
        assert len(plan.changes()) == sum(row["outcome"] == "written" for row in of_run(house, first.run_id))
        assert [] == of_run(house, second.run_id)
        backfill_runner.undo(house.company, house.ledger, first.run_id, f"undo-{round}")


def of_run(house: House, run: str) -> list[dict[str, Any]]:
    """What a run recorded."""
    return [row for row in house.rows("smartcar_ops_changes") if row["run_id"] == run]


@pytest.mark.usefixtures("without_kernel")
def test_the_command_line_names_who_writes(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """`smartcar-ops run 30_backfill_user_ids` beside another's apply is exit 4, names the run, and leaves no folder."""
    house, _, path = prepared(make_house, "sqlite", 40)
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    act = Act(house, "apply", path, "the-first")
    assert act.go()
    act.release()
    assert act.go()
    result = notebook_runs.run("30_backfill_user_ids", [("plan", str(path)), ("apply", "True")])
    assert 4 == result.exit_code
    assert "run the-first)" in result.verdict
    assert [] == list(house.settings.reports.glob("2*"))
    act.release()
    assert (0, "") == act.finish()
