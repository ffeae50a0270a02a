"""Renewing V2 tokens: each refresh token used once, each pair stored before it is used, nobody's token lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina

from smartcar_ops.audit.token_refresh import Renewed, refresh
from smartcar_ops.database import schema
from smartcar_ops.database.ledger import locks
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import AuthenticationError, DatabaseError
from smartcar_ops.settings.credentials import Credentials
from smartcar_ops.settings.layout import Layout, Vault
from smartcar_ops.smartcar.auth import UserTokens
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.v2 import V2
from tests.database.test_stored_tokens import Opener, fleet, read_only, seal, stored
from tests.database.test_tables import run
from tests.smartcar.scripted import Answer, Asked, Scripted, uid

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
YOUNG, OLD = ((NOW - timedelta(hours=hours)).replace(tzinfo=None) for hours in (1, 3))
APPLICATION = "a4c81b2c-0000-4000-8000-000000000001"
LOST = Answer("", headers={"content-length": "10"})
"""An answer that breaks off: Smartcar did its part, and nobody heard."""


class Endpoint:
    """A token endpoint that rotates: refresh tokens it knows give numbered pairs, and live on within their grace."""

    def __init__(self, *known: str) -> None:
        self.known, self.used = set(known), list[str]()
        self.before: Callable[[], object] = lambda: None
        self.lost = 0
        self._numbers = itertools.count(1)

    def __call__(self, asked: Asked) -> Answer:
        """A pair, `invalid_grant`, or an answer that breaks off."""
        token = asked.form["refresh_token"]
        self.used.append(token)
        self.before()
        if token not in self.known:
            return Answer({"error": "invalid_grant", "error_description": token}, 400)
        number = next(self._numbers)
        self.known.add(f"ref-{number}")
        if len(self.used) <= self.lost:
            return LOST
        return Answer({"access_token": f"acc-{number}", "refresh_token": f"ref-{number}", "expires_in": 7200})


class Shop:
    """A company that lets the kit refresh: its database, and the kit's clients on a token endpoint."""

    def __init__(self, url: str, folder: Path, server: Scripted, transport: Transport) -> None:
        self.url, self.folder, self.server, self.transport = url, folder, server, transport
        self.endpoint = Endpoint("old-1", "old-2")
        self.server.play("/oauth/token", self.endpoint)
        self.vault: Vault | None = None
        self.keys: dict[str, Any] = {"refresh_token": "renewal", "refresh": True}

    def company(self, url: str = "") -> Company:
        """The company, through a new connection."""
        return Company.connect(url or self.url, Layout.model_validate({"vehicles": self.keys}), vault=self.vault)

    def cars(self) -> list[Any]:
        """The cars as they stand now."""
        company = self.company()
        try:
            return list(company.cars_to_ask(NOW))
        finally:
            company.engine.dispose()

    def ledger(self, company: Company) -> Ledger:
        """The ledger where it is."""
        return Ledger.open(company, Scope("service", "live"), self.folder)

    def refusals(self) -> dict[str, Any]:
        """What the ledger keeps of refused refresh tokens."""
        return self.ledger(self.company()).asked("refresh")

    def tokens(self, application: str = APPLICATION) -> UserTokens:
        """The client of the token endpoint."""
        known = Credentials(
            client_id="client_x", client_secret="x", application_id=application, v2_client_secret="v2-s3cr3t"
        )
        return UserTokens(self.transport, f"{self.server.url}/oauth/token", known)

    def renew(
        self,
        url: str = "",
        *,
        cars: list[Any] | None = None,
        run_id: str = "run",
        application: str = APPLICATION,
        sleep: Callable[[float], object] = lambda _: pytest.fail("nothing is to wait for"),
    ) -> Renewed:
        """Renews what is over, as one run would."""
        company, cars = self.company(url), self.cars() if cars is None else cars
        client, ledger = self.tokens(application), self.ledger(company)
        try:
            return refresh(company, ledger, client, cars, run_id=run_id, now=NOW, sleep=sleep)  # type: ignore[arg-type]
        finally:
            company.engine.dispose()

    def expand(self) -> Shop:
        """Puts the ledger into the database, so that every run sees the same lock."""
        company = self.company()
        schema.expand(company, self.ledger(company))
        company.engine.dispose()
        return self


