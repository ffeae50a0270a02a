"""A plan as a file: its rows, what it is tied to, and the hash that shows an edit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from smartcar_ops.company.changes import Change
from smartcar_ops.errors import PlanError

PLAN_COLUMNS = [
    "table",
    "row_id",
    "user_id",
    "column",
    "current",
    "proposed",
    "decision",
    "evidence",
    "reason",
]
DECISIONS = ("set", "keep", "conflict", "skip")
KEY = b"smartcar_ops.plan"
"""Where a Parquet file's own metadata holds the binding and the hash."""


@dataclass(frozen=True)
class Binding:
    """What a plan is good for; a plan of another database, phase or service is refused."""

    database: str
    phase: str
    service: str
    mode: str


@dataclass(frozen=True, repr=False)
class Plan:
    """A decision a row: users first, then vehicles."""

    rows: pd.DataFrame
    binding: Binding

    def __repr__(self) -> str:
        return f"<Plan {self.hash}: {self.verdict}>"

    @property
    def hash(self) -> str:
        """A short hash of every cell and of the binding."""
        cells = self.rows[PLAN_COLUMNS].astype(object).where(self.rows[PLAN_COLUMNS].notna(), None)
        text = json.dumps([asdict(self.binding), cells.to_numpy().tolist()], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def counts(self, table: str | None = None) -> dict[str, int]:
        """Rows by decision, of one table or of both."""
        rows = self.rows if table is None else self.rows[self.rows["table"] == table]
        found = rows["decision"].value_counts()
        return {decision: int(found.get(decision, 0)) for decision in DECISIONS}

    @property
    def verdict(self) -> str:
        """The plan in one sentence."""
        users, vehicles = self.counts("users"), self.counts("vehicles")
        return (
            f"{users['set']:,} user ids and {vehicles['set']:,} vehicle ids to set; "
            f"{users['conflict']:,} users are for a person to decide."
        )

    @property
    def exit_code(self) -> int:
        """0; 3 where there is no row to set."""
        return 0 if self.counts()["set"] else 3

    def conflicts(self) -> pd.DataFrame:
        """The rows that are for people, with the evidence side by side."""
        return self.rows[self.rows["decision"] == "conflict"]

    def changes(self) -> list[Change]:
        """The rows to set, in the plan's order."""
        wanted = self.rows[self.rows["decision"] == "set"]
        return [
            Change(row.table, row.row_id, _text(row.user_id), row.column, _text(row.current), row.proposed)
            for row in wanted.itertuples(index=False)
        ]

    def check(self, now: Binding) -> None:
        """PlanError where the plan does not belong here; never for its age."""
        if self.binding.phase == "before":
            raise PlanError(
                "plan: it was made before expand, when there was no column to write; run 40_schema_phases "
                "-p phase expand -p apply True, then plan again."
            )
        for name, mine, theirs in (
            ("database", now.database, self.binding.database),
            ("schema phase", now.phase, self.binding.phase),
            ("Smartcar service", now.service, self.binding.service),
            ("mode", now.mode, self.binding.mode),
        ):
            if mine != theirs:
                raise PlanError(f"plan: it was made for another {name}; expected one made here. Plan again.")

    def save(self, path: Path) -> None:
        """Writes the plan as Parquet, its binding and hash inside."""
        table = pa.Table.from_pandas(self.rows[PLAN_COLUMNS], schema=_schema(), preserve_index=False)
        seal = json.dumps({"binding": asdict(self.binding), "hash": self.hash}).encode()
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: seal}), path)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """The plan in a file; PlanError where it is none, or was edited."""
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise PlanError(
                f"plan: {path.name} can't be read as a plan ({type(error).__name__}); plan again."
            ) from None
        seal = (table.schema.metadata or {}).get(KEY)
        if seal is None or list(table.column_names) != PLAN_COLUMNS:
            raise PlanError(f"plan: {path.name} is no plan of this kit, or was edited; plan again.")
        sealed = json.loads(seal)
        loaded = cls(table.to_pandas(), Binding(**sealed["binding"]))
        if loaded.hash != sealed["hash"]:
            raise PlanError(f"plan: {path.name} was edited after it was made; plan again.")
        return loaded


def _schema() -> pa.Schema:
    return pa.schema([(column, pa.string()) for column in PLAN_COLUMNS])


def _text(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
