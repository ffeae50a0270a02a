"""Is everything set up? Checks settings, database and Smartcar, one line per check with its next step."""

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
from smartcar_ops.display import tables
from smartcar_ops.errors import AuthenticationError, SmartcarError, SmartcarOpsError, V2StoppedError, in_words
from smartcar_ops.session import Outcome, hand_on, run_folder, run_id
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.http.rate_limit import TokenBucket, duration, units_to_come
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.text import thousands

NOTEBOOK = "00_start_here"
CheckState = Literal["pass", "fail", "unknown"]
CALLS = "at most 5 calls: a token, V3 connections, webhook subscriptions, V2 management and one V2 /user"
SKEW = 60.0
"""Seconds that this machine's clock may be off; the ages of tokens and readings depend on it."""

OPTIONAL = "40_schema_phases adds the id columns; other columns are optional, name yours in smartcar_ops.toml, [{}]"

FORECAST = timedelta(days=30)
"""The period for which the allowance is forecast."""

PACKAGES = ("pandas", "httpx", "sqlalchemy", "papermill", "jupyterlab")


@dataclass(frozen=True)
class CheckLine:
    """The result of one check. ``world`` is True if its failure means exit code 2: a host, a credential, a right."""

    question: str
    state: CheckState
    found: str
    next_step: str = ""
    world: bool = False