def counts(renewed: Renewed) -> tuple[int, int, int, int]:
    """(renewed, refused, failed, not tried)."""
    return renewed.renewed, renewed.refused, renewed.failed, renewed.not_tried


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server to be scripted."""
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def shop(any_database: str, tmp_path: Path, server: Scripted) -> Iterator[Shop]:
    """A shop on every database in turn, without cars."""
    transport = Transport(timeout=5)
    with stamina.set_testing(True, attempts=3):
        yield Shop(any_database, tmp_path / "reports", server, transport)
    transport.close()


# --- whose tokens ------------------------------------------------------------------------------------------


def test_a_dead_token_is_renewed_and_a_living_one_left_alone(shop: Shop) -> None:
    """Cars whose token is over and that have a refresh token get a living one; nobody else is asked for."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", YOUNG, "old-3"), (3, "c", OLD, None), (4, None, None, "old-2"))
    renewed = shop.renew()
    assert {"1": "acc-1", "4": "acc-2"} == renewed.tokens
    assert ["old-1", "old-2"] == shop.endpoint.used
    assert (2, 0, 0, 0) == counts(renewed)
    assert [True, True, False, True] == [car.token_alive for car in shop.cars()]
    assert "acc-1" not in repr(renewed)


def test_nothing_to_renew_asks_nothing(shop: Shop) -> None:
    """Without such cars Smartcar is not asked."""
    fleet(shop.url, (1, "a", YOUNG, "old-1"), (2, "b", OLD, None))
    assert Renewed() == shop.renew()
    assert [] == shop.server.asked


def test_a_token_of_several_cars_is_refreshed_once(shop: Shop) -> None:
    """A user's token in several rows is used once, and all of them get the pair, those that nobody asked about too."""
    fleet(shop.url, *((number, "a", OLD, "old-1") for number in (1, 2, 3)))
    cars = [car for car in shop.cars() if car.local_vehicle_id != "3"]
    assert {"1": "acc-1", "2": "acc-1"} == shop.renew(cars=cars).tokens
    assert ["old-1"] == shop.endpoint.used
    assert [(number, "acc-1", "ref-1") for number in (1, 2, 3)] == stored(shop.url)


# --- stored before used ------------------------------------------------------------------------------------


def test_a_pair_is_in_the_database_before_its_token_is_sent(shop: Shop) -> None:
    """When a new access token first arrives at V2, the database already holds the pair it came with."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    held: list[bool] = []

    def user(asked: Asked) -> Answer:
        token = asked.headers["authorization"].removeprefix("Bearer ")
        held.append((1, token, token.replace("acc", "ref")) in stored(shop.url))
        return Answer({"id": uid("u")})

    shop.server.play("/v2.0/user", user)
    V2(shop.transport, shop.server.url).user(shop.renew().tokens["1"])
    assert [True] == held
    assert ["/oauth/token", "/v2.0/user"] == shop.server.paths()


def test_a_pair_is_in_the_database_before_the_next_is_asked_for(shop: Shop) -> None:
    """Whatever happens at the second refresh, the first pair is kept."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"))
    seen: list[list[tuple[Any, ...]]] = []
    shop.endpoint.before = lambda: seen.append(stored(shop.url))
    shop.renew()
    assert [(1, "a", "old-1"), (2, "b", "old-2")] == seen[0]
    assert [(1, "acc-1", "ref-1"), (2, "b", "old-2")] == seen[1]


def test_a_failed_commit_is_tried_again(shop: Shop) -> None:
    """A pair that can't be stored at first is stored as soon as the database lets it, and only then used."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.endpoint.before = lambda: run(shop.url, "ALTER TABLE vehicles RENAME TO away")
    renewed = shop.renew(sleep=lambda _: run(shop.url, "ALTER TABLE away RENAME TO vehicles"))
    assert ({"1": "acc-1"}, [(1, "acc-1", "ref-1")]) == (renewed.tokens, stored(shop.url))


def test_a_pair_that_can_not_be_stored_is_told(shop: Shop) -> None:
    """After a minute the sentence names the row; nothing more is asked for, and no token is in it."""
    fleet(shop.url, (7, "a", OLD, "old-1"), (8, "b", OLD, "old-2"))
    shop.endpoint.before = lambda: run(shop.url, "ALTER TABLE vehicles RENAME TO away")
    with pytest.raises(DatabaseError, match="the new tokens of vehicle 7 could not be stored") as caught:
        shop.renew(sleep=lambda _: None)
    assert ["old-1"] == shop.endpoint.used
    assert [] == [token for token in ("old-1", "acc-1", "ref-1") if token in str(caught.value)]


def test_an_account_that_may_only_read_asks_for_nothing(shop: Shop) -> None:
    """Without the right to write tokens none is asked for: it would be lost."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    with pytest.raises(DatabaseError, match="needs the right UPDATE"):
        shop.renew(read_only(shop.url))
    assert [] == shop.server.asked


