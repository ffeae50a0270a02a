"""The lists of who is connected: V3's connections and subscriptions, V2 management's; kept whole, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.sources import AuditProgress, SourceReport
from smartcar_ops.database import captures
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import SUBSCRIPTIONS, Ledger
from smartcar_ops.database.ledger.suspects import Suspect, Suspects
from smartcar_ops.errors import ParameterError, ServiceIllError, SmartcarError, V2StoppedError
from smartcar_ops.smartcar.connections import Connection, ConnectionList
from smartcar_ops.smartcar.management import PAGE_SIZE as MANAGED_PAGE_SIZE
from smartcar_ops.smartcar.management import (
    Feeding,
    ManagedConnection,
    ManagedConnectionList,
    ManagementV2,
    ManagementV3,
)
from smartcar_ops.smartcar.v3 import PAGE_SIZE, V3
from smartcar_ops.storage.run_log import Milestones

log = logging.getLogger("smartcar_ops.audit")

LISTING_LASTS = timedelta(hours=1)
"""A whole listing younger than this is not asked for again."""

LOST_SHARE, LOST_AT_LEAST = 0.2, 10
"""A list that lost more than this share of the rows that were known, and so many, is in doubt."""

LedgerRow = dict[str, Any]
"""A connection as the ledger keeps it."""

ConnectionKey = tuple[str, str]
"""(vehicle id, Smartcar user id)."""

LONGEST_ID = 36
"""Characters of the ledger's ids."""

EXTERNAL_ID = "external_id"
"""The source of what the company's own ids say that came with connections."""

WEBHOOKS = 1
"""Units of the webhooks beside their subscriptions: an application has few."""

NOT_WHOLE = SmartcarError("smartcar: the list's length and its rows never agreed.", code="NOT_WHOLE")
"""What stands for an answer where a list came, and not all of it."""


