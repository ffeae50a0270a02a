"""Asks Smartcar who is who, at the least cost, and keeps every answer in the ledger.

One function serves audit and backfill. What is known costs nothing again; what was not reached is said.
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
from smartcar_ops.audit.sources import AuditProgress, SourceReport
from smartcar_ops.audit.token_owners import PROBE, UNITS, TokenOwners, digest, tie
from smartcar_ops.audit.token_refresh import Renewed
from smartcar_ops.database import captures
from smartcar_ops.database.evidence import facts
from smartcar_ops.database.evidence.workspace import desk
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
    """Asks the sources for one company; ``now`` is fixed for the act.

    Without ``managed`` there is no token for V2 management: a ParameterError where that is named.
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
        """What asking would cost; reads the database and the ledger, sends nothing."""
        self._lists.refuse_unset_token(sources)
        every = self._unlinked()
        unlinked = [car for car in every if car.vin or car.token_alive]
        units = self._lists.cost(sources, len(self._cars()), relist=relist)
        if "tokens" in sources and not self._owners.stopped:
            living = {car.token for car in self._token_cars(unlinked)}
            to_come = {car.stored_refresh_token for car in self._dead_token_cars(every)}
            if living or to_come:
                units["tokens"] = UNITS * (len(living) + len(to_come))
        by_vin = [car for car in unlinked if car.vin]  # a token may be refused, or open several cars
        if "vins" in sources and by_vin:
            units["vins"] = len(self._vins_to_read()) if self._lists.listed() else len(by_vin)
        return Cost(units)

    def knows_connections(self) -> bool:
        """Whether the connections were ever asked for, or some are known."""
        return t.EVERYTHING in self._ledger.asked("connections") or bool(self._ledger.connections())

    def _vins_to_read(self) -> set[str]:
        """The vehicles whose VIN would be read; not those that were given up lately."""
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
        """Asks the sources in order, within the transport's budget; keeps what they answer.

        ``accept_list`` takes a list of connections that is in doubt as it is. What had no answer is asked once more at
        the end, unless the allowance ended.

        AuthenticationError where the application's own credentials, or the management token, are refused; a single
        token's or vehicle's failure is counted, not raised.
        """
        self._lists.refuse_unset_token(sources)
        asked, report = SourceReport(), progress or (lambda what, done, of: None)
        names = ("connections", "subscriptions", "management", "refresh", "tokens", "vins")
        put = {name: Questions[Any, Any](name, self._ledger, asked, self._now) for name in names}
        steps: dict[str, Callable[[], None]] = {
            "connections": lambda: self._lists.ask_connections(
                asked, put["connections"], report, relist=relist, accept=accept_list
            ),
            "subscriptions": lambda: self._lists.ask_subscriptions(asked, put["subscriptions"], relist=relist),
            "external_id": lambda: self._lists.read_external_ids(asked),
            "management": lambda: self._lists.ask_managed(
                asked, put["management"], report, relist=relist, accept=accept_list
            ),
            "refresh": lambda: self._renew_tokens(asked, put["refresh"]),
            "tokens": lambda: self._ask_tokens(asked, put["tokens"], executor, report),
            "vins": lambda: self._ask_vins(
                put["vins"], executor, report, unless=put["tokens"] if self._may_speak(sources, asked) else None
            ),
            "webhooks": lambda: self._count_known(asked, "webhooks"),
            "redirects": lambda: self._count_known(asked, "redirects"),
        }
        wanted = [step for source in sources for step in _steps_of(source)]
        for step in wanted:
            _take(step, steps[step], asked)
        again = _once_more(wanted, put) if not asked.not_read else []
        if again:
            log.info("asking once more, as some questions had no answer: %s", ", ".join(again))
        for step in again:
            _take(step, steps[step], asked)
        return asked

    # --- tokens ------------------------------------------------------------------------------------------

    def _renew_tokens(self, asked: SourceReport, questions: Questions[Any, Any]) -> None:
        """Gets new tokens for cars that nothing else can link, where the company lets the kit do so."""
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

    def _may_speak(self, sources: Sequence[str], asked: SourceReport) -> bool:
        """Whether tokens are a source: not once V2 has stopped, nor while it refuses them all."""
        return "tokens" in sources and "tokens" not in asked.refused and not self._owners.stopped

    def _ask_tokens(
        self, asked: SourceReport, questions: Questions[Any, Any], executor: Executor, report: AuditProgress
    ) -> None:
        """Asks living tokens whose they are; the first alone, then so many that a refusal of all is told by them.

        None once V2 has stopped. Each time in another order: the same dead ones must not stand first in every run.
        """
        if not self._may_speak(["tokens"], asked):
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
        """Cars whose living token was not asked yet; a token that replaced the one asked is a new one."""
        done = self._ledger.asked("tokens")
        return [car for car in unlinked if car.token_alive and not was_asked(done.get(car.local_vehicle_id), car.token)]

    def _dead_token_cars(self, unlinked: Sequence[Car]) -> list[Car]:
        """Cars whose token is over, may be refreshed, and never answered: only a new token can tell whose they are."""
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
        """Reads VINs for cars without a link; a living token that has not answered yet, and is not given up, goes
        first, for it says more. Where tokens don't speak (``unless`` is None) VINs are all there is."""
        unlinked = self._unlinked()
        waiting = {car.local_vehicle_id for car in self._token_cars(unlinked)} - unless.given_up if unless else set()
        wanted = [car for car in unlinked if car.vin and car.local_vehicle_id not in waiting]
        if wanted:
            questions.fan(self._unread(), self._vin, self._keep_vins, lambda item: [item[0]], executor, report)
        self._tie_by_vin(wanted)

    def _vin(self, vehicle: tuple[str, str]) -> tuple[str, str]:
        """(vehicle id, a digest of its VIN, or ``none`` where V3 can't tell it): one unit."""
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

    def _tie_by_vin(self, cars: Sequence[Car]) -> None:
        """Ties cars to the vehicles whose VIN was ever read; no call."""
        vehicles: dict[str, list[str]] = defaultdict(list)
        for vehicle_id, (_, known) in self._ledger.asked("vins").items():
            vehicles[known].append(vehicle_id)
        ties = [
            tie("vins", car, vehicle_id, t.as_kept(self._now))
            for car in cars
            for vehicle_id in vehicles.get(digest(car.vin or ""), ())
        ]
        self._ledger.record(t.ties, ties)

    def _unread(self) -> list[tuple[str, str]]:
        """(vehicle id, a user of it): connected vehicles that no car is linked to and whose VIN is not known."""
        with desk(self._company, self._ledger, self._now) as at:
            return [(row["vehicle_id"], row["id"]) for row in at.rows(facts.UserFacts(at).unread_vehicles())]

    # --- what arrived by itself ---------------------------------------------------------------------------

    def _count_known(self, asked: SourceReport, source: str) -> None:
        """Evidence that 50_capture_user_ids kept: judged as it is, nothing to ask."""
        known = sum(captures.pieces(self._ledger, table, source) for table in (t.sightings, t.personal))
        asked.told[source] = f"{known:,} known to the ledger"

    # --- shared ------------------------------------------------------------------------------------------

    def _cars(self) -> list[Car]:
        return list(self._company.cars_to_ask(self._now))

    def _unlinked(self) -> list[Car]:
        tied = {row["local_vehicle_id"] for row in self._ledger.rows(t.ties)}
        return [car for car in self._cars() if not car.smartcar_vehicle_id and car.local_vehicle_id not in tied]