# --- others who write --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [True, False])
def test_the_companys_own_application_may_be_faster(shop: Shop, alive: bool) -> None:
    """Where it refreshed while Smartcar was asked, its pair stays, and its token is used if it lives."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    theirs = "UPDATE vehicles SET vehicle_access_token = 'theirs', renewal = 'their-refresh', token_created_at = :at"
    at = (YOUNG if alive else OLD).isoformat(" ")
    shop.endpoint.before = lambda: run(shop.url, theirs, at=at)
    renewed = shop.renew()
    assert ({"1": "theirs"} if alive else {}) == renewed.tokens
    assert ((1, 0, 0, 0) if alive else (0, 0, 1, 0)) == counts(renewed)
    assert [(1, "theirs", "their-refresh")] == stored(shop.url)


def test_what_was_renewed_since_the_cars_were_read_is_used(shop: Shop) -> None:
    """Rows are read again under the lock: living tokens are used without a call, rows without one have failed."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"), (3, "c", OLD, "old-1"))
    cars = shop.cars()
    run(
        shop.url,
        "UPDATE vehicles SET vehicle_access_token = 'theirs', token_created_at = :at WHERE id = 1",
        at=YOUNG.isoformat(" "),
    )
    run(shop.url, "DELETE FROM vehicles WHERE id = 2", "UPDATE vehicles SET renewal = NULL WHERE id = 3")
    renewed = shop.renew(cars=cars)
    assert ({"1": "theirs"}, (1, 0, 2, 0)) == (renewed.tokens, counts(renewed))
    assert [] == shop.server.asked


def test_two_runs_at_once_use_a_token_once(shop: Shop) -> None:
    """Of two runs that start together one refreshes; the other finds the lock held, or the token renewed."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.expand()
    gate = threading.Barrier(2, timeout=20)
    read = [shop.cars() for _ in range(2)]

    def go(number: int) -> Renewed:
        gate.wait()
        return shop.renew(run_id=f"run-{number}", cars=read[number])

    with ThreadPoolExecutor(2) as executor:
        both = {counts(one) for one in executor.map(go, range(2))}
    assert ["old-1"] == shop.endpoint.used
    assert [(1, "acc-1", "ref-1")] == stored(shop.url)
    assert {(1, 0, 0, 0)} <= both <= {(1, 0, 0, 0), (0, 0, 0, 1)}


def test_a_run_that_starts_while_another_asks_does_not_ask(shop: Shop) -> None:
    """While one run waits for Smartcar's answer, a second leaves all its cars untried."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"))
    shop.expand()
    inner: list[Renewed] = []
    shop.endpoint.before = lambda: inner or inner.append(shop.renew(run_id="second"))
    assert (2, 0, 0, 0) == counts(shop.renew(run_id="first"))
    assert [(0, 0, 0, 2)] == [counts(one) for one in inner]
    assert ["old-1", "old-2"] == shop.endpoint.used


def test_a_lock_that_is_lost_ends_the_renewing(shop: Shop) -> None:
    """Where another run took the lock over meanwhile, what was renewed counts and the rest is not tried."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"))
    shop.expand()
    shop.endpoint.before = lambda: run(shop.url, f"UPDATE {t.fences.name} SET run_id = 'another'")
    assert (1, 0, 0, 1) == counts(shop.renew())
    assert ["old-1"] == shop.endpoint.used


def test_a_held_lock_is_left_to_its_holder(shop: Shop) -> None:
    """A writer of the company's tables keeps its lock, and after it the next run renews."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.expand()
    with locks.lock(shop.ledger(shop.company()), locks.WRITER, "apply"):
        assert (0, 0, 0, 1) == counts(shop.renew())
    assert (1, 0, 0, 0) == counts(shop.renew())


# --- Smartcar's answers ------------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_again_and_stored(shop: Shop) -> None:
    """Smartcar rotated and its answer was lost: the old refresh token is used again at once, within its grace."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.endpoint.lost = 2
    assert {"1": "acc-3"} == shop.renew().tokens
    assert (["old-1"] * 3, [(1, "acc-3", "ref-3")]) == (shop.endpoint.used, stored(shop.url))


def test_answers_that_stay_lost_are_a_failure_of_that_user(shop: Shop) -> None:
    """After three lost answers the user's cars have failed, the row is as it was, and the next run goes on."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.endpoint.lost = 3
    assert (0, 0, 1, 0) == counts(shop.renew())
    assert [(1, "a", "old-1")] == stored(shop.url)
    assert {"1": "acc-4"} == shop.renew().tokens


