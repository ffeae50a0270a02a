"""Decides for every user and every vehicle what a backfill would set, by what the ledger holds; writes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smartcar_ops.audit.result import disputed, judged_parts, shown_id
from smartcar_ops.backfill.plan import PLAN_COLUMNS, Binding, Plan, PlanWriter
from smartcar_ops.concurrency import prefetch
from smartcar_ops.database.evidence import buckets, readiness
from smartcar_ops.database.evidence.evidence import sources_of
from smartcar_ops.database.evidence.facts import BETWEEN_IDS, UserFacts
from smartcar_ops.database.evidence.workspace import Workspace, desk
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import PlanError
from smartcar_ops.settings.layout import Vehicles
from smartcar_ops.settings.logs import counts, seconds_since

log = logging.getLogger("smartcar_ops.backfill")

DECISIONS = {bucket.name: bucket.decision for bucket in buckets.BUCKETS}

DecisionRule = tuple["pd.Series[bool]", buckets.Decision, str]
"""(where it holds, the decision, why); the first that holds wins."""


def plan(company: Company, ledger: Ledger, now: datetime, path: Path | None = None) -> Plan:
    """The plan, written to ``path`` as it is made; reads the company's tables only, asks nobody."""
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
    """What a plan made now is tied to: database, schema phase, service, mode."""
    identity = ledger.fact("database_id") if ledger.in_database else None
    return Binding(
        database=f"{company.fingerprint()}/{identity or '-'}",
        phase=company.phase,
        service=ledger.scope.service,
        mode=ledger.scope.mode,
        layout=ledger.scope.layout,
    )


def written_columns(company: Company) -> set[tuple[str, str]]:
    """(table, column) that hold Smartcar's ids in this company's layout: nothing else is ever written."""
    users, vehicles = company.layout.users, company.layout.vehicles
    columns = {("users", users.smartcar_user_id)}
    if not vehicles.from_:
        columns |= {("vehicles", name) for name in (vehicles.smartcar_vehicle_id, vehicles.smartcar_user_id) if name}
    return columns


def refuse_foreign_service(ledger: Ledger) -> None:
    """PlanError where the ledger's evidence came from another service than the settings name now."""
    if ledger.bound_service() != ledger.scope.service:
        raise PlanError(
            "plan: this database's ledger holds evidence from another Smartcar service (other origins or client id); "
            "plan and apply against that one, or use the database that belongs to this one."
        )


def _rows(company: Company, ledger: Ledger, now: datetime) -> Generator[pd.DataFrame]:
    """The rows of a plan, so many at a time: users first, then vehicles."""
    users, vehicles, choices = company.layout.users, company.layout.vehicles, ledger.choices()
    with desk(company, ledger, now) as at:
        facts = UserFacts(at)
        named = disputed(at, facts)
        contested: set[str] = set()
        for part in judged_parts(at, facts, named):
            rows = _user_rows(part, choices, users.smartcar_user_id)
            contested.update(rows.loc[rows["decision"] == "conflict", "user_id"])
            yield rows
        for part in _cars(at, facts):
            yield from _vehicle_rows(part, contested, vehicles)


def _user_rows(part: pd.DataFrame, choices: Mapping[str, Mapping[str, Any]], column: str) -> pd.DataFrame:
    """The users' rows of a plan, from their facts."""
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
    rows.loc[split, ["decision", "reason"]] = "skip", "its cars carry two ids, which are kept per vehicle"
    for place in part.index[part["chosen"] == 1]:
        choice = choices[str(part.at[place, "user_id"])]
        decision = "set" if part.at[place, "bucket"] in ("invalid", "conflict") else rows.at[place, "decision"]
        if part.at[place, "twinned"] == 1:
            decision, told = "conflict", "; another local user holds this id: decide for that user, too"
        else:
            told = ""
        rows.loc[place, ["decision", "reason"]] = decision, f"{choice['chosen_by']} chose: {choice['reason']}{told}"
    for name in ("proposed", "cars"):
        rows[name] = rows[name].where(rows["decision"] == "set", None)
    return rows


def _cars(at: Workspace, facts: UserFacts) -> Iterator[pd.DataFrame]:
    """Every car with what ties it, so many at a time; ``sources`` in words."""
    for table in at.tables(facts.cars()):
        part: pd.DataFrame = table.to_pandas()
        masks = part["sources"].fillna(0).astype("int64")
        part["sources"] = masks.map({mask: ", ".join(sources_of(mask)) for mask in masks.unique()})
        yield part


def _vehicle_rows(part: pd.DataFrame, contested: set[str], names: Vehicles) -> Iterator[pd.DataFrame]:
    """The cars' rows of a plan: the vehicle's id, and, where it is kept there, the user's."""
    is_contested = part["user_id"].isin(contested)
    told = part["lowest"] + np.where(part["lowest"] == part["highest"], "", "; " + part["highest"].fillna(""))
    part["evidence"] = (told + " (" + part["sources"] + ")").fillna("")
    yield _decided(part, "current", "lowest", names.smartcar_vehicle_id, _vehicle_rules(part, is_contested, names))
    if names.smartcar_user_id:
        yield _decided(part, "current_holder", "holder", names.smartcar_user_id, _holder_rules(part, is_contested))


def _vehicle_rules(part: pd.DataFrame, contested: pd.Series[bool], names: Vehicles) -> list[DecisionRule]:
    current = part["current"].str.strip().str.lower().fillna("")
    linked, one = part["lowest"].notna(), part["lowest"] == part["highest"]
    everyone = pd.Series(True, index=part.index)
    return [
        ((current != "") & one & (current == part["lowest"]), "keep", KEPT),
        (
            (current != "") & linked,
            "conflict",
            "a connection tied to this car names another vehicle id than the stored one",
        ),
        (current != "", "keep", "a vehicle id is stored; no connection is known for it"),
        (~linked, "skip", "no connection is tied to this car"),
        (contested, "skip", FOR_A_PERSON),
        (~one, "conflict", "more than one vehicle id is tied to this car"),
        (everyone & bool(names.from_), "skip", READ_ONLY),
        (everyone, "set", "one vehicle id is tied to this car, and a connection names it"),
    ]


def _holder_rules(part: pd.DataFrame, contested: pd.Series[bool]) -> list[DecisionRule]:
    current = part["current_holder"].str.strip().str.lower().fillna("")
    known = part["holder"].notna()
    everyone = pd.Series(True, index=part.index)
    return [
        (known & (current == part["holder"]), "keep", "the stored user id is the one the car is connected under"),
        (~known & (current != ""), "keep", "a user id is stored; no connection says which of several it is"),
        (~known, "skip", "no connection says under which one user this car is connected"),
        (current != "", "conflict", "the car is connected under another user id than the stored one"),
        (contested, "skip", FOR_A_PERSON),
        (everyone, "set", "the car is connected under one user id of its user"),
    ]


KEPT = "the stored vehicle id is that of the car's connection"
FOR_A_PERSON = "its user's id is for a person to decide first"
READ_ONLY = "the cars come from a SELECT ([vehicles] from) and can't be written"


def _decided(part: pd.DataFrame, current: str, proposed: str, column: str, rules: list[DecisionRule]) -> pd.DataFrame:
    """Rows of a plan by the first rule that holds for each."""
    held = [rule[0].to_numpy(dtype=bool) for rule in rules]
    decision = pd.Series(np.select(held, [rule[1] for rule in rules], ""), index=part.index)
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
            "reason": np.select(held, [rule[2] for rule in rules], ""),
            "cars": None,
        }
    )
    return rows[PLAN_COLUMNS]
