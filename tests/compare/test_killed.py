"""A comparison killed with SIGKILL while it reads, and started again: nothing that was kept is read again."""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, Compare, open_comparison
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House
from tests.support.processes import compare_until

BATCH = re.compile(r"/v2\.0/vehicles/([^/]+)/batch")

Table = dict[tuple[str, str], str]


def linked(make_house: Callable[..., House], kind: str, users: int) -> House:
    """A company whose vehicles are linked."""
    house = make_house(kind, users=users).expand().play_callbacks()
    house.ask()
    return house


def compared(house: House, run_id: str, **options: Any) -> Compare:
    """A comparison in this process, read to its end."""
    session = Session(NOTEBOOK, house.settings, run_id)
    compare = open_comparison(session, **options)
    compare.read()
    return compare


def table(compare: Compare) -> Table:
    """(local vehicle, field) -> verdict."""
    found = compare.result.fields.frame()
    return dict(zip(zip(found["local_vehicle_id"], found["field"], strict=True), found["verdict"], strict=True))


def batches(house: House, since: int = 0) -> Counter[str]:
    """How often each vehicle was read on V2."""
    paths = (BATCH.fullmatch(path) for _, _, path in house.sandbox.arrivals[since:])
    return Counter(found[1] for found in paths if found)


def begun(house: House) -> str:
    """The slice that is open; empty where none is."""
    told = Recordings(house.ledger).open_slice()
    return str(told["name"]) if told else ""


def kept(house: House) -> set[str]:
    """The vehicles whose recording of the open slice is in the ledger."""
    index, name = Recordings(house.ledger).index(), begun(house)
    return {vehicle for (_, vehicle), (slice_, _) in index.items() if slice_ == name}


def kill_and_go_on(make_house: Callable[..., House], kind: str, *, users: int, vehicles: int, kills: int) -> None:
    """Kills a comparison so many times, lets it end, and holds what it found against one that nobody disturbed."""
    calm, house = linked(make_house, kind, users), linked(make_house, kind, users)
    undisturbed = compared(calm, "calm", vehicles=vehicles)
    chance, done = random.Random(kills), set[str]()
    for number in range(kills):
        since = len(house.sandbox.arrivals)
        killed = compare_until(house, f"killed-{number}", chance.randint(100, 200), vehicles=vehicles)
        assert -signal.SIGKILL == killed
        assert not done & set(batches(house, since))
        assert done <= kept(house)
        done = kept(house)
    assert 0 < len(done) < vehicles

    since, slice_ = len(house.sandbox.arrivals), begun(house)
    last = compared(house, "last", vehicles=vehicles)
    assert slice_ == last.slice.name
    assert len(done) == len(last.slice.read)
    assert not done & set(batches(house, since))
    assert table(undisturbed) == table(last)
    assert undisturbed.result.verdict == last.result.verdict


def test_a_killed_comparison_goes_on_where_it_was(make_house: Callable[..., House]) -> None:
    """The same table as undisturbed, and no vehicle whose recording was kept is read on V2 again."""
    kill_and_go_on(make_house, "sqlite", users=60, vehicles=30, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_a_comparison_killed_again_and_again(make_house: Callable[..., House], kind: str) -> None:
    """Eight kills at any moment of the reading, on every database."""
    kill_and_go_on(make_house, kind, users=240, vehicles=130, kills=8)


def test_nightly_slices_add_up_to_the_fleet(make_house: Callable[..., House]) -> None:
    """Each vehicle is read once, whichever night; what the nights leave is of strata of which enough is known."""
    house = linked(make_house, "sqlite", 40)
    fleet = {pair.vehicle_id for pair in compared(house, "night-0", vehicles=5).linked if pair.token}
    for night in range(1, len(fleet) // 5 + 2):
        found = compared(house, f"night-{night}", vehicles=5)
        assert len(found.to_read) <= 5
    assert [] == found.to_read
    assert 5 < found.result.read <= len(fleet)
    rest = compared(house, "rest", vehicles=0)
    assert len(fleet) - found.result.read == len(rest.to_read)
    assert dict.fromkeys(fleet, 1) == batches(house)
    assert len(fleet) == rest.result.read


def test_fresh_reads_again_what_was_recorded(make_house: Callable[..., House]) -> None:
    """With fresh, every vehicle is read once more, and the table is of the same fleet."""
    house = linked(make_house, "sqlite", 30)
    first = compared(house, "first", vehicles=0)
    again = compared(house, "again", vehicles=0, fresh=True)
    assert [2] * len(first.chosen) == list(batches(house).values())
    assert table(first) == table(again)
