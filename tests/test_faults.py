"""Every fault the sandbox plays, through real HTTP: what the kit does under it, and that its data stay right."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import stamina

from smartcar_ops.compare.recording import Recording
from smartcar_ops.errors import (
    AuthenticationError,
    BillingError,
    NotFoundError,
    NotPermittedError,
    NotSmartcarError,
    SmartcarError,
)
from smartcar_ops.sandbox.api.churn import Shifts
from smartcar_ops.sandbox.faults.faults import FAULTS
from smartcar_ops.sandbox.fleet.model import LIVE
from smartcar_ops.sandbox.server import Sandbox, running
from smartcar_ops.sandbox.world import World, build_world
from smartcar_ops.settings.credentials import Credentials
from smartcar_ops.smartcar.auth import ApplicationToken
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.inbound import read_redirect
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.smartcar.v3 import V3
from tests.support.house import House
from tests.support.recorded import judged, readable, record

SAME = (
    "mode-default-live",
    "unknown-filter-400",
    "page-max-50",
    "empty-page-size-zero",
    "signals-paged",
    "unsubscribed-404",
    "next-relative",
    "old-envelope",
    "wrong-user-403",
    "missing-user-accepted",
    "user-token-on-v3",
    "token-expires",
    "rate-limit",
    "rate-limit-no-retry-after",
    "vehicle-rate-limit",
    "drop-connection",
    "server-500",
    "slow",
    "cached-error-bodies",
    "epoch-times",
    "imperial",
    "flat-errors",
    "refresh-grace-60",
    "triggers-under-data",
    "redirect-userId",
    "redirect-both",
    "redirect-no-code",
)
"""Faults under which an audit must come to the very same buckets."""

LESS = (
    "no-user-attribute",
    "ids-undefined",
    "two-users-in-a-row",
    "signal-404",
    "empty-store",
    "success-with-nulls",
    "listed-but-404",
    "billing-430",
    "v2-off",
)
"""Faults that take evidence away: fewer users can be filled in, and none wrongly."""

ROUNDS = 6
"""How often everything is asked at most, until no question is open."""

ELSEWHERE = {"token-html", "next-other-host", "pages-shift", "rows-without-mode", "two-external-ids"}
"""Faults with a test of their own below."""


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Retries come at once, as many as always."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


class Clients:
    """A running sandbox and the kit's clients on it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.transport = sandbox, Transport()
        known = sandbox.world.credentials
        given = Credentials(client_id=known.client_id, client_secret=known.client_secret)  # type: ignore[arg-type]
        self.v3 = V3(self.transport, sandbox.url, ApplicationToken(self.transport, sandbox.url, given))
        self.v2 = V2(self.transport, sandbox.url)


@pytest.fixture(scope="module")
def world() -> World:
    """130 users, so that their connections are two pages."""
    return build_world(130)


@pytest.fixture
def play(world: World) -> Iterator[Callable[..., Clients]]:
    """Starts a sandbox with faults and the clients on it."""
    opened: list[tuple[Any, Clients]] = []

    def start(*faults: str, **options: Any) -> Clients:
        context = running(options.pop("world", world), faults, **options)
        opened.append((context, Clients(context.__enter__())))
        return opened[-1][1]

    yield start
    for context, clients in opened:
        clients.transport.close()
        context.__exit__(None, None, None)


def keys(connections: Any) -> set[tuple[str, str]]:
    """(user, vehicle) of the live ones."""
    return {(row.user_id, row.vehicle_id) for row in connections if row.mode == LIVE}


def buckets(house: House, rounds: int = ROUNDS) -> dict[str, str]:
    """user -> bucket, after every source was asked until nothing is open but what no fault explains.

    Until then every asking says that it is not complete.
    """
    broken = {token.text for token in house.world.tokens.values() if token.behaviour == "broken"}
    silent = {str(vehicle.id) for vehicle in house.world.vehicles if vehicle.token in broken}
    for _ in range(rounds):
        asked = house.ask()
        open_ = {one.subject for questions in asked.open.values() for one in questions} - silent
        if not open_:
            break
        assert not asked.complete
    users = house.audit().users
    return dict(zip(users["user_id"], users["bucket"], strict=True))


def expected(house: House) -> dict[str, str]:
    """user -> bucket, by the sandbox's truth."""
    return {row["user_id"]: row["bucket_uncalled"] for row in house.truth["users"]}


def ready(house: House) -> dict[str, str]:
    """user -> id, of those that can be filled in, by the sandbox's truth."""
    users = house.truth["users"]
    return {row["user_id"]: row["smartcar_user_id"] for row in users if row["bucket_uncalled"] == "ready"}