@dataclass(frozen=True)
class Checkup:
    """The results of all checks, in order."""

    lines: tuple[CheckLine, ...]
    calls: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 if no check failed; 2 if something outside failed (unreachable, refused); otherwise 1."""
        failed = [line for line in self.lines if line.state == "fail"]
        return 2 if any(line.world for line in failed) else int(bool(failed))

    @property
    def verdict(self) -> str:
        """The checkup in one sentence, with the text of the first failure if there is one."""
        failed = [line for line in self.lines if line.state == "fail"]
        if not failed:
            unknown = sum(line.state == "unknown" for line in self.lines)
            rest = f", {unknown} unknown" if unknown else ""
            return f"Everything is set up ({len(self.lines) - unknown} of {len(self.lines)} checks pass{rest})."
        verb = "fails" if len(failed) == 1 else "fail"
        return f"{len(failed)} of {len(self.lines)} checks {verb}; first ({failed[0].question}): {failed[0].found}"

    def __repr__(self) -> str:
        return self.verdict

    def _repr_html_(self) -> str:
        return str(tables.together(tables.sentence(self.verdict), tables.whole(self.table())).data)

    def table(self) -> pd.DataFrame:
        """Return one row per check."""
        rows = [(line.question, line.state, line.found, line.next_step) for line in self.lines]
        return pd.DataFrame(rows, columns=["question", "state", "found", "next_step"])


def checkup(settings: Settings, now: datetime | None = None) -> Checkup:
    """Run every check once, with at most 5 calls. A failing check does not stop the others."""
    return _Checkup(settings, now or datetime.now(UTC)).run()


def note(settings: Settings, verdict: str, calls: Mapping[str, int], run_id: str = "") -> None:
    """Record in the ledger what a checkup spent, so that all totals include it; do nothing without a usable ledger."""
    with suppress(SmartcarOpsError, OSError):
        company = Company.connect(settings.database_url.get_secret_value(), settings.layout)
        register = Runs(Ledger.open(company, Scope(settings.service, settings.mode), settings.reports))
        name = run_id or register.free_name(datetime.now(UTC), NOTEBOOK)
        register.start(name, NOTEBOOK, "doctor")
        register.finish(name, RunStatus.DONE, {"verdict": verdict}, calls)


def conclude(settings: Settings, verdict: str, *, exit_code: int, calls: dict[str, int]) -> Outcome:
    """End a notebook that has no session; record what it spent if the database can be reached."""
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
        """Run all checks."""
        checks: tuple[tuple[str, Callable[[], CheckLine]], ...] = (
            ("settings", self._where),
            ("credentials", self._optional_credentials),
            ("database", self._database),
            ("users' columns", lambda: self._columns("users")),
            ("vehicles' columns", lambda: self._columns("vehicles")),
            ("schema phase", self._phase),
            ("permissions", self._permissions),
            ("writing runs", self._writing_runs),
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
            for question, check in checks:
                try:
                    lines.append(check())
                except SmartcarOpsError as error:
                    lines.append(CheckLine(question, "fail", str(error), world=True))
                except Exception as error:  # one unexpected error must not hide the other checks
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
                "credentials",
                "pass",
                f"client id and secret are set; not set, and not needed yet: {', '.join(missing)}",
            )
        return CheckLine("credentials", "pass", "client id and secret, application id and management token are set")

    def _database(self) -> CheckLine:
        known = self._settings
        url = known.database_url.get_secret_value()
        self._company = Company.connect(url, known.layout, vault=known.vault)
        users, vehicles = self._settings.layout.users.table, self._settings.layout.vehicles
        cars = "[vehicles] from" if vehicles.from_ else vehicles.table
        return CheckLine("database", "pass", f"{self._company.engine.dialect.name}, has the tables {users} and {cars}")

    def _columns(self, section: Literal["users", "vehicles"]) -> CheckLine:
        """Check which columns of the layout the table has; those that every notebook needs exist here."""
        question = f"{section}' columns"
        if self._company is None:
            return _no_database(question)
        present, missing = self._company.columns(section)
        found = ", ".join(present)
        if not missing:
            return CheckLine(question, "pass", found)
        named = ", ".join(f"{column} ({key})" for key, column in missing.items())
        return CheckLine(question, "pass", f"{found}; missing: {named}", OPTIONAL.format(section))

    def _phase(self) -> CheckLine:
        if self._company is None:
            return _no_database("schema phase")
        phase = self._company.phase
        ledger = in_database(self._company.engine)
        found = f"{phase}, the kit's tables {'exist' if ledger else 'do not exist yet'}"
        if phase in ("before", "partial") or not ledger:
            return CheckLine("schema phase", "pass", found, "before a backfill, run 40_schema_phases -p apply True")
        return CheckLine("schema phase", "pass", found)

    def _permissions(self) -> CheckLine:
        if self._company is None:
            return _no_database("permissions")
        if not in_database(self._company.engine):
            return CheckLine("permissions", "unknown", "reading works; writing is not tested before expand")
        scope = Scope(self._settings.service, self._settings.mode)
        if Ledger.of_database(self._company, scope).writable():
            return CheckLine("permissions", "pass", "reading works, and so does writing to the kit's tables")
        return CheckLine("permissions", "pass", "reading works, writing does not: only audits and reports are possible")

    def _writing_runs(self) -> CheckLine:
        """Check the newest run that writes to the company's tables: it may be interrupted."""
        question = "writing runs"
        if self._company is None:
            return _no_database(question)
        if not in_database(self._company.engine):
            return CheckLine(question, "pass", "none yet; nothing is written before expand")
        scope = Scope(self._settings.service, self._settings.mode)
        run = Runs(Ledger.of_database(self._company, scope)).writing()
        if run is None:
            return CheckLine(question, "pass", "none yet")
        found = f"{acts.name(run)}, {acts.state(run)}: {', '.join(acts.counts(run))}"
        step = "`smartcar-ops runs` shows how to continue it" if acts.can_continue(run) else ""
        return CheckLine(question, "fail" if run.status is RunStatus.INTERRUPTED else "pass", found, step)

    def _users(self) -> CheckLine:
        if self._company is None:
            return _no_database("users")
        count = self._company.count()
        return CheckLine(
            "users", "pass" if count else "fail", thousands(count, "users"), "" if count else "is this the right table?"
        )

    def _application_token(self) -> CheckLine:
        self._smartcar.token()
        return CheckLine("application token", "pass", f"issued by {self._settings.origins.iam}")

    def _connections(self) -> CheckLine:
        total = self._smartcar.v3.connections_page(self._settings.mode)
        self._v3_answers = True
        step = "" if total else f"there are none in mode {self._settings.mode}; check SMARTCAR_MODE"
        return CheckLine("V3 connections", "pass" if total else "fail", thousands(total, "connections"), step)

    def _subscriptions(self) -> CheckLine:
        try:
            total = self._smartcar.management_v3.subscriptions_page(self._settings.mode)
        except SmartcarError as error:
            return CheckLine(
                "webhook subscriptions",
                "unknown",
                str(error),
                "without them, an audit can't tell which cars have current V3 data",
            )
        found = f"{thousands(total, 'subscriptions')}; V3 data of vehicles without one may be a day old"
        return CheckLine("webhook subscriptions", "pass", found)

    def _management(self) -> CheckLine:
        management = self._smartcar.management_v2
        if management is None:
            return CheckLine(
                "management token",
                "unknown",
                "SMARTCAR_MANAGEMENT_TOKEN is not set",
                "only needed for V2 management and webhook signatures",
            )
        try:
            management.connections_page(self._settings.mode)
        except AuthenticationError:
            step = 'check that it is the current application management token; see README, "Credentials"'
            return CheckLine(
                "management token", "fail", "V2 management refused SMARTCAR_MANAGEMENT_TOKEN", step, world=True
            )
        except V2StoppedError as error:
            return CheckLine("management token", "pass", _plain(error), "now only webhook signatures need the token")
        except SmartcarError as error:
            return CheckLine("management token", "unknown", str(error))
        return CheckLine("management token", "pass", "V2 management accepts it")

    def _clock(self) -> CheckLine:
        """Compare this machine's clock with the dates of Smartcar's responses; makes no call."""
        apart = self._transport.clock_skew
        if apart is None:
            return CheckLine("clock", "unknown", "no response contained a date")
        if abs(apart) <= SKEW:
            return CheckLine("clock", "pass", "within a minute of Smartcar's")
        step = "set the clock: the ages of tokens and readings depend on it"
        return CheckLine(
            "clock", "fail", f"{abs(apart):,.0f} s {'ahead of' if apart > 0 else 'behind'} Smartcar's", step
        )

    def _tokens(self) -> CheckLine:
        if self._company is None:
            return _no_database("V2 tokens")
        living, all_cars = self._company.count_tokens(self._now)
        found = f"{living:,} of {thousands(all_cars, 'vehicles')} have a token younger than two hours"
        unopened = self._company.count_unopened(self._now)
        if unopened:
            step = "check the function [vehicles] open_token"
            return CheckLine("V2 tokens", "fail", f"{found}; {unopened:,} such tokens can't be decrypted", step)
        if self._settings.layout.vehicles.refresh:
            refreshable = sum(car.refreshable and not car.token_alive for car in self._company.cars_to_ask(self._now))
            found = f"{found}; {refreshable:,} other tokens can be refreshed"
        if not living:
            return CheckLine(
                "V2 tokens", "unknown", found, "linking by VIN works without them; a comparison needs living tokens"
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
            return CheckLine("V2 answers", "unknown", known or "there is no living token to query V2 with")
        try:
            self._smartcar.v2.user(living or "none")
        except V2StoppedError as error:
            if ledger and self._settings.v2 != "off":
                v2_state.note(ledger, self._now)
            step = "vehicles are linked by connections and VINs; a comparison can only replay an earlier recording"
            return CheckLine("V2 answers", "pass", _plain(error), step)
        except SmartcarOpsError as error:
            return CheckLine(
                "V2 answers", "unknown", str(error), "this token may be revoked; an audit also tries the others"
            )
        if ledger:
            v2_state.clear(ledger, self._now)
        return CheckLine("V2 answers", "pass", f"{self._settings.origins.api} answered with a user's token")

    def _ledger(self) -> Ledger | None:
        """Return the writable ledger, or None if there is none; the doctor does not create one."""
        if self._company is None:
            return None
        scope, reports = Scope(self._settings.service, self._settings.mode), self._settings.reports
        ledger = Ledger.of_database(self._company, scope) if in_database(self._company.engine) else None
        if ledger is None or not ledger.writable():
            has_file = file_path(self._company, reports).exists()
            ledger = Ledger.file(self._company, scope, reports) if has_file else None
        return ledger

    def _allowance(self) -> CheckLine:
        allowance = self._settings.allowance
        if not allowance.limited:
            return CheckLine("allowance", "pass", "the sandbox has no limit")
        coming = units_to_come(allowance, self._now, self._now + FORECAST)
        limits = f"{allowance.burst:,} units at once, {allowance.per_minute:g} per minute"
        found = f"{limits}: {coming:,} in the next {FORECAST.days} days"
        bucket = self._paused()
        if bucket is None:
            return CheckLine("allowance", "pass", found)
        paused = f"{found}; Smartcar asked for a pause ({duration(bucket.paused())} left)"
        if not self._v3_answers:
            return CheckLine(
                "allowance", "fail", paused, "wait, or run the doctor again once V3 responds: it ends the pause"
            )
        bucket.release()
        return CheckLine("allowance", "pass", f"{paused}; V3 has just responded, so the pause is over")

    def _paused(self) -> TokenBucket | None:
        """Return the allowance if Smartcar requested a pause that is not over."""
        ledger = self._ledger()
        return paused_bucket(self._settings, ledger) if ledger else None

    def _versions(self) -> CheckLine:
        known = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
        return CheckLine("versions", "pass", ", ".join([f"Python {platform.python_version()}", *known]))


def _plain(error: V2StoppedError) -> str:
    """Return the error's message without its prefix, because here it is a result."""
    return str(error).removeprefix("smartcar: ")


def _no_database(question: str) -> CheckLine:
    return CheckLine(question, "unknown", "the database can't be reached")
