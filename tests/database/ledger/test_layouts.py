"""Evidence, plans and runs belong to the tables they are about: another table of the database may have the same ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit.result import judge_users
from smartcar_ops.backfill import runner
from smartcar_ops.database import schema as phases
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.layouts import table_names
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import PlanError
from smartcar_ops.settings.layout import Layout
from tests.conftest import DATABASES
from tests.support.plain_workspaces import NAIVE, NOW, PERSONS

SCOPE = Scope("here", "live")
OTHERS: dict[str, dict[str, Any]] = {
    "another table": {"users": {"table": "partners"}},
    "another id": {"users": {"id": "number"}},
    "another table of cars": {"vehicles": {"table": "vans"}},
}


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, make_database: Callable[[str], str]) -> str:
    """A database of every kind in turn, with two tables of people and two of cars that have the same ids."""
    url = make_database(request.param)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for users in ("users", "partners"):
            people = f"CREATE TABLE {users} (id INTEGER PRIMARY KEY, number INTEGER, smartcar_user_id VARCHAR(36))"
            connection.execute(sa.text(people))
            connection.execute(sa.text(f"INSERT INTO {users} (id, number) VALUES (1, 1), (2, 2)"))
        for cars in ("vehicles", "vans"):
            row = f"CREATE TABLE {cars} (id INTEGER PRIMARY KEY, user_id INTEGER, smartcar_vehicle_id VARCHAR(36))"
            connection.execute(sa.text(row))
            connection.execute(sa.text(f"INSERT INTO {cars} (id, user_id) VALUES (1, 1)"))
    engine.dispose()
    return url


def opened(url: str, reports: Path, toml: dict[str, Any] | None = None) -> tuple[Company, Ledger]:
    """The company by this layout, expanded, and its ledger."""
    company = Company.connect(url, Layout.model_validate(toml or {}))
    phases.expand(company, Ledger.open(company, SCOPE, reports))
    return company, Ledger.open(company, SCOPE, reports)


def told(ledger: Ledger) -> None:
    """A living token of user 1 says whose it is."""
    row = {"source": "tokens", "user_id": "1", "smartcar_user_id": PERSONS[0], "seen_at": NAIVE, "checked": 0}
    ledger.record(t.personal, [row])


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_known_of_one_table_is_not_known_of_another(url: str, tmp_path: Path, other: str) -> None:
    """Evidence about one layout names nobody in another, which refuses its plans and does not undo its runs."""
    company, ledger = opened(url, tmp_path)
    told(ledger)
    there, other_ledger = opened(url, tmp_path, OTHERS[other])
    assert 1 == judge_users(company, ledger, NOW).counts["ready"]
    assert 0 == judge_users(there, other_ledger, NOW).counts["ready"]
    plan = runner.plan(company, ledger, NOW)
    with pytest.raises(PlanError, match="made for another table or id column"):
        runner.apply(there, other_ledger, plan, "there")
    assert 1 == runner.apply(company, ledger, plan, "run").count("written")
    for act in (lambda: runner.undo_preview(other_ledger, "run", 1), lambda: undo(there, other_ledger)):
        with pytest.raises(PlanError, match=r"changed other tables .*users \(id\) and vehicles \(id\)"):
            act()
    assert 1 == undo(company, ledger).count("written")


def undo(company: Company, ledger: Ledger) -> runner.Applied:
    """Undoes the run."""
    return runner.undo(company, ledger, "run", "back")


def test_a_schema_is_part_of_the_table(make_database: Callable[[str], str], tmp_path: Path) -> None:
    """On PostgreSQL a table of the same name in another schema is another table; the default schema has no name."""
    url = make_database("postgresql")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA other"))
        for schema in ("public", "other"):
            connection.execute(sa.text(f"CREATE TABLE {schema}.users (id INTEGER PRIMARY KEY)"))
            connection.execute(sa.text(f"CREATE TABLE {schema}.vehicles (id INTEGER PRIMARY KEY, user_id INTEGER)"))
    engine.dispose()
    here, named, there = (
        Company.connect(url, Layout.model_validate({"users": schema, "vehicles": schema}))
        for schema in ({}, {"schema": "public"}, {"schema": "other"})
    )
    assert table_names(here) == table_names(named)
    assert table_names(here).key != table_names(there).key
    assert "other.users (id) and other.vehicles (id)" == str(table_names(there))


def test_another_select_is_another_structure(url: str) -> None:
    """With [vehicles] from, the SELECT stands for the table, however it is broken into lines."""
    selects = ("SELECT id, user_id FROM vans", "SELECT id,\n  user_id FROM vans", "SELECT id, user_id FROM vehicles")
    layouts = [Layout.model_validate({"vehicles": {"from": select}}) for select in selects]
    keys = [table_names(Company.connect(url, layout)).key for layout in layouts]
    assert keys[0] != keys[2]
    assert len("".join(selects[0].split())) == len("".join(selects[1].split()))
