"""An audit of a whole house says of every user what is true of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import AuditResult
from smartcar_ops.backfill import runner
from tests.conftest import DATABASES
from tests.support.house import House


@pytest.fixture(params=DATABASES)
def fresh(request: pytest.FixtureRequest, make_house: Callable[..., House]) -> House:
    """A company of 60 users on every database in turn, not expanded."""
    return make_house(request.param)


def truth(house: House, key: str) -> dict[str, str]:
    """user id -> the true bucket of a moment."""
    return {user["user_id"]: user[key] for user in house.truth["users"]}


def found(audit: AuditResult) -> dict[str, str]:
    """user id -> the audit's bucket."""
    return dict(zip(audit.users["user_id"], audit.users["bucket"], strict=True))


def test_every_user_is_in_the_true_bucket_at_every_stage(fresh: House) -> None:
    """Before expand with the ledger in a file, after the callbacks, after the backfill: user by user as it is."""
    fresh.ask()
    assert not fresh.ledger.in_database
    assert truth(fresh, "bucket_uncalled") == found(fresh.audit())
    fresh.expand().play_callbacks()
    assert truth(fresh, "bucket") == found(fresh.audit())
    runner.apply(fresh.company, fresh.ledger, fresh.plan(), "run")
    assert truth(fresh, "bucket_after") == found(fresh.audit())


def test_counts_rows_and_orphans_add_up(fresh: House) -> None:
    """Counted in the database or row by row, the buckets are the same and sum to all; orphans are the true ones."""
    fresh.expand().play_callbacks().ask()
    audit = fresh.audit()
    assert fresh.truth["buckets"]["before"] == audit.counts
    assert 60 == audit.total == len(audit.users) == fresh.company.count()
    assert Counter(audit.users["bucket"]) == {name: n for name, n in audit.counts.items() if n}
    assert fresh.truth["orphans"] == len(audit.orphans)
    assert len(fresh.rows("vehicles")) == audit.users["vehicles"].sum()
    assert {"live"} == set(audit.orphans["mode"])
    assert not set(audit.orphans["smartcar_user_id"]) & set(audit.users["smartcar_user_id"].dropna())


def test_another_world_is_judged_as_truly(make_house: Callable[..., House]) -> None:
    """Another seed and another size, the same agreement with the truth."""
    house = make_house(users=150, seed=7).expand().play_callbacks()
    house.ask()
    assert truth(house, "bucket") == found(house.audit())
    assert house.truth["orphans"] == len(house.audit().orphans)


def test_an_audit_reads_only(house: House) -> None:
    """Auditing sends nothing and changes no row of any table."""
    house.ask()
    before, sent = {name: house.rows(name) for name in house.tables()}, len(house.sandbox.arrivals)
    house.audit()
    assert before == {name: house.rows(name) for name in house.tables()}
    assert sent == len(house.sandbox.arrivals)


def test_without_asking_nobody_is_reconnect(house: House) -> None:
    """Before any source was asked, a user with cars and no id is unasked, never sent through Connect."""
    counts = house.audit().counts
    assert 0 == counts["reconnect"] == counts["ready"] == counts["mapped"]
    assert counts["unasked"] > 0 and counts["unconfirmed"] > 0


def test_the_exit_code_says_whether_people_are_needed(house: House) -> None:
    """1 with a user for people; 0 without; 3 without users."""
    house.ask()
    assert 1 == house.audit().exit_code
    for_people = house.audit().people()
    assert house.audit().for_people == len(for_people) > 0
    assert {"invalid", "conflict", "shared"} == set(for_people["bucket"])
    ids = ", ".join(for_people["user_id"])
    house.execute(f"DELETE FROM vehicles WHERE user_id IN ({ids})")
    house.execute(f"DELETE FROM users WHERE id IN ({ids})")
    assert 0 == house.audit().exit_code
    house.execute("DELETE FROM vehicles")
    house.execute("DELETE FROM users")
    assert 3 == house.audit().exit_code


def test_a_conflict_names_its_evidence_side_by_side(house: House) -> None:
    """The reason of a conflict holds every id the evidence names, with its sources, and the stored one."""
    house.ask()
    rows = house.audit().users.set_index("user_id")
    for user in house.truth["users"]:
        reason = rows.loc[user["user_id"], "reason"]
        if user["persona"] == "wrong_id":
            assert f"stored {user['stores']}" in reason and user["smartcar_user_id"] in reason
        if user["persona"] == "family_car":
            (car,) = [v for v in house.truth["vehicles"] if v["user_id"] == user["user_id"]]
            people = {c.user_id for c in house.world.connections_of(car["smartcar_vehicle_id"])}
            assert 2 == len(people) and all(f"{person} (vins)" in reason for person in people)


def test_connections_of_another_mode_are_no_evidence(make_house: Callable[..., House]) -> None:
    """In mode simulated, nobody is mapped by a live connection."""
    house = make_house(users=40).expand().play_callbacks()
    house.ask()
    house.settings = house.read_settings(SMARTCAR_MODE="simulated")
    house.ledger = house.open_ledger()
    house.ask()
    modes = {connection.vehicle_id for connection in house.world.connections if connection.mode == "simulated"}
    assert modes == {row["vehicle_id"] for row in house.ledger.connections()} != set()
    persona = {user["user_id"]: user["persona"] for user in house.truth["users"]}
    mapped = {user for user, bucket in found(house.audit()).items() if bucket == "mapped"}
    assert not {persona[user] for user in mapped} & {"registered", "lapsed"}


def test_every_bucket_says_why_and_what_next(house: House) -> None:
    """Each bucket occurs in the house, with its own reason, next action and decision."""
    house.ask()
    house.execute("UPDATE users SET smartcar_user_id = smartcar_user_id")
    users = house.audit().users
    for name in buckets.NAMES:
        rows = users[users["bucket"] == name]
        assert len(rows) > 0, name
        assert {buckets.BY_NAME[name].next_action} == set(rows["next_action"]), name
        why = "the sources " if name == "conflict" else buckets.BY_NAME[name].reason
        assert all(reason.startswith(why) for reason in rows["reason"]), name


def test_the_rules_as_data_pick_the_first_that_holds() -> None:
    """Plain facts through the same data: malformed beats all, and with nothing true the last bucket is left."""
    nothing = {fact: False for _, when in buckets.RULES for fact, _ in when}
    assert "invalid" == buckets.bucket_of(dict.fromkeys(nothing, True))
    assert "conflict" == buckets.bucket_of({**dict.fromkeys(nothing, True), "malformed": False})
    assert "reconnect" == buckets.bucket_of({**nothing, "has_vehicles": True})
    assert "no_vehicles" == buckets.bucket_of(nothing)
