"""The lists of connections, V3's and V2 management's: what they cost, what is kept of them, what they tell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from smartcar_ops import notebook_runs
from smartcar_ops.audit import resolver
from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.sources import AUTO
from smartcar_ops.audit.token_owners import TokenOwners, digest
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.errors import AuthenticationError, ParameterError
from smartcar_ops.sandbox.faults.id_slips import names_two
from smartcar_ops.session import Session
from smartcar_ops.smartcar.connections import ConnectionList as V3Listing
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.smartcar.management import ManagementV2
from tests.support.house import House

BOTH = ("connections", "management")
KEPT_BY_THE_LEDGER = ("service", "mode", "first_seen", "gone_at")


def managed(house: House) -> set[tuple[str, str]]:
    """(vehicle, user) of what the ledger keeps of V2 management."""
    rows = house.ledger.rows(t.sightings)
    return {(row["vehicle_id"], row["smartcar_user_id"]) for row in rows if row["source"] == "management"}


def live(house: House) -> set[tuple[str, str]]:
    """(vehicle, user) of every live connection there is."""
    return {(row.vehicle_id, row.user_id) for row in house.sandbox.connections if row.mode == "live"}


@pytest.mark.parametrize("users", [40, 130])
def test_management_is_kept_and_costs_what_was_said(make_house: Callable[..., House], users: int) -> None:
    """Every live connection is kept, none of another mode; the units are those said before, one a 100 rows."""
    house = make_house(users=users).expand()
    said = house.linker().cost(["management"]).units
    asked = house.ask(["management"])
    assert live(house) == managed(house)
    assert {"management": house.transport.spent["management"]} == said
    assert f"management: {len(live(house))} found; V3 connections have not been read yet" == str(asked)


def test_the_two_lists_side_by_side(house: House) -> None:
    """Pairs that only one list has are counted, so that a person sees that the lists differ."""
    house.ask(["connections"])
    rows = house.ledger.connections()
    gone = {(row["vehicle_id"], row["smartcar_user_id"]) for row in rows[:2]}
    only_v3 = {**rows[0], "vehicle_id": "f" * 8}
    kept = [row for row in [*rows, only_v3] if (row["vehicle_id"], row["smartcar_user_id"]) not in gone]
    told = [{name: row[name] for name in row if name not in KEPT_BY_THE_LEDGER} for row in kept]
    house.ledger.record_connections(told, complete=True, now=house.now.replace(tzinfo=None))
    asked = house.ask(BOTH)
    assert f"management: {len(live(house))} found, 2 only there, 1 only in V3 connections" in str(asked)


def test_a_listing_of_the_hour_is_not_repeated(house: House) -> None:
    """Asked again within the hour it costs nothing and still tells; asked to relist, or later, it is asked again."""
    house.ask(["management"])
    assert {} == house.linker().cost(["management"]).units
    again = house.ask(["management"])
    assert (1, {}) == (house.transport.spent["management"], dict(again.answers))
    assert " found" in str(again)
    assert {"management": 1} == house.linker().cost(["management"], relist=True).units
    house.now += timedelta(hours=2)
    house.ask(["management"])
    assert 2 == house.transport.spent["management"]


def test_a_whole_listing_withdraws_what_it_no_longer_says(house: House) -> None:
    """Rows of the former listing that are gone are gone; what webhooks said stays."""
    stale = {"vehicle_id": "v", "smartcar_user_id": "u", "seen_at": house.now.replace(tzinfo=None)}
    house.ledger.record(t.sightings, [{**stale, "source": "management"}, {**stale, "source": "webhooks"}])
    house.ask(["management"])
    assert live(house) == {
        (row["vehicle_id"], row["smartcar_user_id"])
        for row in house.ledger.rows(t.sightings)
        if row["source"] == "management" and row["gone_at"] is None
    }
    assert ["v"] == [row["vehicle_id"] for row in house.ledger.rows(t.sightings) if row["source"] == "webhooks"]


def test_the_allowance_ends_before_management(make_house: Callable[..., House]) -> None:
    """What was not reached is said, nothing is kept or taken for listed, and the next run goes on there."""
    house = make_house(users=130).expand()
    with house.transport.spending(Budget(TokenBucket(house.settings.allowance), max_calls=1, max_minutes=0)):
        asked = house.ask(["management"])
    assert ({"management": 1}, False) == (asked.not_read, asked.complete)
    assert set() == managed(house)
    house.ask(["management"])
    assert live(house) == managed(house)


def test_a_failure_is_counted_and_the_rest_is_asked(house: House) -> None:
    """A host that does not answer is a failure among others; nothing of the former listing is lost."""
    house.ask(["management"])
    secret = house.settings.credentials.management_token
    house.managed = ManagementV2(house.transport, f"{house.sandbox.url}/nowhere", secret)
    house.now += timedelta(hours=2)
    asked = house.ask(("connections", "management", "vins"))
    assert 1 == asked.failed["management"]
    assert "management: 1 failed (the next run retries them)" in str(asked)
    assert asked.answers["connections"] > 0
    assert live(house) == managed(house)


def test_a_refused_management_token_ends_the_asking(house: House) -> None:
    """A token that V2 management refuses is the operator's to replace, no failure among others."""
    house.managed = ManagementV2(house.transport, house.settings.origins.management_api, SecretStr("old-token"))
    with pytest.raises(AuthenticationError):
        house.ask(["management"])


