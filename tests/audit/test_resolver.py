"""Asking who is who: what it costs, what it keeps, where it stops, how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from smartcar_ops.audit.sources import AUTO, SOURCES, SourceReport, parse_sources
from smartcar_ops.database.ledger.ledger import EVIDENCE
from smartcar_ops.errors import AuthenticationError, ParameterError
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from tests.support.house import House


def spent(house: House) -> int:
    """Units sent to the two APIs that draw on the allowance."""
    return sum(units for api, units in house.transport.spent.items() if api != "iam")


def known(house: House) -> dict[str, set[tuple[object, ...]]]:
    """The evidence, without the times it was seen at."""
    times = {"seen_at", "asked_at", "first_seen"}
    return {
        table.name: {
            tuple(value for name, value in row.items() if name not in times) for row in house.ledger.rows(table)
        }
        for table in EVIDENCE
    }


def ask_within(house: House, max_calls: int, sources: Iterable[str] = AUTO) -> SourceReport:
    """Asks with a budget of so many units, nothing waited for."""
    budget = Budget(TokenBucket(house.settings.allowance), max_calls=max_calls, max_minutes=0)
    with house.transport.spending(budget):
        return house.ask(sources)


@pytest.mark.parametrize(("users", "seed"), [(40, 1), (60, 0), (120, 3)])
def test_asking_costs_at_most_what_was_said(make_house: Callable[..., House], users: int, seed: int) -> None:
    """The cost shown before the first call is an upper bound of what is spent, and sends nothing itself."""
    house = make_house(users=users, seed=seed).expand()
    said = house.linker().cost(AUTO)
    assert [] == house.transport.calls
    asked = house.ask()
    assert {} == asked.not_read
    assert 0 < spent(house) <= said.total


@pytest.mark.parametrize("source", ["connections", "tokens"])
def test_each_source_costs_at_most_its_share(make_house: Callable[..., House], source: str) -> None:
    """Source by source, what is spent is at most what was said for it."""
    house = make_house(users=60).expand()
    said = house.linker().cost([source])
    house.ask([source])
    assert source in said.units
    assert 0 < spent(house) <= said.total


def test_the_cost_of_vins_is_known_once_the_connections_are(make_house: Callable[..., House]) -> None:
    """With the connections listed and tokens asked, the VINs cost exactly what was said."""
    house = make_house(users=60).expand()
    house.ask(["connections", "tokens"])
    said, before = house.linker().cost(["vins"]).units["vins"], spent(house)
    house.ask(["vins"])
    assert said == spent(house) - before


def test_asking_twice_costs_nothing_but_what_failed(make_house: Callable[..., House]) -> None:
    """A second asking sends only the tokens that V2 did not answer for, twice, and learns nothing new."""
    house = make_house(users=60).expand()
    first = house.ask()
    kept, before = known(house), spent(house)
    second = house.ask()
    assert first.failed["tokens"] > 0
    assert 2 * first.failed["tokens"] == 2 * second.failed["tokens"] == spent(house) - before
    assert kept == known(house)
    assert spent(house) - before <= house.linker().cost(AUTO).total


def test_a_budget_stops_and_later_runs_end_where_one_run_would(make_house: Callable[..., House]) -> None:
    """Run after run with a small budget: what was not reached is said, and the end is that of an unlimited run."""
    whole = make_house(users=60, seed=5).expand()
    whole.ask()
    house = make_house(users=60, seed=5).expand()
    stopped = 0
    for _ in range(40):
        before = spent(house)
        asked = ask_within(house, 17)
        assert spent(house) - before <= 17
        if not asked.not_read:
            break
        stopped += 1
        assert sum(asked.not_read.values()) > 0
        assert "not read (the allowance ran out)" in str(asked)
    else:
        raise AssertionError("never complete")
    assert stopped > 2
    assert [{**row} for row in whole.audit().users.to_dict("records")] == house.audit().users.to_dict("records")
    assert {name: len(rows) for name, rows in known(whole).items()} == {n: len(r) for n, r in known(house).items()}


def test_a_listing_that_the_budget_cuts_is_asked_again_whole(make_house: Callable[..., House]) -> None:
    """With less than a page's budget nothing is taken for listed, and audits say unasked, not reconnect."""
    house = make_house(users=60).expand()
    with house.transport.spending(Budget(TokenBucket(house.settings.allowance), max_calls=1, max_minutes=0)):
        house.v3.connections_page("live")
        asked = house.ask(["connections"])
    assert {"connections": 1} == asked.not_read
    assert 0 == house.audit().counts["reconnect"]
    assert house.ask(["connections"]).complete


