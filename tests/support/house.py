"""A company with its database, a running sandbox, and the kit's clients on both: what most tests act on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.result import AuditResult, judge_users
from smartcar_ops.audit.sources import AUTO, SourceReport
from smartcar_ops.backfill import runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.clients import SmartcarClients
from smartcar_ops.database import schema
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.tables import Company
from smartcar_ops.sandbox import company
from smartcar_ops.sandbox.server import Sandbox
from smartcar_ops.sandbox.truth import tell_truth
from smartcar_ops.sandbox.world import build_world
from smartcar_ops.settings import environment
from smartcar_ops.settings.environment import Settings, Source
from smartcar_ops.smartcar.http.transport import Transport

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

NO_LIMITS = "[limits.per_vehicle_day]\nHYUNDAI = 0\nKIA = 0\n"
"""Every car is read in one go, whatever its make; a test of limits names its own."""


class House:
    """One company; ``environment`` points any process of the kit at it."""

    def __init__(
        self,
        url: str,
        root: Path,
        *,
        users: int = 60,
        seed: int = 0,
        faults: Iterable[str] = (),
        toml: str = "",
        refresh_tokens: bool = False,
    ) -> None:
        self.url, self.root = url, root
        root.mkdir(parents=True)
        (root / "notebooks").symlink_to(NOTEBOOKS, target_is_directory=True)
        self.world = build_world(users, seed)
        self.truth: dict[str, Any] = tell_truth(self.world)
        company.create_database(url, self.world, refresh_tokens=refresh_tokens)
        (root / "smartcar_ops.toml").write_text(toml or NO_LIMITS)
        self.sandbox = Sandbox(self.world, faults)
        self.sandbox.start()
        self.environment = {
            **self.sandbox.environment(url),
            "SMARTCAR_ALLOWANCE_BURST": "1000000",
            "SMARTCAR_OPS_REPORTS": str(root / "reports"),
            "SMARTCAR_OPS_CONFIG": str(root / "smartcar_ops.toml"),
        }
        self.settings = self.read_settings()
        self.now = datetime.now(UTC)
        self.company = Company.connect(url, self.settings.layout, vault=self.settings.vault)
        self.transport = Transport()
        clients = SmartcarClients(self.settings, self.transport)
        self.v2, self.v3 = clients.v2, clients.v3
        self.management, self.managed = clients.management_v3, clients.management_v2
        self.ledger = self.open_ledger()

    def read_settings(self, **changed: str) -> Settings:
        """The settings of this house, with some variables changed."""
        return environment.read(Source({**self.environment, **changed}, self.root))

    def open_ledger(self) -> Ledger:
        """The ledger where it is now."""
        scope = Scope(self.settings.service, self.settings.mode)
        return Ledger.open(self.company, scope, self.settings.reports)

    def expand(self) -> House:
        """Adds the two columns and the ledger."""
        schema.expand(self.company, self.ledger)
        self.ledger = self.open_ledger()
        return self

    def play_callbacks(self) -> House:
        """Lets the application's own Connect callback store its ids."""
        company.play_connect_callbacks(self.url, self.world)
        return self

    def linker(self) -> IdentityResolver:
        """What asks Smartcar."""
        return IdentityResolver(
            self.company,
            self.ledger,
            self.v2,
            self.v3,
            management=self.management,
            managed=self.managed,
            now=self.now,
        )

    def ask(self, sources: Iterable[str] = AUTO, *, accept_list: bool = False) -> SourceReport:
        """Asks the sources, side by side, without a budget."""
        # Server and clients share one interpreter: more threads only get in each other's way.
        with ThreadPoolExecutor(2) as executor:
            return self.linker().ask(tuple(sources), executor, accept_list=accept_list)

    def audit(self) -> AuditResult:
        """Judges by what is known now."""
        return judge_users(self.company, self.ledger, self.now)

    def plan(self) -> Plan:
        """Plans by what is known now."""
        return runner.plan(self.company, self.ledger, self.now)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, column for column."""
        with self.company.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).mappings()]

    def tables(self) -> set[str]:
        """The names of the database's tables."""
        return set(sa.inspect(self.company.engine).get_table_names())

    def execute(self, statement: str, **values: Any) -> None:
        """Runs one statement as the company itself would."""
        with self.company.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def process_environment(self, **changed: str) -> Mapping[str, str]:
        """The environment of a process of the kit that acts on this house."""
        return {**os.environ, **self.environment, **changed}

    def close(self) -> None:
        """Ends the sandbox and every connection."""
        self.transport.close()
        self.company.engine.dispose()
        self.ledger.engine.dispose()
        self.sandbox.end()
