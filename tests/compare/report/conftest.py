"""A comparison of a small company's vehicles, made once: what the views of it are looked at with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from smartcar_ops.compare.compare import NOTEBOOK, Compare, open_comparison
from smartcar_ops.session import Session
from smartcar_ops.smartcar.http.transport import Call
from tests.support.house import House


@dataclass(frozen=True)
class Compared:
    """The company, the comparison of all its vehicles, and the calls that it took."""

    house: House
    fleet: Compare
    calls: tuple[Call, ...]

    def vehicle_with_loss(self) -> str:
        """Smartcar's id of a vehicle that loses something."""
        return str(self.fleet.result.lost["vehicle_id"].iloc[0])


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    """A company of 60 users, everything asked, every vehicle compared."""
    folder = tmp_path_factory.mktemp("compared")
    house = House(f"sqlite:///{folder / 'company.sqlite'}", folder / "house").expand().play_callbacks()
    house.ask()
    session = Session(NOTEBOOK, house.settings)
    fleet = open_comparison(session, vehicles=0)
    fleet.read()
    yield Compared(house, fleet, tuple(session.transport.calls))
    session.transport.close()
    session.company.engine.dispose()
    house.close()
