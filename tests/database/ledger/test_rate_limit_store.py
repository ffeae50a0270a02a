"""The allowance in the ledger: processes on one database never spend more than it together, and nearly all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartcar_ops.database.ledger.rate_limit_store import SharedStateStore
from smartcar_ops.errors import AllowanceSpentError
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import BucketState, TokenBucket
from tests.smartcar.scripted import Answer, Asked, Scripted
from tests.support import spender
from tests.support.house import House
from tests.support.processes import CONTEXT

BURST, RATE, SECONDS, PROCESSES = 20, 10.0, 5.0, 2


def shared(house: House, allowance: Allowance) -> TokenBucket:
    """A bucket of the house's service, as one more process would open it."""
    return TokenBucket(allowance, SharedStateStore(house.open_ledger(), BucketState))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_two_processes_share_one_allowance(make_house: Callable[..., House], kind: str, tmp_path: Path) -> None:
    """In every window at most burst + rate x window + what is in flight arrives, and at least 90% is used."""
    house = make_house(kind, users=40).expand()
    arrivals: list[float] = []

    def arrive(_: Asked) -> Answer:
        arrivals.append(time.monotonic())
        return Answer({})

    server = Scripted()
    server.play("*", arrive)
    allowance = Allowance(burst=BURST, per_minute=RATE * 60)
    pipes = [CONTEXT.Pipe() for _ in range(PROCESSES)]
    processes = [
        CONTEXT.Process(
            target=spender.spend_all, args=(house.url, tmp_path, server.url, allowance, SECONDS, own), daemon=True
        )
        for _, own in pipes
    ]
    for process in processes:
        process.start()
    assert ["ready"] * PROCESSES == [pipe.recv() for pipe, _ in pipes]
    for pipe, _ in pipes:
        pipe.send("go")
    for process in processes:
        process.join(30)
    assert [0] * PROCESSES == [process.exitcode for process in processes]
    server.close()

    arrivals.sort()
    in_flight = PROCESSES * spender.THREADS
    for first, start in enumerate(arrivals):
        for last in range(first, len(arrivals)):
            assert last - first + 1 <= BURST + RATE * (arrivals[last] - start) + in_flight
    assert 0.9 * (BURST + RATE * (arrivals[-1] - arrivals[0])) <= len(arrivals)
    assert len(arrivals) <= BURST + RATE * SECONDS + in_flight


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_the_level_outlives_its_process(make_house: Callable[..., House], kind: str) -> None:
    """What one bucket took is missing in the next one, by the database's clock, whichever opens first."""
    house = make_house(kind, users=40).expand()
    allowance = Allowance(burst=50, per_minute=0.001)
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda _: shared(house, allowance).take(1, until=0), range(30)))
    left = shared(house, allowance).level()
    assert 20 == pytest.approx(left.units, abs=0.1)
    assert time.time() == pytest.approx(left.at, abs=60)
    with pytest.raises(AllowanceSpentError, match="21 units needed, 20 left"):
        shared(house, allowance).take(21, until=0)


def test_a_pause_that_smartcar_asked_for_holds_everybody(house: House) -> None:
    """After a hold no bucket of the service gives a unit before its end, however much it has."""
    allowance = Allowance(burst=50)
    shared(house, allowance).hold(120)
    with pytest.raises(AllowanceSpentError, match=r"available in 1[12]. s"):
        shared(house, allowance).take(1, until=time.time() + 60)
    assert 50 == shared(house, allowance).level().units


def test_a_level_from_an_older_version_is_read(house: House) -> None:
    """A level kept without a hold is read as one that holds nobody."""
    allowance = Allowance(burst=50, per_minute=0.001)
    house.ledger.remember(f"allowance:{house.settings.service}", f"7.500@{time.time():.3f}")
    assert (7.5, 0.0) == (
        pytest.approx(shared(house, allowance).level().units, abs=0.1),
        shared(house, allowance).level().held_until,
    )
