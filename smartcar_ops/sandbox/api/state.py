"""What the pretend Smartcar remembers while it runs; the world itself never changes."""

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
    """The present, in UTC."""
    return datetime.now(UTC)


class State:
    """Tokens handed out, journeys of the moving cars, and the connections and cars there are by now."""

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
        """What was subscribed (True) or unsubscribed (False) while it runs."""
        self.grants = Grants(world.tokens.values(), self.behaviour.refresh_grace)
        self._tokens: dict[str, datetime] = {}
        self._reads: Counter[str] = Counter()
        self._read_at: dict[str, datetime] = {}

    def hand_out_token(self) -> str:
        """A new application token, valid for the behaviour's `token_life`; older ones stay valid (assumed)."""
        token = "app-" + secrets.token_hex(16)
        self._tokens[token] = self.clock() + self.behaviour.token_life
        return token

    def token_is_valid(self, token: str) -> bool:
        """Whether this application token was handed out here and has not expired."""
        expires = self._tokens.get(token)
        return expires is not None and self.clock() < expires

    def user_token(self, text: str) -> UserToken | None:
        """The V2 user token of this text, if Smartcar still takes it."""
        return self.grants.alive(text, self.clock())

    def is_subscribed(self, connection: Connection) -> bool:
        """Whether the webhook gets events about this connection's vehicle now."""
        changed = self.subscribed.get(key_of(connection))
        return is_subscribed(connection, self.stale) if changed is None else changed

    def read(self, car: Car, version: str) -> dict[str, Told]:
        """What `version` ("v2" or "v3") tells about the car now; a moving car has driven on since the last read."""
        told: dict[str, Told] = getattr(car, version)
        return self._driven(car, told) if car.moving else told

    def _driven(self, car: Car, told: dict[str, Told]) -> dict[str, Told]:
        """Two points, 9 km of range and 3 km of road further: more than any tolerance. Charged again at the end."""
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
    """The state behind a request."""
    state: State = request.app.state.sandbox
    return state


def bearer(request: Request) -> str:
    """The bearer token of a request, or empty text."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def iso(moment: datetime) -> str:
    """ISO-8601 in UTC with milliseconds and Z, as the wire writes times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
