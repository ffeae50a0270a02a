"""A plan first, then exactly that plan, then, if need be, the way back.

Planning writes nothing. Applying changes only rows that still are as planned, in batches, each with its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import pandas as pd

from smartcar_ops.company import changes, judging, phases
from smartcar_ops.company.changes import Change, Outcome
from smartcar_ops.company.desk import desk
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.runs import WRITER, Runs, lock
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import PlanError
from smartcar_ops.migration import auditing, buckets
from smartcar_ops.migration.plans import PLAN_COLUMNS, Binding, Plan

CHANGE_COLUMNS = ["run_id", "batch", "table", "row_id", "user_id", "column", "before", "after", "outcome"]
POLL = 0.5
"""Seconds between two looks at a paused run's wishes."""

Progress = Callable[[int, int, int], None]
"""(rows done, of, written)."""


@dataclass
class Applied:
    """What became of a plan's rows, and whether it ran to its end."""

    run_id: str
    outcomes: list[Outcome] = field(default_factory=list)
    cancelled: bool = False

    def count(self, outcome: str) -> int:
        """How many rows ended so."""
        return sum(row.outcome == outcome for row in self.outcomes)

    @property
    def summary(self) -> dict[str, int]:
        """Rows applied, skipped and failed."""
        return {
            "applied": self.count("written"),
            "skipped": self.count("skipped"),
            "failed": self.count("failed"),
        }

    @property
    def exit_code(self) -> int:
        """0; 1 where some row failed; 3 where nothing was open."""
        if not self.outcomes and not self.cancelled:
            return 3
        return int(self.count("failed") > 0)

    def table(self) -> pd.DataFrame:
        """A row a change, under the contract's names."""
        return pd.DataFrame([_change_row(self.run_id, row) for row in self.outcomes], columns=CHANGE_COLUMNS)


def plan(company: Company, ledger: Ledger, now: datetime) -> Plan:
    """Decides for every user and vehicle by what the ledger holds; reads only, asks nobody."""
    with desk(company, ledger, now) as at:
        facts = judging.Facts(at)
        judged = list(at.rows(facts.judged(buckets.RULES)))
        named = auditing.evidence_by_user(at.rows(facts.evidence()))
        cars = list(at.rows(facts.cars()))
    users, vehicles = company.layout.users, company.layout.vehicles
    rows = [_user_row(row, named.get(row["user_id"], {}), users.smartcar_user_id) for row in judged]
    contested = {row["user_id"] for row in rows if row["decision"] == "conflict"}
    rows += [
        _vehicle_row(list(group), contested, vehicles.smartcar_vehicle_id, writable=not vehicles.from_)
        for _, group in groupby(cars, key=lambda car: (car["user_id"], car["local_vehicle_id"]))
    ]
    return Plan(pd.DataFrame(rows, columns=PLAN_COLUMNS), binding(company, ledger))


def binding(company: Company, ledger: Ledger) -> Binding:
    """What a plan made now is tied to: database, schema phase, service, mode."""
    identity = ledger.fact("database_id") if ledger.in_database else None
    return Binding(
        database=f"{company.fingerprint()}/{identity or '-'}",
        phase=company.phase,
        service=ledger.scope.service,
        mode=ledger.scope.mode,
    )


def refuse_foreign_service(ledger: Ledger) -> None:
    """PlanError where the ledger's evidence came from another service than the settings name now."""
    if ledger.bound_service() != ledger.scope.service:
        raise PlanError(
            "plan: this database's ledger holds evidence from another Smartcar service (other origins or client id); "
            "plan and apply against that one, or use the database that belongs to this one."
        )


def apply(
    company: Company,
    ledger: Ledger,
    wanted: Plan,
    run_id: str,
    *,
    batch_size: int = 5000,
    progress: Progress | None = None,
) -> Applied:
    """Does exactly what the plan says, row by row where the row still is as planned.

    Writes the company's rows and their records; needs the ledger in the database. Pausing and cancelling are
    asked for in the ledger (`Runs.request`) and obeyed between batches. Errors: PlanError for a foreign plan,
    LockedError while another run writes.
    """
    refuse_foreign_service(ledger)
    wanted.check(binding(company, ledger))
    done = written_before(ledger, wanted)
    left = [change for change in wanted.changes() if (change.table, change.row_id) not in done]
    return _carry_out(company, ledger, left, run_id, "apply", wanted.hash, batch_size, progress)


def written_before(ledger: Ledger, wanted: Plan) -> set[tuple[str, str]]:
    """(table, row id) of what earlier, interrupted runs of this plan have written, and nobody has undone since."""
    runs = Runs(ledger)
    done: set[tuple[str, str]] = set()
    for run in runs.all():
        rows = {(row.change.table, row.change.row_id) for row in changes.written(ledger, run["run_id"])}
        if run["act"] == "apply" and run["plan"] == wanted.hash:
            done |= rows
        elif run["act"] == "undo":
            done -= rows
    return done


def undo(
    company: Company,
    ledger: Ledger,
    target: str,
    run_id: str,
    *,
    batch_size: int = 5000,
    progress: Progress | None = None,
) -> Applied:
    """Puts back what a run, a batch or a row of it (``RUN[:BATCH[:ROW]]``) changed, newest batch first.

    A row changed since is skipped.
    """
    return _carry_out(company, ledger, way_back(ledger, target), run_id, "undo", target, batch_size, progress)


