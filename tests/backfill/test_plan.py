"""What a plan may write, and when it is open: by its key, its columns, its values, and what the tables say now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan, PlanWriter
from smartcar_ops.errors import DatabaseError, PlanError
from tests.conftest import DATABASES
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NOBODY, NOW, PERSONS, VEHICLES, Desk


@pytest.fixture(params=DATABASES)
def desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """An expanded database of every kind in turn, with one user who is ready by a car."""
    return ready(Desk(make_database(request.param), tmp_path))


@pytest.fixture
def quick(tmp_path: Path) -> Desk:
    """The same on SQLite."""
    return ready(Desk(f"sqlite:///{tmp_path}/company.sqlite", tmp_path))


def ready(desk: Desk) -> Desk:
    """One user with one car."""
    car = PlainCar("11", "1", None, False, True)
    desk.fill(PlainCompany({"1": None}, [car], {(VEHICLES[0], PERSONS[0])}, ties={("11", VEHICLES[0])}), NOBODY)
    return desk


def run(desk: Desk, *statements: str) -> None:
    """What the company itself does."""
    with desk.company.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def held(desk: Desk) -> list[str | None]:
    """The ids that are stored."""
    with desk.company.engine.connect() as connection:
        users = connection.execute(sa.text("SELECT smartcar_user_id FROM users")).scalars().all()
        return [*users, *connection.execute(sa.text("SELECT smartcar_vehicle_id FROM vehicles")).scalars()]


def made(desk: Desk, key: bytes | None = None, **changed: Any) -> Plan:
    """A plan of one row, by whoever has the key."""
    row = {"table": "users", "row_id": "1", "user_id": "1", "column": "smartcar_user_id", "current": None}
    row |= {"proposed": PERSONS[0], "decision": "set", "evidence": "", "reason": "", "cars": None} | changed
    writer = PlanWriter(key or desk.ledger.plan_key())
    writer.add(pd.DataFrame([row]))
    return writer.finish(runner.binding(desk.company, desk.ledger), judged=0)


def apply(desk: Desk, plan: Plan, name: str = "run") -> runner.Applied:
    """Applies a plan."""
    return runner.apply(desk.company, desk.ledger, plan, name)


def test_what_was_restored_is_open_again(desk: Desk) -> None:
    """After the company restored its rows, or cleared them, both the old plan and a new one set them again."""
    plan = runner.plan(desk.company, desk.ledger, NOW)
    assert 2 == apply(desk, plan, "first").count("written")
    assert 3 == apply(desk, plan, "nothing").exit_code
    run(desk, "UPDATE users SET smartcar_user_id = NULL")
    again = runner.plan(desk.company, desk.ledger, NOW)
    assert (plan.seal.number, plan.hash) != (again.seal.number, again.hash)
    assert (0, 1) == (apply(desk, again, "second").exit_code, len(again.changes()))
    run(desk, "UPDATE users SET smartcar_user_id = NULL", "UPDATE vehicles SET smartcar_vehicle_id = NULL")
    assert 2 == apply(desk, plan, "third").count("written")
    assert [PERSONS[0], VEHICLES[0]] == held(desk)


def test_two_plans_of_one_state_are_told_apart(quick: Desk) -> None:
    """Each plan has a number of its own, and so a hash of its own."""
    one, other = (runner.plan(quick.company, quick.ledger, NOW) for _ in range(2))
    assert one.changes() == other.changes()
    assert one.hash != other.hash


def test_a_plan_made_without_the_key_is_refused(quick: Desk, tmp_path: Path) -> None:
    """Whoever can write the file, but not read the ledger, can't make a plan: exit 5, nothing written."""
    forged = made(quick, key=b"guessed")
    forged.save(tmp_path / "plan.parquet")
    with pytest.raises(PlanError, match="another ledger's key") as raised:
        Plan.load(tmp_path / "plan.parquet", quick.ledger.plan_key())
    assert 5 == raised.value.exit_code
    with pytest.raises(PlanError, match="another ledger's key"):
        apply(quick, replace(forged, key=quick.ledger.plan_key()))
    assert [None, None] == held(quick)


@pytest.mark.parametrize(
    "changed",
    [
        {"column": "email"},
        {"column": "id"},
        {"table": "vehicles", "column": "vehicle_access_token"},
        {"table": "vehicles", "column": "smartcar_user_id"},
        {"table": "smartcar_ops_choices"},
    ],
)
def test_only_the_columns_of_ids_are_written(desk: Desk, changed: dict[str, str]) -> None:
    """A plan with the right key for any other column or table is exit 5, and nothing is written."""
    with pytest.raises(PlanError, match="is not a column of Smartcar ids here") as raised:
        apply(desk, made(desk, **changed))
    assert 5 == raised.value.exit_code
    assert [None, None] == held(desk)


