"""One running sandbox for the reading tests; those that change something start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from smartcar_ops.sandbox.fleet.model import LIVE, Connection
from smartcar_ops.sandbox.server import Sandbox, running
from smartcar_ops.sandbox.world import World, build_world


def take_token(sandbox: Sandbox) -> dict[str, str]:
    """The header with a fresh application token."""
    known = sandbox.world.credentials
    form = {
        "grant_type": "client_credentials",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
    }
    answer = httpx.post(f"{sandbox.url}/oauth2/token", data=form, trust_env=False)
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture(scope="session")
def world() -> World:
    """The world behind the shared sandbox."""
    return build_world(users=80, seed=7)


@pytest.fixture(scope="session")
def sandbox(world: World) -> Iterator[Sandbox]:
    """The shared sandbox, running."""
    with running(world) as started:
        yield started


@pytest.fixture(scope="session")
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """An HTTP client of the shared sandbox."""
    with httpx.Client(base_url=sandbox.url, trust_env=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def app(sandbox: Sandbox) -> dict[str, str]:
    """The header with an application token of the shared sandbox."""
    return take_token(sandbox)


@pytest.fixture(scope="session")
def take() -> object:
    """The function which takes a token of any sandbox."""
    return take_token


@dataclass
class Caller:
    """A sandbox of its own, and how to ask it."""

    sandbox: Sandbox
    http: httpx.Client
    app: dict[str, str]

    def v3(self, path: str, user: str | None = None, **query: object) -> httpx.Response:
        """A GET of V3 with the application token; `query` names brackets by double underscores: page__size."""
        named = {_bracketed(name): value for name, value in query.items()}
        headers = {**self.app, **({"sc-user-id": user} if user else {})}
        return self.http.get(f"/v3{path}", params=named or None, headers=headers)

    def v2(self, path: str, token: str, **headers: str) -> httpx.Response:
        """A GET of V2 with a user token."""
        return self.http.get(f"/v2.0{path}", headers={"authorization": f"Bearer {token}", **headers})

    def signals(self, connection: Connection) -> httpx.Response:
        """All signals of a connected car."""
        return self.v3(f"/vehicles/{connection.vehicle_id}/signals", connection.user_id)


def _bracketed(name: str) -> str:
    kind, _, rest = name.partition("__")
    return f"{kind}[{rest.replace('__', '.')}]"


Play = Callable[..., Caller]


@pytest.fixture
def play(world: World) -> Iterator[Play]:
    """Starts a sandbox of the shared world with faults and options of its own."""
    with ExitStack() as stack:

        def start(*faults: str, world: World = world, **options: object) -> Caller:
            sandbox = stack.enter_context(running(world, faults, **options))
            http = stack.enter_context(httpx.Client(base_url=sandbox.url, trust_env=False))
            token = {} if "token-html" in faults else take_token(sandbox)
            return Caller(sandbox, http, token)

        yield start


@pytest.fixture(scope="session")
def newest(world: World) -> Connection:
    """The newest live connection."""
    return next(connection for connection in world.connections if connection.mode == LIVE)