def test_management_without_its_token_is_refused_by_name(house: House) -> None:
    """Exit 5 by cost and by asking, before anything is sent; without naming it, nothing is missed."""
    credentials = house.settings.credentials.model_copy(update={"management_token": SecretStr("")})
    session = Session("20_audit_user_ids", replace(house.settings, credentials=credentials))
    linker: IdentityResolver = resolver.resolver_for(session)
    for act in (linker.cost, lambda sources: resolver.ask(session, sources, max_calls=0, max_minutes=1)):
        with pytest.raises(ParameterError, match="SMARTCAR_MANAGEMENT_TOKEN") as raised:
            act(BOTH)
        assert 5 == raised.value.exit_code
    assert [] == house.sandbox.arrivals
    assert linker.cost(["connections"]).total > 0


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize(("token", "code"), [(None, 1), ("", 5)])
def test_an_audit_asks_management_where_it_is_named(
    house: House, monkeypatch: pytest.MonkeyPatch, token: str | None, code: int
) -> None:
    """By the command's own parameter: with the token its units are spent, without one the run is refused."""
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    if token is not None:
        monkeypatch.setenv("SMARTCAR_MANAGEMENT_TOKEN", token)
    result = notebook_runs.run("20", [("sources", "connections,management")])
    assert (code, code == 1) == (result.exit_code, "management" in result.calls)


def test_what_arrived_is_counted_and_costs_nothing(house: House) -> None:
    """`webhooks` and `redirects` as sources send nothing: they say how much the ledger holds of them."""
    now = house.now.replace(tzinfo=None)
    house.ledger.record(
        t.sightings, [{"vehicle_id": "v", "smartcar_user_id": "u", "source": "webhooks", "seen_at": now}]
    )
    house.ledger.record(t.personal, [{"user_id": "1", "smartcar_user_id": "u", "source": "redirects", "seen_at": now}])
    sources = ("webhooks", "redirects")
    assert 0 == house.linker().cost(sources).total
    words = "webhooks: 1 in the ledger; redirects: 1 in the ledger"
    assert words == str(house.ask(sources))
    assert [] == house.transport.calls


# --- what contradicts itself, and what names nobody ------------------------------------------------------------


def named(house: House) -> set[str | None]:
    """Every Smartcar id that the ledger's evidence or the plan names, of users and of vehicles."""
    tables = (t.connections, t.sightings, t.personal, t.ties, t.tokens)
    columns = ("smartcar_user_id", "vehicle_id")
    rows = [row for table in tables for row in house.ledger.rows(table)]
    opened = {id for row in house.ledger.rows(t.tokens) for id in json.loads(row["vehicles"])}
    told = {row[column] for row in rows for column in columns if column in row} - {None}
    return told | opened | set(house.plan().rows["proposed"].dropna())


