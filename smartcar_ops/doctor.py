"""Is everything in place? A line a question: pass, fail or unknown, with the next step."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pandas as pd

from smartcar_ops.clients import SmartcarClients, paused_bucket
from smartcar_ops.database.ledger import acts, v2_state
from smartcar_ops.database.ledger.ledger import Ledger, Scope, file_path, in_database
from smartcar_ops.database.ledger.runs import Runs, RunStatus
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import AuthenticationError, SmartcarError, SmartcarOpsError, V2StoppedError, in_words
from smartcar_ops.session import Outcome, hand_on, run_folder, run_id
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.http.rate_limit import TokenBucket, duration, units_to_come
from smartcar_ops.smartcar.http.transport import Transport

NOTEBOOK = "00_start_here"
CheckState = Literal["pass", "fail", "unknown"]
CALLS = "at most 5 calls: one token, a page of connections, of subscriptions, of V2 management, one V2 /user"
SKEW = 60.0
"""Seconds a clock may be wrong: ages of tokens and readings are judged by it."""

OPTIONAL = "40_schema_phases adds the ids' columns; name others in smartcar_ops.toml, [{}], or do without"

AHEAD = timedelta(days=30)
"""For how long the allowance is reckoned."""

PACKAGES = ("pandas", "httpx", "sqlalchemy", "papermill", "jupyterlab")


@dataclass(frozen=True)
class CheckLine:
    """One answer; ``world`` says that a failure is the world's (a host, a credential, a right), not a finding."""

    question: str
    state: CheckState
    found: str
    next_step: str = ""
    world: bool = False


@dataclass(frozen=True)
class Checkup:
    """All answers, in the order they were asked."""

    lines: tuple[CheckLine, ...]
    calls: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0; 2 where the world failed (unreachable, refused); 1 where another line fails."""
        failed = [line for line in self.lines if line.state == "fail"]
        return 2 if any(line.world for line in failed) else int(bool(failed))

    @property
    def verdict(self) -> str:
        """The checkup in one sentence; the first failure's own words where there is one."""
        failed = [line for line in self.lines if line.state == "fail"]
        if not failed:
            unknown = sum(line.state == "unknown" for line in self.lines)
            rest = f", {unknown} could not be told" if unknown else ""
            return f"Everything asked is in place ({len(self.lines) - unknown} of {len(self.lines)} lines pass{rest})."
        return f"{len(failed)} of {len(self.lines)} lines fail; first ({failed[0].question}): {failed[0].found}"

    def table(self) -> pd.DataFrame:
        """A row a line, for people."""
        rows = [(line.question, line.state, line.found, line.next_step) for line in self.lines]
        return pd.DataFrame(rows, columns=["question", "state", "found", "next_step"])


def checkup(settings: Settings, now: datetime | None = None) -> Checkup:
    """Asks everything once, at most 5 calls; a failing line does not stop the others."""
    return _Checkup(settings, now or datetime.now(UTC)).run()


def note(settings: Settings, verdict: str, calls: Mapping[str, int], run_id: str = "") -> None:
    """Notes in the ledger what a checkup spent, so that every total knows it; not where no ledger can be kept."""
    with suppress(SmartcarOpsError, OSError):
        company = Company.connect(settings.database_url.get_secret_value(), settings.layout)
        register = Runs(Ledger.open(company, Scope(settings.service, settings.mode), settings.reports))
        name = run_id or register.free_name(datetime.now(UTC), NOTEBOOK)
        register.start(name, NOTEBOOK, "doctor")
        register.finish(name, RunStatus.DONE, {"verdict": verdict}, calls)


def conclude(settings: Settings, verdict: str, *, exit_code: int, calls: dict[str, int]) -> Outcome:
    """Ends a notebook that opened no session; what it spent is noted where the database can be reached."""
    folder = run_folder()
    note(settings, verdict, calls, run_id(folder) if folder else "")
    hand_on(settings.where, exit_code, {"verdict": verdict, "complete": True}, calls)
    return Outcome(verdict, exit_code)


