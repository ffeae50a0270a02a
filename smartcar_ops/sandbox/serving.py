"""Serving a sandbox until it is stopped or idle: what `python -m smartcar_ops.sandbox` and the CLI run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from pathlib import Path

from .address import address_of, remove_address, write_address
from .application import make_company_file
from .faults import check_faults
from .server import Sandbox, running
from .world import build_world


def serve(
    port: int = 0,
    users: int = 300,
    seed: int = 0,
    faults: Iterable[str] = (),
    folder: Path | None = None,
    idle_minutes: float = 0,
) -> None:
    """Serve a fresh world on 127.0.0.1 until a signal, /stop, or `idle_minutes` (0: never) without a request.

    With a `folder`, the address goes to `folder/sandbox.json` and the company's database beside it. Without,
    the database is `.sandbox/port-<port>/company.sqlite` and the export lines are printed.
    ValueError for a bad value, OSError where the port is taken.
    """
    names = _check(port, idle_minutes, faults)
    world = build_world(users, seed)
    with running(world, names, port) as sandbox:
        _stop_on_signals(sandbox.stop_asked)
        if folder is None:
            _print_exports(sandbox)
            _wait(sandbox, idle_minutes)
            return
        database_url = make_company_file(folder, world)
        write_address(folder, address_of(world, sandbox.url, database_url, sandbox.nonce))
        try:
            _wait(sandbox, idle_minutes)
        finally:
            remove_address(folder, sandbox.nonce)


def _check(port: int, idle_minutes: float, faults: Iterable[str]) -> tuple[str, ...]:
    if not 0 <= port <= 65535:
        raise ValueError(f"sandbox: port is {port}, expected 0 (any free one) to 65535")
    if not 0 <= idle_minutes < float("inf"):
        raise ValueError(f"sandbox: idle-minutes is {idle_minutes}, expected 0 (never end) or more")
    return check_faults(faults)


def _print_exports(sandbox: Sandbox) -> None:
    database_url = make_company_file(Path(".sandbox") / f"port-{sandbox.url.rpartition(':')[2]}", sandbox.world)
    print(f"Pretend Smartcar at {sandbox.url} (Ctrl-C ends it). To use it:")
    for name, value in sandbox.environment(database_url).items():
        print(f"export {name}={value}")
    print("export SMARTCAR_ALLOWANCE_BURST=1000000")  # a pretend Smartcar has no limit to respect
    print(end="", flush=True)


def _wait(sandbox: Sandbox, idle_minutes: float) -> None:
    """Return when the sandbox is asked to stop or nobody used it for long enough."""
    limit = idle_minutes * 60
    tick = min(1.0, max(limit / 4, 0.05)) if limit else 1.0
    while not sandbox.stop_asked.wait(tick):
        if limit and sandbox.idle_seconds >= limit:
            return


def _stop_on_signals(stop: threading.Event) -> None:
    """SIGINT and SIGTERM end the wait; only the main thread may say so."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
