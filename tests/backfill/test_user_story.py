"""One user's story agrees with the audit and the plan, and shows each fact with its source and date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given

from smartcar_ops import cli
from smartcar_ops.audit import snapshot
from smartcar_ops.backfill import decisions, runner
from smartcar_ops.backfill.user_story import CELLS, UserStory, read_story
from smartcar_ops.errors import ParameterError
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support import plain_rules
from tests.support.house import House
from tests.support.plain_rules import PlainCar, PlainCompany
from tests.support.plain_workspaces import NOBODY, NOW, PERSONS, VEHICLES, Desk, companies, others, quickly

SHARED_BY_EVIDENCE = PlainCompany(
    {"1": None, "2": None, "3": PERSONS[1]},
    [PlainCar("11", "1"), PlainCar("12", "2")],
    {(VEHICLES[0], PERSONS[0]), (VEHICLES[1], PERSONS[0])},
    ties={("11", VEHICLES[0]), ("12", VEHICLES[1])},
)
"""Two users would get one id, each by a car of their own; neither has it stored."""

LINKED_BY_OTHERS = PlainCompany(
    {"1": None, "2": None},
    [PlainCar("11", "1", None, False, True), PlainCar("12", "2", None, False, False)],
    {(VEHICLES[1], PERSONS[0])},
    ties={("12", VEHICLES[1])},
    tokens_asked={"11", "12"},
)
"""The only connection whose VIN nobody asked for is linked to somebody else's car."""


def agree(desk: Desk, plain: PlainCompany, others: list[PlainCompany]) -> None:
    """Each user's story has the bucket of the rules, and the decisions of the plan."""
    desk.fill(plain, others)
    if not desk.expanded:
        plain.people = dict.fromkeys(plain.people)
        plain.cars = [PlainCar(car.id, car.user, None, car.token_alive, car.has_vin) for car in plain.cars]
    expected, plan = plain_rules.buckets(plain), runner.plan(desk.company, desk.ledger, NOW).rows
    users = plan[plan["table"] == "users"].set_index("row_id")
    cars = plan[plan["table"] == "vehicles"].set_index("row_id")
    for user, bucket in expected.items():
        story = read_story(desk.company, desk.ledger, user, NOW)
        assert bucket == story.bucket, (user, story.sentences)
        row = users.loc[user]
        assert row["reason"] in story.would
        assert (row["decision"] == "set") == story.would.startswith(f"The next backfill sets {row['proposed']}:")
        assert (row["decision"] == "conflict") == bool(story.decide)
        mine = {car.id for car in plain.cars if car.user == user}
        assert mine == {*story.vehicles["local_vehicle_id"]}
        for car in story.vehicles.itertuples(index=False):
            assert cars.loc[car.local_vehicle_id, "reason"] == car.reason
            assert car.decision == _told(cars.loc[car.local_vehicle_id])


def _told(row: Any) -> str:
    return f"set {row['proposed']}" if row["decision"] == "set" else str(row["decision"])