def was_asked(known: tuple[datetime, str] | None, token: str | None) -> bool:
    """Whether an entry of what tokens were asked is about this very token."""
    return known is not None and known[1].rpartition(" ")[2] == digest(token or "")


def _subject(car: Car) -> list[str]:
    return [car.local_vehicle_id]


def _take(step: str, act: Callable[[], None], asked: SourceReport) -> None:
    """Takes a step of an asking, and logs what it came to."""
    started = time.perf_counter()
    act()
    log.info("%s: %s in %.1f s", step, asked.outcome(step), seconds_since(started))


def _steps_of(source: str) -> tuple[str, ...]:
    """What asking a source consists of."""
    return {"connections": ("connections", "subscriptions"), "tokens": ("refresh", "tokens")}.get(source, (source,))


def _once_more(steps: Sequence[str], put: Mapping[str, Questions[Any, Any]]) -> list[str]:
    """The steps in which a question failed that may be answered by now, and what depends on their answers."""
    again = {step for step in steps if step in put and put[step].may_pass}
    if again & {"refresh", "tokens"}:
        again |= {"tokens", "vins"}
    return [step for step in steps if step in again]


# --- of a session ---------------------------------------------------------------------------------------------


def resolver_for(session: Session) -> IdentityResolver:
    """Asks Smartcar who is who with a session's clients; refreshes V2 tokens if ``[vehicles] refresh`` is true."""
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
    """What asking the sources would cost, in units and in time; sends nothing."""
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
    """Asks the sources within the budget, side by side; keeps what had no answer as the table ``unanswered``."""
    with session.spending(max_calls, max_minutes), session.threads() as executor:
        asked = resolver_for(session).ask(sources, executor, relist=relist, accept_list=accept_list, progress=progress)
    session.save(unanswered=asked.table())
    return asked


def _renew(session: Session, cars: Sequence[Car]) -> Renewed:
    return token_refresh.refresh(
        session.company, session.ledger, session.smartcar.user_tokens, cars, run_id=session.run_id, now=session.now
    )