def test_every_fault_has_a_test() -> None:
    """A fault that the sandbox gets without a test here is seen at once."""
    assert set(FAULTS) == {*SAME, *LESS, *ELSEWHERE}


@pytest.mark.parametrize("fault", SAME)
def test_an_audit_comes_to_the_same_buckets(make_house: Callable[..., House], fault: str) -> None:
    """Under this fault every user is in the bucket of the truth, the plan fills in the ids of the truth, and every
    connection is found once."""
    house = make_house(users=30, faults=[fault]).expand()
    assert expected(house) == buckets(house)
    plan = house.plan().rows
    proposed = plan[(plan["table"] == "users") & (plan["decision"] == "set")]
    assert ready(house) == dict(zip(proposed["user_id"], proposed["proposed"], strict=True))
    listed = [(row["smartcar_user_id"], row["vehicle_id"]) for row in house.ledger.connections()]
    assert sorted(keys(house.world.connections)) == sorted(listed)


@pytest.mark.parametrize("fault", LESS)
def test_missing_evidence_never_becomes_wrong_evidence(make_house: Callable[..., House], fault: str) -> None:
    """Whoever is ready under this fault is ready in truth, with the right id; nobody is invented."""
    house = make_house(users=30, faults=[fault]).expand()
    found, truth = buckets(house, 2), {row["user_id"]: row for row in house.truth["users"]}
    plan = house.plan().rows
    proposed = plan[(plan["table"] == "users") & (plan["decision"] == "set")]
    assert 0 < len(proposed)
    given = dict(zip(proposed["user_id"], proposed["proposed"], strict=True))
    assert {} == {user: id for user, id in given.items() if truth[user]["smartcar_user_id"] not in (id, None)}
    assert Counter(found.values())["ready"] <= Counter(expected(house).values())["ready"]


def test_faults_together(make_house: Callable[..., House]) -> None:
    """An older envelope with other times, relative links, small pages and flat errors changes nothing either."""
    together = ["old-envelope", "epoch-times", "next-relative", "page-max-50", "flat-errors"]
    house = make_house(users=30, faults=together).expand()
    assert expected(house) == buckets(house)


@pytest.mark.parametrize("faults", [["imperial"], ["epoch-times"], ["rate-limit"], ["old-envelope"]], ids=str)
def test_a_comparison_finds_no_difference_that_is_none(make_house: Callable[..., House], faults: list[str]) -> None:
    """Miles for kilometres, epoch times, limits and the older envelope make no field differ that did not."""
    house = make_house(users=30, faults=faults).expand().play_callbacks()
    house.ask()
    recordings: list[Recording] = []
    record(house, readable(house), recordings)
    table = judged(house, recordings).fields
    lost = table[table["lost"]]
    planted = {(row["local_vehicle_id"], row["field"]) for row in house.truth["differences"] if row["planted"]}
    assert recordings
    invented = [row for row in lost.to_dict("records") if (row["local_vehicle_id"], row["field"]) not in planted]
    assert [] == invented
    odometers = table[table["field"] == "odometer"]["verdict"].value_counts()
    assert (odometers.get("converted", 0) > odometers.get("equal", 0)) == (faults == ["imperial"])


def verdicts(house: House) -> dict[tuple[str, str], str]:
    """(vehicle, field) -> verdict, of every vehicle that can be read."""
    recordings: list[Recording] = []
    record(house, readable(house), recordings)
    table = judged(house, recordings).fields
    return dict(zip(zip(table["vehicle_id"], table["field"], strict=True), table["verdict"], strict=True))


def test_signals_in_pages_are_judged_like_all_at_once(make_house: Callable[..., House]) -> None:
    """Pages of ten change no verdict of any field, and cost a unit each."""
    houses = [make_house(users=30, faults=faults).expand().play_callbacks() for faults in ([], ["signals-paged"])]
    whole, paged = [house.ask() and verdicts(house) for house in houses]
    assert whole and whole == paged
    reads = [sum(call.template.endswith("/signals") for call in house.transport.calls) for house in houses]
    assert reads[1] > 2 * reads[0]


