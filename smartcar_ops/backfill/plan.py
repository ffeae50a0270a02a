"""A plan as a Parquet file: its rows, what it was made for, and a keyed hash that reveals edits.

A plan may have millions of rows, so it is written, hashed and read in batches.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smartcar_ops.database.compare_and_set import RowChange
from smartcar_ops.errors import PlanError
from smartcar_ops.smartcar import json_values
from smartcar_ops.storage.parquet import ROWS, ParquetTable, TooLargeError, refuse_huge
from smartcar_ops.text import thousands

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
    "cars",
]
WORDS = ("evidence", "reason")
"""The columns for people. (``cars`` has the user's vehicles at the time of the plan, for rows of ``users`` to set.)"""

DECISIONS = ("set", "keep", "conflict", "skip")
SEAL = "smartcar_ops.plan"
"""The key in the Parquet file's metadata that holds the binding and the hash."""

MAX_CONFLICTS = 10_000
"""Conflicts that are read to be shown; the file has all of them."""


@dataclass(frozen=True)
class Binding:
    """What a plan was made for: a plan for another database, phase, service or other tables is refused."""

    database: str
    phase: str
    service: str
    mode: str
    layout: str
    """A key made of the names of the tables and id columns."""


@dataclass(frozen=True)
class Seal:
    """What a plan's metadata holds under its hash: its binding, its own number, and the number of the evidence."""

    binding: Binding
    number: str
    judged: int


@dataclass(frozen=True, repr=False)
class Plan:
    """One decision per row, users first, then vehicles; its rows are read from the file when they are needed."""

    table: ParquetTable
    seal: Seal
    hash: str
    tally: Counter[tuple[str, str, str]]
    """(table, column, decision) -> rows."""
    key: bytes
    """What the hash is keyed with."""

    def __repr__(self) -> str:
        return f"<Plan {self.hash}: {self.verdict}>"

    @property
    def binding(self) -> Binding:
        """What it was made for."""
        return self.seal.binding

    @property
    def rows(self) -> pd.DataFrame:
        """All rows at once."""
        return self.table.frame()

    def counts(self, table: str | None = None) -> dict[str, int]:
        """Return the number of rows by decision, for one table or for both."""
        counts = dict.fromkeys(DECISIONS, 0)
        for (name, _, decision), rows in self.tally.items():
            counts[decision] += rows if table in (None, name) else 0
        return counts

    @property
    def verdict(self) -> str:
        """The plan in one sentence."""
        users, vehicles = self.counts("users"), self.counts("vehicles")
        return (
            f"{thousands(users['set'], 'user ids')} and {thousands(vehicles['set'], 'vehicle ids')} to set; "
            f"{thousands(users['conflict'], 'users')} for a person to decide."
        )

    @property
    def exit_code(self) -> int:
        """0; 3 if there is no row to set."""
        return 0 if self.counts()["set"] else 3

    def first(self, decision: str, rows: int, table: str | None = None) -> pd.DataFrame:
        """Return the first rows with this decision, from one table or from both."""
        parts: list[pd.DataFrame] = []
        left = rows
        for part in self.table.parts():
            wanted = part["decision"] == decision
            part = part[wanted if table is None else wanted & (part["table"] == table)].head(left)
            parts.append(part)
            left -= len(part)
            if left <= 0:
                break
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=PLAN_COLUMNS)

    def conflicts(self) -> pd.DataFrame:
        """Return the first 10,000 conflicts with their evidence."""
        return self.first("conflict", MAX_CONFLICTS)

    def to_set(self, table: str, column: str) -> Iterator[pa.Table]:
        """Yield the rows to set in a column, in batches and in the plan's order, without evidence and reason."""
        wanted = (pc.field("decision") == "set") & (pc.field("table") == table) & (pc.field("column") == column)
        for part in self.table.tables([name for name in PLAN_COLUMNS if name not in WORDS]):
            yield part.filter(wanted)

    def columns(self) -> list[tuple[str, str]]:
        """Return (table, column) of the rows to set: users first."""
        return sorted({(table, column) for (table, column, decision), rows in self.tally.items() if decision == "set"})

    def changes(self) -> list[RowChange]:
        """Return all rows to set."""
        return [
            RowChange(row.table, row.row_id, text(row.user_id), row.column, text(row.current), text(row.proposed))
            for table, column in self.columns()
            for part in self.to_set(table, column)
            for row in part.to_pandas().itertuples(index=False)
        ]

    def check(self, now: Binding, columns: Collection[tuple[str, str]]) -> None:
        """PlanError if the plan was made for something else, or its file has changed since it was read; never for age.

        ``columns`` are the (table, column) that may be written.
        """
        if self.binding.phase == "before":
            raise PlanError(
                "plan: it was made before expand, when there was no column to write to; run 40_schema_phases "
                "-p phase expand -p apply True, then plan again."
            )
        for name, mine, theirs in (
            ("database", now.database, self.binding.database),
            ("table or id column", now.layout, self.binding.layout),
            ("schema phase", now.phase, self.binding.phase),
            ("Smartcar service", now.service, self.binding.service),
            ("mode", now.mode, self.binding.mode),
        ):
            if mine != theirs:
                raise PlanError(f"plan: it was made for another {name}; expected one made here. Plan again.")
        if Plan.load(self.table.path, self.key).hash != self.hash:
            raise PlanError("plan: its file now holds a different plan from the one that was read; read it again.")
        for table, column in self.columns():
            if (table, column) not in columns:
                raise PlanError(
                    f"plan: it sets {column!r} of the {table}, which is not a column of Smartcar ids here; expected "
                    f"only {', '.join(sorted(f'{name!r} of the {of}' for of, name in columns))}. Plan again."
                )

    def save(self, path: Path) -> None:
        """Copy the plan to a file."""
        if path != self.table.path:
            shutil.copyfile(self.table.path, path)

    @classmethod
    def load(cls, path: Path, key: bytes) -> Plan:
        """Read a plan from a file; PlanError if it is not a plan, was edited, or was made with another key."""
        try:
            refuse_huge(path)
            with pq.ParquetFile(path) as file:
                names, notes = file.schema_arrow.names, file.metadata.metadata or {}
                sealed = notes.get(SEAL.encode())
                if sealed is None or names != PLAN_COLUMNS:
                    raise PlanError(f"plan: {path.name} is not a plan of this kit, or was edited; plan again.")
                known, sums = json_values.loads(sealed), _Sums(key)
                for batch in file.iter_batches(ROWS):
                    sums.add(pa.Table.from_batches([batch]))
            seal = Seal(Binding(**known["binding"]), str(known["number"]), int(known["judged"]))
            sealed_hash = str(known["hash"])
        except TooLargeError as error:
            raise PlanError(f"plan: {path.name} is not a plan of this kit: it {error}. Plan again.") from None
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise PlanError(
                f"plan: {path.name} can't be read as a plan ({type(error).__name__}); plan again."
            ) from None
        if not hmac.compare_digest(sums.hash(seal), sealed_hash):
            raise PlanError(
                f"plan: {path.name} was edited after it was made, or was made with another ledger's key; plan again."
            )
        return cls(ParquetTable.opened(path), seal, sealed_hash, sums.tally, key)


