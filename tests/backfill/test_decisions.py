"""A person's word where the evidence can't decide: recorded, planned, written, and nothing else overwritten."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from smartcar_ops import cli
from smartcar_ops.audit import choices
from smartcar_ops.backfill import decisions, runner
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import DatabaseError, ParameterError
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House

SOMEBODY = "f3a1e8a4-0000-4000-8000-000000000001"
PER_VEHICLE = '[vehicles]\nsmartcar_user_id = "holder_id"\n'


@pytest.fixture(params=DATABASES)
def asked(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 30 users on every database in turn: expanded, callbacks played, sources asked."""
    house = make_house(request.param, users=30).expand().play_callbacks()
    house.ask()
    return house


def user_of(house: House, persona: str) -> str:
    """The first user of a persona."""
    return next(str(user["user_id"]) for user in house.truth["users"] if user["persona"] == persona)


def decide(house: House, user: str, id: str, **changed: str) -> str:
    """Ada decides."""
    given = {"by": "Ada", "reason": "asked them", **changed}
    return decisions.decide(house.company, house.ledger, user, id, now=house.now, **given)  # type: ignore[arg-type]


def planned(house: House, user: str) -> dict[str, Any]:
    """The plan's row of a user."""
    rows = house.plan().rows
    row: dict[str, Any] = rows[(rows["table"] == "users") & (rows["row_id"] == user)].iloc[0].to_dict()
    return row


def stored(house: House, user: str) -> str | None:
    """What the company stores for a user."""
    return next(row["smartcar_user_id"] for row in house.rows("users") if str(row["id"]) == user)


