"""The embedded sandbox: one detached process a folder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from smartcar_ops.sandbox import embedded
from smartcar_ops.sandbox.address import read_address
from smartcar_ops.sandbox.embedded import attach, attach_or_start, stop
from smartcar_ops.sandbox.truth import tell_truth


@pytest.fixture
def folder(tmp_path):
    """A folder whose sandbox is ended afterwards."""
    yield tmp_path / ".sandbox"
    stop(tmp_path / ".sandbox")


def test_start_attach_and_fresh(folder):
    """The first starts it, the next attach to it, `fresh` ends it and starts another with a new company."""
    first = attach_or_start(folder, users=40, seed=5)
    assert first == attach_or_start(folder, users=99) == attach(folder)
    told = httpx.get(f"{first.url}/truth.json", trust_env=False).json()
    assert told == json.loads(json.dumps(tell_truth(first.world())))
    assert 40 == count(first.database_url)
    second = attach_or_start(folder, users=41, fresh=True)
    assert first.nonce != second.nonce
    assert not first.is_alive()
    assert 41 == count(second.database_url)
    assert stop(folder)
    assert attach(folder) is None


def count(url):
    """How many users the database has."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(sa.text("SELECT count(*) FROM users"))
    engine.dispose()
    return found


def test_two_starters_make_one(folder):
    """Two that need it at once get the same sandbox."""
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: attach_or_start(folder, users=40), range(2))
    assert one == two
    assert one.environment() == two.environment()


def test_secrets_are_not_in_the_repr(folder):
    """An address can be printed; the file holds what the contract says."""
    address = attach_or_start(folder, users=40)
    assert address.client_secret not in repr(address)
    assert address.management_token not in repr(address)
    found = json.loads((folder / "sandbox.json").read_text())
    assert {"url", "pid", "seed", "users", "started", "database_url", "client_id", "client_secret",
            "application_id", "management_token", "nonce"} <= set(found)  # fmt: skip
    assert found["url"] == address.environment()["SMARTCAR_API_ORIGIN"]


def test_an_idle_one_ends_by_itself(folder):
    """Unused for its idle time it removes its address and its process ends; the next one starts anew."""
    first = attach_or_start(folder, users=40, idle_minutes=0.3 / 60)
    embedded._children[first.pid].wait(10)
    assert read_address(folder) is None
    assert first.nonce != attach_or_start(folder, users=40).nonce


def test_a_dead_address_is_not_attached(folder):
    """What a killed sandbox left behind is replaced, and a stranger on its port is not taken for it."""
    first = attach_or_start(folder, users=40)
    embedded._children[first.pid].kill()
    embedded._children[first.pid].wait(10)
    assert first == read_address(folder)
    assert attach(folder) is None
    assert first.nonce != attach_or_start(folder, users=40).nonce


def test_one_that_cannot_start_says_why(folder):
    """The last line of its log is the reason."""
    with pytest.raises(RuntimeError, match="users is 0"):
        attach_or_start(folder, users=0)
