"""The expand phase of the schema change from V2 to V3: it adds columns and tables, and removes nothing."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

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

log = logging.getLogger("smartcar_ops.schema")


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
    return SchemaStep("ledger", does, version is LedgerVersion.CURRENT)


def expand(company: Company, ledger: Ledger) -> tuple[SchemaStep, ...]:
    """Run the steps that are not done yet; a new ledger in the database gets the file's evidence.

    Each step checks the schema first, so that an interrupted expand can continue. Returns the steps as they were
    before; DatabaseError if a right is missing.
    """
    steps = expand_steps(company)
    users, vehicles = company.layout.users, company.layout.vehicles
    acts = {
        "user id column": lambda: _add_column(company, users.table, users.schema_, users.smartcar_user_id),
        "vehicle id column": lambda: _add_column(
            company, vehicles.table, vehicles.schema_, vehicles.smartcar_vehicle_id
        ),
        "vehicle's user id column": lambda: _add_column(
            company, vehicles.table, vehicles.schema_, vehicles.smartcar_user_id
        ),
        "ledger": lambda: versions.upgrade(company.engine, table_names(company)),
    }
    for step in steps:
        if not step.done:
            started = time.perf_counter()
            acts[step.name]()
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


def _add_column(company: Company, table: str, schema: str, column: str) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    with (
        engines.failures(company.engine, f"adding {table}.{column}"),
        engines.writer(company.engine).begin() as connection,
    ):
        operations = Operations(MigrationContext.configure(connection))
        operations.add_column(table, sa.Column(column, sa.String(36), nullable=True), schema=schema or None)
