"""What of an act can be undone: its batches, and its rows, each under the name by which it is undone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smartcar_ops.backfill.runner import shown, standing
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.acts import NOTEBOOK
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Runs


@dataclass(frozen=True)
class UndoRow:
    """A change that stands: its name (``RUN:BATCH:ROW``), where it is, what was written, what undoing puts back."""

    name: str
    column: str
    now: str
    back: str


@dataclass(frozen=True)
class Undoable:
    """The batches of ``RUN[:BATCH[:ROW]]``, how many of its changes stand, and the first of these.

    A batch is (batch, table, written, skipped, failed, still standing, when it ended). ``refused`` says why nothing of
    it can be undone here; empty where it can.
    """

    target: str
    batches: Sequence[Sequence[Any]]
    count: int = 0
    rows: Sequence[UndoRow] = ()
    refused: str = ""

    @property
    def command(self) -> str:
        """What undoes all of it."""
        return f"smartcar-ops run {NOTEBOOK} -p undo {shlex.quote(self.target)} -p apply True"


def undoable(ledger: Ledger, target: str, most: int) -> Undoable:
    """What can be undone of ``RUN[:BATCH[:ROW]]``, its first ``most`` rows; PlanError for an unknown run."""
    run, _, rest = target.partition(":")
    batch, register = rest.partition(":")[0], Runs(ledger)
    batches = change_log.batches(ledger, run, change_log.standing(run, undoing=register.undoing(run)))
    wanted, known = [one for one in batches if batch in ("", str(one[0]))], register.one(run)
    if known and known.layout != ledger.scope.layout:
        tables = ledger.tables_of(known.layout)
        return Undoable(target, wanted, refused=f"It is undone where smartcar_ops.toml names its tables, {tables}.")
    count, found = change_log.first_standing(ledger, standing(ledger, target, as_noted=True), most)
    return Undoable(target, wanted, count, [_row(*one) for one in found])


def _row(run: str, batch: int, table: str, row_id: str, column: str, before: str | None, after: str | None) -> UndoRow:
    return UndoRow(f"{run}:{batch}:{row_id}", f"{table}.{column}", _told(after), _told(before))


def _told(value: str | None) -> str:
    """A value as people may see it; a dash for none."""
    return "–" if value is None else shown(value) or "–"