def test_every_row_for_a_person_comes_with_its_commands(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In audit and plan each user for a person has a command a choice, and the command line takes it as it stands."""
    house = make_house().expand().play_callbacks()
    house.ask()
    people = {user["user_id"] for user in house.truth["users"] if user["decision"] == "conflict"}
    users = house.audit().users.set_index("user_id")["decide"].dropna()
    assert people == set(users.index)
    backfill = Backfill(Session("30_backfill_user_ids", house.settings))
    backfill.plan = house.plan()
    shown = backfill.conflicts()
    shown = shown[shown["table"] == "users"].set_index("row_id")["decide"]
    assert {user: tuple(lines.splitlines()) for user, lines in users.items()} == shown.to_dict()
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(house.root)
    user = user_of(house, "two_ids_vin")
    (conflict,) = [found for found in decisions.conflicts(house.plan()) if found.user_id == user]
    assert [*conflict.ids, "none"] == [line.split()[3] for line in shown[user]] and 2 == len(conflict.ids)
    words = shlex.split(shown[user][0].replace("NAME", "Ada").replace("TEXT", "'asked them'"))
    with pytest.raises(SystemExit) as ended:
        cli.main(words[1:])
    assert not ended.value.code
    assert ("set", conflict.ids[0]) == (planned(house, user)["decision"], planned(house, user)["proposed"])


def test_a_command_takes_any_id_of_the_companys() -> None:
    """An id with blanks or quotes is one word of the command."""
    (command,) = choices.commands("O'Hara; rm -rf", [])
    assert ["smartcar-ops", "decide", "O'Hara; rm -rf", "none"] == shlex.split(command)[:4]


def test_what_a_person_chose_is_set(asked: House) -> None:
    """Conflicts of every kind become rows to set, with name and reason; applied, they are mapped or at least kept."""
    users = [user_of(asked, persona) for persona in ("wrong_id", "malformed", "two_ids_vin", "family_car")]
    conflicts = {found.user_id: found for found in decisions.conflicts(asked.plan())}
    chosen = {user: next((id for id in conflicts[user].ids if id != stored(asked, user)), SOMEBODY) for user in users}
    for user in users:
        decide(asked, user, chosen[user].upper())
        row = planned(asked, user)
        assert ("set", chosen[user], "Ada chose: asked them") == (row["decision"], row["proposed"], row["reason"])
    applied = runner.apply(asked.company, asked.ledger, asked.plan(), "run")
    assert 0 == applied.exit_code
    assert chosen == {user: stored(asked, user) for user in users}
    assert {"keep"} == {planned(asked, user)["decision"] for user in users}


def test_none_takes_an_id_away(asked: House) -> None:
    """Where a person says that a user has no id, the stored one is taken out; undo puts it back."""
    user = user_of(asked, "wrong_id")
    before = stored(asked, user)
    decide(asked, user, "none")
    runner.apply(asked.company, asked.ledger, asked.plan(), "run")
    assert None is stored(asked, user)
    runner.undo(asked.company, asked.ledger, "run", "undo")
    assert before == stored(asked, user) is not None


def test_an_id_that_another_holds_wants_both_decided(asked: House) -> None:
    """Of two users with one id, deciding for one sets nothing; once the other has none, the first keeps it."""
    one, two = [str(user["user_id"]) for user in asked.truth["users"] if user["persona"] == "couple"][:2]
    (id,) = next(found.ids for found in decisions.conflicts(asked.plan()) if found.user_id == one)
    decide(asked, one, id)
    assert "conflict" == planned(asked, one)["decision"] == planned(asked, two)["decision"]
    assert "decide about that user too" in planned(asked, one)["reason"]
    decide(asked, two, "none")
    runner.apply(asked.company, asked.ledger, asked.plan(), "run")
    assert (id, None) == (stored(asked, one), stored(asked, two))


def test_the_last_choice_counts_and_all_are_known(asked: House) -> None:
    """A second choice takes the first one's place; both stay in the runs, with who and why."""
    user = user_of(asked, "wrong_id")
    decide(asked, user, SOMEBODY)
    decide(asked, user, "none", by="Grace", reason="they left")
    assert "Grace chose: they left" == planned(asked, user)["reason"]
    told = [run.summary for run in Runs(asked.ledger).all("decide")]
    assert [("Ada", SOMEBODY), ("Grace", None)] == [(row["chosen_by"], row["smartcar_user_id"]) for row in told]


def test_a_decision_is_recorded_with_its_run_or_not_at_all(house: House) -> None:
    """Where its run can't be written, the decision is not, either."""
    house.execute(f"CREATE TRIGGER no_more BEFORE INSERT ON {t.runs.name} BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(DatabaseError, match="recording decisions failed"):
        decide(house, user_of(house, "wrong_id"), SOMEBODY)
    assert ({}, []) == (house.ledger.choices(), Runs(house.ledger).all("decide"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"user": "999999"}, "no user '999999'"),
        ({"user": "ada'; --"}, "there is no user"),
        ({"id": "ada@example.com"}, "is not a UUID"),
        ({"id": "00000000-0000-0000-0000-000000000000"}, "is the nil UUID"),
        ({"by": " "}, "the name has 0 characters"),
        ({"reason": ""}, "the reason has 0 characters"),
        ({"reason": "x" * 2001}, "the reason has 2001 characters"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(house: House, changed: dict[str, str], says: str) -> None:
    """An unknown user, no UUID, no name or no reason: exit 5, nothing recorded, the id given not repeated."""
    given = {"user": user_of(house, "wrong_id"), "id": SOMEBODY, **changed}
    with pytest.raises(ParameterError, match=says) as raised:
        decide(house, given.pop("user"), given.pop("id"), **given)
    assert 5 == raised.value.exit_code
    assert "ada@" not in str(raised.value)
    assert {} == house.ledger.choices()


def test_a_hidden_text_is_replaced_where_a_person_says_so(house: House) -> None:
    """An e-mail in the id's column is shown nowhere, and overwritten once a person chose; undo brings it back."""
    house.ask()
    user = user_of(house, "malformed")
    house.execute("UPDATE users SET smartcar_user_id = 'ada@example.com' WHERE id = :id", id=int(user))
    decide(house, user, SOMEBODY)
    assert "(no UUID, 15 characters)" == planned(house, user)["current"]
    applied = runner.apply(house.company, house.ledger, house.plan(), "run")
    assert SOMEBODY == stored(house, user)
    assert "ada@" not in applied.table().to_csv()
    runner.undo(house.company, house.ledger, "run", "undo")
    assert "ada@example.com" == stored(house, user)


@pytest.mark.parametrize("kind", DATABASES)
def test_ids_kept_per_vehicle_settle_two_ids(make_house: Callable[..., House], kind: str) -> None:
    """With a column per vehicle, a user whose cars carry an id each is no conflict: each car gets its own."""
    house = make_house(kind, users=30, toml=PER_VEHICLE).expand().play_callbacks()
    house.ask()
    user = user_of(house, "two_ids_vin")
    assert "skip" == planned(house, user)["decision"]
    plan = house.plan()
    runner.apply(house.company, house.ledger, plan, "run")
    cars = [row for row in house.rows("vehicles") if str(row["user_id"]) == user]
    holders = {row["holder_id"] for row in cars}
    assert 2 == len(holders - {None})
    audit = house.audit().users.set_index("user_id")["bucket"]
    assert ("mapped", None) == (audit[user], stored(house, user))
    wrong = {row["row_id"] for row in plan.rows.to_dict("records") if row["decision"] == "conflict"}
    assert user not in wrong
    assert 3 == house.plan().exit_code
