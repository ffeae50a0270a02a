"""A pretend Smartcar in a process of its own, as a real service would be, and a company whose vehicles are linked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.sources import AUTO
from smartcar_ops.database import schema
from smartcar_ops.sandbox.address import Address, read_address
from smartcar_ops.session import Session
from smartcar_ops.settings import environment
from smartcar_ops.settings.environment import Settings, Source

NOTEBOOK = "10_compare_v2_v3"
THREADS = 8
START_SECONDS = 60


@contextmanager
def linked(folder: Path, users: int, *faults: str) -> Iterator[tuple[Settings, Address]]:
    """A company without an allowance, expanded, its vehicles linked, beside a running sandbox with these faults."""
    command = [sys.executable, "-m", "smartcar_ops.sandbox", "--users", str(users), "--folder", str(folder)]
    process = subprocess.Popen([*command, *(word for fault in faults for word in ("--fault", fault))])
    try:
        address = _address(folder, process)
        read = environment.read(Source(address.environment(), folder), sandbox=True)
        _link(read)
        yield read, address
    finally:
        process.terminate()
        process.wait()


def _address(folder: Path, process: subprocess.Popen[bytes]) -> Address:
    """Where the sandbox answers, once it says so; RuntimeError where it ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = read_address(folder)
        if found:
            return found
        time.sleep(0.05)
    raise RuntimeError("benchmarks: the sandbox did not start.")


def _link(read: Settings) -> None:
    """Adds the columns and asks Smartcar who is who."""
    session = Session(NOTEBOOK, read)
    schema.expand(session.company, session.ledger)
    session.reopen_ledger()
    linker = IdentityResolver(session.company, session.ledger, session.v2, session.v3, now=session.now)
    with ThreadPoolExecutor(THREADS) as executor:
        linker.ask(AUTO, executor)
    session.transport.close()
