"""The plain way to backfill: SQLAlchemy's ORM, one user after the other, each in a transaction of its own.

What a company would write first: get the user, its vehicles, each vehicle's ties and connections, decide, set,
record, commit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Scope

RUN = "row-by-row"
SAMPLE = 3_000
"""Values that the plain way writes; the rest of its time is reckoned from them."""

STRETCH = 100
"""Users one after the other in the sample."""


class Base(DeclarativeBase):
    """What every mapped class is."""


class User(Base):
    """A row of the company's users."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    name: Mapped[str | None]
    created_at: Mapped[datetime | None]
    smartcar_user_id: Mapped[str | None]
    vehicles: Mapped[list[Vehicle]] = relationship(back_populates="user", order_by="Vehicle.id")


class Vehicle(Base):
    """A row of the company's vehicles."""

    __tablename__ = "vehicles"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    vin: Mapped[str | None]
    vehicle_access_token: Mapped[str | None]
    token_created_at: Mapped[datetime | None]
    smartcar_vehicle_id: Mapped[str | None]
    user: Mapped[User | None] = relationship(back_populates="vehicles")


class Connection(Base):
    """A known connection of a vehicle."""

    __table__ = t.connections


class Tie(Base):
    """Which local vehicle is which of Smartcar's."""

    __table__ = t.ties


class Change(Base):
    """The record of one written value."""

    __table__ = t.changes


@dataclass(frozen=True)
class Sample:
    """What a sample of the plain way took: seconds, and how many values it wrote."""

    seconds: float
    written: int

    def of(self, rows: int) -> float:
        """The seconds that as many rows would take."""
        return self.seconds / self.written * rows


def measure(engine: sa.Engine, scope: Scope, users: int, at: datetime) -> Sample:
    """Writes a sample in the plain way, and puts it back."""
    numbers = sample(users)
    writing = engines.writer(engine)
    try:
        start, written = time.perf_counter(), 0
        with Session(writing) as session:
            for number in numbers:
                written += backfill(session, scope, number, written, at)
                session.commit()
        return Sample(time.perf_counter() - start, written)
    finally:
        put_back(writing, numbers)


def sample(users: int) -> list[int]:
    """The users of a sample: stretches in the order of their ids, as the plain way goes, from all over the table."""
    wanted = SAMPLE * 2 // 5  # a user has 1.5 vehicles, so 2.5 values
    if users <= wanted:
        return list(range(1, users + 1))
    step = users * STRETCH // wanted
    return [first + more for first in range(1, users - STRETCH + 2, step) for more in range(STRETCH)]


def backfill(session: Session, scope: Scope, number: int, place: int, at: datetime) -> int:
    """Sets one user's id and its vehicles' where exactly one is named; returns how many values were written."""
    user = session.get(User, number)
    if user is None:
        return 0
    persons, changes = set(), []
    for vehicle in user.vehicles:
        ids, named = look_up(session, scope, vehicle)
        persons |= named
        if len(ids) == 1 and vehicle.smartcar_vehicle_id is None:
            vehicle.smartcar_vehicle_id = ids.pop()
            changes.append(("vehicles", vehicle.id, "smartcar_vehicle_id", vehicle.smartcar_vehicle_id))
    if len(persons) == 1 and user.smartcar_user_id is None:
        user.smartcar_user_id = persons.pop()
        changes.append(("users", user.id, "smartcar_user_id", user.smartcar_user_id))
    for offset, (table, row_id, column, after) in enumerate(changes, start=1):
        session.add(
            Change(
                run_id=RUN,
                batch=1,
                place=place + offset,
                table_name=table,
                row_id=str(row_id),
                user_id=str(user.id),
                column_name=column,
                after_value=after,
                outcome="written",
                at=at.replace(tzinfo=None),
            )
        )
    return len(changes)


def look_up(session: Session, scope: Scope, vehicle: Vehicle) -> tuple[set[str], set[str]]:
    """(Smartcar's ids of a local vehicle that a connection knows, the Smartcar users those connections name)."""
    ids, persons = set(), set()
    ties = sa.select(Tie).where(scope.of(t.ties), t.ties.c.local_vehicle_id == str(vehicle.id))
    for tie in session.scalars(ties):
        known = sa.select(Connection).where(
            scope.of(t.connections),
            t.connections.c.vehicle_id == tie.vehicle_id,
            t.connections.c.gone_at.is_(None),
        )
        for connection in session.scalars(known):
            ids.add(connection.vehicle_id)
            persons.add(connection.smartcar_user_id)
    return ids, persons


def put_back(engine: sa.Engine, numbers: Iterable[int]) -> None:
    """Takes the sample's ids and records out again, so that the next one starts from the same state."""
    chosen = list(numbers)
    with engine.begin() as connection:
        connection.execute(sa.delete(t.changes).where(t.changes.c.run_id == RUN))
        for start in range(0, len(chosen), 500):
            some = chosen[start : start + 500]
            connection.execute(sa.update(User).where(User.id.in_(some)).values(smartcar_user_id=None))
            connection.execute(sa.update(Vehicle).where(Vehicle.user_id.in_(some)).values(smartcar_vehicle_id=None))
