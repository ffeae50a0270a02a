"""At apply each row is set only if it is still right to set; what was learnt since the plan counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.database.compare_and_set import CHANGED, GONE
from smartcar_ops.database.evidence import readiness
from smartcar_ops.database.ledger import tables as t
from tests.conftest import DATABASES
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NAIVE, NOBODY, NOW, PERSONS, VEHICLES, Desk

Act = Callable[[Desk], None]
USER, CAR = ("users", "1"), ("vehicles", "11")


@pytest.fixture(params=DATABASES)
def desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """An expanded database of every kind in turn."""
    return Desk(make_database(request.param), tmp_path)


def two_users() -> PlainCompany:
    """One user is ready, by a car; another has nothing."""
    car = PlainCar("11", "1", None, False, True)
    return PlainCompany({"1": None, "2": None}, [car], {(VEHICLES[0], PERSONS[0])}, ties={("11", VEHICLES[0])})


def run(statement: str) -> Act:
    """What the company itself does."""

    def act(desk: Desk) -> None:
        with desk.company.engine.begin() as connection:
            connection.execute(sa.text(statement))

    return act


def chosen(id: str | None) -> Act:
    """A person's choice for user 1."""
    row = {"user_id": "1", "smartcar_user_id": id, "chosen_by": "Ada", "reason": "asked", "chosen_at": NAIVE}
    return lambda desk: desk.ledger.record(t.choices, [row])


def listed(*pairs: tuple[str, str]) -> Act:
    """A later whole list of connections."""
    car = {"make": "A", "model": "B", "powertrain": "BEV"}
    rows = [{"vehicle_id": vehicle, "smartcar_user_id": id, **car} for vehicle, id in pairs]
    return lambda desk: desk.ledger.record_connections(rows, complete=True, now=NAIVE + timedelta(days=1))


def redirected(id: str) -> Act:
    """A redirect of user 1 whose state the company checked."""
    row = {"source": "redirects", "user_id": "1", "smartcar_user_id": id, "seen_at": NAIVE, "checked": 1}
    return lambda desk: desk.ledger.record(t.personal, [row])


CASES: dict[str, tuple[Act, dict[tuple[str, str], str]]] = {
    "nothing happened": (lambda _: None, {}),
    "a person chose none": (chosen(None), {USER: readiness.CHOSEN}),
    "a person chose another id": (chosen(PERSONS[1]), {USER: readiness.CHOSEN}),
    "a person chose the same id": (chosen(PERSONS[0]), {}),
    "another user holds the id": (
        run(f"UPDATE users SET smartcar_user_id = '{PERSONS[0]}' WHERE id = 2"),
        {USER: readiness.HELD},
    ),
    "another user holds it in capitals": (
        run(f"UPDATE users SET smartcar_user_id = ' {PERSONS[0].upper()} ' WHERE id = 2"),
        {USER: readiness.HELD},
    ),
    "the car is another user's": (
        run("UPDATE vehicles SET user_id = 2"),
        {USER: readiness.NOBODY, CAR: readiness.MOVED},
    ),
    "the user is gone": (run("DELETE FROM users WHERE id = 1"), {USER: GONE}),
    "the row changed": (run("UPDATE users SET smartcar_user_id = 'x' WHERE id = 1"), {USER: CHANGED}),
    "the connection is another's": (
        listed((VEHICLES[0], PERSONS[1])),
        {USER: readiness.CONTRADICTED, CAR: readiness.FOR_A_PERSON},
    ),
    "the connection is gone": (listed(), {USER: readiness.NOBODY, CAR: readiness.UNLINKED}),
    "somebody else is connected, too": (
        listed((VEHICLES[0], PERSONS[0]), (VEHICLES[0], PERSONS[1])),
        {USER: readiness.CONTRADICTED, CAR: readiness.FOR_A_PERSON},
    ),
    "the list is the same": (listed((VEHICLES[0], PERSONS[0])), {}),
    "a redirect names another id": (
        redirected(PERSONS[1]),
        {USER: readiness.CONTRADICTED, CAR: readiness.FOR_A_PERSON},
    ),
    "a redirect names the same id": (redirected(PERSONS[0]), {}),
    "another user would get the id": (
        lambda desk: desk.ledger.record(
            t.personal,
            [{"source": "tokens", "user_id": "2", "smartcar_user_id": PERSONS[0], "seen_at": NAIVE, "checked": 0}],
        ),
        {USER: readiness.HELD},
    ),
}


def outcome(desk: Desk, applied: runner.Applied) -> dict[tuple[str, str], str]:
    """(table, row) -> why it was not set."""
    rows: list[dict[str, Any]] = applied.table().to_dict("records")
    assert {"written", "skipped"} >= {row["outcome"] for row in rows}
    return {(row["table"], row["row_id"]): row["reason"] for row in rows if row["outcome"] == "skipped"}


def test_what_happened_since_the_plan_counts(desk: Desk) -> None:
    """A row is set only if its user is still ready for that very id; otherwise it is skipped, with the reason."""
    for name, (act, expected) in CASES.items():
        desk.fill(two_users(), NOBODY)
        plan = runner.plan(desk.company, desk.ledger, NOW)
        assert {USER, CAR} == {(change.table, change.row_id) for change in plan.changes()}
        act(desk)
        applied = runner.apply(desk.company, desk.ledger, plan, "run")
        assert expected == outcome(desk, applied), name
        assert 2 - len(expected) == applied.count("written")
        assert sum(reason in readiness.UNREADY for reason in expected.values()) == applied.not_ready


def test_what_happens_between_two_batches_counts(desk: Desk, pytestconfig: pytest.Config) -> None:
    """What is decided, or moved, while an act runs counts from the next batch on."""
    every = pytestconfig.getoption("--full") or desk.company.engine.dialect.name == "sqlite"
    for name, (act, expected) in CASES.items():
        if CAR not in expected and not every:
            continue  # the car is written all the same
        desk.fill(two_users(), NOBODY)
        plan = runner.plan(desk.company, desk.ledger, NOW)
        done = False

        def once(_done: int, _of: int, _written: int, act: Act = act) -> None:
            nonlocal done
            if not done:
                done = True
                act(desk)

        applied = runner.apply(desk.company, desk.ledger, plan, "run", batch_size=1, progress=once)
        rest = {place: why for place, why in expected.items() if place == CAR}
        assert rest == outcome(desk, applied), name


def test_an_undo_that_puts_ids_in_again_asks_too(desk: Desk) -> None:
    """Undoing an undo sets ids as an apply does: not one that a person decided against since."""
    desk.fill(two_users(), NOBODY)
    plan = runner.plan(desk.company, desk.ledger, NOW)
    runner.apply(desk.company, desk.ledger, plan, "run")
    runner.undo(desk.company, desk.ledger, "run", "back")
    chosen(None)(desk)
    again = runner.undo(desk.company, desk.ledger, "back", "forth")
    assert {USER: readiness.CHOSEN} == outcome(desk, again)
    assert 1 == again.count("written")
