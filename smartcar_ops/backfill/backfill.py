"""The backfill as its notebook or panel drives it: plan, apply or undo, according to the parameters."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from smartcar_ops.audit import resolver
from smartcar_ops.audit.choices import commands
from smartcar_ops.audit.sources import AuditProgress, SourceReport, parse_sources
from smartcar_ops.backfill import decisions, runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.runner import Applied
from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.ledger.runs import Act, Run, Runs, RunStatus
from smartcar_ops.errors import ParameterError, PlanError, SmartcarOpsError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.settings import file_modes
from smartcar_ops.settings.bounds import at_least
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.text import thousands

PLAN = "plan.parquet"
NOTEBOOK = acts.NOTEBOOK
SAMPLE = 10
CORRECT = "correct the vehicle's row in your table, then plan again"
"""What a person does about a vehicle in conflict."""


class Backfill:
    """Plans, applies or undoes, according to its parameters; writes nothing without ``apply``.

    ``plans`` is true if it makes a plan, rather than applying one or undoing a run.

    ParameterError if the parameters contradict each other, before any query is sent.
    """

    def __init__(
        self,
        session: Session,
        *,
        apply: bool = False,
        sources: str = "auto",
        plan: str | Plan = "",
        undo: str = "",
        batch_size: int = 5000,
        max_calls: int = 0,
        max_minutes: float = 10,
        accept_list: bool = False,
    ) -> None:
        planned = isinstance(plan, Plan) or bool(plan)
        check_act(apply=apply, planned=planned, undo=undo)
        at_least("batch_size", batch_size, 1)
        self.session, self.write = session, apply
        self.sources = parse_sources(sources)
        self.plans = not planned and not undo
        self._plan_given, self._undo = plan, undo
        self.batch_size, self.max_calls, self.max_minutes = batch_size, max_calls, max_minutes
        self.accept_list = accept_list
        self.plan = plan if isinstance(plan, Plan) else None
        self.to_undo = 0
        self._undo_preview = pd.DataFrame()
        self.asked = SourceReport()
        self.applied: Applied | None = None

    def cost(self) -> Cost:
        """Return what querying Smartcar will cost; applying and undoing cost nothing."""
        return resolver.cost(self.session, self.sources) if self.plans else Cost({})

    def prepare(self, progress: AuditProgress | None = None) -> Backfill:
        """Query the sources and plan, or read the plan or the changes to undo; writes no row of the company's."""
        session = self.session
        if self._undo:
            self.to_undo, self._undo_preview = runner.undo_preview(session.ledger, self._undo, SAMPLE)
        elif isinstance(self._plan_given, Plan):
            self.plan = self._plan_given
        elif self._plan_given:
            self.plan = find_plan(session, self._plan_given)
        else:
            runner.refuse_foreign_service(session.ledger)
            self.asked = resolver.ask(
                session,
                self.sources,
                max_calls=self.max_calls,
                max_minutes=self.max_minutes,
                accept_list=self.accept_list,
                progress=progress,
            )
            self.plan = runner.plan(session.company, session.ledger, session.now, session.folder / PLAN)
            session.register()
            session.runs.plan_made(session.run_id, self.plan.hash)
        return self

    def counts(self) -> pd.DataFrame:
        """Return the number of rows by table and decision; for an undo, of rows to put back."""
        if self.plan is None:
            return pd.DataFrame({"rows to put back": [self.to_undo]}, index=[self._undo])
        return pd.DataFrame({table: self.plan.counts(table) for table in ("users", "vehicles")}).T

    def sample(self) -> pd.DataFrame:
        """Return the first rows to set in each table; for an undo, the first to put back."""
        if self.plan is None:
            return self._undo_preview
        first_rows = [self.plan.first("set", SAMPLE // 2, table) for table in ("users", "vehicles")]
        return pd.concat(first_rows)[["table", "row_id", "user_id", "proposed", "evidence"]]

    def conflicts(self) -> pd.DataFrame:
        """Return the conflicts with their evidence and the commands that decide each; they are never written."""
        if self.plan is None:
            return pd.DataFrame()
        rows = self.plan.conflicts()[["table", "row_id", "current", "evidence", "reason"]]
        choices = {one.user_id: commands(one.user_id, one.ids) for one in decisions.conflicts(self.plan)}
        return rows.assign(
            decide=[choices[row.row_id] if row.table == "users" else (CORRECT,) for row in rows.itertuples()]
        )

    def execute(self, progress: runner.RowProgress | None = None, run_id: str = "") -> pd.DataFrame:
        """Apply the plan or undo the run if ``apply`` is set; return the number of rows by table and outcome.

        It is recorded in the ledger as ``run_id``; the default is the session's.
        """
        session = self.session
        session.register()  # before the act registers its own run, which this would replace
        run_id = run_id or self._free_run_id()
        if self.write and self._undo:
            self.applied = runner.undo(
                session.company,
                session.ledger,
                self._undo,
                run_id,
                batch_size=self.batch_size,
                progress=progress,
            )
        elif self.write and self.plan is not None:
            self.applied = self._apply(self.plan, run_id, progress)
        nothing = pd.DataFrame(columns=["table", "outcome", "rows"])
        if self.applied is None:
            return nothing
        changes = self.applied.changes()
        session.save(changes=changes)
        counts = [part[["table", "outcome"]].value_counts() for part in changes.parts()]
        if not counts:
            return nothing
        counted = pd.concat(counts).groupby(level=["table", "outcome"]).sum().rename("rows").reset_index()
        return counted.replace({"outcome": {"written": acts.DID[self._act]}})

    def _free_run_id(self) -> str:
        """Return the session's run id; if the session has already written under it, another one."""
        session = self.session
        run = session.runs.one(session.run_id)
        return session.runs.free_name(session.now, session.notebook) if run and run.writes else session.run_id

    def _apply(self, plan: Plan, run_id: str, progress: runner.RowProgress | None) -> Applied:
        """Apply the plan; a copy of it is kept until nothing is left to continue."""
        session = self.session
        reports = session.settings.reports
        is_new = keep_plan(reports, plan)
        try:
            return runner.apply(
                session.company, session.ledger, plan, run_id, batch_size=self.batch_size, progress=progress
            )
        finally:
            with suppress(SmartcarOpsError, OSError):
                run = session.runs.one(run_id)
                if is_new if run is None else not (run.failed or acts.can_continue(run)):
                    _kept_path(reports, plan.hash).unlink(missing_ok=True)

    def failures(self) -> pd.DataFrame:
        """Return the rows that failed, with the reason; applying the same plan again retries them."""
        if self.applied is None or not self.applied.count("failed"):
            return pd.DataFrame()
        return self.applied.table("failed")[["table", "row_id", "column", "after", "reason"]]

    def finish(self) -> Outcome:
        """End the session with the verdict, the counts and the exit code."""
        decisions = self.plan.counts() if self.plan else {}
        done: dict[str, Any] = dict.fromkeys(("applied", "skipped", "failed"), 0)
        done |= self.applied.summary if self.applied else {}
        ended = RunStatus.FAILED if done["failed"] else RunStatus.DONE
        if self.applied and (self.applied.cancelled or self.applied.stopped):
            ended = RunStatus.CANCELLED if self.applied.cancelled else RunStatus.STOPPED
        outcome = self.session.finish(
            self.verdict,
            exit_code=self.exit_code,
            complete=self.complete,
            status=ended,
            decisions=decisions,
            not_ready=self.applied.not_ready if self.applied else 0,
            **self.asked.summary(),
            **done,
        )
        if self.plans and self.plan:
            self.plan.table.path = self.session.folder / PLAN  # in JupyterLab the folder has its final name only now
        return outcome

    @property
    def complete(self) -> bool:
        """False if a question has no answer yet, or the run was cancelled or stopped before it finished."""
        return self.asked.complete and not (self.applied and (self.applied.cancelled or self.applied.stopped))

    @property
    def exit_code(self) -> int:
        """The exit code of the apply or undo; before that, of the plan or the preview."""
        if self.applied:
            return self.applied.exit_code
        if self.plan:
            return self.plan.exit_code
        return 0 if self.to_undo else 3

    @property
    def verdict(self) -> str:
        """What was done, or would be, in one sentence; a plan or preview adds a run that did not finish."""
        if self.applied and self.applied.exit_code == 3:
            return {
                "apply": "Nothing left to write for this plan.",
                "undo": "Nothing left to undo for this run.",
            }[self._act]
        if self.applied:
            done = self.applied.summary
            why = "; ".join(f"{rows:,} {reason}" for reason, rows in sorted(self.applied.reasons().items()))
            skipped = f"{done['skipped']:,} skipped" + (f" ({why})" if why else "")
            counts = (
                f"{thousands(done['applied'], 'rows')} {acts.DID[self._act]}, {skipped}, {done['failed']:,} failed."
            )
            if self.applied.stopped:
                return f"{counts} The {self._act} stopped: {self.applied.stopped}."
            return f"{counts} The {self._act} was cancelled before it finished." if self.applied.cancelled else counts
        if self.plan:
            return f"Plan only, nothing written: {self.plan.verdict}{self._unfinished()}"
        rows = thousands(self.to_undo, "rows")
        return f"Preview only, nothing put back: {rows} would be put back.{self._unfinished()}"

    @property
    def _act(self) -> str:
        return "undo" if self._undo else "apply"

    def _unfinished(self) -> str:
        """Return a sentence about the newest run that writes if it was killed; empty otherwise."""
        run = self.session.runs.writing()
        if run is None or run.status is not RunStatus.INTERRUPTED:
            return ""
        advice = told_to_continue(self.session.runs, run, self.session.settings.reports)
        return f" Run {run.run_id} is interrupted: {advice[:1].lower()}{advice[1:]}"


def check_act(*, apply: bool, planned: bool, undo: str) -> None:
    """ParameterError if there is nothing to apply, or both a plan and an undo."""
    if apply and not planned and not undo:
        raise ParameterError(
            "parameters: apply=True needs a plan or an undo; run without apply first, then with plan=latest."
        )
    if planned and undo:
        raise ParameterError("parameters: plan and undo are both set; expected only one of them.")


def find_plan(session: Session, given: str) -> Plan:
    """Return the plan of a parameter: a run's folder, a file, or ``latest``; PlanError if there is none."""
    if given == "latest":
        return _latest(session)
    return Plan.load(plan_file(session.settings, given), session.ledger.plan_key())


def plan_file(settings: Settings, given: str) -> Path:
    """Return the path of a plan, given that path or the run's folder; PlanError if there is none."""
    for candidate in (Path(given), settings.reports / given, settings.root / given):
        file = candidate / PLAN if candidate.is_dir() else candidate
        if file.is_file():
            return file
    raise PlanError(f"plan: {given!r} is not a run's folder, a plan file or 'latest'; expected one of these.")


def plan_of(ledger: Ledger, reports: Path, hash: str) -> Plan | None:
    """Return the plan with this hash, from the copy kept for its apply or from a run's folder; None if it is gone."""
    key, folders = ledger.plan_key(), sorted(reports.glob(f"*__{NOTEBOOK}/{PLAN}"), reverse=True)
    for file in (_kept_path(reports, hash), *folders):
        with suppress(PlanError):
            plan = Plan.load(file, key)
            if plan.hash == hash:
                return plan
    return None


def keep_plan(reports: Path, plan: Plan) -> bool:
    """Copy a plan that is in no run's folder, so that a killed apply can be continued; True if a copy was made."""
    path, copy = plan.table.path.resolve(), _kept_path(reports, plan.hash)
    in_folder = path.parent.parent == reports.resolve() and path.parent.match(f"*__{NOTEBOOK}")
    if in_folder or copy.exists():
        return False
    with suppress(OSError):  # the apply works without the copy; Continue then reports that the plan is gone
        copy.touch()
        file_modes.apply(copy)
        plan.save(copy)
    return True


def _kept_path(reports: Path, hash: str) -> Path:
    return reports / f".plan-{hash}.parquet"


def what_next(register: Runs, run: Run, reports: Path) -> str:
    """Return what to do about a run that did not finish, as sentences; empty if there is nothing to do.

    Only the newest run that writes can be continued: a later run may have done what an earlier one left.
    """
    if not acts.can_continue(run):
        stopped = run.status is RunStatus.INTERRUPTED
        return f"{acts.why(run)} Run {run.notebook} again; it continues where it stopped." if stopped else ""
    newest = register.writing()
    if newest is not None and newest.run_id != run.run_id:
        return f"{acts.far(run)} {acts.why(run)} Run {newest.run_id} came after it."
    return told_to_continue(register, run, reports)


def told_to_continue(register: Runs, run: Run, reports: Path) -> str:
    """Return how far an unfinished run came, why it ended, and the command that continues it, as sentences."""
    plan = plan_of(register.ledger, reports, str(run.plan)) if run.act == Act.APPLY else None
    path = plan.table.path if plan else None
    name = (path.parent.name if path.name == PLAN else path.name) if path else None
    return f"{acts.far(run)} {acts.why(run)} {acts.command(run, name)}"


def _latest(session: Session) -> Plan:
    """Return the newest plan of this database, even if it has already been applied.

    An older plan is never used instead, even if it was not applied: newer evidence may contradict it. It can still be
    given by name.
    """
    here, key = runner.binding(session.company, session.ledger), session.ledger.plan_key()
    for file in sorted(session.settings.reports.glob(f"*__{NOTEBOOK}/{PLAN}"), reverse=True):
        try:
            plan = Plan.load(file, key)
        except PlanError:
            continue
        if plan.binding.database == here.database:
            return plan
    raise PlanError("plan: reports/ has no plan for this database; run 30_backfill_user_ids without apply first.")
