"""Identifies the company's tables that evidence, plans and runs refer to, because two tables may have the same ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from smartcar_ops.database.tables import Company

LONGEST = 128


@dataclass(frozen=True)
class TableNames:
    """Schema, table and id column of users and vehicles; the default schema is an empty string."""

    users_schema: str
    users_table: str
    users_id: str
    vehicles_schema: str
    vehicles_table: str
    vehicles_id: str

    @property
    def key(self) -> str:
        """A short hash of these names."""
        return hashlib.sha256(json.dumps(list(vars(self).values())).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        users, vehicles = (
            ".".join(filter(None, (getattr(self, f"{section}_schema"), getattr(self, f"{section}_table"))))
            for section in ("users", "vehicles")
        )
        return f"{users} ({self.users_id}) and {vehicles} ({self.vehicles_id})"


def table_names(company: Company) -> TableNames:
    """Return the names of the tables in the company's layout.

    For ``[vehicles] from``, the table's name is a digest of the SELECT, because another SELECT may return other ids.
    """
    users, vehicles = company.layout.users, company.layout.vehicles
    default = company.engine.dialect.default_schema_name
    selected = hashlib.sha256(" ".join(vehicles.from_.split()).encode()).hexdigest()[:12]
    return TableNames(
        users_schema="" if users.schema_ == default else users.schema_,
        users_table=users.table,
        users_id=users.id,
        vehicles_schema="" if vehicles.schema_ == default or vehicles.from_ else vehicles.schema_,
        vehicles_table=f"SELECT {selected}" if vehicles.from_ else vehicles.table,
        vehicles_id=vehicles.id,
    )