def way_back(ledger: Ledger, target: str) -> list[Change]:
    """The changes that would undo ``RUN[:BATCH[:ROW]]``; PlanError where the ledger has no such run."""
    run, _, rest = target.partition(":")
    batch, _, row = rest.partition(":")
    if batch and not batch.isdigit():
        raise PlanError(f"undo: {target!r} names the batch {batch!r}; expected RUN, RUN:BATCH or RUN:BATCH:ROW.")
    known = {entry["run_id"] for entry in Runs(ledger).all()}
    if run not in known:
        raise PlanError(f"undo: the ledger has no run {run!r}; `smartcar-ops runs` lists them.")
    done = changes.written(ledger, run, int(batch) if batch else None, row or None)
    if row and len({old.change.table for old in done}) > 1:
        raise PlanError(
            f"undo: {target!r} names a user and a vehicle; expected {run}:{batch}:users/{row} or …:vehicles/{row}."
        )
    return [
        Change(
            old.change.table,
            old.change.row_id,
            old.change.user_id,
            old.change.column,
            old.change.after,
            old.change.before,
        )
        for old in done
    ]


def _carry_out(
    company: Company,
    ledger: Ledger,
    wanted: Sequence[Change],
    run_id: str,
    act: str,
    plan_hash: str,
    batch_size: int,
    progress: Progress | None,
) -> Applied:
    """One writer at a time sets the rows in batches; what was recorded is what was done."""
    applied, runs = Applied(run_id), Runs(ledger)
    phases.scope_ledger(company, ledger.scope)
    with lock(ledger, WRITER, run_id) as held:
        runs.start(run_id, "30_backfill_user_ids", act, plan=plan_hash)
        status = "failed"
        try:
            for number, batch in enumerate(_batches(wanted, batch_size), start=1):
                held.check()
                if not _may_go_on(runs, run_id):
                    applied.cancelled = True
                    break
                applied.outcomes += changes.write(company, ledger, run_id, number, batch)
                if progress:
                    progress(len(applied.outcomes), len(wanted), applied.count("written"))
            status = "cancelled" if applied.cancelled else "done"
        finally:
            runs.finish(run_id, status, applied.summary)
    return applied


def _may_go_on(runs: Runs, run_id: str) -> bool:
    """Waits while the run is paused; False where it was cancelled."""
    while (word := runs.requested(run_id)) == "pause":
        time.sleep(POLL)
    return word != "cancel"


def _batches(wanted: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(wanted), max(1, size)):
        yield wanted[start : start + max(1, size)]


def _user_row(row: dict[str, Any], named: dict[str, list[str]], column: str) -> dict[str, Any]:
    decision = buckets.BY_NAME[row["bucket"]].decision
    return {
        "table": "users",
        "row_id": row["user_id"],
        "user_id": row["user_id"],
        "column": column,
        "current": auditing.shown_id(row, "current"),
        "proposed": row["named"] if decision == "set" else None,
        "decision": decision,
        "evidence": auditing.in_words(named),
        "reason": auditing.reason(row, named),
    }


def _vehicle_row(links: list[dict[str, Any]], contested: set[str], column: str, *, writable: bool) -> dict[str, Any]:
    """One car's decision, from its rows of (vehicle id, source)."""
    car = links[0]
    ids = sorted({link["vehicle_id"] for link in links if link["vehicle_id"]})
    sources = auditing.in_words({id: [row["source"] for row in links if row["vehicle_id"] == id] for id in ids})
    decision, why = _vehicle_decision(car, ids, contested, writable=writable)
    return {
        "table": "vehicles",
        "row_id": car["local_vehicle_id"],
        "user_id": car["user_id"],
        "column": column,
        "current": car["current"],
        "proposed": ids[0] if decision == "set" else None,
        "decision": decision,
        "evidence": sources,
        "reason": why,
    }


def _vehicle_decision(
    car: dict[str, Any], ids: Sequence[str], contested: set[str], *, writable: bool
) -> tuple[buckets.Decision, str]:
    current = (car["current"] or "").strip().lower()
    if current:
        if [current] == list(ids):
            return "keep", "the stored vehicle id is that of the car's connection"
        if ids:
            return "conflict", "a connection tied to this car names another vehicle id than the stored one"
        return "keep", "a vehicle id is stored; no connection is known for it"
    if not ids:
        return "skip", "no connection is tied to this car"
    if car["user_id"] in contested:
        return "skip", "its user's id is for a person to decide first"
    if len(ids) > 1:
        return "conflict", "more than one vehicle id is tied to this car"
    if not writable:
        return "skip", "the cars come from a SELECT ([vehicles] from) and can't be written"
    return "set", "one vehicle id is tied to this car, and a connection names it"


def _change_row(run_id: str, row: Outcome) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "batch": row.batch,
        "table": row.change.table,
        "row_id": row.change.row_id,
        "user_id": row.change.user_id,
        "column": row.change.column,
        "before": row.change.before,
        "after": row.change.after,
        "outcome": row.outcome,
    }
