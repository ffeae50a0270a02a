"""The second list of connections, V2 management's: what it costs, what it keeps, what it tells beside V3's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from smartcar_ops.company import ledger_tables as t
from smartcar_ops.errors import AuthenticationError, ParameterError
from smartcar_ops.migration.linking import Linker
from smartcar_ops.reporting import runs
from smartcar_ops.session import Session
from smartcar_ops.smartcar.allowance import Bucket, Budget
from smartcar_ops.smartcar.management import ManagementV2
from tests.house import House

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
    assert f"management: {len(live(house))} rows, beside no V3 connections: those were never listed" == str(asked)


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
    assert f"management: {len(live(house))} rows, 2 only there, 1 only in V3 connections" in str(asked)


def test_a_listing_of_the_hour_is_not_repeated(house: House) -> None:
    """Asked again within the hour it costs nothing and still tells; asked to relist, or later, it is asked again."""
    house.ask(["management"])
    assert {} == house.linker().cost(["management"]).units
    again = house.ask(["management"])
    assert (1, {}) == (house.transport.spent["management"], dict(again.answers))
    assert "rows" in str(again)
    assert {"management": 1} == house.linker().cost(["management"], relist=True).units
    house.now += timedelta(hours=2)
    house.ask(["management"])
    assert 2 == house.transport.spent["management"]


def test_a_whole_listing_withdraws_what_it_no_longer_says(house: House) -> None:
    """Rows of the former listing that are gone are gone; what webhooks said stays."""
    stale = {"vehicle_id": "v", "smartcar_user_id": "u", "seen_at": house.now.replace(tzinfo=None)}
    house.ledger.record(t.sightings, [{**stale, "source": "management"}, {**stale, "source": "webhooks"}])
    house.ask(["management"])
    assert live(house) == managed(house)
    assert ["v"] == [row["vehicle_id"] for row in house.ledger.rows(t.sightings) if row["source"] == "webhooks"]


def test_the_allowance_ends_before_management(make_house: Callable[..., House]) -> None:
    """What was not reached is said, nothing is kept or taken for listed, and the next run goes on there."""
    house = make_house(users=130).expand()
    with house.transport.spending(Budget(Bucket(house.settings.allowance), max_calls=1, max_minutes=0)):
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
    assert "management: 1 failed, asked again next time" in str(asked)
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
    linker: Linker = session.linker()
    for act in (linker.cost, lambda sources: session.ask(sources, max_calls=0, max_minutes=1)):
        with pytest.raises(ParameterError, match="SMARTCAR_MANAGEMENT_TOKEN") as raised:
            act(BOTH)
        assert 5 == raised.value.exit_code
    assert [] == house.sandbox.arrivals
    assert linker.cost(["connections"]).total > 0


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
    result = runs.run("20", [("sources", "connections,management")])
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
    words = "webhooks: 1 known to the ledger; redirects: 1 known to the ledger"
    assert words == str(house.ask(sources))
    assert [] == house.transport.calls