def test_what_is_no_id_becomes_nobodys(make_house: Callable[..., House], any_database: str) -> None:
    """`undefined` and the nil UUID in every list and of every token: in no evidence, in no plan, counted and said."""
    house = make_house(any_database, users=60, faults=["ids-undefined"]).expand().play_callbacks()
    house.ask((*AUTO, "management"))
    asked = house.ask((*AUTO, "management"), accept_list=True)
    assert set() == {id for id in named(house) if smartcar_id(id) != id}
    for source in BOTH:
        assert "left out because they can't be read" in asked.details[source]
    assert {"connection user", "managed connection user", "V2 user"} <= {
        what.removesuffix(": no id of Smartcar") for what in house.transport.oddities.counts
    }
    assert "undefined" not in f"{asked} {house.transport.oddities.counts}"


def test_rows_without_a_mode_are_no_empty_list_in_silence(make_house: Callable[..., House]) -> None:
    """Neither list gives evidence that may be a simulated car's; how many rows that were is said."""
    house = make_house(users=40, faults=["rows-without-mode"]).expand()
    asked = house.ask(BOTH)
    assert ([], set()) == (house.ledger.connections(), managed(house))
    dropped = f"{len(live(house))} left out because they can't be read"
    for source in BOTH:
        assert f"{source}: the list has 0 rows; 0 of 0 known ones are missing, {dropped}" in str(asked)
    assert (False, 2) == (asked.complete, asked.unanswered)


def personal(house: House) -> set[tuple[str, str]]:
    """(local user, Smartcar user) by external id."""
    return {
        (row["user_id"], row["smartcar_user_id"])
        for row in house.ledger.rows(t.personal)
        if row["source"] == "external_id" and row["gone_at"] is None
    }


def own_ids(house: House) -> set[tuple[str, str]]:
    """(local user, Smartcar user), as the sandbox's live connections have it."""
    rows = house.sandbox.connections
    return {(row.external_id, row.user_id) for row in rows if row.external_id and row.mode == "live"}


def buckets(house: House) -> dict[str, str]:
    """user -> bucket."""
    users = house.audit().users
    return dict(zip(users["user_id"], users["bucket"], strict=True))


def test_two_external_ids_for_one_connection_are_for_a_person(
    make_house: Callable[..., House], any_database: str
) -> None:
    """Both of the company's ids are evidence, the older does not win in silence: both users are for a person."""
    house = make_house(any_database, users=60, faults=["two-external-ids"]).expand()
    house.ask()
    right = own_ids(house)
    last = str(house.world.users[-1].id)
    assert right | {(last, smartcar_user) for _, smartcar_user in right} == personal(house)
    assert len(house.ledger.connections()) == len(live(house))
    both = {last, *(user for user, _ in right)}
    assert {"shared"} == {buckets(house)[user] for user in both}
    plan = house.plan().rows
    assert set() == both & set(plan[plan["decision"] == "set"]["user_id"])


def test_a_row_that_names_two_users_is_for_a_person(make_house: Callable[..., House], any_database: str) -> None:
    """Both users are connected to the car, so nobody who knows it by its car alone gets one of the two ids."""
    house = make_house(any_database, users=60, faults=["two-users-in-a-row"]).expand()
    house.ask()
    struck = {row.vehicle_id for row in house.sandbox.connections if row.mode == "live" and names_two(row)}
    seen = Counter(row["vehicle_id"] for row in house.ledger.connections())
    assert struck
    assert min(seen[vehicle] for vehicle in struck) >= 2
    plan = house.plan().rows
    given = dict(plan[(plan["table"] == "users") & (plan["decision"] == "set")][["user_id", "proposed"]].values)
    truth = {user["user_id"]: user["smartcar_user_id"] for user in house.truth["users"]}
    assert {} == {user: id for user, id in given.items() if truth[user] != id}
    by_car = [row for row in house.truth["vehicles"] if row["smartcar_vehicle_id"] in struck and row["vin"]]
    alone = {row["user_id"] for row in by_car if not row["token_alive"]} - {user for user, _ in personal(house)}
    assert alone & {user for user, bucket in buckets(house).items() if bucket == "conflict"}


