"""Queries Smartcar for the ids of users and vehicles at the lowest cost, and stores every answer in the ledger.

Used by audit and backfill. An answer in the ledger is not paid for again; what was not reached is reported.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from smartcar_ops.audit import token_refresh
from smartcar_ops.audit.listings import ConnectionListings
from smartcar_ops.audit.questions import Probes, Questions
from smartcar_ops.audit.sources import AUTO, AuditProgress, SourceReport
from smartcar_ops.audit.token_owners import PROBE, UNITS, TokenOwners, digest, link
from smartcar_ops.audit.token_refresh import Renewed
from smartcar_ops.database import captures
from smartcar_ops.database.evidence import user_facts
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.unanswered import Unanswered
from smartcar_ops.database.tables import Car, Company
from smartcar_ops.errors import NotFoundError, NotPermittedError, V2StoppedError
from smartcar_ops.session import Session
from smartcar_ops.settings.logs import seconds_since
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.smartcar.management import ManagementV2, ManagementV3
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.smartcar.v3 import V3

log = logging.getLogger("smartcar_ops.audit")


class IdentityResolver:
    """Queries the sources for one company; ``now`` is fixed for the run.

    Without ``managed`` there is no token for V2 management: ParameterError if ``management`` is a source.
    """

    def __init__(
        self,
        company: Company,
        ledger: Ledger,
        v2: V2,
        v3: V3,
        *,
        management: ManagementV3 | None = None,
        managed: ManagementV2 | None = None,
        renew: Callable[[Sequence[Car]], Renewed] | None = None,
        now: datetime | None = None,
    ) -> None:
        self._company, self._ledger, self._v2, self._v3 = company, ledger, v2, v3
        self._renew, self._now = renew, now or datetime.now(UTC)
        self._owners = TokenOwners(ledger, v2, self._now)
        self._lists = ConnectionListings(ledger, v3, management=management, managed=managed, now=self._now)

    def cost(self, sources: Sequence[str], *, relist: bool = False) -> Cost:
        """Return what querying would cost; reads the database and the ledger, makes no API call."""
        self._lists.refuse_unset_token(sources)
        every = self._unlinked()
        unlinked = [car for car in every if car.vin or car.token_alive]
        units = self._lists.cost(sources, len(self._cars()), relist=relist)
        if "tokens" in sources and not self._owners.stopped:
            alive = {car.token for car in self._token_cars(unlinked)}
            refreshed = {car.stored_refresh_token for car in self._dead_token_cars(every)}
            if alive or refreshed:
                units["tokens"] = UNITS * (len(alive) + len(refreshed))
        by_vin = [car for car in unlinked if car.vin]  # also with a token: it may be refused, or open several vehicles
        if "vins" in sources and by_vin:
            units["vins"] = len(self._vins_to_read()) if self._lists.listed() else len(by_vin)
        return Cost(units)

    def units_to_list(self, cars: int) -> int:
        """Return what reading the lists would cost, if ``cars`` vehicles are in the company's table."""
        return sum(self._lists.cost(AUTO, cars).values())

    @property
    def has_listed(self) -> bool:
        """Whether the connections were listed recently."""
        return self._lists.listed()

    def knows_connections(self) -> bool:
        """Return whether the connections were ever read, or some are known."""
        return t.EVERYTHING in self._ledger.asked("connections") or bool(self._ledger.connections())

    def _vins_to_read(self) -> set[str]:
        """Return the vehicles whose VIN would be read, without those given up recently."""
        open_ = Unanswered(self._ledger, t.as_kept(self._now))
        return {vehicle_id for vehicle_id, _ in self._unread()} - open_.resting("vins")

    def ask(
        self,
        sources: Sequence[str],
        executor: Executor,
        *,
        relist: bool = False,
        accept_list: bool = False,
        progress: AuditProgress | None = None,
    ) -> SourceReport:
        """Query the sources in order, within the transport's budget, and store their answers.

        ``accept_list`` accepts a suspect list of connections. Questions without an answer are retried once at the end,
        unless the allowance is spent.

        AuthenticationError if the application's credentials or the management token are refused; the failure of a
        single token or vehicle is counted, not raised.
        """
        self._lists.refuse_unset_token(sources)
        asked, report = SourceReport(), progress or (lambda what, done, of: None)
        names = ("connections", "subscriptions", "management", "refresh", "tokens", "vins")
        questions = {name: Questions[Any, Any](name, self._ledger, asked, self._now) for name in names}
        steps: dict[str, Callable[[], None]] = {
            "connections": lambda: self._lists.ask_connections(
                asked, questions["connections"], report, relist=relist, accept=accept_list
            ),
            "subscriptions": lambda: self._lists.ask_subscriptions(asked, questions["subscriptions"], relist=relist),
            "external_id": lambda: self._lists.read_external_ids(asked),
            "management": lambda: self._lists.ask_managed(
                asked, questions["management"], report, relist=relist, accept=accept_list
            ),
            "refresh": lambda: self._renew_tokens(asked, questions["refresh"]),
            "tokens": lambda: self._ask_tokens(asked, questions["tokens"], executor, report),
            "vins": lambda: self._ask_vins(
                questions["vins"],
                executor,
                report,
                unless=questions["tokens"] if self._uses_tokens(sources, asked) else None,
            ),
            "webhooks": lambda: self._count_known(asked, "webhooks"),
            "redirects": lambda: self._count_known(asked, "redirects"),
        }
        wanted = [step for source in sources for step in _steps_of(source)]
        for step in wanted:
            _run_step(step, steps[step], asked)
        again = _to_retry(wanted, questions) if not asked.not_read else []
        if again:
            log.info("retrying, because some questions had no answer: %s", ", ".join(again))
        for step in again:
            _run_step(step, steps[step], asked)
        return asked

    # --- tokens ------------------------------------------------------------------------------------------

    def _renew_tokens(self, asked: SourceReport, questions: Questions[Any, Any]) -> None:
        """Get new tokens for vehicles that nothing else can link, if the settings allow it."""
        if self._renew is None or self._owners.stopped:
            return
        cars = questions.to_put(self._dead_token_cars(self._unlinked()), _subject)
        try:
            renewed = self._renew(cars)
        except V2StoppedError:
            self._owners.note_stop()
            return
        questions.answered([car.local_vehicle_id for car in cars if car.local_vehicle_id not in renewed.failed_cars])
        questions.failed(renewed.failed_cars)
        if renewed.not_tried:
            asked.not_read["refresh"] = renewed.not_tried

    def _uses_tokens(self, sources: Sequence[str], asked: SourceReport) -> bool:
        """Return whether tokens can be queried: not if V2 has stopped, or refuses all of them."""
        return "tokens" in sources and "tokens" not in asked.refused and not self._owners.stopped

    def _ask_tokens(
        self, asked: SourceReport, questions: Questions[Any, Any], executor: Executor, report: AuditProgress
    ) -> None:
        """Query V2 with each live token for its user and vehicles; the first `PROBE` show whether V2 refuses all.

        Nothing is sent if V2 has stopped. The order differs in each run, so that the same dead tokens are not always
        first.
        """
        if not self._uses_tokens(["tokens"], asked):
            return
        by_token: dict[str, list[Car]] = defaultdict(list)
        for car in self._token_cars(self._unlinked()):
            by_token[car.token or ""].append(car)
        questions.fan(
            sorted(by_token.items(), key=lambda item: digest(f"{self._now} {item[0]}")),
            lambda item: self._owners.ask(*item),
            self._owners.keep,
            lambda item: [car.local_vehicle_id for car in item[1]],
            executor,
            report,
            Probes((1, PROBE - 1), lambda: bool(self._owners.stopped or self._owners.refused_alike)),
        )
        if why := self._owners.settle():
            asked.refused["tokens"] = why
            asked.answers.pop("tokens", None)

    def _token_cars(self, unlinked: Sequence[Car]) -> list[Car]:
        """Return cars whose live token has not been queried yet; a token that replaced a queried one counts as new."""
        done = self._ledger.asked("tokens")
        return [car for car in unlinked if car.token_alive and not was_asked(done.get(car.local_vehicle_id), car.token)]

    def _dead_token_cars(self, unlinked: Sequence[Car]) -> list[Car]:
        """Return cars whose expired token can be refreshed and never had an answer: only a new token can link them."""
        if self._renew is None:
            return []
        known = self._ledger.asked("tokens")
        answered = {car_id for car_id, (_, word) in known.items() if word.startswith("answered")}
        return [
            car for car in unlinked if car.refreshable and not car.token_alive and car.local_vehicle_id not in answered
        ]

    # --- VINs --------------------------------------------------------------------------------------------

    def _ask_vins(
        self,
        questions: Questions[Any, Any],
        executor: Executor,
        report: AuditProgress,
        *,
        unless: Questions[Any, Any] | None,
    ) -> None:
        """Read VINs to link cars that have no link.

        ``unless`` are the token questions: a car whose live token has not answered yet, and is not given up, waits for
        it, because a token says more than a VIN. None if tokens can't be queried.
        """
        unlinked = self._unlinked()
        waiting = {car.local_vehicle_id for car in self._token_cars(unlinked)} - unless.given_up if unless else set()
        wanted = [car for car in unlinked if car.vin and car.local_vehicle_id not in waiting]
        if wanted:
            questions.fan(self._unread(), self._vin, self._keep_vins, lambda item: [item[0]], executor, report)
        self._link_by_vin(wanted)

    def _vin(self, vehicle: tuple[str, str]) -> tuple[str, str]:
        """Return (vehicle id, digest of its VIN, or ``none`` if V3 does not return it); costs one unit."""
        vehicle_id, user_id = vehicle
        try:
            vin = self._v3.vin(vehicle_id, user_id)
        except (NotFoundError, NotPermittedError):
            vin = None
        return vehicle_id, digest(vin) if vin else "none"

    def _keep_vins(self, answers: list[tuple[str, str]]) -> None:
        rows = [
            {"source": "vins", "subject": vehicle_id, "asked_at": t.as_kept(self._now), "answer": answer}
            for vehicle_id, answer in answers
        ]
        self._ledger.record(t.asked, rows)

    def _link_by_vin(self, cars: Sequence[Car]) -> None:
        """Link cars to the vehicles whose VIN is known; makes no API call."""
        vehicles: dict[str, list[str]] = defaultdict(list)
        for vehicle_id, (_, known) in self._ledger.asked("vins").items():
            vehicles[known].append(vehicle_id)
        links = [
            link("vins", car, vehicle_id, t.as_kept(self._now))
            for car in cars
            for vehicle_id in vehicles.get(digest(car.vin or ""), ())
        ]
        self._ledger.record(t.ties, links)

    def _unread(self) -> list[tuple[str, str]]:
        """Return (vehicle id, a user of it) of connected vehicles that have no link and whose VIN is not known."""
        with open_workspace(self._company, self._ledger, self._now) as workspace:
            unread = user_facts.UserFacts(workspace).unread_vehicles()
            return [(row["vehicle_id"], row["id"]) for row in workspace.rows(unread)]

    # --- webhooks and redirects ---------------------------------------------------------------------------

    def _count_known(self, asked: SourceReport, source: str) -> None:
        """Count the evidence that 50_capture_user_ids has stored; there is nothing to query."""
        known = sum(captures.pieces(self._ledger, table, source) for table in (t.sightings, t.personal))
        asked.details[source] = f"{known:,} in the ledger"

    # --- shared ------------------------------------------------------------------------------------------

    def _cars(self) -> list[Car]:
        return list(self._company.cars_to_ask(self._now))

    def _unlinked(self) -> list[Car]:
        linked = {row["local_vehicle_id"] for row in self._ledger.rows(t.ties)}
        return [car for car in self._cars() if not car.smartcar_vehicle_id and car.local_vehicle_id not in linked]