class PlanWriter:
    """Writes a plan in batches; without a path, to a temporary file that is deleted with the plan."""

    def __init__(self, key: bytes, path: Path | None = None) -> None:
        self._table, self._sums, self._key = ParquetTable(dict.fromkeys(PLAN_COLUMNS, "str"), path), _Sums(key), key

    def add(self, part: pd.DataFrame) -> None:
        """Add rows."""
        self._sums.add(self._table.append(part))

    def finish(self, binding: Binding, judged: int) -> Plan:
        """Seal the file with its binding, number and hash; no two plans have the same number or hash."""
        seal = Seal(binding, str(uuid.uuid4()), judged)
        made = self._sums.hash(seal)
        self._table.close({SEAL: json.dumps({**asdict(seal), "hash": made})})
        return Plan(self._table, seal, made, self._sums.tally, self._key)


class _Sums:
    """The row counts of a plan and a keyed hash of its cells, which does not depend on how they were batched.

    Someone who can write the file but does not know the key can't make a valid plan.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._columns = {name: (hashlib.sha256(), hashlib.sha256()) for name in PLAN_COLUMNS}
        self.tally: Counter[tuple[str, str, str]] = Counter()

    def add(self, table: pa.Table) -> None:
        for name, (lengths, texts) in self._columns.items():
            cells = pa.concat_arrays(pc.cast(table[name], pa.large_string()).chunks)
            known_lengths = pc.fill_null(pc.cast(pc.binary_length(cells), pa.int64()), -1)
            lengths.update(known_lengths.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            texts.update(_characters(cells.drop_null()))
        by = ["table", "column", "decision"]
        for row in table.select(by).group_by(by).aggregate([([], "count_all")]).to_pylist():
            self.tally[row["table"], row["column"], row["decision"]] += row["count_all"]

    def hash(self, seal: Seal) -> str:
        """Return a short hash of every cell and of the seal."""
        whole = hmac.new(self._key, json.dumps(asdict(seal)).encode(), hashlib.sha256)
        for lengths, texts in self._columns.values():
            whole.update(lengths.digest() + texts.digest())
        return whole.hexdigest()[:32]


def _characters(texts: pa.LargeStringArray) -> memoryview:
    """Return the bytes of all texts, concatenated."""
    _, ends, characters = texts.buffers()
    if not len(texts) or characters is None:
        return memoryview(b"")
    places = memoryview(ends).cast("q")
    return memoryview(characters)[places[texts.offset] : places[texts.offset + len(texts)]]


def text(value: object) -> str | None:
    """Return a cell's text; None if it is empty."""
    return None if value is None or pd.isna(value) else str(value)
