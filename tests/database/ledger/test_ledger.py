"""Where the ledger is, and what it keeps: before expand, after it, and where rights are read-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartcar_ops.database import schema
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import EVIDENCE, Ledger, Scope, file_path
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from tests.conftest import DATABASES
from tests.support.house import House

EARLIER, LATER = datetime(2026, 11, 20, 9), datetime(2026, 11, 21, 9)


@pytest.fixture(params=DATABASES)
def any_house(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 40 users on every database in turn, not expanded."""
    return make_house(request.param, users=40)


def evidence(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every evidence table of the ledger's scope."""
    return {table.name: sorted((tuple(row.values()) for row in ledger.rows(table)), key=repr) for table in EVIDENCE}


def read_only(house: House) -> str:
    """The same database's URL for somebody who may only read it."""
    url = sa.make_url(house.url)
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///file:{url.database}?mode=ro&uri=true"
    if url.get_backend_name() == "postgresql":
        role = f"reader_{url.database}"
        house.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'read'")
        house.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        return url.set(username=role, password="read").render_as_string(hide_password=False)
    session = url.update_query_dict({"init_command": "SET SESSION TRANSACTION READ ONLY"})
    return session.render_as_string(hide_password=False)


def test_before_expand_the_ledger_is_a_file_and_the_database_untouched(any_house: House) -> None:
    """Asking and auditing before expand write a file beside the reports and nothing in the database."""
    before = {name: any_house.rows(name) for name in any_house.tables()}
    any_house.ask()
    any_house.audit()
    assert not any_house.ledger.in_database
    assert file_path(any_house.company, any_house.settings.reports).is_file()
    assert {"users", "vehicles"} == any_house.tables()
    assert before == {name: any_house.rows(name) for name in any_house.tables()}


def test_expand_copies_the_file_into_the_database(any_house: House) -> None:
    """What was learnt before expand is in the database after it, row for row, runs included."""
    any_house.ask()
    Runs(any_house.ledger).start("run0", "20_audit_user_ids", "audit")
    chosen = {"chosen_by": "Ada", "reason": "asked", "chosen_at": EARLIER}
    any_house.ledger.record(t.choices, [{"user_id": "1", "smartcar_user_id": None, **chosen}])
    told = {"source": "webhooks", "vehicle_id": "v", "smartcar_user_id": "u", "seen_at": EARLIER}
    any_house.ledger.record(t.sightings, [told])
    known = evidence(any_house.ledger)
    assert all(known[table.name] for table in EVIDENCE)
    any_house.expand()
    assert any_house.ledger.in_database
    assert known == evidence(any_house.ledger)
    assert ["run0"] == [run.run_id for run in Runs(any_house.ledger).all()]
    sent = len(any_house.sandbox.arrivals)
    any_house.ask(("connections",))
    assert sent == len(any_house.sandbox.arrivals)


def test_who_may_only_read_gets_a_file_with_a_copy(any_house: House) -> None:
    """With SELECT alone the audit says what the owner's says, from a file that holds the database's evidence."""
    any_house.ask()
    any_house.expand().play_callbacks()
    known, audit, tables = evidence(any_house.ledger), any_house.audit(), any_house.tables()
    contents = {name: any_house.rows(name) for name in tables}
    owner = any_house.company
    any_house.company = Company.connect(read_only(any_house), any_house.settings.layout)
    any_house.ledger = any_house.open_ledger()
    assert not any_house.ledger.in_database
    assert known == evidence(any_house.ledger)
    assert audit.users.to_dict("records") == any_house.audit().users.to_dict("records")
    with pytest.raises(DatabaseError, match="may not write the smartcar_ops_… tables"):
        schema.scope_ledger(any_house.company, any_house.ledger.scope)
    any_house.company.engine.dispose()
    any_house.company = owner
    assert contents == {name: any_house.rows(name) for name in any_house.tables()}


def test_who_may_only_read_does_not_ask_twice(any_house: House) -> None:
    """What a reader's file learnt after the copy is still known when the file is opened again."""
    any_house.expand()
    any_house.company = Company.connect(read_only(any_house), any_house.settings.layout)
    any_house.ledger = any_house.open_ledger()
    any_house.ask()
    known, sent = evidence(any_house.ledger), len(any_house.sandbox.arrivals)
    any_house.ledger = any_house.open_ledger()
    assert known == evidence(any_house.ledger)
    any_house.ask(("connections", "external_id", "vins"))
    assert sent == len(any_house.sandbox.arrivals)


def test_a_readers_newer_answers_outlive_the_database_s_older_ones(house: House) -> None:
    """Where database and file know the same thing, opening the file keeps the later of the two."""
    row = {"vehicle_id": "v", "smartcar_user_id": "p", "make": "A", "model": "B", "powertrain": "BEV"}
    house.ledger.record_connections([row], complete=True, now=EARLIER)
    house.company = Company.connect(read_only(house), house.settings.layout)
    file = house.open_ledger()
    file.record_connections([], complete=True, now=LATER)
    assert (LATER, "complete") == file.asked("connections")["*"]
    again = house.open_ledger()
    assert (LATER, "complete") == again.asked("connections")["*"]
    assert [] == again.connections()


def test_a_connection_that_left_the_listing_is_gone_and_comes_back(house: House) -> None:
    """A whole listing without a row marks it gone, with its first day kept; a later one brings it back."""
    row = {"vehicle_id": "v", "smartcar_user_id": "p", "make": "A", "model": "B", "powertrain": "BEV"}
    house.ledger.record_connections([row], complete=True, now=EARLIER)
    house.ledger.record_connections([], complete=True, now=LATER)
    assert [] == house.ledger.connections()
    assert [(EARLIER, LATER)] == [(r["first_seen"], r["gone_at"]) for r in house.ledger.connections(gone=True)]
    house.ledger.record_connections([row], complete=True, now=LATER)
    assert [(EARLIER, None)] == [(r["first_seen"], r["gone_at"]) for r in house.ledger.connections()]


def test_a_partial_listing_takes_nothing_away(house: House) -> None:
    """A listing that was not whole adds what it saw and marks nothing gone."""
    row = {"vehicle_id": "v", "smartcar_user_id": "p", "make": "A", "model": "B", "powertrain": "BEV"}
    house.ledger.record_connections([row], complete=True, now=EARLIER)
    house.ledger.record_connections([{**row, "vehicle_id": "w"}], complete=False, now=LATER)
    assert {"v", "w"} == {r["vehicle_id"] for r in house.ledger.connections()}
    assert (LATER, "incomplete") == house.ledger.asked("connections")["*"]


def test_evidence_of_another_mode_or_service_is_not_seen(house: House) -> None:
    """A ledger shows the rows of its own service and mode alone, and recording in one leaves the others."""
    house.ask()
    known = evidence(house.ledger)
    others = [Scope(house.ledger.scope.service, "simulated"), Scope("another", house.ledger.scope.mode)]
    for scope in others:
        other = Ledger(house.company.engine, scope, in_database=True)
        assert [] == other.connections() + other.rows(t.ties) + other.rows(t.personal) + other.rows(t.asked)
        other.record_connections([], complete=True, now=LATER)
    assert known == evidence(house.ledger)


def test_the_file_holds_no_token_and_no_vin(make_house: Callable[..., House]) -> None:
    """No token and no VIN of the company is anywhere in the ledger's file."""
    house = make_house(users=40)
    house.ask()
    path = Path(file_path(house.company, house.settings.reports))
    with sqlite3.connect(path) as opened:
        text = "\n".join(opened.iterdump())
    assert "smartcar_ops_ties" in text
    for car in house.company.cars_to_ask(house.now):
        assert car.token not in text
        assert car.vin is None or car.vin not in text
