"""A company that lets the kit refresh V2 tokens: cars whose token is over are linked by a new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from smartcar_ops.audit import resolver
from smartcar_ops.session import Session
from tests.support.house import House

TOML = '[vehicles]\nrefresh_token = "vehicle_refresh_token"\nrefresh = true\n'
SOURCES = ("connections", "tokens")
SEALING = "def open(stored): return stored[::-1]\ndef seal(token): return token[::-1]\n"


def refreshes(house: House) -> int:
    """How often V2's token endpoint was asked."""
    return sum(path == "/oauth/token" for _, _, path in house.sandbox.arrivals)


def refreshable(house: House) -> set[str]:
    """Users without a living access token, and with a refresh token that is younger than its 60 days."""
    found = set()
    for user in house.world.users:
        ages = [house.world.now - vehicle.token_created_at for vehicle in user.vehicles]
        if user.persona == "vin_only" and min(ages) < timedelta(days=59):
            found.add(str(user.id))
    return found


@pytest.fixture
def shop(make_house: Callable[..., House]) -> House:
    """A company of 120 users whose vehicles keep their refresh tokens."""
    return make_house(users=120, toml=TOML, refresh_tokens=True).expand()


def ask(house: House) -> Session:
    """A session of the audit's that asked the tokens alone, no VIN."""
    session = Session("20_audit_user_ids", house.settings)
    said = resolver.resolver_for(session).cost(SOURCES)
    resolver.ask(session, SOURCES, max_calls=0, max_minutes=1)
    spent = sum(units for api, units in session.transport.spent.items() if api not in ("iam", "auth"))
    assert 0 < spent <= said.total
    return session


def test_cars_with_dead_tokens_are_linked_by_new_ones(shop: House) -> None:
    """Without reading a VIN, users with a living refresh token are ready, every one with the right id."""
    truth = {row["user_id"]: row for row in shop.truth["users"]}
    ask(shop).transport.close()
    assert 0 < refreshes(shop)
    users = shop.audit().users
    ready = set(users[users["bucket"] == "ready"]["user_id"])
    assert refreshable(shop)
    assert refreshable(shop) <= ready
    plan = shop.plan().rows
    given = plan[(plan["table"] == "users") & (plan["decision"] == "set")]
    wrong = {
        row.user_id for row in given.itertuples() if truth[row.user_id]["smartcar_user_id"] not in (None, row.proposed)
    }
    assert set() == wrong


def test_asking_again_refreshes_nothing(shop: House) -> None:
    """What a new token told is known; the stored pairs are used while they live, and no refresh is repeated."""
    first = ask(shop)
    sent = refreshes(shop)
    resolver.ask(first, SOURCES, max_calls=0, max_minutes=1)
    first.transport.close()
    assert sent == refreshes(shop)


def test_no_token_is_refreshed_unasked(make_house: Callable[..., House]) -> None:
    """Without ``refresh = true`` the token endpoint is never asked and no vehicle's row changes."""
    house = make_house(users=60, refresh_tokens=True).expand()
    before = house.rows("vehicles")
    ask(house).transport.close()
    assert (0, before) == (refreshes(house), house.rows("vehicles"))


def test_sealed_tokens_are_opened_sealed_and_never_shown(
    make_house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company that stores its tokens sealed gets the same links, and no row holds a token in the clear."""
    name = f"sealing_{tmp_path.name.replace('-', '_')}"
    toml = f'{TOML}open_token = "{name}:open"\nseal_token = "{name}:seal"\n'
    (tmp_path / f"{name}.py").write_text(SEALING)
    monkeypatch.syspath_prepend(str(tmp_path))
    house = make_house(users=120, toml=toml, refresh_tokens=True).expand()
    sealed = {row["id"]: (row["vehicle_access_token"], row["vehicle_refresh_token"]) for row in house.rows("vehicles")}
    for vehicle, (access, refresh) in sealed.items():
        house.execute(
            "UPDATE vehicles SET vehicle_access_token = :a, vehicle_refresh_token = :r WHERE id = :id",
            a=access[::-1],
            r=refresh[::-1],
            id=vehicle,
        )
    ask(house).transport.close()
    assert 0 < refreshes(house)
    tokens = {token for pair in sealed.values() for token in pair}
    stored = json.dumps([str(row) for row in house.rows("vehicles")])
    assert not [token for token in tokens if token in stored]
    users = house.audit().users
    assert refreshable(house) <= set(users[users["bucket"] == "ready"]["user_id"])
