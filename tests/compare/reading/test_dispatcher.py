"""Reading a fleet in other processes: the same table, units and bounds as with threads in one."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, Compare, open_comparison
from smartcar_ops.compare.reading.worker import RemoteRecorder, WorkItem
from smartcar_ops.errors import AuthenticationError, DatabaseError, ParameterError, SmartcarOpsError
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import CONTEXT

USERS = 40


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    """Two worker processes, for every test of the module."""
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as executor:
        yield executor


def asked_house(make_house: Callable[..., House], kind: str = "sqlite", **options: Any) -> House:
    """A company whose vehicles are linked."""
    house = make_house(kind, users=USERS, **options).expand().play_callbacks()
    house.ask()
    return house


def comparing(house: House, **options: Any) -> Compare:
    """A comparison of the whole fleet in a session of its own."""
    return open_comparison(Session(NOTEBOOK, house.settings), **{"vehicles": 0, **options})


def told(compare: Compare) -> dict[tuple[str, str], str]:
    """(local vehicle, field) -> verdict."""
    found = compare.result.fields.frame()
    return dict(zip(zip(found["local_vehicle_id"], found["field"], strict=True), found["verdict"], strict=True))


def units(compare: Compare) -> dict[str, int]:
    """Units spent by API; the application's token is free, and each process asks for its own."""
    return {api: count for api, count in compare.session.transport.spent.items() if api != "iam"}


def arrived(house: House) -> Counter[str]:
    """How often each kind of request came in at the sandbox."""
    return Counter(path.rsplit("/", 1)[-1] for _, _, path in house.sandbox.arrivals)


@pytest.mark.parametrize(
    "kind", [kind if kind == "sqlite" else pytest.param(kind, marks=pytest.mark.slow) for kind in DATABASES]
)
def test_processes_find_what_threads_find(make_house: Callable[..., House], workers: Executor, kind: str) -> None:
    """The same verdicts for the same units, on a ledger of every kind, and each token is asked once by whoever."""
    house = asked_house(make_house, kind)
    house.execute("DELETE FROM smartcar_ops_tokens")
    threads = comparing(house)
    threads.read()
    house.execute("DELETE FROM smartcar_ops_tokens")
    processes = comparing(house, fresh=True)
    said: list[tuple[int, int]] = []
    processes.read(lambda done, of: said.append((done, of)), workers, remote=True)
    assert len(processes.chosen) > 15
    assert told(threads) == told(processes)
    assert units(threads) == units(processes)
    assert (len(processes.chosen), len(processes.chosen)) == said[-1]
    assert processes.result.complete
    assert threads.user_token_on_v3 == processes.user_token_on_v3


def test_two_comparisons_of_one_session_share_no_reading(make_house: Callable[..., House]) -> None:
    """Asked for a fresh reading again, in JupyterLab or in the same second, each vehicle is read again."""
    house = asked_house(make_house)
    session = Session(NOTEBOOK, house.settings)
    before, counts = arrived(house), list[Counter[str]]()
    for _ in range(2):
        open_comparison(session, vehicles=0, fresh=True).read()
        counts.append(arrived(house) - before)
        before = arrived(house)
    assert counts[0]["signals"] == counts[1]["signals"] > 15


def test_the_workers_calls_are_in_the_runs_record(make_house: Callable[..., House], workers: Executor) -> None:
    """Every request that came in at the sandbox is one of the session's calls."""
    house = asked_house(make_house)
    before = arrived(house)
    compare = comparing(house)
    compare.read(executor=workers, remote=True)
    recorded = Counter(call.template.rsplit("/", 1)[-1] for call in compare.session.transport.calls)
    assert arrived(house) - before == recorded


def test_max_calls_holds_for_all_workers_together(make_house: Callable[..., House], workers: Executor) -> None:
    """No unit more is spent than the run may, the rest is listed as not read, and the next run goes on from there."""
    house = asked_house(make_house)
    first = comparing(house, max_calls=200)
    first.read(executor=workers, remote=True)
    spent = sum(units(first).values())
    assert 150 < spent <= 200
    states = Counter(first.result.vehicles.frame()["state"])
    assert {"read", "not_read"} == set(states)
    assert len(first.chosen) == sum(states.values())
    second = comparing(house)
    second.read(executor=workers, remote=True)
    assert states["not_read"] == len(second.to_read)
    assert second.result.complete
    assert len(first.chosen) == second.result.read


def test_the_last_units_are_tried_on_one_vehicle(make_house: Callable[..., House], workers: Executor) -> None:
    """Fewer units than a vehicle can cost are not left lying, and not exceeded."""
    compare = comparing(asked_house(make_house), max_calls=5)
    compare.read(executor=workers, remote=True)
    assert 0 < sum(units(compare).values()) <= 5
    assert not compare.result.complete