def test_what_nobody_feeds_is_said_so(make_house: Callable[..., House]) -> None:
    """Whether V3 has an empty list or 404 of a vehicle without a subscription: nobody feeds it, and that is an
    answer."""
    said = {}
    for fault in ("unsubscribed-404", "empty-store"):
        house = make_house(users=40, faults=[fault]).expand().play_callbacks()
        house.ask()
        recordings: list[Recording] = []
        unsubscribed = [pair for pair in readable(house) if pair.subscribed is False]
        reached = record(house, unsubscribed, recordings)
        table = judged(house, recordings).fields
        said[fault] = set(table.loc[table["v2_value"].notna() & (table["verdict"] == "unavailable"), "reason"])
        assert unsubscribed and {} == reached.unanswered
        assert all(found.answered for found in recordings)
    assert {"this vehicle has no webhook subscription, so V3 has no data for it"} == set.union(*said.values())


def test_a_page_of_html_for_a_token(play: Callable[..., Clients]) -> None:
    """The token endpoint's sign-in page is said to be no JSON, with the setting to check; nothing else is sent."""
    clients = play("token-html")
    with pytest.raises(NotSmartcarError, match=r"text/html.*Check SMARTCAR_IAM_ORIGIN"):
        clients.v3.connections("live")
    assert ["/oauth2/token"] == [path for _, _, path in clients.sandbox.arrivals]


def test_a_link_to_another_host_is_not_followed(play: Callable[..., Clients]) -> None:
    """The next page elsewhere is an error that names the host, and no request."""
    clients = play("next-other-host")
    with pytest.raises(NotSmartcarError, match="another host"):
        clients.v3.connections("live")
    assert 1 == sum(call.api == "v3" for call in clients.transport.calls)


def test_connections_come_and_go_while_ten_thousand_are_paged(play: Callable[..., Clients]) -> None:
    """50 arrive and 20 leave: none that is there is missed, none comes twice, at most 110 units: a call a page, the
    front once more, and one for each of the moments at which people left."""
    many = build_world(7870)
    clients = play("pages-shift", world=many, shifts=Shifts(arrive=50, leave=20))
    before = keys(clients.sandbox.connections)
    listing = clients.v3.connections("live")
    assert 10_000 <= len(before)
    assert (50, 20) == (len(clients.sandbox.arrived), len(clients.sandbox.left))
    assert set() == keys(clients.sandbox.connections) - keys(listing.connections)
    assert len(listing.connections) == len(keys(listing.connections))
    assert keys(listing.connections) <= before | keys(clients.sandbox.connections)
    assert listing.complete
    assert clients.transport.spent["v3"] <= 110


