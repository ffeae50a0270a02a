"""Decides for each user and vehicle what a backfill would set, from the evidence in the ledger; writes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import disputed, judged_parts, shown_id
from smartcar_ops.backfill.plan import PLAN_COLUMNS, Binding, Plan, PlanWriter
from smartcar_ops.concurrency import prefetch
from smartcar_ops.database.evidence import readiness
from smartcar_ops.database.evidence.evidence import sources_of
from smartcar_ops.database.evidence.user_facts import BETWEEN_IDS, UserFacts
from smartcar_ops.database.evidence.workspace import Workspace, open_workspace
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger_rows import StoredChoice
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import PlanError
from smartcar_ops.settings.layout import Layout, Vehicles
from smartcar_ops.settings.logs import counts, seconds_since

log = logging.getLogger("smartcar_ops.backfill")

DECISIONS = {bucket.name: bucket.decision for bucket in buckets.BUCKETS}

DecisionRule = tuple["pd.Series[bool]", buckets.Decision, str]
"""(rows it applies to, decision, reason); the first rule that applies to a row decides."""


def plan(company: Company, ledger: Ledger, now: datetime, path: Path | None = None) -> Plan:
    """Make a plan from the company's tables and the ledger, and write it to ``path``; makes no API call."""
    company.refuse_shared_ids()
    log.info("planning")
    started = time.perf_counter()
    judged = readiness.judged_now(ledger)
    writer = PlanWriter(ledger.plan_key(), path)
    with prefetch(_rows(company, ledger, now)) as parts:
        for rows in parts:
            writer.add(rows)
    made = writer.finish(binding(company, ledger), judged)
    log.info("planned: %s in %.1f s", counts(made.counts()), seconds_since(started))
    return made


def binding(company: Company, ledger: Ledger) -> Binding:
    """Return what a plan made now is for: database, schema phase, service, mode and tables."""
    identity = ledger.fact("database_id") if ledger.in_database else None
    return Binding(
        database=f"{company.fingerprint()}/{identity or '-'}",
        phase=company.phase,
        service=ledger.scope.service,
        mode=ledger.scope.mode,
        layout=ledger.scope.layout,
    )


def written_columns(company: Company) -> set[tuple[str, str]]:
    """Return the (table, column) pairs that hold Smartcar ids in the company's layout; nothing else is ever written."""
    users, vehicles = company.layout.users, company.layout.vehicles
    columns = {("users", users.smartcar_user_id)}
    if not vehicles.from_:
        columns |= {("vehicles", name) for name in (vehicles.smartcar_vehicle_id, vehicles.smartcar_user_id) if name}
    return columns


def refuse_foreign_service(ledger: Ledger) -> None:
    """PlanError if the ledger's evidence came from another service than the one in the settings."""
    if ledger.bound_service() != ledger.scope.service:
        raise PlanError(
            "plan: this database's ledger holds evidence from another Smartcar service (other origins or client id); "
            "plan and apply with the settings of that service, or use the database that belongs to this one."
        )


def _rows(company: Company, ledger: Ledger, now: datetime) -> Generator[pd.DataFrame]:
    """Yield the rows of a plan in batches: users first, then vehicles."""
    choices = ledger.choices()
    with open_workspace(company, ledger, now) as workspace:
        facts = UserFacts(workspace)
        parts = judged_parts(workspace, facts, disputed(workspace, facts))
        yield from decided_rows(workspace, facts, parts, company.layout, choices)


def decided_rows(
    workspace: Workspace,
    facts: UserFacts,
    judged: Iterable[pd.DataFrame],
    layout: Layout,
    choices: Mapping[str, StoredChoice],
) -> Iterator[pd.DataFrame]:
    """Yield what a plan decides about the users and vehicles of a workspace; ``judged`` are its `judged_parts`."""
    contested: set[str] = set()
    for part in judged:
        rows = _user_rows(part, choices, layout.users.smartcar_user_id)
        contested.update(rows.loc[rows["decision"] == "conflict", "user_id"])
        yield rows
    for part in _cars(workspace, facts):
        yield from _vehicle_rows(part, contested, layout.vehicles)


def _user_rows(part: pd.DataFrame, choices: Mapping[str, StoredChoice], column: str) -> pd.DataFrame:
    """Return the users' rows of a plan, from their facts."""
    rows = pd.DataFrame(
        {
            "table": "users",
            "row_id": part["user_id"],
            "user_id": part["user_id"],
            "column": column,
            "current": part["current"],
            "proposed": part["named"],
            "decision": part["bucket"].map(DECISIONS),
            "evidence": part["evidence"],
            "reason": part["reason"],
            "cars": BETWEEN_IDS + part["car_ids"] + BETWEEN_IDS,
        }
    )
    for place in part.index[part["malformed"] == 1]:
        rows.at[place, "current"] = shown_id(part.loc[place], "current")
    split = (part["split"] == 1) & (rows["decision"] == "set")
    rows.loc[split, ["decision", "reason"]] = "skip", SPLIT
    for place in part.index[part["chosen"] == 1]:
        choice = choices[str(part.at[place, "user_id"])]
        decision = "set" if part.at[place, "bucket"] in ("invalid", "conflict") else rows.at[place, "decision"]
        if part.at[place, "duplicate"] == 1:
            decision, more = "conflict", "; another of your users has this id: decide about that user too"
        else:
            more = ""
        rows.loc[place, ["decision", "reason"]] = decision, f"{choice['chosen_by']} chose: {choice['reason']}{more}"
    for name in ("proposed", "cars"):
        rows[name] = rows[name].where(rows["decision"] == "set", None)
    return rows