class _Checkup:
    def __init__(self, settings: Settings, now: datetime) -> None:
        self._settings, self._now = settings, now
        self._transport = Transport(timeout=15, attempts=1)
        self._smartcar = SmartcarClients(settings, self._transport)
        self._company: Company | None = None
        self._v3_answers = False

    def run(self) -> Checkup:
        """The lines, each from its own question."""
        questions: tuple[tuple[str, Callable[[], CheckLine]], ...] = (
            ("settings", self._where),
            ("credentials", self._optional_credentials),
            ("database", self._database),
            ("users' columns", lambda: self._columns("users")),
            ("vehicles' columns", lambda: self._columns("vehicles")),
            ("schema phase", self._phase),
            ("rights", self._rights),
            ("acts that write", self._acts),
            ("users", self._users),
            ("application token", self._application_token),
            ("V3 connections", self._connections),
            ("webhook subscriptions", self._subscriptions),
            ("management token", self._management),
            ("clock", self._clock),
            ("V2 tokens", self._tokens),
            ("V2 answers", self._v2_user),
            ("allowance", self._allowance),
            ("versions", self._versions),
        )
        lines = []
        try:
            for question, ask in questions:
                try:
                    lines.append(ask())
                except SmartcarOpsError as error:
                    lines.append(CheckLine(question, "fail", str(error), world=True))
                except Exception as error:  # a checkup that ends at its first surprise tells nothing of the rest
                    lines.append(CheckLine(question, "fail", in_words(error), world=True))
        finally:
            self._transport.close()
        return Checkup(tuple(lines), self._transport.spent)

    def _where(self) -> CheckLine:
        return CheckLine("settings", "pass", self._settings.where)

    def _optional_credentials(self) -> CheckLine:
        known = self._settings.credentials
        missing = [
            name
            for name, value in (
                ("SMARTCAR_APPLICATION_ID", known.application_id),
                ("SMARTCAR_MANAGEMENT_TOKEN", known.management_token.get_secret_value()),
            )
            if not value
        ]
        if missing:
            return CheckLine(
                "credentials", "pass", f"client id and secret are set; {', '.join(missing)} not needed yet"
            )
        return CheckLine("credentials", "pass", "client id and secret, application id and management token are set")

    def _database(self) -> CheckLine:
        known = self._settings
        url = known.database_url.get_secret_value()
        self._company = Company.connect(url, known.layout, vault=known.vault)
        users, vehicles = self._settings.layout.users.table, self._settings.layout.vehicles
        cars = "[vehicles] from" if vehicles.from_ else vehicles.table
        return CheckLine(
            "database", "pass", f"{self._company.engine.dialect.name}, tables {users} and {cars} are there"
        )

    def _columns(self, section: Literal["users", "vehicles"]) -> CheckLine:
        """Each name that the layout gives, and whether the table has it; those that every act needs are there."""
        question = f"{section}' columns"
        if self._company is None:
            return _no_database(question)
        there, missing = self._company.columns(section)
        found = ", ".join(there)
        if not missing:
            return CheckLine(question, "pass", found)
        named = ", ".join(f"{column} ({key})" for key, column in missing.items())
        return CheckLine(question, "pass", f"{found}; not there: {named}", OPTIONAL.format(section))

    def _phase(self) -> CheckLine:
        if self._company is None:
            return _no_database("schema phase")
        phase = self._company.phase
        ledger = in_database(self._company.engine)
        found = f"{phase}, the kit's tables are {'there' if ledger else 'not there'}"
        if phase in ("before", "partial") or not ledger:
            return CheckLine("schema phase", "pass", found, "before a backfill: 40_schema_phases -p apply True")
        return CheckLine("schema phase", "pass", found)

    def _rights(self) -> CheckLine:
        if self._company is None:
            return _no_database("rights")
        if not in_database(self._company.engine):
            return CheckLine("rights", "unknown", "reading works; writing is not tried before expand")
        scope = Scope(self._settings.service, self._settings.mode)
        if Ledger.of_database(self._company, scope).writable():
            return CheckLine("rights", "pass", "reading works, the kit's tables can be written")
        return CheckLine("rights", "pass", "reading works, writing does not: audits and reports only")

    def _acts(self) -> CheckLine:
        """The act that writes now, or the newest one: it may have ended before its end."""
        question = "acts that write"
        if self._company is None:
            return _no_database(question)
        if not in_database(self._company.engine):
            return CheckLine(question, "pass", "none yet: nothing is written before expand")
        scope = Scope(self._settings.service, self._settings.mode)
        run = Runs(Ledger.of_database(self._company, scope)).writing()
        if run is None:
            return CheckLine(question, "pass", "none yet")
        found = f"{acts.name(run)}, {acts.state(run)}: {', '.join(acts.counts(run))}"
        step = "`smartcar-ops runs` says how it is continued" if acts.can_continue(run) else ""
        return CheckLine(question, "fail" if run.status is RunStatus.INTERRUPTED else "pass", found, step)

    def _users(self) -> CheckLine:
        if self._company is None:
            return _no_database("users")
        count = self._company.count()
        return CheckLine(
            "users", "pass" if count else "fail", f"{count:,} users", "" if count else "is this the right table?"
        )

    def _application_token(self) -> CheckLine:
        self._smartcar.token()
        return CheckLine("application token", "pass", f"given by {self._settings.origins.iam}")

    def _connections(self) -> CheckLine:
        total = self._smartcar.v3.connections_page(self._settings.mode)
        self._v3_answers = True
        step = "" if total else f"none in mode {self._settings.mode}: is SMARTCAR_MODE right?"
        return CheckLine("V3 connections", "pass" if total else "fail", f"{total:,} connections", step)

    def _subscriptions(self) -> CheckLine:
        try:
            total = self._smartcar.management_v3.subscriptions_page(self._settings.mode)
        except SmartcarError as error:
            return CheckLine(
                "webhook subscriptions", "unknown", str(error), "an audit then can't tell which cars are fresh"
            )
        found = f"{total:,} subscriptions; V3 data of vehicles without one may be a day old"
        return CheckLine("webhook subscriptions", "pass", found)

    def _management(self) -> CheckLine:
        management = self._smartcar.management_v2
        if management is None:
            return CheckLine(
                "management token", "unknown", "SMARTCAR_MANAGEMENT_TOKEN is not set", "only webhooks need it"
            )
        try:
            management.connections_page(self._settings.mode)
        except AuthenticationError:
            step = 'is it the application management token, and current? README, "Credentials"'
            return CheckLine(
                "management token", "fail", "V2 management refused SMARTCAR_MANAGEMENT_TOKEN", step, world=True
            )
        except V2StoppedError as error:
            return CheckLine("management token", "pass", _plain(error), "only webhook signatures need the token now")
        except SmartcarError as error:
            return CheckLine("management token", "unknown", str(error))
        return CheckLine("management token", "pass", "V2 management takes it")

    def _clock(self) -> CheckLine:
        """How far this machine's clock is from Smartcar's, by the dates of its answers; no call."""
        apart = self._transport.clock_skew
        if apart is None:
            return CheckLine("clock", "unknown", "no answer told the time")
        if abs(apart) <= SKEW:
            return CheckLine("clock", "pass", "within a minute of Smartcar's")
        step = "set the clock: ages of tokens and readings are judged by it"
        return CheckLine(
            "clock", "fail", f"{abs(apart):,.0f} s {'ahead of' if apart > 0 else 'behind'} Smartcar's", step
        )

    def _tokens(self) -> CheckLine:
        if self._company is None:
            return _no_database("V2 tokens")
        living, all_cars = self._company.count_tokens(self._now)
        found = f"{living:,} of {all_cars:,} vehicles have a token younger than two hours"
        unopened = self._company.count_unopened(self._now)
        if unopened:
            step = "is [vehicles] open_token the right function?"
            return CheckLine("V2 tokens", "fail", f"{found}; {unopened:,} young ones can't be opened", step)
        if self._settings.layout.vehicles.refresh:
            dead = sum(car.refreshable and not car.token_alive for car in self._company.cars_to_ask(self._now))
            found = f"{found}; {dead:,} others can be refreshed"
        if not living:
            return CheckLine(
                "V2 tokens", "unknown", found, "linking by VIN works without; comparing needs living tokens"
            )
        return CheckLine("V2 tokens", "pass", found)

    def _v2_user(self) -> CheckLine:
        if self._company is None:
            return _no_database("V2 answers")
        living = next(
            (car.token for car in self._company.cars_to_ask(self._now) if car.token_alive and car.token), None
        )
        ledger = self._ledger()
        if living is None and self._settings.v2 != "off":
            known = v2_state.sentence(ledger) if ledger else ""
            return CheckLine("V2 answers", "unknown", known or "no living token to ask with")
        try:
            self._smartcar.v2.user(living or "none")
        except V2StoppedError as error:
            if ledger and self._settings.v2 != "off":
                v2_state.note(ledger, self._now)
            step = "linking goes by connections and VINs; a comparison is replayed from an earlier recording"
            return CheckLine("V2 answers", "pass", _plain(error), step)
        except SmartcarOpsError as error:
            return CheckLine("V2 answers", "unknown", str(error), "one token may be revoked; an audit asks the others")
        if ledger:
            v2_state.clear(ledger, self._now)
        return CheckLine("V2 answers", "pass", f"{self._settings.origins.api} answered with a user's token")

    def _ledger(self) -> Ledger | None:
        """The ledger that may be written, where there is one: the doctor makes none."""
        if self._company is None:
            return None
        scope, reports = Scope(self._settings.service, self._settings.mode), self._settings.reports
        ledger = Ledger.of_database(self._company, scope) if in_database(self._company.engine) else None
        if ledger is None or not ledger.writable():
            there = file_path(self._company, reports).exists()
            ledger = Ledger.file(self._company, scope, reports) if there else None
        return ledger

    def _allowance(self) -> CheckLine:
        allowance = self._settings.allowance
        if not allowance.limited:
            return CheckLine("allowance", "pass", "not limited against the sandbox")
        coming = units_to_come(allowance, self._now, self._now + AHEAD)
        said = f"{allowance.burst:,} units at once, {allowance.per_minute:g} a minute"
        found = f"{said}: {coming:,} in the next {AHEAD.days} days"
        bucket = self._paused()
        if bucket is None:
            return CheckLine("allowance", "pass", found)
        asked = f"{found}; Smartcar asked for a pause, {duration(bucket.paused())} more"
        if not self._v3_answers:
            return CheckLine(
                "allowance", "fail", asked, "wait, or run the doctor again once V3 answers: it ends the pause"
            )
        bucket.release()
        return CheckLine("allowance", "pass", f"{asked}; it has just answered, so the pause is ended")

    def _paused(self) -> TokenBucket | None:
        """The allowance that Smartcar told to pause, if it did."""
        ledger = self._ledger()
        return paused_bucket(self._settings, ledger) if ledger else None

    def _versions(self) -> CheckLine:
        known = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
        return CheckLine("versions", "pass", ", ".join([f"Python {platform.python_version()}", *known]))


def _plain(error: V2StoppedError) -> str:
    """The error's own words: here it is a finding."""
    return str(error).removeprefix("smartcar: ")


def _no_database(question: str) -> CheckLine:
    return CheckLine(question, "unknown", "the database can't be reached")
