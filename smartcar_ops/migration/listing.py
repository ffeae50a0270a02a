"""The lists of who is connected: V3's connections and subscriptions, V2 management's; kept whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from smartcar_ops.company import captures
from smartcar_ops.company import ledger_tables as t
from smartcar_ops.company.ledger import SUBSCRIPTIONS, Ledger
from smartcar_ops.errors import (
    AllowanceSpentError,
    AuthenticationError,
    ParameterError,
    ServiceIllError,
    SmartcarError,
)
from smartcar_ops.migration.sources import Asked, Progress
from smartcar_ops.smartcar.connections import Connection
from smartcar_ops.smartcar.connections import Listing as V3Listing
from smartcar_ops.smartcar.management import PAGE_SIZE as MANAGED_PAGE_SIZE
from smartcar_ops.smartcar.management import ManagedConnection, ManagedListing, ManagementV2, ManagementV3
from smartcar_ops.smartcar.v3 import PAGE_SIZE, V3

LISTING_LASTS = timedelta(hours=1)
"""A whole listing younger than this is not asked for again."""

LONGEST_ID = 36
"""Characters of the ledger's ids."""

EXTERNAL_ID = "external_id"
"""The source of what the company's own ids say that came with connections."""

EVERYTHING = "*"
"""The subject under which the ledger keeps when a whole list was asked for."""


class Listing:
    """Asks for the lists of one company's Smartcar; ``now`` is fixed for the act."""

    def __init__(
        self,
        ledger: Ledger,
        v3: V3,
        *,
        management: ManagementV3 | None = None,
        managed: ManagementV2 | None = None,
        now: datetime,
    ) -> None:
        self._ledger, self._v3, self._management, self._managed = ledger, v3, management, managed
        self._now = now.astimezone(UTC).replace(tzinfo=None)

    def cost(self, sources: Iterable[str], cars: int, *, relist: bool = False) -> dict[str, int]:
        """Units that listing would cost, by source; ``cars`` is how many the company has."""
        units: dict[str, int] = {}
        known = len(self._ledger.connections())
        if "connections" in sources and (relist or not self.listed()):
            units["connections"] = _pages(max(known, cars), PAGE_SIZE)
            if self._management:
                units["subscriptions"] = units["connections"]
        if "management" in sources and (relist or not self.listed("management")):
            before = captures.pieces(self._ledger, t.sightings, "management")
            units["management"] = _pages(max(known, cars, before), MANAGED_PAGE_SIZE)
        return units

    def listed(self, source: str = "connections") -> bool:
        """Whether a whole listing is recent enough."""
        when, answer = self._ledger.asked(source).get(EVERYTHING, (datetime.min, ""))
        return answer == "complete" and self._now - when < LISTING_LASTS

    def refuse_unset_token(self, sources: Iterable[str]) -> None:
        """ParameterError where ``management`` is named and there is no token to ask it with."""
        if "management" in sources and self._managed is None:
            raise ParameterError(
                "parameters: sources names 'management', which is asked with SMARTCAR_MANAGEMENT_TOKEN, and that is "
                'not set; set it (see README, "Credentials"), or leave management out.'
            )

    # --- V3 ----------------------------------------------------------------------------------------------

    def ask_connections(self, asked: Asked, report: Progress, *, relist: bool = False) -> None:
        """Mirrors V3's connections, and which vehicles a webhook is fed with."""
        if self.listed() and not relist:
            return
        try:
            listing = self._v3.connections(self._ledger.scope.mode, lambda done, of: report("connections", done, of))
        except AllowanceSpentError:
            asked.not_read["connections"] = 1
            return
        pairs = _pairs(listing.connections)
        self._ledger.record_connections(
            [_connection_row(connection) for connection in pairs], complete=listing.complete, now=self._now
        )
        self._keep_external_ids(listing)
        asked.answers["connections"] = len(pairs)
        _tell_dropped(asked, "connections", len(pairs), listing.dropped)
        if not listing.complete:
            asked.failed["connections"] = 1
        self._ask_subscriptions(asked)

    def _keep_external_ids(self, listing: V3Listing) -> None:
        """The company's own ids that came with connections, every one: of two for one connection, both are evidence.

        Those that a complete list no longer has are withdrawn.
        """
        told = {(own, row.user_id) for row in listing.connections if (own := row.external_id)}
        rows = captures.told_apart(self._ledger, [self._external_id(*one) for one in sorted(told)], "user_id")
        if listing.complete:
            self._ledger.replace(t.personal, EXTERNAL_ID, rows)
        else:
            self._ledger.record(t.personal, rows)

    def _external_id(self, user_id: str, smartcar_user_id: str) -> dict[str, Any]:
        known = {"source": EXTERNAL_ID, "user_id": user_id, "smartcar_user_id": smartcar_user_id}
        return {**known, "seen_at": self._now}

    def _ask_subscriptions(self, asked: Asked) -> None:
        """Which vehicles a webhook is fed with; no audit fails for not knowing."""
        if self._management is None:
            return
        try:
            found = self._management.subscriptions(self._ledger.scope.mode)
        except AllowanceSpentError:
            asked.not_read["subscriptions"] = 1
            return
        except ServiceIllError:
            raise
        except SmartcarError:
            asked.failed["subscriptions"] = 1
            return
        entry = {"source": SUBSCRIPTIONS, "asked_at": self._now, "answer": "fed"}
        vehicles = sorted({vehicle_id for subscription in found if (vehicle_id := subscription.vehicle_id)})
        rows = [{**entry, "subject": vehicle_id} for vehicle_id in vehicles]
        self._ledger.replace(t.asked, SUBSCRIPTIONS, [*rows, {**entry, "subject": EVERYTHING, "answer": "complete"}])
        asked.answers["subscriptions"] = len(vehicles)

    def read_external_ids(self, asked: Asked) -> None:
        """Counts the company's own ids that came with connections: no call, and nothing known is lost.

        Those of a list that an earlier version of the kit mirrored are added.
        """
        kept = {_personal(row) for row in self._ledger.rows(t.personal) if row["source"] == EXTERNAL_ID}
        mirrored = {
            (row["external_id"], row["smartcar_user_id"]) for row in self._ledger.connections() if row["external_id"]
        }
        missing = [self._external_id(*one) for one in sorted(mirrored - kept)]
        self._ledger.record(t.personal, captures.told_apart(self._ledger, missing, "user_id"))
        if kept | mirrored:
            asked.answers[EXTERNAL_ID] = len(kept | mirrored)

    # --- V2 management -----------------------------------------------------------------------------------

    def ask_managed(self, asked: Asked, report: Progress, *, relist: bool = False) -> None:
        """Mirrors V2 management's connections, and tells which of the two lists alone has what.

        AuthenticationError where the management token is refused.
        """
        if relist or not self.listed("management"):
            listing = self._list_managed(asked)
            if listing is None:
                return
            rows = listing.connections
            self._ledger.replace(t.sightings, "management", [self._sighting(row) for row in rows])
            whole = {"source": "management", "subject": EVERYTHING, "asked_at": self._now, "answer": "complete"}
            self._ledger.record(t.asked, [whole])
            asked.answers["management"] = len(rows)
            report("management", len(rows), len(rows))
            dropped = listing.dropped
        else:
            dropped = 0
        asked.told["management"] = self._beside_v3() + _dropped_words(dropped)

    def _list_managed(self, asked: Asked) -> ManagedListing | None:
        """The whole list; None where the allowance ended or it failed, which is counted."""
        assert self._managed is not None  # refused before
        try:
            return self._managed.connections(self._ledger.scope.mode)
        except AllowanceSpentError:
            asked.not_read["management"] = 1
        except (AuthenticationError, ServiceIllError):
            raise
        except SmartcarError:
            asked.failed["management"] = 1
        return None

    def _sighting(self, row: ManagedConnection) -> dict[str, Any]:
        return {
            "source": "management",
            "vehicle_id": row.vehicle_id,
            "smartcar_user_id": row.user_id,
            "seen_at": self._now,
        }

    def _beside_v3(self) -> str:
        """How many rows V2 management's list has, and how many pairs of user and vehicle only one list has."""
        managed = {_pair(row) for row in self._ledger.rows(t.sightings) if row["source"] == "management"}
        if EVERYTHING not in self._ledger.asked("connections"):
            return f"{len(managed):,} rows, beside no V3 connections: those were never listed"
        listed = {_pair(row) for row in self._ledger.connections()}
        return (
            f"{len(managed):,} rows, {len(managed - listed):,} only there, "
            f"{len(listed - managed):,} only in V3 connections"
        )


