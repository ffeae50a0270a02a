"""The world while it is built: the methods that the personas use."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from smartcar_ops.sandbox.fleet.cars import build_car, new_id
from smartcar_ops.sandbox.fleet.model import LIVE, Car, Connection, LocalUser, LocalVehicle, UserToken
from smartcar_ops.sandbox.fleet.seeded import id_of

PERMISSIONS = (
    "control_charge",
    "control_navigation",
    "control_security",
    "read_battery",
    "read_charge",
    "read_diagnostics",
    "read_engine_oil",
    "read_fuel",
    "read_location",
    "read_odometer",
    "read_security",
    "read_service_history",
    "read_tires",
    "read_vehicle_info",
    "read_vin",
)
FIRST_VEHICLE_ID = 10_001


class Draft:
    """Collects cars, connections, tokens and rows. Every choice is drawn from one `random.Random`."""

    def __init__(self, rng: random.Random, now: datetime) -> None:
        self.rng = rng
        self.now = now
        self.cars: dict[str, Car] = {}
        self.connections: list[Connection] = []
        self.tokens: dict[str, UserToken] = {}

    def person(self) -> str:
        """Return a new Smartcar user id."""
        return new_id(self.rng)

    def car(self, mode: str = LIVE) -> Car:
        """Add a new car to the world and return it."""
        car = build_car(self.rng, self.now, mode)
        self.cars[car.id] = car
        return car

    def connect(self, person: str, car: Car, external_id: str | None = None) -> Connection:
        """Connect `person` to `car`, 1 to 700 days ago."""
        created = self.now - timedelta(milliseconds=self.rng.randrange(86_400_000, 700 * 86_400_000))
        updated = created + (self.now - created) * self.rng.random()
        permissions = PERMISSIONS if self.rng.random() < 0.8 else PERMISSIONS[1:]
        connection = Connection(new_id(self.rng), person, car.id, car.mode, permissions, created, updated, external_id)
        self.connections.append(connection)
        return connection

    def own(self, user: LocalUser, car: Car, token: UserToken, *, vin: bool = True, tied: bool = True) -> None:
        """Give `user` a vehicle row with this token; `tied`: the company's data link the car to a connection."""
        user.vehicles.append(
            LocalVehicle(
                id=0,
                user_id=user.id,
                vin=car.vin if vin else None,
                token=token.text,
                token_created_at=token.created_at,
                car=car,
                token_alive=token.behaviour != "revoked" and self.now - token.created_at < timedelta(hours=2),
                tied=tied,
                shares_token=len(token.vehicle_ids) > 1,
            )
        )

    def live_token(self, person: str, *cars: Car, behaviour: str = "normal") -> UserToken:
        """Return a token for `cars` that is 5 to 45 minutes old."""
        return self._token(person, cars, timedelta(seconds=self.rng.randrange(300, 2700)), behaviour)

    def old_token(self, person: str, *cars: Car, behaviour: str = "normal") -> UserToken:
        """Return a token 1 to 300 days old, so expired. A normal one can be refreshed until it is 60 days old."""
        return self._token(person, cars, timedelta(seconds=self.rng.randrange(86_400, 300 * 86_400)), behaviour)

    def _token(self, person: str, cars: tuple[Car, ...], age: timedelta, behaviour: str) -> UserToken:
        created = self.now.replace(microsecond=0) - age
        text = new_id(self.rng)
        token = UserToken(text, person, tuple(car.id for car in cars), created, behaviour, id_of("refresh", text))
        self.tokens[token.text] = token
        return token