def test_failures_are_counted_and_asked_again(make_house: Callable[..., House]) -> None:
    """A fifth of all answers are server errors: they are counted, and asking again until none fails finds all."""
    house = make_house(users=40, faults=["server-500"]).expand()
    failed, truth = 0, house.truth["buckets"]["uncalled"]
    for _ in range(30):
        try:
            asked = house.ask()
        except Exception as error:
            assert 500 == getattr(error, "status", None)
            failed += 1
            continue
        failed += sum(asked.failed.values())
        if house.audit().counts == truth:
            break
    assert 0 < failed
    assert truth == house.audit().counts


def test_one_token_text_is_asked_once(make_house: Callable[..., House]) -> None:
    """Cars that share a token are one question, of two units; one that fails is put once more."""
    house = make_house(users=60).expand()
    living = [car for car in house.company.cars_to_ask(house.now) if car.token_alive]
    distinct = {car.token for car in living}
    assert len(distinct) < len(living)
    failed = house.ask(["tokens"]).failed["tokens"]
    sent = [path for _, _, path in house.sandbox.arrivals if path == "/v2.0/user"]
    assert len(distinct) + failed == len(sent)


def test_old_tokens_are_never_sent(make_house: Callable[..., House]) -> None:
    """A token older than two hours by the company's own column costs nothing."""
    house = make_house(users=60).expand()
    house.execute("UPDATE vehicles SET token_created_at = '2020-01-01 00:00:00'")
    assert "tokens" not in house.linker().cost(AUTO).units
    house.ask()
    assert not [path for _, _, path in house.sandbox.arrivals if path.startswith("/v2.0/")]


def test_refused_application_credentials_end_the_asking(make_house: Callable[..., House]) -> None:
    """Where the application's own credentials are refused, asking raises instead of counting failures."""
    house = make_house(users=40).expand()
    house.environment["SMARTCAR_CLIENT_SECRET"] = "wrong"
    house.settings = house.read_settings()
    from smartcar_ops.smartcar.auth import ApplicationToken
    from smartcar_ops.smartcar.v3 import V3

    token = ApplicationToken(house.transport, house.settings.origins.iam, house.settings.credentials)
    house.v3 = V3(house.transport, house.settings.origins.vehicle_api_v3, token)
    with pytest.raises(AuthenticationError):
        house.ask()


def test_progress_counts_to_the_end(make_house: Callable[..., House]) -> None:
    """Every source reports how many of how many, up to all."""
    house = make_house(users=40).expand()
    heard: dict[str, tuple[int, int]] = {}
    with ThreadPoolExecutor(2) as executor:
        house.linker().ask(AUTO, executor, progress=lambda what, done, of: heard.__setitem__(what, (done, of)))
    assert {"connections", "tokens", "vins"} == set(heard)
    assert all(done == of > 0 for done, of in heard.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", AUTO),
        ("", AUTO),
        ("vins, connections", ("connections", "vins")),
        ("tokens", ("tokens",)),
        ("redirects,webhooks,vins,tokens,management,external_id,connections", SOURCES),
    ],
)
def test_sources_are_read_in_the_order_they_are_asked(text: str, expected: tuple[str, ...]) -> None:
    """`auto` is what the application itself can ask; a list, however it was written, is in the order of asking."""
    assert expected == parse_sources(text)


@pytest.mark.parametrize("text", ["tokenz", "auto,vins,x", "webhook"])
def test_an_unknown_source_is_refused_by_name(text: str) -> None:
    """A source nobody knows is exit 5 with its name."""
    with pytest.raises(ParameterError, match=text.rpartition(",")[2] if "auto" not in text else "auto") as raised:
        parse_sources(text)
    assert 5 == raised.value.exit_code