def test_a_page_size_that_is_not_obeyed(play: Callable[..., Clients]) -> None:
    """Pages of 50 instead of 100 cost more calls and lose nothing."""
    clients = play("page-max-50")
    listing = clients.v3.connections("live")
    assert keys(clients.sandbox.connections) == keys(listing.connections)
    assert -(-len(listing.connections) // 50) == clients.transport.spent["v3"]


def test_a_user_filter_that_is_ignored_is_a_loud_failure(play: Callable[..., Clients], world: World) -> None:
    """One user's connections are that user's alone; the guide's misspelt filter would bring everybody's."""
    clients = play()
    person = next(row for row in world.connections if row.mode == LIVE)
    mine = clients.v3.connections_of("live", user_id=person.user_id)
    assert {person.user_id} == {row.user_id for row in mine}
    ignored = clients.v3._page(None, {"filter[user_id]": person.user_id})
    assert 1 < len({row["relationships"]["user"]["data"]["id"] for row in ignored.rows})
    strict = play("unknown-filter-400")
    with pytest.raises(SmartcarError) as caught:
        strict.v3._page(None, {"filter[user_id]": person.user_id})
    assert 400 == caught.value.status
    assert keys(mine) == keys(strict.v3.connections_of("live", user_id=person.user_id))


@pytest.mark.parametrize(("faults", "error"), [((), NotFoundError), (("wrong-user-403",), NotPermittedError)])
def test_another_users_car(play: Callable[..., Clients], world: World, faults: tuple[str, ...], error: Any) -> None:
    """Whether the service says 404 or 403, nobody's car is read for somebody else."""
    first, second = [row for row in world.connections if row.mode == LIVE][:2]
    with pytest.raises(error):
        play(*faults).v3.signals(first.vehicle_id, second.user_id)


def test_a_user_token_on_v3(play: Callable[..., Clients], world: World) -> None:
    """V3 refuses a V2 user's token unless the fault lets it in; the kit sends only its own there."""
    token = next(vehicle.token for vehicle in world.vehicles if vehicle.token_alive)
    for clients, status in ((play(), 401), (play("user-token-on-v3"), 200)):
        headers = {"authorization": f"Bearer {token}"}
        assert status == httpx.get(f"{clients.sandbox.url}/v3/connections", headers=headers).status_code


def test_a_plan_that_allows_no_more(play: Callable[..., Clients], world: World) -> None:
    """430 is a BillingError at once: one request, never repeated."""
    clients = play("billing-430")
    row = next(row for row in world.connections if row.mode == LIVE)
    with pytest.raises(BillingError, match="the plan does not allow"):
        clients.v3.signals(row.vehicle_id, row.user_id)
    assert 1 == sum(call.api == "v3" for call in clients.transport.calls)


def test_an_expired_token_in_mid_run(play: Callable[..., Clients]) -> None:
    """A token refused before its time is renewed once and the call repeated."""
    clients = play("token-expires")
    clients.v3.connections_page("live")
    clients.v3._token._token = "expired"
    assert 0 < clients.v3.connections_page("live")
    assert 2 == clients.transport.spent["iam"]


def test_v2_that_is_switched_off(play: Callable[..., Clients], world: World) -> None:
    """Every V2 call fails with the status V2 gives; V3 is not concerned."""
    clients = play("v2-off")
    token = next(vehicle.token for vehicle in world.vehicles if vehicle.token_alive)
    with pytest.raises(SmartcarError) as caught:
        clients.v2.user(token)
    assert (410, "VERSION") == (caught.value.status, caught.value.code)
    assert clients.v3.connections_page("live")


@pytest.mark.parametrize("fault", ["", "redirect-userId", "redirect-no-code"])
def test_whose_consent_a_redirect_tells(play: Callable[..., Clients], fault: str) -> None:
    """In either spelling, with a code or without, the redirect names the person who consented."""
    clients = play(*filter(None, [fault]))
    person = next(row.user_id for row in clients.sandbox.world.connections if row.mode == LIVE)
    redirect = read_redirect(authorise(clients, pretend_user=person))
    assert (person, "s-1", None) == (redirect.user_id, redirect.state, redirect.error)
    assert (redirect.code is None) == (fault == "redirect-no-code")


def test_a_redirect_that_contradicts_itself_is_refused(play: Callable[..., Clients]) -> None:
    """Two user ids in one redirect are nobody's."""
    with pytest.raises(NotSmartcarError, match="2 different values for user_id and userId"):
        read_redirect(authorise(play("redirect-both")))


def test_a_refused_consent(play: Callable[..., Clients]) -> None:
    """An error redirect has the error and no user."""
    redirect = read_redirect(authorise(play(), pretend_error="access_denied"))
    assert ("access_denied", None) == (redirect.error, redirect.user_id)


@pytest.mark.parametrize("grace", [60, 600])
def test_a_used_refresh_token_works_within_its_grace(play: Callable[..., Clients], world: World, grace: int) -> None:
    """Within a minute a lost pair can be asked for again under both graces; after it only under the longer."""
    clock = [world.now]
    clients = play(*(["refresh-grace-60"] if grace == 60 else []), clock=lambda: clock[0])
    young = next(vehicle.token for vehicle in world.vehicles if vehicle.token_alive)
    token = world.tokens[young]
    statuses = []
    for seconds in (0, 50, 200):
        clock[0] = world.now + timedelta(seconds=seconds)
        statuses.append(refresh(clients, token.refresh_token))
    assert [200, 200, 400 if grace == 60 else 200] == statuses


def test_a_connection_refused_by_the_application(play: Callable[..., Clients]) -> None:
    """A refused credential is an AuthenticationError that asks whether the secret was rotated."""
    clients = play()
    given = Credentials(client_id="client_other", client_secret="wrong")  # type: ignore[arg-type]
    with pytest.raises(AuthenticationError, match="Was the secret rotated"):
        ApplicationToken(clients.transport, clients.sandbox.url, given)()


def authorise(clients: Clients, **parameters: str) -> str:
    """Where Connect sends the browser."""
    query = {
        "response_type": "code",
        "client_id": clients.sandbox.world.credentials.application_id,
        "redirect_uri": "https://company.example.com/callback",
        "state": "s-1",
        **parameters,
    }
    return httpx.get(f"{clients.sandbox.url}/oauth/authorize", params=query).headers["location"]


def refresh(clients: Clients, token: str) -> int:
    """The status that refreshing a V2 token meets."""
    known = clients.sandbox.world.credentials
    basic = base64.b64encode(f"{known.application_id}:{known.v2_client_secret}".encode()).decode()
    form = {"grant_type": "refresh_token", "refresh_token": token}
    url = f"{clients.sandbox.url}/oauth/token"
    return httpx.post(url, data=form, headers={"authorization": f"Basic {basic}"}).status_code
