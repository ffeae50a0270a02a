"""Reads the lists of connections (V3, V2 management) and of webhook subscriptions, and stores each as a whole."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic

from smartcar_ops.audit.questions import Questions
from smartcar_ops.audit.sources import AuditProgress, SourceReport, counted_answers
from smartcar_ops.database import captures
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import SUBSCRIPTIONS, Ledger
from smartcar_ops.database.ledger.suspects import LinkT, Suspect, Suspects
from smartcar_ops.database.ledger_rows import Link, ListedConnection
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
from smartcar_ops.text import thousands

log = logging.getLogger("smartcar_ops.audit")

LISTING_LASTS = timedelta(hours=1)
"""A complete list younger than this is not read again."""

LOST_SHARE, LOST_AT_LEAST = 0.2, 10
"""A list is suspect if it lacks more than this share of the known rows, and at least this many."""

ConnectionKey = tuple[str, str]
"""(vehicle id, Smartcar user id)."""

LONGEST_ID = 36
"""Characters of the ledger's ids."""

EXTERNAL_ID = "external_id"
"""The source of the evidence from the company's own ids that came with connections."""

WEBHOOKS = 1
"""Units for the list of webhooks, in addition to their subscriptions; an application has few webhooks."""

NOT_WHOLE = SmartcarError("smartcar: the length of the list and its rows never agreed.", code="NOT_WHOLE")
"""The error recorded if a list was read, but not all of it."""


class ConnectionListings:
    """Reads the lists of one company's Smartcar application; ``now`` is fixed for the run."""

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
        """Return the units that reading the lists would cost, by source; ``cars`` is how many the company has."""
        units: dict[str, int] = {}
        known = self._ledger.count_connections()
        if "connections" in sources:
            pages = _pages(max(known, cars), PAGE_SIZE)
            if self._is_due("connections", relist=relist):
                units["connections"] = pages
            if self._management and (relist or not self.listed(SUBSCRIPTIONS)):
                units[SUBSCRIPTIONS] = pages + WEBHOOKS
        if "management" in sources and self._is_due("management", relist=relist):
            before = captures.pieces(self._ledger, t.sightings, "management")
            units["management"] = _pages(max(known, cars, before), MANAGED_PAGE_SIZE)
        return units

    def _is_due(self, source: str, *, relist: bool) -> bool:
        """Return whether a list would be read now, rather than taken from the ledger."""
        if self.listed(source) and not relist:
            return False
        return _Doubt[Link](self._ledger, source, self._now).recent(relist=relist) is None

    def listed(self, source: str = "connections", how: str = "complete") -> bool:
        """Return whether a list that ended as ``how`` is recent enough."""
        when, answer = self._ledger.asked(source).get(t.EVERYTHING, (datetime.min, ""))
        return answer == how and self._now - when < LISTING_LASTS

    def refuse_unset_token(self, sources: Iterable[str]) -> None:
        """ParameterError if ``management`` is a source and there is no token for it."""
        if "management" in sources and self._managed is None:
            raise ParameterError(
                "parameters: sources has 'management', which needs SMARTCAR_MANAGEMENT_TOKEN, and that is not set; "
                'set it (see README, "Credentials"), or leave management out.'
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
        """Copy V3's connections to the ledger; a suspect list only if ``accept`` is set.

        SmartcarError if a page has no answer, because nothing can be concluded without the list.
        """
        if self.listed() and not relist:
            log.info("connections: read within the hour, not read again")
            return
        doubt = _Doubt[ListedConnection](self._ledger, "connections", self._now)
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
        _report_dropped(asked, "connections", len(pairs), dropped)
        if not complete:
            questions.failed({t.EVERYTHING: NOT_WHOLE})

    def _believe(self, rows: Sequence[ListedConnection], *, complete: bool) -> None:
        """Store a list: its connections, and all of the company's own ids in it.

        Two external ids for one connection are both evidence. What a complete list no longer has is marked as gone.
        """
        self._ledger.record_connections(_pairs(rows), complete=complete, now=self._now)
        own_ids = {(own, str(row["smartcar_user_id"])) for row in rows if (own := row["external_id"])}
        evidence = captures.distinct_in_database(
            self._ledger, [self._external_id(*one) for one in sorted(own_ids)], "user_id"
        )
        if complete:
            self._ledger.replace(t.personal, EXTERNAL_ID, evidence, now=self._now)
        else:
            self._ledger.record(t.personal, evidence)

    def _asked(self, source: str, answer: str) -> dict[str, object]:
        return {"source": source, "subject": t.EVERYTHING, "asked_at": self._now, "answer": answer}

    def _external_id(self, user_id: str, smartcar_user_id: str) -> dict[str, object]:
        known = {"source": EXTERNAL_ID, "user_id": user_id, "smartcar_user_id": smartcar_user_id}
        return {**known, "seen_at": self._now, "gone_at": None, "checked": 0}

    def ask_subscriptions(
        self, asked: SourceReport, questions: Questions[Any, Feeding], *, relist: bool = False
    ) -> None:
        """Read which vehicles are subscribed to a webhook, if the connections are known; a failure is only counted."""
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
        asked.details |= {SUBSCRIPTIONS: words} if (words := found.in_words()) else {}

    def read_external_ids(self, asked: SourceReport) -> None:
        """Count the company's own ids that came with connections; makes no API call.

        Adds those that an earlier version of the kit stored only with the connections.
        """
        known = [row for row in self._ledger.rows(t.personal) if row["source"] == EXTERNAL_ID]
        evidence = {_personal(row) for row in known if row["gone_at"] is None}
        connected = {
            (row["external_id"], row["smartcar_user_id"]) for row in self._ledger.connections() if row["external_id"]
        }
        missing = [self._external_id(*one) for one in sorted(connected - evidence)]
        self._ledger.record(t.personal, captures.distinct_in_database(self._ledger, missing, "user_id"))
        if evidence | connected:
            asked.answers[EXTERNAL_ID] = len(evidence | connected)

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
        """Copy V2 management's connections to the ledger, and report how they differ from V3's.

        AuthenticationError if the management token is refused.
        """
        dropped = 0
        if relist or not self.listed("management"):
            doubt = _Doubt[Link](self._ledger, "management", self._now)
            rows = doubt.recent(relist=relist)
            dropped = doubt.kept.dropped if doubt.kept else 0
            if rows is None:
                assert self._managed is not None  # refuse_unset_token has raised otherwise
                managed, mode = self._managed, self._ledger.scope.mode
                try:
                    listing = questions.one(lambda: managed.connections(mode))
                except V2StoppedError as error:
                    asked.details["management"] = str(error).removeprefix("smartcar: ")
                    return
                if listing is None:
                    return
                rows, dropped = [_managed_row(row) for row in listing.connections], listing.dropped
            known = self._managed_known()
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
        asked.details["management"] = self._compared_with_v3() + _dropped_words(dropped)

    def _managed_known(self) -> set[ConnectionKey]:
        rows = [row for row in self._ledger.rows(t.sightings) if row["source"] == "management"]
        return {(row["vehicle_id"], row["smartcar_user_id"]) for row in rows if row["gone_at"] is None}

    def _compared_with_v3(self) -> str:
        """Return how many rows V2 management's list has, and how many user and vehicle pairs only one list has."""
        managed = self._managed_known()
        found = f"{len(managed):,} found"
        if t.EVERYTHING not in self._ledger.asked("connections"):
            return f"{found}; V3 connections have not been read yet"
        listed = {_pair(row) for row in self._ledger.connections()}
        return f"{found}, {len(managed - listed):,} only there, {len(listed - managed):,} only in V3 connections"


class _Doubt(Generic[LinkT]):
    """Decides whether a list can be trusted, given what was known before and an earlier suspect list."""

    def __init__(self, ledger: Ledger, source: str, now: datetime) -> None:
        self._suspects: Suspects[LinkT] = Suspects(ledger, source)
        self._now = now
        self.kept = self._suspects.get()

    def recent(self, *, relist: bool) -> list[LinkT] | None:
        """Return the suspect list that was set aside if it is too young to be worth reading again; otherwise None."""
        if self.kept is None or relist or self._now - self.kept.listed_at >= LISTING_LASTS:
            return None
        return self.kept.rows

    def why(self, known: set[ConnectionKey], rows: list[LinkT], dropped: int) -> str:
        """Return why this list is suspect, and set it aside; empty if it can be trusted."""
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
            f"the list has {thousands(len(listed), 'rows')}; {lost:,} of {len(known):,} known ones are missing"
            f"{_dropped_words(dropped)}. It is set aside and not used, until a list read at least an hour later "
            "agrees with it, or you accept it with accept_list=True"
        )

    def end(self) -> None:
        """Delete the list that was set aside, because a list has been accepted."""
        if self.kept is not None:
            self._suspects.clear()


