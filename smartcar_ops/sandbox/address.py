"""The address of an embedded sandbox: the file `sandbox.json` in its folder."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from smartcar_ops.sandbox.environment import environment
from smartcar_ops.sandbox.fleet.model import Credentials
from smartcar_ops.sandbox.world import World, build_world

FILE = "sandbox.json"
PATIENCE = 10.0
"""Seconds to wait for /health. A busy sandbox answers slowly; a dead one refuses the connection at once."""


@dataclass(frozen=True)
class Address:
    """Everything a process needs to use a running sandbox and its company. Secrets are not in the repr."""

    url: str
    pid: int
    seed: int
    users: int
    started: str
    database_url: str
    client_id: str
    application_id: str
    nonce: str
    client_secret: str = field(repr=False)
    v2_client_secret: str = field(repr=False)
    management_token: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point the kit at this sandbox."""
        credentials = Credentials(
            client_id=self.client_id,
            application_id=self.application_id,
            client_secret=self.client_secret,
            v2_client_secret=self.v2_client_secret,
            management_token=self.management_token,
        )
        return environment(self.url, self.database_url, credentials)

    def world(self) -> World:
        """Return the sandbox's world, built again from its users, seed and start time."""
        return build_world(self.users, self.seed, datetime.fromisoformat(self.started))

    def is_alive(self) -> bool:
        """Return whether the server at this address is this sandbox: its nonce matches."""
        import httpx

        try:
            answer = httpx.get(f"{self.url}/health", timeout=PATIENCE, trust_env=False)
            return bool(answer.json().get("nonce") == self.nonce)
        except (httpx.HTTPError, ValueError, AttributeError):
            return False


def address_of(world: World, url: str, database_url: str, nonce: str) -> Address:
    """Return the address of a sandbox that this process serves."""
    return Address(
        url=url,
        pid=os.getpid(),
        seed=world.seed,
        users=len(world.users),
        started=world.now.isoformat(),
        database_url=database_url,
        nonce=nonce,
        **asdict(world.credentials),
    )


def read_address(folder: Path) -> Address | None:
    """Return the address in `sandbox.json`, or None if the file is missing or incomplete."""
    try:
        return Address(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_address(folder: Path, address: Address) -> None:
    """Write `sandbox.json` atomically, so that no reader sees half of it."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(address), file, indent=1)
    Path(name).replace(folder / FILE)


def remove_address(folder: Path, nonce: str) -> None:
    """Remove `sandbox.json`, unless another sandbox has written it since."""
    found = read_address(folder)
    if found is not None and found.nonce == nonce:
        (folder / FILE).unlink(missing_ok=True)
