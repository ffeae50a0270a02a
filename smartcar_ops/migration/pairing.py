"""Which vehicles can be read on both versions, and which of them a run reads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smartcar_ops.company import judging
from smartcar_ops.company.desk import desk
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import ParameterError
from smartcar_ops.migration import buckets
from smartcar_ops.migration.linking import was_asked


@dataclass(frozen=True)
class Pair:
    """A linked vehicle that can be read on both versions: its ids, its Smartcar user, its V2 token."""

    vehicle_id: str
    local_vehicle_id: str
    smartcar_user_id: str
    make: str
    powertrain: str
    token: str | None = field(repr=False)
    fed: bool | None = None
    """Whether a webhook is fed with this vehicle; V3's data may else be a day old. None: not known."""


def pairs(company: Company, ledger: Ledger, now: datetime) -> list[Pair]:
    """Every linked vehicle with the Smartcar user it is connected under, and its V2 token while alive.

    Of several users, the one stored for, or named by, the company's own user is taken; else the first.
    """
    with desk(company, ledger, now) as at:
        facts = judging.Facts(at)
        links = {row["local_vehicle_id"]: row["highest"] for row in at.rows(facts.cars()) if row["highest"]}
        own = {row["user_id"]: (row["stored"], row["named"]) for row in at.rows(facts.judged(buckets.RULES))}
    connected: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(ledger.connections(), key=lambda row: row["smartcar_user_id"]):
        connected.setdefault(row["vehicle_id"], []).append(row)
    answers = ledger.asked("tokens")
    fed = ledger.fed()
    refused = {subject: entry for subject, entry in answers.items() if entry[1].startswith("refused")}
    found = []
    for car in company.cars_to_ask(now):
        rows = connected.get(links.get(car.local_vehicle_id, ""), [])
        if not rows:
            continue
        by_user = {row["smartcar_user_id"]: row for row in rows}
        row = next((by_user[id] for id in own.get(car.user_id or "", ()) if id in by_user), rows[0])
        found.append(
            Pair(
                row["vehicle_id"],
                car.local_vehicle_id,
                row["smartcar_user_id"],
                row["make"],
                row["powertrain"],
                car.token if car.token_alive and not was_asked(refused.get(car.local_vehicle_id), car.token) else None,
                None if fed is None else row["vehicle_id"] in fed,
            )
        )
    return found


def choose(linked: Sequence[Pair], *, vehicles: int, vehicle_id: str, seed: int) -> list[Pair]:
    """The vehicles to read: one by Smartcar's id, all (0), or so many drawn by seed from those V2 can answer for.

    Strata (make x powertrain) take turns, so that few reads still see every one. ParameterError for an unknown id.
    """
    if vehicle_id:
        wanted = [pair for pair in linked if pair.vehicle_id == vehicle_id.strip().lower()]
        if not wanted:
            raise ParameterError(f"parameters: vehicle_id {vehicle_id!r} is no linked vehicle; audit first.")
        return wanted
    if vehicles < 0:
        raise ParameterError(f"parameters: vehicles is {vehicles}; expected 0 (all) or more.")
    drawn = sorted((pair for pair in linked if pair.token), key=lambda pair: pair.vehicle_id)
    random.Random(seed).shuffle(drawn)
    turns: dict[tuple[str, str], int] = {}
    ranked = []
    for pair in drawn:
        stratum = (pair.make, pair.powertrain)
        turns[stratum] = turns.get(stratum, 0) + 1
        ranked.append((turns[stratum], pair))
    ranked.sort(key=lambda entry: entry[0])
    chosen = [pair for _, pair in ranked]
    return chosen[:vehicles] if vehicles else chosen
