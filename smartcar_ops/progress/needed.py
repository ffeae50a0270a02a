"""The units still needed to link and to record every vehicle, reckoned from counts: no vehicle is read one by one."""

from __future__ import annotations

from datetime import datetime

from smartcar_ops.audit.resolver import IdentityResolver
from smartcar_ops.audit.token_owners import UNITS
from smartcar_ops.database.evidence.open_work import OpenWork
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.fields.field_map import company_fields
from smartcar_ops.smartcar.v2 import V2

V3_READS = 2
"""Units of V3 that a vehicle's recording costs at most, if its signals fit on one page."""


def units_needed(company: Company, ledger: Ledger, resolver: IdentityResolver, v2: V2, now: datetime) -> dict[str, int]:
    """Return the most units that linking and recording the remaining vehicles costs; 0 to record if V2 has stopped.

    A token that several vehicles share counts for each of them.
    """
    has_stopped = v2_state.has_stopped(ledger)
    with open_workspace(company, ledger, now) as workspace:
        work = OpenWork(workspace)
        (unlinked,) = workspace.rows(work.unlinked())
        (unread,) = workspace.rows(work.unread())
        groups = [] if has_stopped else list(workspace.rows(work.unrecorded()))
        (cars,) = workspace.rows(work.vehicles())
    linking = resolver.units_to_list(cars["vehicles"])
    linking += 0 if has_stopped else UNITS * unlinked["tokens"]
    if unlinked["vins"]:
        linking += unread["vehicles"] if resolver.has_listed else unlinked["vins"]
    fields, recording = company_fields(company.layout), 0
    for group in groups:
        paths, _ = fields.paths_for(group["make"], group["powertrain"], tuple(group["permissions"].split()))
        batch = v2.batch_units(v2.paths_a_day(group["make"], len(paths), 1))
        recording += group["vehicles"] * (batch + V3_READS)
    return {"linking": int(linking), "recording": int(recording)}