@quickly(8, 100)
@given(plain=companies, others=others)
@example(plain=SHARED_BY_EVIDENCE, others=NOBODY)
@example(plain=LINKED_BY_OTHERS, others=NOBODY)
def test_a_story_agrees_with_audit_and_plan(sqlite_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """Whatever the company and the evidence, the story of each user says what audit and plan say."""
    agree(sqlite_desk, plain, others)


@quickly(4, 60)
@given(plain=companies, others=others)
@example(plain=LINKED_BY_OTHERS, others=NOBODY)
def test_a_story_agrees_with_the_ledger_in_a_file(file_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """Before expand, too."""
    agree(file_desk, plain, others)


@pytest.mark.parametrize("server_desk", ["postgresql", "mariadb"], indirect=True)
@quickly(2, 40)
@given(plain=companies, others=others)
@example(plain=SHARED_BY_EVIDENCE, others=NOBODY)
@example(plain=LINKED_BY_OTHERS, others=NOBODY)
def test_a_story_agrees_on_servers(server_desk: Desk, plain: PlainCompany, others: Any) -> None:
    """On PostgreSQL and MariaDB, too."""
    agree(server_desk, plain, others)


@pytest.fixture(params=DATABASES)
def asked(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 30 users on every database in turn: expanded, callbacks played, sources asked."""
    house = make_house(request.param, users=30).expand().play_callbacks()
    house.ask()
    return house


def user_in(house: House, bucket: str) -> str:
    """The first user of a bucket who has a vehicle."""
    users = house.audit().users
    return str(users[(users["bucket"] == bucket) & (users["vehicles"] > 0)]["user_id"].iloc[0])


def story(house: House, user: str) -> UserStory:
    """The user's story as it is now."""
    return read_story(house.company, house.ledger, user, house.now)


def test_a_story_goes_from_evidence_to_change_and_back(asked: House) -> None:
    """Evidence with its date, then the change with its run, then that it was undone, and the bucket of each day."""
    user = user_in(asked, "ready")
    before = story(asked, user)
    (id,) = {*before.evidence["smartcar_user_id"]}
    assert f"The next backfill sets {id}: " in before.would
    assert {"counts"} == {*before.evidence["state"]}
    assert all(moment.endswith(" UTC") for moment in before.evidence["seen_at"])
    assert {"V3 connections"} <= {*before.evidence["source"]}
    assert {*before.vehicles["linked_by"]} <= {"V2 token", "VIN on V3"}
    runner.apply(asked.company, asked.ledger, asked.plan(), "run")
    session = Session("20_audit_user_ids", asked.settings)
    snapshot.leave_snapshot(session, asked.audit(), began=asked.now, complete=True)
    applied = story(asked, user)
    assert ("mapped", id) == (applied.bucket, applied.stored)
    (change,) = applied.changes[applied.changes["table"] == "users"].to_dict("records")
    assert ("run", "", id, "written", "") == tuple(
        change[name] for name in ("run_id", "before", "after", "outcome", "note")
    )
    assert ["mapped"] == list(applied.history["bucket"])
    runner.undo(asked.company, asked.ledger, "run", "back")
    undone = story(asked, user)
    assert ("ready", "") == (undone.bucket, undone.stored)
    assert ["back", "run"] == list(undone.changes[undone.changes["table"] == "users"]["run_id"])
    assert "undone by back" in set(undone.changes["note"])


def test_a_conflict_shows_both_ids_and_how_to_decide(asked: House) -> None:
    """Each id with its sources, a command for each choice; then who decided, when and why."""
    user = user_in(asked, "conflict")
    found = story(asked, user)
    ids = {*found.evidence["smartcar_user_id"], found.stored} - {""}
    assert len(ids) > 1
    assert {f"smartcar-ops decide {user} {id} --by NAME --reason TEXT" for id in (*ids, "none")} == {*found.decide}
    assert found.would.startswith("A backfill leaves this user alone until a person decides: ")
    (chosen, *_) = sorted(set(found.evidence["smartcar_user_id"]))
    decisions.decide(asked.company, asked.ledger, user, chosen, by="Ada", reason="asked them", now=asked.now)
    assert f"Ada chose {chosen} on {asked.now:%Y-%m-%d %H:%M} UTC: asked them." == story(asked, user).decision


def test_the_command_shows_the_story_and_nothing_private(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`smartcar-ops user ID` prints the same facts; no VIN, e-mail, name or token, not even from the id column."""
    house = make_house(users=30).expand().play_callbacks()
    house.ask()
    user = user_in(house, "ready")
    with house.company.engine.begin() as connection:
        statement = "UPDATE users SET smartcar_user_id = 'ada@example.com' WHERE id = :id"
        connection.execute(sa.text(statement), {"id": int(user)})
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(house.root)
    assert 0 == cli.execute(["user", user])
    told = capsys.readouterr().out
    found = story(house, user)
    for words in (*found.sentences, *found.decide, *found.evidence["smartcar_user_id"], *found.tables()):
        assert words in told
    assert "…" not in told.partition("\n")[2], "a cell is cut"
    assert "Stored id: (no UUID, 15 characters)." in told
    row = next(row for row in house.rows("users") if str(row["id"]) == user)
    cars = [car for car in house.rows("vehicles") if str(car["user_id"]) == user]
    private = [row["email"], row["name"], "ada@", *(car["vin"] for car in cars)]
    private += [car["vehicle_access_token"] for car in cars]
    for text in (told, found._repr_html_(), repr(found)):
        assert not [one for one in private if one and one in text]


def test_no_user_is_one_sentence(make_house: Callable[..., House]) -> None:
    """An unknown id, or a user whom `where` leaves out, is refused; a user without anything has a short story."""
    house = make_house(users=30, toml='[users]\nwhere = "id <> 2"\n').expand()
    for user in ("999999", "2", "x"):
        with pytest.raises(ParameterError, match=f"there is no user '{user}'; expected an id of the table users that"):
            story(house, user)
    found = story(house, "1")
    assert {name: [] for name in ("evidence", "changes", "history")} == {
        name: getattr(found, name).to_dict("records") for name in CELLS if name != "vehicles"
    }
    assert "No Smartcar id is stored." in found.sentences


def test_a_page_shows_the_story_with_links(make_house: Callable[..., House]) -> None:
    """In JupyterLab each vehicle leads to its comparison, and the decision commands can be copied."""
    asked = make_house(users=30).expand().play_callbacks()
    asked.ask()
    shown = story(asked, user_in(asked, "conflict"))._repr_html_()
    assert '<details class="sc-id">' in shown
    assert "<code>smartcar-ops run 10 -p vehicle_id " in shown
    assert "<code>smartcar-ops decide " in shown
