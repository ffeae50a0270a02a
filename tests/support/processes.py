"""Applies, undos and comparisons in processes of their own: a test may kill them, or start two at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.compare.compare import NOTEBOOK, open_comparison
from smartcar_ops.database.ledger import versions
from smartcar_ops.database.ledger.layouts import table_names
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.locks import WRITER, lock
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import LockedError, SmartcarOpsError
from smartcar_ops.session import Session
from smartcar_ops.settings import environment as settings
from smartcar_ops.settings.environment import Source
from smartcar_ops.settings.layout import Layout
from tests.support.house import House

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.processes"])  # so that a process costs a fork, and no import


class Act:
    """An apply of a plan's file, or an undo of a run, that waits after each batch until it is told to go on.

    ``dies_before`` ends it with SIGKILL before so many statements or commits: wherever that is.
    """

    def __init__(
        self, house: House, name: str, target: str | Path, run_id: str, *, batch_size: int = 5, dies_before: int = 0
    ) -> None:
        self.run_id = run_id
        self._told, telling = CONTEXT.Pipe()
        given = (dict(house.environment), house.root, name, str(target), run_id, batch_size, dies_before, telling)
        self._process = CONTEXT.Process(target=_execute, args=given, daemon=True)
        self._process.start()
        telling.close()
        self.outcome: tuple[int, str] | None = None
        """(exit code, the error's sentence); None while it runs, and where it was killed."""
        self.statements = 0

    def go(self) -> bool:
        """Waits for the end of the next batch, or for the first sign of life; False where the act has ended."""
        try:
            said = self._told.recv()
        except (EOFError, OSError):
            self._process.join()
            return False
        if said is not None:
            *outcome, self.statements = said
            self.outcome = (outcome[0], outcome[1])
            self._process.join()
        return said is None

    def release(self) -> None:
        """Lets it go on with the next batch."""
        self._told.send(None)

    def finish(self) -> tuple[int, str] | None:
        """Lets it run to its end."""
        while self.go():
            self.release()
        return self.outcome

    def pause(self, after: float) -> None:
        """Stops it with SIGSTOP, so many seconds into the next batch."""
        self.release()
        self._process.join(after)
        self._signal(signal.SIGSTOP)

    def resume(self, after: float) -> None:
        """Lets it go on where it was stopped, so many seconds from now."""
        self._process.join(after)
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, number)

    def kill(self, after: float | None = None) -> None:
        """Ends it with SIGKILL, between two batches, or so many seconds into the next one."""
        if after is not None:
            self.release()
            self._process.join(after)
        self._process.kill()
        self._process.join()


def _execute(
    environment: dict[str, str],
    root: Path,
    name: str,
    target: str,
    run_id: str,
    batch_size: int,
    dies_before: int,
    telling: Connection,
) -> None:
    read = settings.read(Source(environment, root))
    company = Company.connect(read.database_url.get_secret_value(), read.layout)
    ledger = Ledger.open(company, Scope(read.service, read.mode), read.reports)
    statements = count_statements(company.engine, dies_before)

    def wait(*_: Any) -> None:
        telling.send(None)
        telling.recv()

    options: dict[str, Any] = {"batch_size": batch_size, "progress": wait}
    wait()
    try:
        if name == "apply":
            code, told = (
                runner.apply(company, ledger, Plan.load(Path(target), ledger.plan_key()), run_id, **options).exit_code,
                "",
            )
        else:
            code, told = runner.undo(company, ledger, target, run_id, **options).exit_code, ""
    except SmartcarOpsError as error:
        code, told = error.exit_code, str(error)
    telling.send((code, told, statements[0]))


class Holder:
    """A process that takes a database's writer lock when it is told to, and holds it until it is told again."""

    def __init__(self, url: str, name: str) -> None:
        self._pipe, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_hold, args=(url, name, other), daemon=True)
        self._process.start()
        other.close()

    def heard(self) -> str:
        """The next word that it says: ready, then held or refused."""
        assert self._pipe.poll(60)
        return str(self._pipe.recv())

    def tell(self) -> None:
        """Lets it go on."""
        self._pipe.send(None)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """Waits for it to end by itself; whether it holds the lock or not."""
        with suppress(OSError):
            self.tell()
        self._process.join(30)


def _hold(url: str, name: str, telling: Connection) -> None:
    hold(url, name, telling.send, telling.recv)


def hold(url: str, name: str, tell: Callable[[str], object], wait: Callable[[], object]) -> None:
    """What such a process does."""
    ledger = Ledger(Company.connect(url, Layout()).engine, Scope("service", "live"), in_database=True)
    tell("ready")
    wait()
    try:
        with lock(ledger, WRITER, name):
            tell("held")
            wait()
    except LockedError:
        tell("refused")


def compare_until(house: House, run_id: str, dies_before: int, **options: Any) -> int | None:
    """Compares in a process that ends with SIGKILL before so many statements or commits of the reading.

    Its exit code, below nothing where it was killed.
    """
    given = (dict(house.environment), house.root, run_id, dies_before, options)
    process = CONTEXT.Process(target=_compare, args=given, daemon=True)
    process.start()
    process.join()
    return process.exitcode


def _compare(environment: dict[str, str], root: Path, run_id: str, dies_before: int, options: dict[str, Any]) -> None:
    session = Session(NOTEBOOK, settings.read(Source(environment, root)), run_id)
    compare = open_comparison(session, **options)
    count_statements(session.company.engine, dies_before)
    compare.read()
    compare.finish()


def upgrade(url: str, dies_before: int = 0) -> int:
    """Brings the ledger there to this version; how many statements and commits that took."""
    company = Company.connect(url, Layout())
    counted = count_statements(company.engine, dies_before)
    versions.upgrade(company.engine, table_names(company))
    company.engine.dispose()
    return counted[0]


def upgrade_in_a_process(url: str, dies_before: int = 0) -> int | None:
    """The same in a process of its own, which ends with SIGKILL before so many of them: its exit code."""
    process = CONTEXT.Process(target=upgrade, args=(url, dies_before), daemon=True)
    process.start()
    process.join()
    return process.exitcode


def count_statements(engine: sa.Engine, dies_before: int) -> list[int]:
    """Counts statements and commits, and ends this process before the one given."""
    counted = [0]

    def tick(*_: Any) -> None:
        counted[0] += 1
        if counted[0] == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", tick)
    sa.event.listen(engine, "commit", tick)
    return counted