def test_a_user_who_must_connect_again_is_asked_for_once(shop: Shop) -> None:
    """A refused refresh token is counted, kept by a digest and not tried again, until the row has another."""
    fleet(shop.url, (1, "a", OLD, "dead-PLANT"), (2, "a", OLD, "dead-PLANT"), (3, "b", OLD, "old-2"))
    assert (1, 2, 0, 0) == counts(shop.renew())
    assert (0, 2, 0, 0) == counts(shop.renew())
    assert ["dead-PLANT", "old-2"] == shop.endpoint.used
    kept = shop.refusals()
    assert {"1", "2"} == set(kept) and "PLANT" not in repr(kept)
    run(shop.url, "UPDATE vehicles SET renewal = 'old-1' WHERE id = 1")
    assert {"1": "acc-2"} == shop.renew().tokens


def test_another_applications_refusal_is_not_kept_against_anybody(shop: Shop) -> None:
    """A token refused under a wrong SMARTCAR_APPLICATION_ID is tried again under the right one."""
    fleet(shop.url, (1, "a", OLD, "old-1"))
    shop.endpoint.known.clear()
    assert (0, 1, 0, 0) == counts(shop.renew(application=APPLICATION.replace("1b", "2b")))
    shop.endpoint.known.add("old-1")
    assert (1, 0, 0, 0) == counts(shop.renew())


def test_a_refusal_after_the_application_was_faster_is_none(shop: Shop) -> None:
    """Where the old token is dead because the company's application used it meanwhile, its new one is used."""
    fleet(shop.url, (1, "a", OLD, "dead"))
    theirs = "UPDATE vehicles SET vehicle_access_token = 'theirs', renewal = 'new', token_created_at = :at"
    shop.endpoint.before = lambda: run(shop.url, theirs, at=YOUNG.isoformat(" "))
    assert {"1": "theirs"} == shop.renew().tokens
    assert {} == shop.refusals()


def test_a_failed_user_stops_nobody_else(shop: Shop) -> None:
    """An error of one user's refresh is counted, and the others are renewed."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"))
    shop.server.play("/oauth/token", Answer({"error": "unauthorized_client"}, 403), shop.endpoint)
    assert (1, 0, 1, 0) == counts(shop.renew())


def test_a_refused_application_ends_it(shop: Shop) -> None:
    """The application's own refused pair is no user's fault: one call, and it is raised."""
    fleet(shop.url, (1, "a", OLD, "old-1"), (2, "b", OLD, "old-2"))
    shop.server.play("/oauth/token", Answer({"error": "invalid_client"}, 401))
    with pytest.raises(AuthenticationError, match="SMARTCAR_V2_CLIENT_SECRET"):
        shop.renew()
    assert 1 == len(shop.server.asked)


# --- sealed ------------------------------------------------------------------------------------------------


def test_sealed_tokens_stay_sealed(shop: Shop) -> None:
    """Sealed twice to two texts, a token is still refreshed once; what is stored is sealed, what is used is not."""
    salts = itertools.count(1)
    shop.vault = Vault(lambda text: text.split(":")[1][::-1], lambda token: f"salt{next(salts)}:{token[::-1]}")
    shop.keys |= {"open_token": "m:f", "seal_token": "m:g"}
    fleet(shop.url, (1, "s:a", OLD, "sa:1-dlo"), (2, "s:a", OLD, "sb:1-dlo"), (3, "s:a", OLD, "s:2-dlo"))
    cars = [car for car in shop.cars() if car.local_vehicle_id == "1"]
    assert {"1": "acc-1"} == shop.renew(cars=cars).tokens
    assert ["old-1"] == shop.endpoint.used
    first, second, third = stored(shop.url)
    assert first[1:] == second[1:] and first[1].endswith(":1-cca") and first[2].endswith(":1-fer")
    assert (3, "s:a", "s:2-dlo") == third


def test_a_refresh_token_that_can_not_be_opened_is_a_failure(shop: Shop) -> None:
    """Such a car has failed, the others are renewed."""
    shop.vault = Vault(Opener(), seal)
    shop.keys |= {"open_token": "m:f", "seal_token": "m:g"}
    fleet(shop.url, (1, "?", OLD, "no base64"), (2, "?", OLD, seal("old-1")))
    renewed = shop.renew()
    assert ({"2": "acc-1"}, (1, 0, 1, 0)) == (renewed.tokens, counts(renewed))


def test_a_refusal_of_every_refresh_token_is_kept_against_nobody(shop: Shop) -> None:
    """As with a wrong `open_token`: ten are tried, none is noted as refused; once they are taken, all are renewed."""
    fleet(shop.url, *((number, "a", OLD, f"ref-of-{number}") for number in range(1, 13)))
    assert (0, 0, 10, 2) == counts(shop.renew())
    assert (10, {}) == (len(shop.endpoint.used), shop.refusals())
    shop.endpoint.known |= {f"ref-of-{number}" for number in range(1, 13)}
    assert (12, 0, 0, 0) == counts(shop.renew())
