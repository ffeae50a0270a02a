"""Expand adds what V3 needs, takes nothing away, and can be run again at any point."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from smartcar_ops.database import schema
from smartcar_ops.database.ledger import ledger as ledgers
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from tests.conftest import DATABASES
from tests.support.house import House

TABLES = {
    f"smartcar_ops_{name}"
    for name in (
        "meta",
        "connections",
        "sightings",
        "personal",
        "choices",
        "ties",
        "asked",
        "tokens",
        "recordings",
        "runs",
        "changes",
        "stage",
        "locks",
        "fences",
        "layouts",
        "suspects",
        "unanswered",
        "vehicle_units",
        "history",
        "user_states",
        "version",
    )
}


@pytest.fixture(params=DATABASES)
def before(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 40 users on every database in turn, not expanded."""
    return make_house(request.param, users=40)


def without(rows: list[dict[str, object]], column: str) -> list[dict[str, object]]:
    """The rows without a column."""
    return [{name: value for name, value in row.items() if name != column} for row in rows]


def test_expand_adds_two_columns_and_the_kits_tables(before: House) -> None:
    """Both id columns are there, nullable and empty, beside the kit's tables; every other value is as it was."""
    users, vehicles = before.rows("users"), before.rows("vehicles")
    assert "before" == before.company.phase
    steps = schema.expand(before.company, before.ledger)
    assert [False, False, False] == [step.done for step in steps]
    assert "expanded" == before.company.phase
    assert before.tables() >= TABLES
    assert before.tables() - TABLES == {"users", "vehicles"}
    assert {None} == {row["smartcar_user_id"] for row in before.rows("users")}
    assert {None} == {row["smartcar_vehicle_id"] for row in before.rows("vehicles")}
    assert users == without(before.rows("users"), "smartcar_user_id")
    assert vehicles == without(before.rows("vehicles"), "smartcar_vehicle_id")


def test_the_columns_hold_a_uuid_and_no_more(before: House) -> None:
    """The new columns are VARCHAR(36), as the steps say before they are done."""
    said = [step.does for step in schema.expand_steps(before.company)]
    before.expand()
    types = {
        column["name"]: column["type"]
        for table in ("users", "vehicles")
        for column in sa.inspect(before.company.engine).get_columns(table)
    }
    for table, name in (("users", "smartcar_user_id"), ("vehicles", "smartcar_vehicle_id")):
        assert 36 == types[name].length
        assert f"add {table}.{name} VARCHAR(36) NULL" in said


def test_expand_again_changes_nothing(before: House) -> None:
    """A second expand finds every step done and leaves rows, evidence and the database's own id alone."""
    before.ask()
    before.expand().play_callbacks()
    identity = before.ledger.fact("database_id")
    contents = {name: before.rows(name) for name in before.tables()}
    steps = schema.expand(before.company, before.ledger)
    assert [True, True, True] == [step.done for step in steps]
    assert contents == {name: before.rows(name) for name in before.tables()}
    assert identity is not None and identity == before.open_ledger().fact("database_id")


def test_expand_goes_on_after_an_interruption(before: House) -> None:
    """With some steps done by an expand that was killed, the next does the rest and keeps what is stored."""
    before.execute("ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(36)")
    stored = before.play_callbacks().rows("users")
    before.ask(["connections"])
    known = sorted(map(str, before.ledger.connections()))
    with before.company.engine.begin() as connection:
        ledgers.t.meta.create(connection)
    before.company = Company.connect(before.url, before.settings.layout)
    assert "partial" == before.company.phase
    assert [True, False, False] == [step.done for step in schema.expand_steps(before.company)]
    before.expand()
    assert "expanded" == before.company.phase
    assert stored == before.rows("users")
    assert before.tables() >= TABLES
    assert known == sorted(map(str, before.ledger.connections())) != []
    before.ask()
    assert before.truth["buckets"]["before"] == before.audit().counts


def test_asking_for_the_steps_changes_nothing(before: House) -> None:
    """The steps are read from the schema; a dry run leaves no table and no column."""
    contents = {name: before.rows(name) for name in before.tables()}
    assert 3 == len(schema.expand_steps(before.company))
    assert contents == {name: before.rows(name) for name in before.tables()}


def test_a_missing_right_is_one_sentence(make_house: Callable[..., House]) -> None:
    """Where the account may not alter tables, expand says which column it could not add."""
    house = make_house("postgresql", users=40)
    house.execute("CREATE ROLE looker LOGIN PASSWORD 'look'")
    house.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
    url = sa.make_url(house.url).set(username="looker", password="look").render_as_string(hide_password=False)
    company = Company.connect(url, house.settings.layout)
    with pytest.raises(DatabaseError, match=r"adding users\.smartcar_user_id failed on .*: must be owner of"):
        schema.expand(company, house.ledger)
    assert "before" == house.company.phase
    company.engine.dispose()


def test_the_writing_ledger_is_asked_for_after_expand_only(before: House) -> None:
    """Applying needs the ledger in the database; before expand the sentence says how to get there."""
    with pytest.raises(DatabaseError, match="run 40_schema_phases -p phase expand -p apply True"):
        schema.scope_ledger(before.company, before.ledger.scope)
    before.expand()
    assert schema.scope_ledger(before.company, before.ledger.scope).in_database
