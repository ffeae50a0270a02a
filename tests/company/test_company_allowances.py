"""The allowance in the ledger: processes on one database never spend more than it together, and nearly all of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartcar_ops.database.ledger.rate_limit_store import SharedStateStore
from smartcar_ops.errors import AllowanceSpentError
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.smartcar.http.rate_limit import BucketState, TokenBucket
from tests.company import spender
from tests.house import House
from tests.smartcar.scripted import Answer, Asked, Scripted

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
    words = [house.url, str(tmp_path), server.url, str(BURST), str(RATE * 60), str(SECONDS)]
    command = [sys.executable, "-m", spender.__name__, *words]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    assert ["ready\n"] * PROCESSES == [process.stdout.readline() for process in processes]  # type: ignore[union-attr]
    for process in processes:
        _begin(process)
    assert [0] * PROCESSES == [process.wait(30) for process in processes]
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
    with pytest.raises(AllowanceSpentError, match="21 units wanted, 20 left"):
        shared(house, allowance).take(21, until=0)


def test_a_pause_that_smartcar_asked_for_holds_everybody(house: House) -> None:
    """After a hold no bucket of the service gives a unit before its end, however much it has."""
    allowance = Allowance(burst=50)
    shared(house, allowance).hold(120)
    with pytest.raises(AllowanceSpentError, match=r"the next come in 1[12]. s"):
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


def _begin(process: subprocess.Popen[str]) -> None:
    """Lets a waiting process begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
