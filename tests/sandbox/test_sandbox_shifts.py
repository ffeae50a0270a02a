"""pages-shift: people come and go while the list is read."""

from __future__ import annotations

import time

import pytest

from smartcar_ops.sandbox.api.churn import Shifts
from smartcar_ops.sandbox.api.directory import key_of
from smartcar_ops.sandbox.world import build_world


def key(row):
    """(user id, vehicle id) of a listed connection."""
    relations = row["relationships"]
    return relations["user"]["data"]["id"], relations["vehicle"]["data"]["id"]


def read_all(caller, size=10):
    """Every row met on the way to the last page."""
    url, rows = f"/v3/connections?page%5Bsize%5D={size}", []
    while url:
        page = caller.http.get(url, headers=caller.app).json()
        rows += page["data"]
        url = page["links"]["next"]
    return rows


def test_the_list_shifts_under_a_reader(play, world):
    """People arrive at the front and leave whole; a naive reader meets some twice or misses some."""
    caller = play("pages-shift")
    before = {key_of(c) for c in world.connections}
    rows = [key(row) for row in read_all(caller, 5)]
    sandbox = caller.sandbox
    assert before | set(sandbox.arrived) == {key_of(c) for c in sandbox.connections} | set(sandbox.left)
    assert len(rows) > len(set(rows)) or before - set(sandbox.left) - set(rows)
    gone = {user for user, _ in sandbox.left}
    assert set() == gone & {connection.user_id for connection in sandbox.connections}
    times = [connection.created_at for connection in sandbox.connections]
    assert sorted(times, reverse=True) == times


def test_it_comes_to_rest(play):
    """After the limits nothing changes any more, and what the reader then sees is what there is."""
    caller = play("pages-shift", shifts=Shifts(arrive=12, leave=4))
    for _ in range(200):
        caller.v3("/connections", page__size=1)
    assert (12, 4) == (len(caller.sandbox.arrived), len(caller.sandbox.left))
    assert [key_of(c) for c in caller.sandbox.connections] == [key(row) for row in read_all(caller)]


def test_shifts_are_the_same_for_a_seed(play):
    """The same requests meet the same comings and goings."""
    told = []
    for _ in range(2):
        caller = play("pages-shift")
        read_all(caller, 5)
        told.append((caller.sandbox.arrived, caller.sandbox.left))
    assert told[0] == told[1]


def test_rates(play):
    """About one arrival in two page requests and one leaving in five, people of one to three cars."""
    caller = play("pages-shift", shifts=Shifts(arrive=10_000, leave=10_000), world=build_world(600, 2))
    for _ in range(400):
        caller.v3("/connections", page__size=1)
    assert 0.5 == pytest.approx(len(caller.sandbox.arrived) / 400, abs=0.12)
    assert 0.2 == pytest.approx(len(caller.sandbox.left) / 400, abs=0.08)


def test_arrivals_answer(play):
    """Who arrived can be read like anybody else: vehicle, signals, filters; who left is 404."""
    caller = play("pages-shift", shifts=Shifts(arrive=6, leave=3))
    for _ in range(100):
        caller.v3("/connections", page__size=1)
    user, vehicle = caller.sandbox.arrived[0]
    assert 1 <= caller.v3("/connections", filter__userId=user).json()["meta"]["totalCount"] <= 3
    assert 200 == caller.v3(f"/vehicles/{vehicle}/signals", user).status_code
    user, vehicle = next(pair for pair in caller.sandbox.left if pair not in caller.sandbox.arrived)
    assert 404 == caller.v3(f"/vehicles/{vehicle}/signals", user).status_code


@pytest.mark.slow
def test_ten_thousand_connections_page_quickly(play):
    """A page of a hundred out of ten thousand takes a few milliseconds, not the time of all rows."""
    caller = play("pages-shift", world=build_world(8_500, 1))
    assert len(caller.sandbox.connections) > 9_000
    caller.v3("/connections", page__size=100)
    best = min(_timed(caller, number) for number in range(1, 30))
    assert best < 0.05


def _timed(caller, number):
    before = time.perf_counter()
    assert 200 == caller.v3("/connections", page__size=100, page__number=number).status_code
    return time.perf_counter() - before
