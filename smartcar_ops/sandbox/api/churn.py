"""Users who connect and leave while `/v3/connections` is paged, which shifts rows between pages."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from smartcar_ops.sandbox.api.directory import Directory
from smartcar_ops.sandbox.fleet.builder import PERMISSIONS
from smartcar_ops.sandbox.fleet.cars import build_car, new_id
from smartcar_ops.sandbox.fleet.model import LIVE, Car, Connection

MOST_CARS = 3
MOST_PEOPLE = 3
"""Maximum number of users who leave at the same moment, as when an account is cleaned up."""


@dataclass(frozen=True, slots=True)
class Shifts:
    """Maximum total of connections that arrive and leave, and their average numbers per requested page."""

    arrive: int = 60
    leave: int = 25
    arriving_per_page: float = 0.5
    leaving_per_page: float = 0.2


class Shifter:
    """Changes a directory at random, from a seed: a user arrives with one to three cars, or leaves with all of them."""

    def __init__(self, directory: Directory, cars: dict[str, Car], shifts: Shifts, seed: int) -> None:
        self.directory, self.cars, self.shifts = directory, cars, shifts
        self.rng = random.Random(f"shifts {seed}")
        self._arrived = self._left = 0
        people = max(1, len(directory.by_user))
        self._arriving = shifts.arriving_per_page / ((1 + MOST_CARS) / 2)
        leaving_at_once = max(1.0, len(directory.all) / people) * (1 + MOST_PEOPLE) / 2
        self._leaving = shifts.leaving_per_page / leaving_at_once

    def shift(self, now: datetime) -> None:
        """Add at most one user, or remove up to three. Changes nothing once the limits are reached."""
        drawn = self.rng.random()
        if drawn < self._arriving:
            self._come(now)
        elif drawn < self._arriving + self._leaving:
            for _ in range(self.rng.randint(1, MOST_PEOPLE)):
                self._go()

    def _come(self, now: datetime) -> None:
        count = min(self.rng.randint(1, MOST_CARS), self.shifts.arrive - self._arrived)
        person = new_id(self.rng)
        for _ in range(count):
            self.directory.add(self._connection(person, now))
            self._arrived += 1

    def _connection(self, person: str, now: datetime) -> Connection:
        car = build_car(self.rng, now, LIVE)
        self.cars[car.id] = car
        newest = self.directory.all[0].created_at if self.directory.all else now
        created = max(now, newest + timedelta(milliseconds=1))
        return Connection(new_id(self.rng), person, car.id, LIVE, PERMISSIONS, created, created)

    def _go(self) -> None:
        people = self.directory.by_user
        room = self.shifts.leave - self._left
        if not people or room < 1:
            return
        gone = people[self.rng.choice(list(people))]
        if len(gone) <= min(room, MOST_CARS):
            self._left += len(self.directory.remove(tuple(gone)))
