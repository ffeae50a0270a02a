"""A list that lost too much of what was known, or had to drop rows, is not believed at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.audit.listings import ConnectionListings
from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.sources import SourceReport
from smartcar_ops.backfill import runner
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.smartcar.connections import Connection
from smartcar_ops.smartcar.connections import ConnectionList as Listed
from smartcar_ops.smartcar.management import ManagedConnection, ManagedConnectionList
from tests.conftest import DATABASES
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NOBODY, NOW, PERSONS, VEHICLES, Desk

CARS = [str(uuid.UUID(int=0xD << 124 | number)) for number in range(1, 61)]
OWNERS = [str(uuid.UUID(int=0xE << 124 | number)) for number in range(1, 61)]
HOUR = timedelta(hours=1)


@pytest.fixture(params=DATABASES)
def desk(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Desk:
    """An expanded database of every kind in turn."""
    return Desk(make_database(request.param), tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> Desk:
    """An expanded SQLite database."""
    return Desk(f"sqlite:///{tmp_path}/company.sqlite", tmp_path)


class Smartcar:
    """Lists the connections that it is given, and counts how often it was asked."""

    def __init__(self) -> None:
        self.rows: list[Connection] = []
        self.dropped = self.calls = 0

    def connections(self, mode: str, *_: Any) -> Any:
        """The list, of V3 or, without a progress, of V2 management."""
        self.calls += 1
        if _:
            return Listed(tuple(self.rows), complete=True, dropped=self.dropped)
        managed = tuple(ManagedConnection(row.user_id, row.vehicle_id, mode, None) for row in self.rows)
        return ManagedConnectionList(managed, self.dropped)


def connection(vehicle: str, user: str, external_id: str | None = None) -> Connection:
    """A row of the list."""
    return Connection("c", user, vehicle, "live", "A", "B", 2022, "BEV", (), external_id, None)


def ask(desk: Desk, smartcar: Smartcar, at: datetime = NOW, **options: Any) -> SourceReport:
    """Asks for the list of connections."""
    asked = SourceReport()
    listing = ConnectionListings(desk.ledger, smartcar, now=at)  # type: ignore[arg-type]
    questions = Questions[Any, Any]("connections", desk.ledger, asked, at)
    listing.ask_connections(asked, questions, lambda *_: None, **options)
    return asked


def known(desk: Desk) -> set[str]:
    """The vehicles of the connections that are known and not gone."""
    return {row["vehicle_id"] for row in desk.ledger.connections()}


def full(count: int = 60) -> list[Connection]:
    """As many connections, each of a car and an owner of its own."""
    return [connection(car, owner) for car, owner in zip(CARS[:count], OWNERS, strict=False)]


def believed(desk: Desk, rows: Sequence[Connection]) -> Smartcar:
    """A Smartcar whose list was believed two hours ago."""
    smartcar = Smartcar()
    smartcar.rows = list(rows)
    assert ask(desk, smartcar, NOW - 2 * HOUR).complete
    return smartcar


@pytest.mark.parametrize(
    ("left", "dropped", "is_believed"),
    [(60, 0, True), (51, 0, True), (48, 0, True), (47, 0, False), (0, 0, False), (60, 1, False), (0, 60, False)],
)
def test_how_much_a_list_may_lose(quick: Desk, left: int, dropped: int, is_believed: bool) -> None:
    """More than a fifth of what was known, at least ten rows, or a row that had to be dropped, is too much."""
    smartcar = believed(quick, full())
    smartcar.rows, smartcar.dropped = full(left), dropped
    asked = ask(quick, smartcar)
    assert is_believed == asked.complete
    assert left if is_believed else 60 == len(known(quick))
    if not is_believed:
        assert 1 == asked.unanswered
        assert f"{left:,} rows; {60 - left:,} of 60 known ones" in str(asked)


def test_of_few_connections_an_empty_list_is_in_doubt(quick: Desk) -> None:
    """A company with three connections may lose one, and not all at once."""
    smartcar = believed(quick, full(3))
    smartcar.rows = full(2)
    assert ask(quick, smartcar).complete
    smartcar.rows = []
    assert not ask(quick, smartcar, NOW + 2 * HOUR).complete
    assert set(CARS[:2]) == known(quick)


def test_a_first_list_may_be_empty(quick: Desk) -> None:
    """Where nothing was known, nothing is lost."""
    assert ask(quick, Smartcar()).complete


def test_a_list_in_doubt_is_not_asked_for_again_within_the_hour(quick: Desk) -> None:
    """It costs nothing to look at it again, and to accept it."""
    smartcar = believed(quick, full())
    smartcar.rows = []
    ask(quick, smartcar)
    calls = smartcar.calls
    assert not ask(quick, smartcar, NOW + 0.5 * HOUR).complete
    accepted = ask(quick, smartcar, NOW + 0.6 * HOUR, accept=True)
    assert (True, calls, set()) == (accepted.complete, smartcar.calls, known(quick))


def test_a_second_list_an_hour_later_confirms_the_first(quick: Desk) -> None:
    """What two lists say is believed; one that says less again is in doubt again, and starts the hour anew."""
    smartcar = believed(quick, full())
    smartcar.rows = full(30)
    assert not ask(quick, smartcar).complete
    smartcar.rows = full(15)
    assert not ask(quick, smartcar, NOW + HOUR).complete
    assert not ask(quick, smartcar, NOW + 1.5 * HOUR).complete
    assert ask(quick, smartcar, NOW + 2 * HOUR).complete
    assert set(CARS[:15]) == known(quick)


def test_a_whole_list_ends_the_doubt(quick: Desk) -> None:
    """Where the next list is as whole as before, the one in doubt is forgotten."""
    smartcar = believed(quick, full())
    smartcar.rows = []
    assert not ask(quick, smartcar).complete
    smartcar.rows = full()
    assert ask(quick, smartcar, NOW + HOUR).complete
    assert [] == quick.ledger.rows(t.suspects)
    assert 60 == len(known(quick))


def test_a_management_list_in_doubt_is_kept_aside_too(quick: Desk) -> None:
    """What V2 management lists is held to the same rule."""
    smartcar = believed(quick, full())
    listing = ConnectionListings(quick.ledger, smartcar, managed=smartcar, now=NOW)  # type: ignore[arg-type]
    asked = SourceReport()
    questions = Questions[Any, Any]("management", quick.ledger, asked, NOW)
    listing.ask_managed(asked, questions, lambda *_: None)
    smartcar.rows = []
    later = ConnectionListings(quick.ledger, smartcar, managed=smartcar, now=NOW + 2 * HOUR)  # type: ignore[arg-type]
    later.ask_managed(asked, questions, lambda *_: None)
    assert (False, {"management"}) == (asked.complete, set(asked.suspect))
    assert 60 == sum(row["gone_at"] is None for row in quick.ledger.rows(t.sightings))


TWO_CONNECTED = [connection(VEHICLES[0], PERSONS[0]), connection(VEHICLES[0], PERSONS[1])]
TWO_EXTERNAL_IDS = [connection(VEHICLES[0], PERSONS[0], "1"), connection(VEHICLES[1], PERSONS[1], "1")]


def contradicted(desk: Desk, rows: Sequence[Connection]) -> Smartcar:
    """User 1, whose id is for a person to decide, for a list says two; all other connections are nobody's."""
    car = PlainCar("11", "1", None, False, True)
    desk.fill(PlainCompany({"1": None}, [car], ties={("11", VEHICLES[0])}, listed=False), NOBODY)
    smartcar = believed(desk, [*rows, *full()])
    assert {"1": "conflict"} == desk.judged()
    return smartcar