def test_external_ids_come_from_the_list_and_stay(house: House) -> None:
    """Kept with the list itself; asked for later they cost no call and nothing is lost, a new list replaces them."""
    house.ask(["connections"])
    assert own_ids(house) == personal(house) != set()
    house.ledger.record(t.personal, [external_id("7", ANN, house)])
    spent = len(house.transport.calls)
    asked = house.ask(["external_id"])
    assert own_ids(house) | {("7", ANN)} == personal(house)
    assert (spent, len(own_ids(house)) + 1) == (len(house.transport.calls), asked.answers["external_id"])
    house.now += timedelta(hours=2)
    house.ask(["connections"])
    assert own_ids(house) == personal(house)


def test_external_ids_that_only_the_mirror_has_are_taken_in(house: House) -> None:
    """A ledger whose list was mirrored before the evidence came from it: asking for them costs no call."""
    house.ask(["connections"])
    house.ledger.replace(t.personal, "external_id", [], now=house.now.replace(tzinfo=None))
    spent = len(house.transport.calls)
    house.ask(["external_id"])
    assert (own_ids(house), spent) == (personal(house), len(house.transport.calls))


def test_a_list_that_is_not_whole_withdraws_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an incomplete list does not tell may still be so."""
    house.ask(["connections"])
    house.ledger.record(t.personal, [external_id("7", ANN, house)])
    listing = house.v3.connections("live")
    monkeypatch.setattr(house.v3, "connections", lambda mode, report: replace(listing, complete=False))
    house.now += timedelta(hours=2)
    house.ask(["connections"])
    assert own_ids(house) | {("7", ANN)} == personal(house)


ANN = "aaaaaaaa-0000-4000-8000-000000000001"


def external_id(user: str, smartcar_user: str, house: House) -> dict[str, object]:
    """A piece of evidence as a list left it."""
    known = {"source": "external_id", "user_id": user, "smartcar_user_id": smartcar_user}
    return {**known, "seen_at": house.now.replace(tzinfo=None)}


def test_a_token_whose_owner_is_no_id_is_asked_again(house: House) -> None:
    """What an earlier version kept as a token's owner is no answer, though the ledger has it."""
    car = next(car for car in house.company.cars_to_ask(house.now) if car.token_alive)
    kept = {"smartcar_user_id": "undefined", "vehicles": "[]", "asked_at": house.now.replace(tzinfo=None)}
    house.ledger.record(t.tokens, [{"digest": digest(car.token or ""), **kept}])
    found = TokenOwners(house.ledger, house.v2, house.now).of(car)
    assert found.user == smartcar_id(found.user)
    assert 2 == house.transport.spent["v2"]


def test_texts_that_a_database_does_not_take(
    make_house: Callable[..., House], any_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NUL, half of a character or an id too long for its column do not end the listing; none is cut to another."""
    house = make_house(any_database, users=40).expand()
    first = house.v3.connections("live").connections[0]
    odd = replace(first, id="c" * 60, make="K\0IA", model="\ud800", permissions=("a\0", "b"))
    monkeypatch.setattr(house.v3, "connections", lambda mode, report: V3Listing((odd,), complete=True))
    house.ask(["connections"])
    (row,) = house.ledger.connections()
    assert (None, "K IA", " ", "a  b") == tuple(row[name] for name in ("connection_id", "make", "model", "permissions"))


def test_external_ids_that_a_database_takes_for_one(
    make_house: Callable[..., House], any_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that differ in case, accents or blanks at the end alone are kept where the database tells them apart."""
    house = make_house(any_database, users=40).expand()
    first = house.v3.connections("live").connections[0]
    forms = ("Zoe", "zoe", "Zo\u00eb", "zoe ")
    rows = tuple(replace(first, external_id=form) for form in forms)
    monkeypatch.setattr(house.v3, "connections", lambda mode, report: V3Listing(rows, complete=True))
    house.ask(("connections", "external_id"))
    assert {"Zoe"} <= {user for user, _ in personal(house)} <= set(forms)
