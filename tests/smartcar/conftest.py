"""A scripted server, a transport that never waits, and clients on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import stamina

from smartcar_ops.settings.credentials import Credentials
from smartcar_ops.smartcar.auth import ApplicationToken
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.smartcar.v3 import V3
from tests.smartcar.scripted import Answer, Scripted

TOKEN = {"access_token": "app-1", "token_type": "Bearer", "expires_in": 3600}


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that gives the application token ``app-1``; everything else is to be scripted."""
    scripted = Scripted()
    scripted.play("/oauth2/token", Answer(TOKEN))
    yield scripted
    scripted.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A transport whose retries come at once, as many as always."""
    opened = Transport(timeout=5)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield opened
    opened.close()


@pytest.fixture
def credentials() -> Credentials:
    """Planted credentials."""
    return Credentials(client_id="client_planted", client_secret="s3cr3t-plant")


@pytest.fixture
def take_token(server: Scripted, transport: Transport, credentials: Credentials) -> Callable[..., ApplicationToken]:
    """Makes an application token's keeper, perhaps with a clock of its own."""
    return lambda **options: ApplicationToken(transport, server.url, credentials, **options)


@pytest.fixture
def v2(server: Scripted, transport: Transport) -> V2:
    """A V2 client on the server."""
    return V2(transport, server.url)


@pytest.fixture
def v3(server: Scripted, transport: Transport, take_token: Callable[..., ApplicationToken]) -> V3:
    """A V3 client on the server."""
    return V3(transport, server.url, take_token())