def _cars(workspace: Workspace, facts: UserFacts) -> Iterator[pd.DataFrame]:
    """Yield all vehicles with their links, in batches; ``sources`` in words."""
    for table in workspace.tables(facts.cars()):
        part: pd.DataFrame = table.to_pandas()
        masks = part["sources"].fillna(0).astype("int64")
        part["sources"] = masks.map({mask: ", ".join(sources_of(mask)) for mask in masks.unique()})
        yield part


def _vehicle_rows(part: pd.DataFrame, contested: set[str], names: Vehicles) -> Iterator[pd.DataFrame]:
    """Yield the vehicles' rows of a plan: their vehicle ids, then, if stored per vehicle, their user ids."""
    is_contested = part["user_id"].isin(contested)
    ids = part["lowest"] + np.where(part["lowest"] == part["highest"], "", "; " + part["highest"].fillna(""))
    part["evidence"] = (ids + " (" + part["sources"] + ")").fillna("")
    yield _decided(part, "current", "lowest", names.smartcar_vehicle_id, _vehicle_rules(part, is_contested, names))
    if names.smartcar_user_id:
        rules = _vehicle_user_rules(part, is_contested)
        yield _decided(part, "current_vehicle_user_id", "vehicle_user_id", names.smartcar_user_id, rules)


def _vehicle_rules(part: pd.DataFrame, contested: pd.Series[bool], names: Vehicles) -> list[DecisionRule]:
    current = part["current"].str.strip().str.lower().fillna("")
    linked, one = part["lowest"].notna(), part["lowest"] == part["highest"]
    every_row = pd.Series(True, index=part.index)
    return [
        ((current != "") & one & (current == part["lowest"]), "keep", UNCHANGED),
        (
            (current != "") & linked,
            "conflict",
            "a connection linked to this vehicle has another vehicle id than the stored one",
        ),
        (current != "", "keep", "a vehicle id is stored; no connection is known for it"),
        (~linked, "skip", "no connection is linked to this vehicle"),
        (contested, "skip", FOR_A_PERSON),
        (~one, "conflict", "more than one vehicle id is linked to this vehicle"),
        (every_row & bool(names.from_), "skip", READ_ONLY),
        (every_row, "set", "one vehicle id is linked to this vehicle, and a connection has it"),
    ]


def _vehicle_user_rules(part: pd.DataFrame, contested: pd.Series[bool]) -> list[DecisionRule]:
    current = part["current_vehicle_user_id"].str.strip().str.lower().fillna("")
    known = part["vehicle_user_id"].notna()
    every_row = pd.Series(True, index=part.index)
    return [
        (known & (current == part["vehicle_user_id"]), "keep", "the vehicle is connected under the stored user id"),
        (~known & (current != ""), "keep", "a user id is stored; the connections do not show which user it is"),
        (~known, "skip", "the connections do not show a single user for this vehicle"),
        (current != "", "conflict", "the vehicle is connected under another user id than the stored one"),
        (contested, "skip", FOR_A_PERSON),
        (every_row, "set", "the connections show one user id for this vehicle"),
    ]


SPLIT = "the user's vehicles have different Smartcar user ids, which are stored per vehicle"
UNCHANGED = "the stored vehicle id is that of the vehicle's connection"
FOR_A_PERSON = "a person must decide the user's id first"
READ_ONLY = "the vehicles come from a SELECT ([vehicles] from) and can't be written"


def _decided(part: pd.DataFrame, current: str, proposed: str, column: str, rules: list[DecisionRule]) -> pd.DataFrame:
    """Return rows of a plan, each decided by the first rule that applies to it."""
    applies = [rule[0].to_numpy(dtype=bool) for rule in rules]
    decision = pd.Series(np.select(applies, [rule[1] for rule in rules], ""), index=part.index)
    rows = pd.DataFrame(
        {
            "table": "vehicles",
            "row_id": part["local_vehicle_id"],
            "user_id": part["user_id"],
            "column": column,
            "current": part[current],
            "proposed": part[proposed].where(decision == "set", None),
            "decision": decision,
            "evidence": part["evidence"],
            "reason": np.select(applies, [rule[2] for rule in rules], ""),
            "cars": None,
        }
    )
    return rows[PLAN_COLUMNS]