def _is_thinned(known: set[ConnectionKey], listed: set[ConnectionKey]) -> bool:
    """Return whether a list lacks so many known rows that it is more likely wrong than right."""
    lost = len(known - listed)
    return bool(known and not listed) or (lost >= LOST_AT_LEAST and lost > LOST_SHARE * len(known))


def _pages(rows: int, size: int) -> int:
    return max(1, -(-rows // size))


def _pair(row: Link) -> ConnectionKey:
    return row["vehicle_id"], row["smartcar_user_id"]


def _personal(row: dict[str, Any]) -> tuple[str, str]:
    return row["user_id"], row["smartcar_user_id"]


def _pairs(rows: Iterable[ListedConnection]) -> list[ListedConnection]:
    """Return one row per user and vehicle, with an external id if any of their rows has one."""
    found: dict[ConnectionKey, ListedConnection] = {}
    for row in rows:
        known = found.setdefault(_pair(row), row)
        if known["external_id"] is None and row["external_id"] is not None:
            found[_pair(row)] = {**known, "external_id": row["external_id"]}
    return list(found.values())


def _dropped_words(dropped: int) -> str:
    return f", {dropped:,} left out because they can't be read" if dropped else ""


def _report_dropped(asked: SourceReport, source: str, answers: int, dropped: int) -> None:
    if dropped:
        asked.details[source] = f"{counted_answers(source, answers)}{_dropped_words(dropped)}"


def _plain(text: str, most: int | None = None) -> str:
    """Return text that every database accepts: without NUL, unpaired surrogates and other unprintable characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most]


def _managed_row(row: ManagedConnection) -> Link:
    return {"vehicle_id": row.vehicle_id, "smartcar_user_id": row.user_id}


def _connection_row(connection: Connection) -> ListedConnection:
    return {
        "vehicle_id": connection.vehicle_id,
        "smartcar_user_id": connection.user_id,
        # An id that can't be stored as it is becomes null: a part of it would be a different id.
        "connection_id": connection.id if connection.id == _plain(connection.id, LONGEST_ID) else None,
        "make": _plain(connection.make, 64),
        "model": _plain(connection.model, 128),
        "year": connection.year,
        "powertrain": _plain(connection.powertrain, 16),
        "permissions": _plain(" ".join(connection.permissions)),
        "external_id": connection.external_id,
    }
