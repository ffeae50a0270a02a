"""One running sandbox for the reading tests; those that change something start their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

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