class ConnectionListings:
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
        self._now = t.as_kept(now)

    def cost(self, sources: Iterable[str], cars: int, *, relist: bool = False) -> dict[str, int]:
        """Units that listing would cost, by source; ``cars`` is how many the company has."""
        units: dict[str, int] = {}
        known = len(self._ledger.connections())
        if "connections" in sources:
            pages = _pages(max(known, cars), PAGE_SIZE)
            if self._is_asked("connections", relist=relist):
                units["connections"] = pages
            if self._management and (relist or not self.listed(SUBSCRIPTIONS)):
                units[SUBSCRIPTIONS] = pages + WEBHOOKS
        if "management" in sources and self._is_asked("management", relist=relist):
            before = captures.pieces(self._ledger, t.sightings, "management")
            units["management"] = _pages(max(known, cars, before), MANAGED_PAGE_SIZE)
        return units

    def _is_asked(self, source: str, *, relist: bool) -> bool:
        """Whether a list would be asked for now, rather than taken from the ledger."""
        if self.listed(source) and not relist:
            return False
        return _Doubt(self._ledger, source, self._now).recent(relist=relist) is None

    def listed(self, source: str = "connections", how: str = "complete") -> bool:
        """Whether a whole listing (or one that ended so) is recent enough."""
        when, answer = self._ledger.asked(source).get(t.EVERYTHING, (datetime.min, ""))
        return answer == how and self._now - when < LISTING_LASTS

    def refuse_unset_token(self, sources: Iterable[str]) -> None:
        """ParameterError where ``management`` is named and there is no token to ask it with."""
        if "management" in sources and self._managed is None:
            raise ParameterError(
                "parameters: sources names 'management', which is asked with SMARTCAR_MANAGEMENT_TOKEN, and that is "
                'not set; set it (see README, "Credentials"), or leave management out.'
            )

    # --- V3 ----------------------------------------------------------------------------------------------

    def ask_connections(
        self,
        asked: SourceReport,
        questions: Questions[Any, ConnectionList],
        report: AuditProgress,
        *,
        relist: bool = False,
        accept: bool = False,
    ) -> None:
        """Mirrors V3's connections; a list in doubt only if told to.

        SmartcarError where a page of it has no answer: nothing can be told without the list.
        """
        if self.listed() and not relist:
            log.info("connections: listed within the hour, not asked again")
            return
        doubt = _Doubt(self._ledger, "connections", self._now)
        rows, complete = doubt.recent(relist=relist), True
        dropped = doubt.kept.dropped if doubt.kept else 0
        if rows is None:
            mode, milestones = self._ledger.scope.mode, Milestones(log, "connections")

            def far(done: int, of: int) -> None:
                report("connections", done, of)
                milestones.reached(done, of)

            listing = questions.one(lambda: self._v3.connections(mode, far), ends=(SmartcarError,))
            if listing is None:
                return
            rows = [_connection_row(connection) for connection in listing.connections]
            complete, dropped = listing.complete, listing.dropped
        known = {_pair(row) for row in self._ledger.connections()}
        if complete and not accept and (why := doubt.why(known, rows, dropped)):
            self._ledger.record(t.asked, [self._asked("connections", "suspect")])
            asked.suspect["connections"] = why
            return
        self._believe(rows, complete=complete)
        doubt.end()
        pairs = _pairs(rows)
        asked.answers["connections"] = len(pairs)
        _tell_dropped(asked, "connections", len(pairs), dropped)
        if not complete:
            questions.failed({t.EVERYTHING: NOT_WHOLE})

    def _believe(self, rows: Sequence[LedgerRow], *, complete: bool) -> None:
        """Takes a list in: who is connected, and the company's own ids that came with it, every one.

        Of two external ids for one connection both are evidence. What a complete list no longer has is gone.
        """
        self._ledger.record_connections(_pairs(rows), complete=complete, now=self._now)
        told = {(own, str(row["smartcar_user_id"])) for row in rows if (own := row["external_id"])}
        evidence = captures.told_apart(self._ledger, [self._external_id(*one) for one in sorted(told)], "user_id")
        if complete:
            self._ledger.replace(t.personal, EXTERNAL_ID, evidence, now=self._now)
        else:
            self._ledger.record(t.personal, evidence)

    def _asked(self, source: str, answer: str) -> LedgerRow:
        return {"source": source, "subject": t.EVERYTHING, "asked_at": self._now, "answer": answer}

    def _external_id(self, user_id: str, smartcar_user_id: str) -> dict[str, Any]:
        known = {"source": EXTERNAL_ID, "user_id": user_id, "smartcar_user_id": smartcar_user_id}
        return {**known, "seen_at": self._now, "gone_at": None, "checked": 0}

    def ask_subscriptions(
        self, asked: SourceReport, questions: Questions[Any, Feeding], *, relist: bool = False
    ) -> None:
        """Which vehicles a webhook is fed with, where the connections are known; no audit fails for not knowing."""
        known = self.listed() or self.listed("connections", "incomplete")
        if self._management is None or not known or (self.listed(SUBSCRIPTIONS) and not relist):
            return
        management, mode = self._management, self._ledger.scope.mode
        found = questions.one(lambda: management.feeding(mode), ends=(ServiceIllError,))
        if found is None:
            return
        entry = {"source": SUBSCRIPTIONS, "asked_at": self._now, "answer": "fed"}
        rows = [{**entry, "subject": vehicle_id} for vehicle_id in sorted(found.vehicles)]
        whole = {**entry, "subject": t.EVERYTHING, "answer": "complete"}
        self._ledger.replace(t.asked, SUBSCRIPTIONS, [*rows, whole], now=self._now)
        asked.answers[SUBSCRIPTIONS] = len(found.vehicles)
        asked.told |= {SUBSCRIPTIONS: words} if (words := found.in_words()) else {}

    def read_external_ids(self, asked: SourceReport) -> None:
        """Counts the company's own ids that came with connections: no call, and nothing known is lost.

        Those of a list that an earlier version of the kit mirrored are added.
        """
        known = [row for row in self._ledger.rows(t.personal) if row["source"] == EXTERNAL_ID]
        kept = {_personal(row) for row in known if row["gone_at"] is None}
        mirrored = {
            (row["external_id"], row["smartcar_user_id"]) for row in self._ledger.connections() if row["external_id"]
        }
        missing = [self._external_id(*one) for one in sorted(mirrored - kept)]
        self._ledger.record(t.personal, captures.told_apart(self._ledger, missing, "user_id"))
        if kept | mirrored:
            asked.answers[EXTERNAL_ID] = len(kept | mirrored)

    # --- V2 management -----------------------------------------------------------------------------------

    def ask_managed(
        self,
        asked: SourceReport,
        questions: Questions[Any, ManagedConnectionList],
        report: AuditProgress,
        *,
        relist: bool = False,
        accept: bool = False,
    ) -> None:
        """Mirrors V2 management's connections, and tells which of the two lists alone has what.

        AuthenticationError where the management token is refused.
        """
        dropped = 0
        if relist or not self.listed("management"):
            doubt = _Doubt(self._ledger, "management", self._now)
            rows = doubt.recent(relist=relist)
            dropped = doubt.kept.dropped if doubt.kept else 0
            if rows is None:
                assert self._managed is not None  # refused before
                managed, mode = self._managed, self._ledger.scope.mode
                try:
                    listing = questions.one(lambda: managed.connections(mode))
                except V2StoppedError as error:
                    asked.told["management"] = str(error).removeprefix("smartcar: ")
                    return
                if listing is None:
                    return
                rows, dropped = [_managed_row(row) for row in listing.connections], listing.dropped
            known = {_pair(row) for row in self._managed_known()}
            if not accept and (why := doubt.why(known, rows, dropped)):
                self._ledger.record(t.asked, [self._asked("management", "suspect")])
                asked.suspect["management"] = why
                return
            seen = {"source": "management", "seen_at": self._now, "gone_at": None}
            self._ledger.replace(t.sightings, "management", [{**row, **seen} for row in rows], now=self._now)
            self._ledger.record(t.asked, [self._asked("management", "complete")])
            doubt.end()
            asked.answers["management"] = len(rows)
            report("management", len(rows), len(rows))
        asked.told["management"] = self._beside_v3() + _dropped_words(dropped)

    def _managed_known(self) -> list[LedgerRow]:
        rows = self._ledger.rows(t.sightings)
        return [row for row in rows if row["source"] == "management" and row["gone_at"] is None]

    def _beside_v3(self) -> str:
        """How many rows V2 management's list has, and how many pairs of user and vehicle only one list has."""
        managed = {_pair(row) for row in self._managed_known()}
        if t.EVERYTHING not in self._ledger.asked("connections"):
            return f"{len(managed):,} rows, beside no V3 connections: those were never listed"
        listed = {_pair(row) for row in self._ledger.connections()}
        return (
            f"{len(managed):,} rows, {len(managed - listed):,} only there, "
            f"{len(listed - managed):,} only in V3 connections"
        )


