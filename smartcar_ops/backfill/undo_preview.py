"""What can be undone of a run: its batches and rows, each with the target that undoes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from smartcar_ops.backfill.runner import shown, standing
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger.acts import NOTEBOOK
from smartcar_ops.database.ledger.change_log import BatchCounts, StandingChange
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Runs


@dataclass(frozen=True)
class UndoRow:
    """A change that can be undone: its target (``RUN:BATCH:ROW``), its column, the value now and the value before.

    ``place`` is its batch and its position in the run, by which pages continue.
    """

    name: str
    column: str
    now: str
    back: str
    place: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Undoable:
    """The batches of ``RUN[:BATCH[:ROW]]``, how many of its changes can be undone, and the first of these.

    ``refused`` is the reason why nothing can be undone here; empty if it can.
    """

    target: str
    batches: Sequence[BatchCounts]
    count: int = 0
    rows: Sequence[UndoRow] = ()
    refused: str = ""

    @property
    def command(self) -> str:
        """The command that undoes all of it."""
        return f"smartcar-ops run {NOTEBOOK} -p undo {shlex.quote(self.target)} -p apply True"


def undoable(ledger: Ledger, target: str, most: int) -> Undoable:
    """Return what can be undone of ``RUN[:BATCH[:ROW]]`` and its first ``most`` rows; PlanError if unknown."""
    run, _, rest = target.partition(":")
    batch, register = rest.partition(":")[0], Runs(ledger)
    batches = change_log.batches(ledger, run, change_log.standing(run, undoing=register.undoing(run)))
    wanted, known = [one for one in batches if batch in ("", str(one.batch))], register.one(run)
    if known and known.layout != ledger.scope.layout:
        tables = ledger.tables_of(known.layout)
        return Undoable(
            target, wanted, refused=f"It can only be undone with a smartcar_ops.toml that has its tables: {tables}."
        )
    count, rows = change_log.first_standing(ledger, standing(ledger, target, as_noted=True), most)
    return Undoable(target, wanted, count, list(map(_row, rows)))


def row_page(ledger: Ledger, target: str, most: int, after: tuple[int, int] | None = None) -> list[UndoRow]:
    """Return rows of ``RUN[:BATCH]`` that can be undone: the first, or those after a place; PlanError if unknown."""
    return list(map(_row, change_log.standing_after(ledger, standing(ledger, target, as_noted=True), most, after)))


def batch_page(ledger: Ledger, run_id: str, most: int, after: int | None = None) -> list[BatchCounts]:
    """Return batches of a run, at most ``most``: the first, or those after a batch; PlanError if the run is unknown."""
    return change_log.batches(ledger, run_id, standing(ledger, run_id, as_noted=True), after=after, most=most)


def _row(one: StandingChange) -> UndoRow:
    target = f"{one.run_id}:{one.batch}:{one.row_id}"
    return UndoRow(target, f"{one.table}.{one.column}", _shown(one.after), _shown(one.before), (one.batch, one.place))


def _shown(value: str | None) -> str:
    """Return a value as it may be shown; a dash if there is none."""
    return "–" if value is None else shown(value) or "–"
