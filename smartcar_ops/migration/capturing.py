"""Ids that arrived at the company, in redirects and webhooks, kept as evidence; no call, and no company row changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import SecretStr

from smartcar_ops.company import captures
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.ledger import Ledger
from smartcar_ops.company.tables import Company
from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.migration import arrivals
from smartcar_ops.migration.arrivals import Delivery, SentBack
from smartcar_ops.migration.captured import COLUMNS, SHOWN, Captured, Row
from smartcar_ops.smartcar.redirects import read_redirect
from smartcar_ops.smartcar.webhooks import is_signed, read_event

CHUNK = 2000
"""Lines that are looked up and kept together."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class _Tally:
    """What is known so far."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rows: list[Row] = field(default_factory=list)
    new: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.counts[row.kind, row.outcome] += 1
            if row.outcome == "kept":
                self.reasons[row.reason] += 1
            if row.outcome != "kept" or self.counts[row.kind, "kept"] <= SHOWN:
                self.rows.append(row)


UNSIGNED, UNCHECKED, SIGNED = "came without a signature", "its signature was not checked", "signed by Smartcar"


def capture(
    company: Company,
    ledger: Ledger,
    *,
    redirects: Path | None = None,
    webhooks: Path | None = None,
    management_token: SecretStr,
    now: datetime,
) -> Captured:
    """Reads the files and keeps what names a user in the ledger; asks nobody, changes no row of the company.

    Reading a file again keeps nothing new. ParameterError where a file of redirects begins with none.
    """
    keeper, tally = _Keeper(company, ledger, now), _Tally()
    if redirects:
        for rows in _chunks(_judge_redirect(one) for one in arrivals.redirects(redirects)):
            tally.add(keeper.keep_redirects(rows, tally))
    if webhooks:
        mode = ledger.scope.mode
        for rows in _chunks(_judge_webhook(one, management_token, mode) for one in arrivals.webhooks(webhooks)):
            tally.add(keeper.keep_webhooks(rows, tally))
    frame = pd.DataFrame(tally.rows, columns=COLUMNS).astype({name: "str" for name in COLUMNS if name != "line"})
    return Captured(
        files=sum(path is not None for path in (redirects, webhooks)),
        counts=dict(tally.counts),
        rows=frame.astype({"line": "int64"}),
        new=tally.new,
        unsigned=tally.reasons[UNSIGNED],
        unchecked=tally.reasons[UNCHECKED],
    )


Judged = tuple[Row, str | None]
"""What a line says by itself, and the local user it names; whether the company has that user is not known yet."""


def _chunks(judged: Iterator[Judged]) -> Iterator[list[Judged]]:
    while rows := list(islice(judged, CHUNK)):
        yield rows


def _judge_redirect(given: SentBack) -> Judged:
    row = Row("redirects", given.line, "kept", "names a user of the company")

    def refused(outcome: str, reason: str) -> Judged:
        return row._replace(outcome=outcome, reason=reason), None

    if given.problem:
        return refused("invalid", given.problem)
    try:
        found = read_redirect(given.address)
    except NotSmartcarError as error:
        return refused("invalid", str(error).removeprefix("smartcar: "))
    row = row._replace(vehicle_id=_shown(found.vehicle_id))
    if found.error:
        return refused("declined", "Connect ended with an error")
    if not found.user_id:
        return refused("unroutable", "has no user_id, as after a re-authentication")
    if not UUID.fullmatch(found.user_id):
        return refused("invalid", "its user_id is no UUID")
    row = row._replace(smartcar_user_id=found.user_id)
    local = given.user_id or found.external_id
    return (row, local) if local else refused("unroutable", "names no local user: neither user_id nor external_id")


def _judge_webhook(given: Delivery, token: SecretStr, mode: str) -> Judged:
    row = Row("webhooks", given.line, "kept", UNSIGNED)

    def refused(outcome: str, reason: str) -> Judged:
        return row._replace(outcome=outcome, reason=reason), None

    if given.problem:
        return refused("invalid", given.problem)
    try:
        event = read_event(given.body)
    except NotSmartcarError:
        return refused("invalid", "its body is no event")
    if event.type == "VERIFY":
        return refused("verify", "asks the receiver to prove itself")
    if given.signature and not token.get_secret_value():
        row = row._replace(reason=UNCHECKED)
    elif given.signature:
        if not is_signed(given.body.encode("utf-8", "replace"), given.signature, token):
            return refused("invalid", "its signature is not that of its body, by SMARTCAR_MANAGEMENT_TOKEN")
        row = row._replace(reason=SIGNED)
    row = row._replace(smartcar_user_id=_shown(event.user_id), vehicle_id=_shown(event.vehicle_id))
    if event.mode and event.mode != mode:
        return refused("other_mode", f"this run is about mode {mode}")
    if not event.user_id or not event.vehicle_id:
        return refused("unroutable", f"names no {'vehicle' if event.user_id else 'user'}")
    if not row.smartcar_user_id or not row.vehicle_id:
        return refused("invalid", "its user's or vehicle's id is no UUID")
    return row, event.external_id


def _shown(smartcar_id: str | None) -> str | None:
    """An id in lower case, where it is one: other text may be anything."""
    found = (smartcar_id or "").lower()
    return found if UUID.fullmatch(found) else None


class _Keeper:
    """Looks a chunk's users up, and keeps what it says."""

    def __init__(self, company: Company, ledger: Ledger, now: datetime) -> None:
        self._company, self._ledger = company, ledger
        self._now = now.astimezone(UTC).replace(tzinfo=None)

    def keep_redirects(self, judged: list[Judged], tally: _Tally) -> list[Row]:
        """The chunk's rows as they end: a redirect that names nobody of the company is unroutable."""
        users = self._users(judged)
        unknown = {"outcome": "unroutable", "reason": "names a user that the company's table does not have"}
        rows = [
            row._replace(user_id=users[local])
            if local in users
            else row._replace(**unknown)  # type: ignore[arg-type]
            if local is not None
            else row
            for row, local in judged
        ]
        self._record(t.personal, "user_id", (_personal(row) for row in rows if row.outcome == "kept"), tally)
        return rows

    def keep_webhooks(self, judged: list[Judged], tally: _Tally) -> list[Row]:
        """The chunk's rows as they end: each says who is connected to a car, some also which local user that is."""
        users = self._users(judged)
        rows = [row._replace(user_id=users.get(local or "")) for row, local in judged]
        kept = [row for row in rows if row.outcome == "kept"]
        self._record(t.sightings, "vehicle_id", (_sighting(row) for row in kept), tally)
        self._record(t.personal, "user_id", (_personal(row) for row in kept if row.user_id), tally)
        return rows

    def _users(self, judged: list[Judged]) -> dict[str, str]:
        return captures.known_users(self._company, {local for _, local in judged if local})

    def _record(self, table: Any, by: str, rows: Iterable[dict[str, Any]], tally: _Tally) -> None:
        """Adds the rows that the ledger does not have yet; the others stay as they were seen first."""
        fresh = captures.news(self._ledger, table, list(rows), by)
        self._ledger.record(table, [{**row, "seen_at": self._now} for row in fresh])
        tally.new += len(fresh)


def _personal(row: Row) -> dict[str, Any]:
    return {"source": row.kind, "user_id": row.user_id, "smartcar_user_id": row.smartcar_user_id}


def _sighting(row: Row) -> dict[str, Any]:
    return {"source": row.kind, "vehicle_id": row.vehicle_id, "smartcar_user_id": row.smartcar_user_id}