class _Doubt:
    """Whether a list may be believed: by what was known before, and by an earlier one that was in doubt, too."""

    def __init__(self, ledger: Ledger, source: str, now: datetime) -> None:
        self._suspects, self._now = Suspects(ledger, source), now
        self.kept = self._suspects.get()

    def recent(self, *, relist: bool) -> list[LedgerRow] | None:
        """The list kept aside, if it is young enough that asking again would cost for nothing."""
        if self.kept is None or relist or self._now - self.kept.listed_at >= LISTING_LASTS:
            return None
        return self.kept.rows

    def why(self, known: set[ConnectionKey], rows: list[LedgerRow], dropped: int) -> str:
        """Why this list is in doubt, in words; it is then kept aside. Empty if it may be believed."""
        listed = {_pair(row) for row in rows}
        lost = len(known - listed)
        if not dropped and not _is_thinned(known, listed):
            return ""
        if self.kept and self._now - self.kept.listed_at >= LISTING_LASTS:
            before = {_pair(row) for row in self.kept.rows}
            if dropped <= self.kept.dropped and not _is_thinned(before, listed):
                return ""
        if self.kept is None or rows is not self.kept.rows:
            self._suspects.keep(Suspect(self._now, len(known), lost, dropped, rows))
        return (
            f"the list has {len(listed):,} rows; {lost:,} of {len(known):,} known ones are not in it"
            f"{_dropped_words(dropped)}. It is kept aside, and nothing is taken from it: a second list an hour later "
            "that says the same is believed, or this one with accept_list=True"
        )

    def end(self) -> None:
        """Another list is believed, or this one."""
        if self.kept is not None:
            self._suspects.clear()


def _is_thinned(known: set[ConnectionKey], listed: set[ConnectionKey]) -> bool:
    """Whether a list lost so much of what was known that the list is more likely wrong than the world changed."""
    lost = len(known - listed)
    return bool(known and not listed) or (lost >= LOST_AT_LEAST and lost > LOST_SHARE * len(known))


def _pages(rows: int, size: int) -> int:
    return max(1, -(-rows // size))


def _pair(row: LedgerRow) -> ConnectionKey:
    return row["vehicle_id"], row["smartcar_user_id"]


def _personal(row: dict[str, Any]) -> tuple[str, str]:
    return row["user_id"], row["smartcar_user_id"]


def _pairs(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """One row for each user and vehicle, the first that has an external id if there is one."""
    found: dict[ConnectionKey, LedgerRow] = {}
    for row in rows:
        known = found.setdefault(_pair(row), row)
        if known["external_id"] is None and row["external_id"] is not None:
            found[_pair(row)] = {**known, "external_id": row["external_id"]}
    return list(found.values())


def _dropped_words(dropped: int) -> str:
    return f", {dropped:,} that can't be read were left out" if dropped else ""


def _tell_dropped(asked: SourceReport, source: str, answers: int, dropped: int) -> None:
    if dropped:
        asked.told[source] = f"{answers:,} answers{_dropped_words(dropped)}"


def _plain(text: str, most: int | None = None) -> str:
    """Text that every database takes: no NUL and no half of a character, which some refuse."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most]


def _managed_row(row: ManagedConnection) -> LedgerRow:
    return {"vehicle_id": row.vehicle_id, "smartcar_user_id": row.user_id}


def _connection_row(connection: Connection) -> LedgerRow:
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
