"""Reading a fleet on a dask cluster, a worker of which is killed in mid-run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, Compare, open_comparison
from smartcar_ops.compare.reading.worker import THREADS
from smartcar_ops.session import Session
from tests.support.house import House

USERS, BURST, RATE, WORKERS = 400, 60, 40.0, 2
LIMITED = {
    "SMARTCAR_ALLOWANCE_BURST": str(BURST),
    "SMARTCAR_ALLOWANCE_PER_MINUTE": str(RATE * 60),
    "SMARTCAR_ALLOWANCE_BATCH": "one",
}


def sent(house: House, work: Callable[[], Any]) -> list[float]:
    """When the requests that draw on the allowance came in while the work was done, in seconds."""
    before = len(house.sandbox.arrivals)
    work()
    return sorted(at for at, _, path in house.sandbox.arrivals[before:] if "/oauth2/" not in path)


def verdicts(compare: Compare) -> dict[tuple[str, str], str]:
    """(local vehicle, field) -> verdict."""
    found = compare.result.fields.frame()
    return dict(zip(zip(found["local_vehicle_id"], found["field"], strict=True), found["verdict"], strict=True))


@pytest.mark.slow
def test_a_killed_worker_costs_what_it_had_in_flight(make_house: Callable[..., House]) -> None:
    """The same verdicts as with threads, units within 5%, and never more than the allowance in any window."""
    distributed = pytest.importorskip("distributed", reason="no dask: pip install 'smartcar-ops[scale]'")
    house = make_house("postgresql", users=USERS).expand().play_callbacks()
    house.ask()
    threads = open_comparison(Session(NOTEBOOK, house.settings), vehicles=0)
    plain = sent(house, threads.read)

    compare = open_comparison(Session(NOTEBOOK, house.read_settings(**LIMITED)), vehicles=0, fresh=True)
    killed: list[int] = []
    with (
        distributed.LocalCluster(WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = client.run(os.getpid)

        def kill_one(done: int, _of: int) -> None:
            if not killed and done:
                killed.append(sorted(workers.values())[0])
                os.kill(killed[0], signal.SIGKILL)

        arrivals = sent(house, lambda: compare.read(kill_one, client.get_executor(), remote=True))

    assert killed
    assert len(compare.chosen) > 200
    assert verdicts(threads) == verdicts(compare)
    assert len(plain) == pytest.approx(len(arrivals), rel=0.05)
    in_flight = (WORKERS + 1) * THREADS
    for first, start in enumerate(arrivals):
        for last in range(first, len(arrivals)):
            assert last - first + 1 <= BURST + RATE * (arrivals[last] - start) + in_flight