def test_an_allowance_that_is_spent_ends_the_handing_out(make_house: Callable[..., House], workers: Executor) -> None:
    """Where no refill comes within max_minutes, what was not reached is listed; together no more than the bucket."""
    house = asked_house(make_house)
    house.environment |= {"SMARTCAR_ALLOWANCE_BURST": "120", "SMARTCAR_ALLOWANCE_PER_MINUTE": "0.01"}
    house.settings = house.read_settings()
    compare = comparing(house, max_minutes=0.01)
    compare.read(executor=workers, remote=True)
    assert 80 < sum(units(compare).values()) <= 120
    assert 0 < compare.result.not_read < len(compare.chosen)


def test_a_refused_application_ends_the_run(make_house: Callable[..., House], workers: Executor) -> None:
    """A client secret that Smartcar refuses is raised as with threads, and nothing is judged."""
    house = asked_house(make_house)
    house.environment["SMARTCAR_CLIENT_SECRET"] = "rotated"
    house.settings = house.read_settings()
    with pytest.raises(AuthenticationError, match="refused the credentials"):
        comparing(house).read(executor=workers, remote=True)


def test_a_batch_given_out_again_costs_nothing(house: House) -> None:
    """Vehicles of the slice that are kept already count as read: the second worker sends no call."""
    house.ask()
    compare = comparing(house)
    compare.read()
    recorder = RemoteRecorder(house.settings, compare.fields, compare.slice.name, house.now.timestamp() + 60)
    compare._recordings.remember_slice({"name": compare.slice.name, "wish": {}})
    pairs = tuple(compare.chosen)
    first = recorder(WorkItem(pairs, max_calls=10))
    assert ({pair.key for pair in pairs}, (), 9) == (first.keys, first.calls, first.units)


def test_a_worker_with_another_ledger_is_refused(make_house: Callable[..., House], workers: Executor) -> None:
    """A worker that would keep its recordings elsewhere keeps none, and names the remedy."""
    house = asked_house(make_house)
    recorder = RemoteRecorder(house.settings, comparing(house).fields, "a slice nobody opened", 0.0)
    with pytest.raises(DatabaseError, match="phase expand"):
        workers.submit(recorder, WorkItem(())).result()


def test_workers_that_are_gone_are_told_in_a_sentence(make_house: Callable[..., House]) -> None:
    """An executor that lost its processes ends the run with what to do next."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as executor:
        executor.submit(pow, 2, 2).result()
        for process in list(executor._processes.values()):
            process.kill()
            process.join()
        with pytest.raises(SmartcarOpsError, match="lost its workers"):
            comparing(asked_house(make_house)).read(executor=executor, remote=True)


def test_nothing_secret_is_shown_of_what_travels(house: House) -> None:
    """Neither the recorder nor a task shows a token or a secret, and a worker gets no secret that it has no use for."""
    house.ask()
    compare = comparing(house)
    settings = house.read_settings(SMARTCAR_MANAGEMENT_TOKEN="first-plant,second-plant")
    recorder = RemoteRecorder(settings, compare.fields, "slice", 0.0)
    shown = repr(recorder) + repr(WorkItem(tuple(compare.chosen)))
    travels = pickle.dumps(recorder)
    credentials = settings.credentials
    secrets = [pair.token for pair in compare.chosen if pair.token]
    assert secrets
    assert [] == [secret for secret in [*secrets, credentials.client_secret.get_secret_value()] if secret in shown]
    assert 2 == len(settings.credentials.management_tokens)
    assert b"-plant" not in travels


@pytest.mark.parametrize("options", [{"show_private": True}, {}])
def test_remote_is_for_a_fleet_and_an_executor(house: House, options: dict[str, Any], workers: Executor) -> None:
    """One vehicle, private values, or no executor: known wrong before anything is sent."""
    house.ask()
    with pytest.raises(ParameterError, match="remote needs an executor"):
        comparing(house, **options).read(executor=workers if options else None, remote=True)


def test_workers_before_expand_share_the_ledgers_file(
    make_house: Callable[..., House], workers: Executor, tmp_path: Path
) -> None:
    """Without columns of its own the ledger is a file beside the reports, which every process of the machine uses."""
    house = make_house(users=USERS)
    house.ask()
    compare = comparing(house)
    compare.read(executor=workers, remote=True)
    assert (len(compare.chosen), True) == (compare.result.read, compare.result.complete)
    assert not compare.session.ledger.in_database