@pytest.mark.parametrize("rows", [TWO_CONNECTED, TWO_EXTERNAL_IDS])
@pytest.mark.parametrize("left", [0, 1])
def test_what_contradicted_stays_for_a_person(desk: Desk, rows: Sequence[Connection], left: int) -> None:
    """Where one of two that contradict each other is no longer listed, the other one is not set."""
    smartcar = contradicted(desk, rows)
    smartcar.rows = [rows[left], *full()]
    assert ask(desk, smartcar).complete
    assert {"1": "conflict"} == desk.judged()
    assert 0 == runner.plan(desk.company, desk.ledger, NOW).counts("users")["set"]
    smartcar.rows = [*rows, *full()]
    assert ask(desk, smartcar, NOW + 2 * HOUR).complete
    assert {"1": "conflict"} == desk.judged()


def test_an_empty_list_changes_nobody(desk: Desk) -> None:
    """An empty list neither makes a conflict clean nor sends anybody through Connect; accepted, it sets nobody."""
    smartcar = contradicted(desk, TWO_CONNECTED)
    smartcar.rows = []
    ask(desk, smartcar)
    assert {"1": "conflict"} == desk.judged()
    ask(desk, smartcar, NOW + 0.1 * HOUR, accept=True)
    assert 0 == runner.plan(desk.company, desk.ledger, NOW).counts("users")["set"]
