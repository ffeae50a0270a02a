"""The expand phase of the schema change from V2 to V3: it adds columns and tables, and removes nothing."""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from smartcar_ops.database import engines
from smartcar_ops.database.ledger import ledger as ledgers
from smartcar_ops.database.ledger import versions
from smartcar_ops.database.ledger.layouts import table_names
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.versions import LedgerVersion
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import DatabaseError
from smartcar_ops.settings.logs import seconds_since

if TYPE_CHECKING:
    from alembic.operations import Operations

log = logging.getLogger("smartcar_ops.schema")

LEDGER = "ledger"
"""The name of the step that creates or upgrades the kit's own tables."""


@dataclass(frozen=True)
class SchemaStep:
    """One change of the schema: its name, a description, and whether it is already done."""

    name: str
    does: str
    done: bool


def expand_steps(company: Company) -> tuple[SchemaStep, ...]:
    """Return the steps of expand, in order; only reads the schema."""
    users, vehicles = company.layout.users, company.layout.vehicles
    steps = [
        SchemaStep(
            "user id column",
            f"add {users.table}.{users.smartcar_user_id} VARCHAR(36) NULL",
            company.user_id_column is not None,
        )
    ]
    if not vehicles.from_:
        steps.append(
            SchemaStep(
                "vehicle id column",
                f"add {vehicles.table}.{vehicles.smartcar_vehicle_id} VARCHAR(36) NULL",
                company.vehicle_id_column is not None,
            )
        )
        if vehicles.smartcar_user_id:
            steps.append(
                SchemaStep(
                    "vehicle's user id column",
                    f"add {vehicles.table}.{vehicles.smartcar_user_id} VARCHAR(36) NULL",
                    company.vehicle_user_id_column is not None,
                )
            )
    steps.append(_ledger_step(company))
    return tuple(steps)


def _ledger_step(company: Company) -> SchemaStep:
    """Return the step that creates or upgrades the kit's own tables; DatabaseError if a newer kit created them."""
    versions.refuse_another(company.engine, newer_only=True)
    version = versions.ledger_version(company.engine)
    does = "create the smartcar_ops_… tables (the kit's own)"
    if version is LedgerVersion.OLDER:
        does = f"upgrade the smartcar_ops_… tables (the kit's own); their rows are about {table_names(company)}"
    return SchemaStep(LEDGER, does, version is LedgerVersion.CURRENT)


def expand(company: Company, ledger: Ledger) -> tuple[SchemaStep, ...]:
    """Run the steps that are not done yet; a new ledger in the database gets the file's evidence.

    Each step checks the schema first, so that an interrupted expand can continue. Returns the steps as they were
    before; DatabaseError if a right is missing.
    """
    steps = expand_steps(company)
    columns = _columns(company)
    for step in steps:
        if not step.done:
            started = time.perf_counter()
            if step.name == LEDGER:
                versions.upgrade(company.engine, table_names(company))
            else:
                columns[step.name].add(company)
            log.info("%s: done in %.1f s", step.name, seconds_since(started))
    company.refresh()
    target = Ledger.of_database(company, ledger.scope)
    target.name_layout(company)
    if not ledger.in_database and target.is_unused():
        ledgers.copy(ledger, target)
        log.info("the evidence in the file next to the reports was copied to the database")
    return steps


def scope_ledger(company: Company, scope: Scope) -> Ledger:
    """Return the ledger in the database; DatabaseError before expand, or if it is not writable."""
    if not ledgers.in_database(company.engine):
        raise DatabaseError(
            "database: the smartcar_ops_… tables do not exist; run 40_schema_phases -p phase expand -p apply True."
        )
    ledger = Ledger.of_database(company, scope)
    if not ledger.writable():
        raise DatabaseError(
            "database: this account may not write the smartcar_ops_… tables; applying needs INSERT, UPDATE, DELETE."
        )
    return ledger


def open_sql(company: Company) -> dict[str, tuple[str, ...]]:
    """Return the SQL of each step that is not done yet, by its name; only reads the schema.

    It comes from the same operations as the change itself. The steps that upgrade the kit's own tables look at those
    before each change, so that their SQL is not known in advance; they are described instead, as SQL comments.
    """
    columns = _columns(company)
    return {
        step.name: versions.open_sql(company.engine, table_names(company))
        if step.name == LEDGER
        else (columns[step.name].sql(company),)
        for step in expand_steps(company)
        if not step.done
    }


@dataclass(frozen=True)
class _NewColumn:
    """A column of Smartcar ids that expand adds to a table of the company's."""

    table: str
    schema: str
    column: str

    def add(self, company: Company) -> None:
        """Add it to the table."""
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        with (
            engines.failures(company.engine, f"adding {self.table}.{self.column}"),
            engines.writer(company.engine).begin() as connection,
        ):
            self._operate(Operations(MigrationContext.configure(connection)))

    def sql(self, company: Company) -> str:
        """Return the statement that adds it."""
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        written = io.StringIO()
        options = {"as_sql": True, "output_buffer": written}
        self._operate(Operations(MigrationContext.configure(dialect=company.engine.dialect, opts=options)))
        return written.getvalue().strip().rstrip(";")

    def _operate(self, operations: Operations) -> None:
        column = sa.Column(self.column, sa.String(36), nullable=True)
        operations.add_column(self.table, column, schema=self.schema or None)


def _columns(company: Company) -> dict[str, _NewColumn]:
    """Return the columns that expand adds, by the name of their step."""
    users, vehicles = company.layout.users, company.layout.vehicles
    return {
        "user id column": _NewColumn(users.table, users.schema_, users.smartcar_user_id),
        "vehicle id column": _NewColumn(vehicles.table, vehicles.schema_, vehicles.smartcar_vehicle_id),
        "vehicle's user id column": _NewColumn(vehicles.table, vehicles.schema_, vehicles.smartcar_user_id),
    }
