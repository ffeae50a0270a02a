"""The acts' drivers: built without asking anybody, and all with the same manner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit.audit import Audit
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.capture.capture import Capture
from smartcar_ops.compare.compare import open_comparison
from smartcar_ops.progress.progress import Progress
from smartcar_ops.schema.schema import Schema
from smartcar_ops.session import Session
from smartcar_ops.smartcar.http.rate_limit import Cost
from tests.support.house import House

DRIVERS: dict[str, Callable[[Session], Any]] = {
    "audit": Audit,
    "a fleet's comparison": open_comparison,
    "a vehicle's comparison": lambda session: open_comparison(session, vehicle_id="x"),
    "backfill": Backfill,
    "backfill, an undo": lambda session: Backfill(session, undo="run", apply=True),
    "schema": Schema,
    "capture": Capture,
    "progress": Progress,
}
every_driver = pytest.mark.parametrize("build", DRIVERS.values(), ids=DRIVERS)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that any engine of this process sends within the block."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.fixture
def session(house: House) -> Iterator[Session]:
    """An open session of a company that is expanded."""
    opened = Session("10_compare_v2_v3", house.settings)
    yield opened
    opened.transport.close()
    opened.company.engine.dispose()


@every_driver
def test_a_driver_is_built_without_asking_anybody(session: Session, house: House, build: Callable[..., Any]) -> None:
    """Whoever builds a driver sends no statement and no request; the work has verbs of its own."""
    before = len(house.sandbox.arrivals)
    with statements() as sent:
        build(session)
    with statements() as check:
        session.company.count()
    assert check
    assert ([], before) == (sent, len(house.sandbox.arrivals))


@every_driver
def test_drivers_have_the_same_manner(session: Session, build: Callable[..., Any]) -> None:
    """Each tells its cost before it works, and has an end."""
    driver = build(session)
    assert isinstance(driver.cost(), Cost)
    assert callable(driver.finish)
