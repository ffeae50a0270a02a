"""The embedded sandbox: one detached process per folder, started by the first caller that needs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from smartcar_ops.sandbox.address import FILE, Address, read_address

IDLE_MINUTES = 15.0
START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOG = "sandbox.log"
_PACKAGES = Path(__file__).resolve().parents[2]
# Keep the Popen objects, so that ended children can be reaped and Python doesn't warn about running ones.
_children: dict[int, subprocess.Popen[bytes]] = {}


def attach_or_start(
    folder: Path,
    *,
    fresh: bool = False,
    users: int = 300,
    seed: int = 0,
    idle_minutes: float = IDLE_MINUTES,
) -> Address:
    """Return the address of the folder's sandbox; start one if none is running. `fresh` ends a running one first.

    A running sandbox is used as it is, whatever its users and seed. Every start makes a new world and a new company
    database. Processes that start at the same time share one sandbox. Raises RuntimeError, with the last line of
    `sandbox.log`, if it does not answer within 30 seconds.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    found = None if fresh else attach(folder)
    if found is not None:
        return found
    with FileLock(folder / "sandbox.lock", timeout=2 * START_SECONDS):
        found = attach(folder)
        if found is not None and not fresh:
            return found
        if found is not None:
            _stop(folder, found)
        return _start(folder, users, seed, idle_minutes)


def attach(folder: Path) -> Address | None:
    """Return the address of the folder's sandbox if it is running, else None. Starts nothing."""
    address = read_address(folder)
    return address if address is not None and address.is_alive() else None


def stop(folder: Path) -> bool:
    """End the folder's sandbox. Return whether there was one."""
    found = attach(folder)
    if found is not None:
        _stop(folder, found)
    return found is not None


def _start(folder: Path, users: int, seed: int, idle_minutes: float) -> Address:
    (folder / FILE).unlink(missing_ok=True)
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            _command(folder, users, seed, idle_minutes),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_child_environment(),
            **_detached(),
        )
    _children[child.pid] = child
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        found = attach(folder)
        if found is not None:
            return found
        time.sleep(0.05)
    if child.poll() is None:
        child.kill()
    raise RuntimeError(f"sandbox: it did not start within {START_SECONDS:g} s: {_last_line(folder / LOG)}")


def _command(folder: Path, users: int, seed: int, idle_minutes: float) -> list[str]:
    options = {"--folder": folder, "--users": users, "--seed": seed, "--idle-minutes": idle_minutes}
    given = [str(part) for option in options.items() for part in option]
    return [sys.executable, "-m", "smartcar_ops.sandbox", *given]


def _child_environment() -> dict[str, str]:
    """Return this process's environment, with PYTHONPATH set so that the child can import the kit."""
    paths = [str(_PACKAGES), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _detached() -> dict[str, Any]:
    """Return the Popen options that let the child outlive this process and its terminal."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
        return {"creationflags": flags}
    return {"start_new_session": True}


def _stop(folder: Path, address: Address) -> None:
    """Ask the sandbox to end, and wait until its address is gone. Raises RuntimeError after 10 seconds."""
    import httpx  # imported here because the import takes 0.1 s

    httpx.post(f"{address.url}/stop", content=address.nonce, timeout=STOP_SECONDS, trust_env=False)
    deadline = time.monotonic() + STOP_SECONDS
    while read_address(folder) == address:
        if time.monotonic() > deadline:
            raise RuntimeError(f"sandbox: process {address.pid} did not end within {STOP_SECONDS:g} s")
        time.sleep(0.02)
    child = _children.pop(address.pid, None)
    if child is not None:
        child.wait(STOP_SECONDS)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"{log} is empty"
