"""What the pretend Smartcar remembers while it runs. The world itself is not changed."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from smartcar_ops.sandbox.api.auth.grants import Grants
from smartcar_ops.sandbox.api.churn import Shifter, Shifts
from smartcar_ops.sandbox.api.directory import Directory, Key, key_of
from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.model import NOT_CAPABLE, Car, Connection, Told, UserToken
from smartcar_ops.sandbox.subscribed import is_subscribed, stale_vehicles
from smartcar_ops.sandbox.world import World

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


class State:
    """The tokens issued, the readings of the moving cars, and the current connections and cars."""

    def __init__(
        self, world: World, clock: Clock = utc_now, behaviour: Behaviour | None = None, shifts: Shifts | None = None
    ) -> None:
        self.world = world
        self.clock = clock
        self.behaviour = behaviour or Behaviour()
        self.nonce = str(uuid.uuid4())
        self.stop_asked = threading.Event()
        self.directory = Directory(world.connections)
        self.cars = dict(world.cars)
        self.shifter = Shifter(self.directory, self.cars, shifts or Shifts(), world.seed)
        self.stale = stale_vehicles(world)
        self.subscribed: dict[Key, bool] = {}
        """What was subscribed (True) or unsubscribed (False) since the start."""
        self.grants = Grants(world.tokens.values(), self.behaviour.refresh_grace)
        self._tokens: dict[str, datetime] = {}
        self._reads: Counter[str] = Counter()
        self._read_at: dict[str, datetime] = {}

    def hand_out_token(self) -> str:
        """Issue an application token, valid for the switch `token_life`. Older tokens stay valid (assumed)."""
        token = "app-" + secrets.token_hex(16)
        self._tokens[token] = self.clock() + self.behaviour.token_life
        return token

    def token_is_valid(self, token: str) -> bool:
        """Return whether this application token was issued here and has not expired."""
        expires = self._tokens.get(token)
        return expires is not None and self.clock() < expires

    def user_token(self, text: str) -> UserToken | None:
        """Return the V2 user token with this text if it is still valid, else None."""
        return self.grants.alive(text, self.clock())

    def is_subscribed(self, connection: Connection) -> bool:
        """Return whether the webhook gets events about this connection's vehicle now."""
        changed = self.subscribed.get(key_of(connection))
        return is_subscribed(connection, self.stale) if changed is None else changed

    def read(self, car: Car, version: str) -> dict[str, Told]:
        """Return what `version` ("v2" or "v3") returns for the car now. A moving car has moved since the last read."""
        told: dict[str, Told] = getattr(car, version)
        return self._driven(car, told) if car.moving else told

    def _driven(self, car: Car, told: dict[str, Told]) -> dict[str, Told]:
        """Return the readings of a moving car. At each read, it has moved by more than any tolerance.

        Each read adds 3 km to the odometer and 0.03 degrees to the latitude, and takes 2 percentage points and 9 km of
        range off the battery, if there is one. The battery is back at 95% at every 40th read.
        """
        self._reads[car.id] += 1
        steps = self._reads[car.id]
        at = max(self.clock(), self._read_at.get(car.id, self.world.now) + timedelta(milliseconds=1))
        self._read_at[car.id] = at
        place = {**told["location"].value, "latitude": round(told["location"].value["latitude"] + 0.03 * steps, 4)}
        driven = {**told, "location": Told(place, at)}
        driven["odometer"] = Told(round(told["odometer"].value + 3 * steps, 1), at)
        if told["battery-percent"].status != NOT_CAPABLE:
            driven["battery-percent"] = Told(95 - 2 * (steps % 40), at)
            driven["battery-range"] = Told(420 - 9 * (steps % 40), at)
        return driven


def state_of(request: Request) -> State:
    """Return the sandbox's state for a request."""
    state: State = request.app.state.sandbox
    return state


def bearer(request: Request) -> str:
    """Return the bearer token of a request, or an empty string."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def iso(moment: datetime) -> str:
    """Return ISO-8601 text in UTC with milliseconds and Z, as both APIs write times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
