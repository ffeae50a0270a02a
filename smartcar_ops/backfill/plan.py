"""A plan as a file: its rows, what it is tied to, and the hash that shows an edit.

A plan may have millions of rows, so it is written, hashed and read part by part.
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

from smartcar_ops.database.changes import RowChange
from smartcar_ops.errors import PlanError
from smartcar_ops.smartcar import json_values
from smartcar_ops.storage.parquet import ROWS, ParquetTable, TooLargeError, refuse_huge

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
"""The columns that are for people; ``cars`` are the user's cars when it was planned, for a row of the users to set."""

DECISIONS = ("set", "keep", "conflict", "skip")
SEAL = "smartcar_ops.plan"
"""Where a Parquet file's own metadata holds the binding and the hash."""

SHOWN = 10_000
"""Conflicts that are read at once, to be shown; the file has all."""


@dataclass(frozen=True)
class Binding:
    """What a plan is good for; a plan of another database, phase or service, or of other tables, is refused."""

    database: str
    phase: str
    service: str
    mode: str
    layout: str
    """The key of the tables and id columns."""


@dataclass(frozen=True)
class Seal:
    """What a plan's file says of it, under its hash: what it is good for, its number, and the evidence's number."""

    binding: Binding
    number: str
    judged: int


@dataclass(frozen=True, repr=False)
class Plan:
    """A decision a row: users first, then vehicles. Read only as far as it is asked for."""

    kept: ParquetTable
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
        """What it is good for."""
        return self.seal.binding

    @property
    def rows(self) -> pd.DataFrame:
        """All rows at once."""
        return self.kept.frame()

    def counts(self, table: str | None = None) -> dict[str, int]:
        """Rows by decision, of one table or of both."""
        found = dict.fromkeys(DECISIONS, 0)
        for (name, _, decision), rows in self.tally.items():
            found[decision] += rows if table in (None, name) else 0
        return found

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

    def first(self, decision: str, rows: int, table: str | None = None) -> pd.DataFrame:
        """The first rows with this decision, of one table or of both."""
        found: list[pd.DataFrame] = []
        left = rows
        for part in self.kept.parts():
            wanted = part["decision"] == decision
            part = part[wanted if table is None else wanted & (part["table"] == table)].head(left)
            found.append(part)
            left -= len(part)
            if left <= 0:
                break
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=PLAN_COLUMNS)

    def conflicts(self) -> pd.DataFrame:
        """The rows that are for people, with the evidence side by side; the first 10,000."""
        return self.first("conflict", SHOWN)

    def to_set(self, table: str, column: str) -> Iterator[pa.Table]:
        """The rows to set in a column, so many at a time, in the plan's order; without evidence and reason."""
        wanted = (pc.field("decision") == "set") & (pc.field("table") == table) & (pc.field("column") == column)
        for part in self.kept.tables([name for name in PLAN_COLUMNS if name not in WORDS]):
            yield part.filter(wanted)

    def columns(self) -> list[tuple[str, str]]:
        """(table, column) of the rows to set: users first."""
        return sorted({(table, column) for (table, column, decision), rows in self.tally.items() if decision == "set"})

    def changes(self) -> list[RowChange]:
        """The rows to set, all at once."""
        return [
            RowChange(row.table, row.row_id, text(row.user_id), row.column, text(row.current), text(row.proposed))
            for table, column in self.columns()
            for part in self.to_set(table, column)
            for row in part.to_pandas().itertuples(index=False)
        ]

    def check(self, now: Binding, columns: Collection[tuple[str, str]]) -> None:
        """PlanError where the plan does not belong here, or its file is not as it was read; never for its age.

        ``columns`` are the (table, column) that may be written.
        """
        if self.binding.phase == "before":
            raise PlanError(
                "plan: it was made before expand, when there was no column to write; run 40_schema_phases "
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
        if Plan.load(self.kept.path, self.key).hash != self.hash:
            raise PlanError("plan: another plan is in its file than the one that was read; read it again.")
        for table, column in self.columns():
            if (table, column) not in columns:
                raise PlanError(
                    f"plan: it sets {column!r} of the {table}, which holds no Smartcar id here; expected only "
                    f"{', '.join(sorted(f'{name!r} of the {of}' for of, name in columns))}. Plan again."
                )

    def save(self, path: Path) -> None:
        """Copies the plan to a file."""
        if path != self.kept.path:
            shutil.copyfile(self.kept.path, path)

    @classmethod
    def load(cls, path: Path, key: bytes) -> Plan:
        """The plan in a file; PlanError if it is none, was edited, or was made with another key."""
        try:
            refuse_huge(path)
            with pq.ParquetFile(path) as file:
                names, notes = file.schema_arrow.names, file.metadata.metadata or {}
                sealed = notes.get(SEAL.encode())
                if sealed is None or names != PLAN_COLUMNS:
                    raise PlanError(f"plan: {path.name} is no plan of this kit, or was edited; plan again.")
                known, sums = json_values.loads(sealed), _Sums(key)
                for batch in file.iter_batches(ROWS):
                    sums.add(pa.Table.from_batches([batch]))
            seal = Seal(Binding(**known["binding"]), str(known["number"]), int(known["judged"]))
            sealed_hash = str(known["hash"])
        except TooLargeError as error:
            raise PlanError(f"plan: {path.name} is no plan of this kit: it {error}. Plan again.") from None
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
    """Writes a plan part by part; without a path, to a file that goes with the plan."""

    def __init__(self, key: bytes, path: Path | None = None) -> None:
        self._spool, self._sums, self._key = ParquetTable(dict.fromkeys(PLAN_COLUMNS, "str"), path), _Sums(key), key

    def add(self, part: pd.DataFrame) -> None:
        """Adds rows."""
        self._sums.add(self._spool.append(part))

    def finish(self, binding: Binding, judged: int) -> Plan:
        """Seals the file: its binding, number and hash inside; two plans never have the same number, nor hash."""
        seal = Seal(binding, str(uuid.uuid4()), judged)
        made = self._sums.hash(seal)
        self._spool.close({SEAL: json.dumps({**asdict(seal), "hash": made})})
        return Plan(self._spool, seal, made, self._sums.tally, self._key)


class _Sums:
    """What a plan's rows come to: a keyed hash that does not depend on how they were cut into parts; their counts.

    Whoever can write the file, but does not know the key, can't make a plan.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._columns = {name: (hashlib.sha256(), hashlib.sha256()) for name in PLAN_COLUMNS}
        self.tally: Counter[tuple[str, str, str]] = Counter()

    def add(self, table: pa.Table) -> None:
        for name, (lengths, texts) in self._columns.items():
            cells = pa.concat_arrays(pc.cast(table[name], pa.large_string()).chunks)
            known = pc.fill_null(pc.cast(pc.binary_length(cells), pa.int64()), -1)
            lengths.update(known.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            texts.update(_characters(cells.drop_null()))
        by = ["table", "column", "decision"]
        for row in table.select(by).group_by(by).aggregate([([], "count_all")]).to_pylist():
            self.tally[row["table"], row["column"], row["decision"]] += row["count_all"]

    def hash(self, seal: Seal) -> str:
        """A short hash of every cell and of the seal."""
        whole = hmac.new(self._key, json.dumps(asdict(seal)).encode(), hashlib.sha256)
        for lengths, texts in self._columns.values():
            whole.update(lengths.digest() + texts.digest())
        return whole.hexdigest()[:32]


def _characters(texts: pa.LargeStringArray) -> memoryview:
    """The bytes of all texts, one after the other."""
    _, ends, characters = texts.buffers()
    if not len(texts) or characters is None:
        return memoryview(b"")
    places = memoryview(ends).cast("q")
    return memoryview(characters)[places[texts.offset] : places[texts.offset + len(texts)]]


def text(value: object) -> str | None:
    """A cell's text; None where it is empty."""
    return None if value is None or pd.isna(value) else str(value)