def _pages(rows: int, size: int) -> int:
    return max(1, -(-rows // size))


def _pair(row: dict[str, Any]) -> tuple[str, str]:
    return row["vehicle_id"], row["smartcar_user_id"]


def _personal(row: dict[str, Any]) -> tuple[str, str]:
    return row["user_id"], row["smartcar_user_id"]


def _pairs(connections: Iterable[Connection]) -> list[Connection]:
    """One connection for each user and vehicle, the first that has an external id if there is one."""
    found: dict[tuple[str, str], Connection] = {}
    for one in connections:
        known = found.setdefault((one.user_id, one.vehicle_id), one)
        if known.external_id is None and one.external_id is not None:
            found[one.user_id, one.vehicle_id] = replace(known, external_id=one.external_id)
    return list(found.values())


def _dropped_words(dropped: int) -> str:
    return f", {dropped:,} that can't be read were left out" if dropped else ""


def _tell_dropped(asked: Asked, source: str, answers: int, dropped: int) -> None:
    if dropped:
        asked.told[source] = f"{answers:,} answers{_dropped_words(dropped)}"


def _plain(text: str, most: int | None = None) -> str:
    """Text that every database takes: no NUL and no half of a character, which some refuse."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most]


def _connection_row(connection: Connection) -> dict[str, Any]:
    return {
        "vehicle_id": connection.vehicle_id,
        "smartcar_user_id": connection.user_id,
        # Where it can't be kept as it is, it is none; a part of it would be another one.
        "connection_id": connection.id if connection.id == _plain(connection.id, LONGEST_ID) else None,
        "make": _plain(connection.make, 64),
        "model": _plain(connection.model, 128),
        "year": connection.year,
        "powertrain": _plain(connection.powertrain, 16),
        "permissions": _plain(" ".join(connection.permissions)),
        "external_id": connection.external_id,
    }