@pytest.mark.parametrize("proposed", ["undefined", PERSONS[0][:35], "00000000-0000-0000-0000-000000000000", ""])
def test_only_ids_are_written(desk: Desk, proposed: str) -> None:
    """What is no id of Smartcar's is never written, whoever planned it: exit 5."""
    with pytest.raises(PlanError, match="is not a Smartcar id") as raised:
        apply(desk, made(desk, proposed=proposed))
    assert 5 == raised.value.exit_code
    assert [None, None] == held(desk)


REFUSALS = {
    "postgresql": (
        "CREATE FUNCTION no() RETURNS trigger AS 'BEGIN RETURN NULL; END' LANGUAGE plpgsql",
        "CREATE TRIGGER no BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION no()",
    ),
    "sqlite": ("CREATE TRIGGER no BEFORE UPDATE ON users BEGIN SELECT RAISE(IGNORE); END",),
    "mariadb": (
        "CREATE TRIGGER no BEFORE UPDATE ON users FOR EACH ROW SET NEW.smartcar_user_id = OLD.smartcar_user_id",
    ),
}
ALTERED = {
    "postgresql": (
        "CREATE FUNCTION other() RETURNS trigger AS "
        "'BEGIN NEW.smartcar_user_id = upper(NEW.smartcar_user_id); RETURN NEW; END' LANGUAGE plpgsql",
        "CREATE TRIGGER other BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION other()",
    ),
    "sqlite": (
        "CREATE TRIGGER other AFTER UPDATE ON users WHEN NEW.smartcar_user_id <> upper(NEW.smartcar_user_id) "
        "BEGIN UPDATE users SET smartcar_user_id = upper(smartcar_user_id) WHERE id = NEW.id; END",
    ),
    "mariadb": (
        "CREATE TRIGGER other BEFORE UPDATE ON users FOR EACH ROW "
        "SET NEW.smartcar_user_id = upper(NEW.smartcar_user_id)",
    ),
}


@pytest.mark.parametrize("triggers", [REFUSALS, ALTERED])
def test_what_the_database_does_not_set_has_failed(desk: Desk, triggers: dict[str, tuple[str, ...]]) -> None:
    """A trigger that takes a row out of the update, or sets something else, makes it fail: exit 1, with a reason."""
    run(desk, *triggers[desk.company.engine.dialect.name])
    plan = runner.plan(desk.company, desk.ledger, NOW)
    for name in ("first", "second"):
        applied = apply(desk, plan, name)
        (failed,) = applied.table("failed").to_dict("records")
        assert ("users", "NotWritten") == (failed["table"], failed["reason"])
        assert 1 == applied.exit_code
    assert [None, VEHICLES[0]] == held(desk)


def test_rows_that_a_policy_keeps_back_have_failed(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """Where row-level security lets an account read a row and not write it, the row has failed: exit 1."""
    url = make_database("postgresql")
    owner = ready(Desk(url, tmp_path))
    role = f"writer_{sa.make_url(url).database}"
    run(
        owner,
        f"CREATE ROLE {role} LOGIN PASSWORD 'write'",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY seen ON users FOR SELECT USING (true)",
        "CREATE POLICY written ON users FOR UPDATE USING (id > 1)",
    )
    own = sa.make_url(url).set(username=role, password="write").render_as_string(hide_password=False)
    other = Desk.__new__(Desk)
    other.company = type(owner.company).connect(own, owner.company.layout)
    other.ledger = type(owner.ledger).open(other.company, owner.ledger.scope, tmp_path)
    plan = runner.plan(other.company, other.ledger, NOW)
    applied = apply(other, plan)
    assert (1, ["users"]) == (applied.exit_code, applied.table("failed")["table"].tolist())
    assert [None, VEHICLES[0]] == held(owner)


def test_a_column_that_the_database_works_out_is_refused_first(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    """A generated column can't be written: that is told before the first batch, exit 2."""
    url = make_database("postgresql")
    desk = ready(Desk(url, tmp_path))
    plan = runner.plan(desk.company, desk.ledger, NOW)
    run(
        desk,
        "ALTER TABLE users DROP COLUMN smartcar_user_id",
        "ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(64) GENERATED ALWAYS AS (CAST(NULL AS VARCHAR)) STORED",
    )
    with pytest.raises(DatabaseError, match=r"trying to write users\.smartcar_user_id"):
        apply(desk, plan)