def was_asked(known: tuple[datetime, str] | None, token: str | None) -> bool:
    """Return whether a ledger entry of source ``tokens`` is about this token."""
    return known is not None and known[1].rpartition(" ")[2] == digest(token or "")


def _subject(car: Car) -> list[str]:
    return [car.local_vehicle_id]


def _run_step(step: str, act: Callable[[], None], asked: SourceReport) -> None:
    """Run a step and log its outcome."""
    started = time.perf_counter()
    act()
    log.info("%s: %s in %.1f s", step, asked.outcome(step), seconds_since(started))


def _steps_of(source: str) -> tuple[str, ...]:
    """Return the steps of querying a source."""
    return {"connections": ("connections", "subscriptions"), "tokens": ("refresh", "tokens")}.get(source, (source,))


def _to_retry(steps: Sequence[str], questions: Mapping[str, Questions[Any, Any]]) -> list[str]:
    """Return the steps in which a question failed that may be answered by now, and the steps that depend on them."""
    again = {step for step in steps if step in questions and questions[step].may_pass}
    if again & {"refresh", "tokens"}:
        again |= {"tokens", "vins"}
    return [step for step in steps if step in again]


# --- of a session ---------------------------------------------------------------------------------------------


def resolver_for(session: Session) -> IdentityResolver:
    """Return a resolver with a session's clients; it refreshes V2 tokens if ``[vehicles] refresh`` is true."""
    return IdentityResolver(
        session.company,
        session.ledger,
        session.v2,
        session.v3,
        management=session.smartcar.management_v3,
        managed=session.smartcar.management_v2,
        renew=partial(_renew, session) if session.settings.layout.vehicles.refresh else None,
        now=session.now,
    )


def cost(session: Session, sources: Sequence[str], *, relist: bool = False) -> Cost:
    """Return what querying the sources would cost, in units and in time; makes no API call."""
    return session.priced(resolver_for(session).cost(sources, relist=relist).units)


def ask(
    session: Session,
    sources: Sequence[str],
    *,
    max_calls: int,
    max_minutes: float,
    relist: bool = False,
    accept_list: bool = False,
    progress: AuditProgress | None = None,
) -> SourceReport:
    """Query the sources in parallel within the budget; save the table ``unanswered`` with the run."""
    with session.spending(max_calls, max_minutes), session.threads() as executor:
        asked = resolver_for(session).ask(sources, executor, relist=relist, accept_list=accept_list, progress=progress)
    session.save(unanswered=asked.table())
    return asked


def _renew(session: Session, cars: Sequence[Car]) -> Renewed:
    return token_refresh.refresh(
        session.company, session.ledger, session.smartcar.user_tokens, cars, run_id=session.run_id, now=session.now
    )
