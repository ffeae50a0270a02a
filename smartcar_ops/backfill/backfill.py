"""The backfill as one notebook or one panel drives it: what the parameters say, step by step."""

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

PLAN = "plan.parquet"
NOTEBOOK = acts.NOTEBOOK
SAMPLE = 10
CORRECT = "correct the car's row in your table, then plan again"
"""What is to be done about a car that is for a person."""


class Backfill:
    """Plans, applies or undoes, as its parameters say; nothing is written without ``apply``.

    ``plans`` says whether it makes a plan, rather than carrying one out or undoing a run.

    ParameterError for parameters that contradict each other, before anything is asked.
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
        self._way_back = pd.DataFrame()
        self.asked = SourceReport()
        self.applied: Applied | None = None

    def cost(self) -> Cost:
        """What asking will cost; applying and undoing ask nobody."""
        return resolver.cost(self.session, self.sources) if self.plans else Cost({})

    def prepare(self, progress: AuditProgress | None = None) -> Backfill:
        """Asks and plans, or reads the plan or the way back that the parameters name; writes no company row."""
        session = self.session
        if self._undo:
            self.to_undo, self._way_back = runner.undo_preview(session.ledger, self._undo, SAMPLE)
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
            path = session.folder / PLAN if session.folder else None
            self.plan = runner.plan(session.company, session.ledger, session.now, path)
            if session.folder:
                session.runs.plan_made(session.run_id, self.plan.hash)
        return self

    def counts(self) -> pd.DataFrame:
        """Decisions by table: what would happen."""
        if self.plan is None:
            return pd.DataFrame({"rows to put back": [self.to_undo]}, index=[self._undo])
        return pd.DataFrame({table: self.plan.counts(table) for table in ("users", "vehicles")}).T

    def sample(self) -> pd.DataFrame:
        """The first rows to set, of each table."""
        if self.plan is None:
            return self._way_back
        found = [self.plan.first("set", SAMPLE // 2, table) for table in ("users", "vehicles")]
        return pd.concat(found)[["table", "row_id", "user_id", "proposed", "evidence"]]

    def conflicts(self) -> pd.DataFrame:
        """The rows for people, with the evidence side by side, and how each is decided; never written."""
        if self.plan is None:
            return pd.DataFrame()
        rows = self.plan.conflicts()[["table", "row_id", "current", "evidence", "reason"]]
        choices = {one.user_id: commands(one.user_id, one.ids) for one in decisions.conflicts(self.plan)}
        told = [choices[row.row_id] if row.table == "users" else (CORRECT,) for row in rows.itertuples()]
        return rows.assign(decide=told)

    def execute(self, progress: runner.RowProgress | None = None, run_id: str = "") -> pd.DataFrame:
        """With ``apply``: does the plan, or the undo; without: does nothing. Returns what became of the rows.

        The act is recorded as ``run_id``; without one, under the run's own name, in JupyterLab under a new one.
        """
        session = self.session
        run_id = run_id or (session.run_id if session.folder else session.new_run_id())
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
        changes = self.applied.kept()
        session.save(changes=changes)
        found = [part[["table", "outcome"]].value_counts() for part in changes.parts()]
        if not found:
            return nothing
        counted = pd.concat(found).groupby(level=["table", "outcome"]).sum().rename("rows").reset_index()
        return counted.replace({"outcome": {"written": acts.DID[self._act]}})

    def _apply(self, plan: Plan, run_id: str, progress: runner.RowProgress | None) -> Applied:
        """Applies the plan, which is kept until nothing of it is left to continue."""
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
                    _kept(reports, plan.hash).unlink(missing_ok=True)

    def failures(self) -> pd.DataFrame:
        """The rows that failed, and why; the same plan applied again tries them again."""
        if self.applied is None or not self.applied.count("failed"):
            return pd.DataFrame()
        return self.applied.table("failed")[["table", "row_id", "column", "after", "reason"]]

    def finish(self) -> Outcome:
        """Ends the session with the verdict, the counts and the exit code of what was done."""
        decisions = self.plan.counts() if self.plan else {}
        done: dict[str, Any] = dict.fromkeys(("applied", "skipped", "failed"), 0)
        done |= self.applied.summary if self.applied else {}
        ended = RunStatus.FAILED if done["failed"] else RunStatus.DONE
        if self.applied and (self.applied.cancelled or self.applied.stopped):
            ended = RunStatus.CANCELLED if self.applied.cancelled else RunStatus.STOPPED
        return self.session.finish(
            self.verdict,
            exit_code=self.exit_code,
            complete=self.complete,
            status=ended,
            decisions=decisions,
            not_ready=self.applied.not_ready if self.applied else 0,
            **self.asked.summary(),
            **done,
        )

    @property
    def complete(self) -> bool:
        """False where the allowance ended, or the run was cancelled or stopped, before the end."""
        return self.asked.complete and not (self.applied and (self.applied.cancelled or self.applied.stopped))

    @property
    def exit_code(self) -> int:
        """That of what was done last."""
        if self.applied:
            return self.applied.exit_code
        if self.plan:
            return self.plan.exit_code
        return 0 if self.to_undo else 3

    @property
    def verdict(self) -> str:
        """What was done, or would be, in one sentence; before that, whether an earlier act ended before its end."""
        if self.applied and self.applied.exit_code == 3:
            rest = {
                "apply": "open: every row of it was carried out",
                "undo": "left to put back: all of it was put back",
            }
            return f"Nothing is {rest[self._act]} before."
        if self.applied:
            done = self.applied.summary
            why = "; ".join(f"{rows:,} {reason}" for reason, rows in sorted(self.applied.reasons().items()))
            skipped = f"{done['skipped']:,} skipped" + (f" ({why})" if why else "")
            told = f"{done['applied']:,} rows {acts.DID[self._act]}, {skipped}, {done['failed']:,} failed."
            if self.applied.stopped:
                return f"{told} The {self._act} stopped: {self.applied.stopped}."
            return f"{told} The {self._act} was cancelled before its end." if self.applied.cancelled else told
        if self.plan:
            return f"Plan only, nothing written: {self.plan.verdict}{self._unfinished()}"
        return f"Undo only shown, nothing put back: {self.to_undo:,} rows would be put back.{self._unfinished()}"

    @property
    def _act(self) -> str:
        return "undo" if self._undo else "apply"

    def _unfinished(self) -> str:
        """The newest act that writes, if it was killed; empty otherwise."""
        run = self.session.runs.writing()
        if run is None or run.status is not RunStatus.INTERRUPTED:
            return ""
        told = told_to_continue(self.session.runs, run, self.session.settings.reports)
        return f" Run {run.run_id} is interrupted: {told[:1].lower()}{told[1:]}"


def check_act(*, apply: bool, planned: bool, undo: str) -> None:
    """ParameterError for an act that can't be meant: to write without saying what, or two things at once."""
    if apply and not planned and not undo:
        raise ParameterError(
            "parameters: apply=True needs a plan or an undo; run without apply first, then plan=latest."
        )
    if planned and undo:
        raise ParameterError("parameters: plan and undo are both given; expected one of them.")


def find_plan(session: Session, given: str) -> Plan:
    """The plan a parameter names: a run's folder, a file, or ``latest``; PlanError where there is none."""
    if given == "latest":
        return _latest(session)
    return Plan.load(plan_file(session.settings, given), session.ledger.plan_key())


def plan_file(settings: Settings, given: str) -> Path:
    """The file of a plan, by the run's folder or its own path; PlanError where there is none."""
    for candidate in (Path(given), settings.reports / given, settings.root / given):
        file = candidate / PLAN if candidate.is_dir() else candidate
        if file.is_file():
            return file
    raise PlanError(f"plan: {given!r} is no run's folder, plan file or 'latest'; expected one of these.")


def plan_of(ledger: Ledger, reports: Path, hash: str) -> Plan | None:
    """The plan with this hash among the runs' folders, the newest first, or kept for its apply; None if it is gone."""
    key, folders = ledger.plan_key(), sorted(reports.glob(f"*__{NOTEBOOK}/{PLAN}"), reverse=True)
    for file in (_kept(reports, hash), *folders):
        with suppress(PlanError):
            plan = Plan.load(file, key)
            if plan.hash == hash:
                return plan
    return None


def keep_plan(reports: Path, plan: Plan) -> bool:
    """Keeps a plan that is in no run's folder, so that a killed apply can be continued; True if it was not kept yet."""
    path, kept = plan.kept.path.resolve(), _kept(reports, plan.hash)
    in_folder = path.parent.parent == reports.resolve() and path.parent.match(f"*__{NOTEBOOK}")
    if in_folder or kept.exists():
        return False
    with suppress(OSError):  # the apply does without, and Continue says that the plan is gone
        kept.touch()
        file_modes.apply(kept)
        plan.save(kept)
    return True


def _kept(reports: Path, hash: str) -> Path:
    return reports / f".plan-{hash}.parquet"


def what_next(register: Runs, run: Run, reports: Path) -> str:
    """What to do about a run that ended before its end, as sentences; empty if there is nothing to do.

    Only the newest act that writes is continued: what an earlier one left open, a later one may have done.
    """
    if not acts.can_continue(run):
        stopped = run.status is RunStatus.INTERRUPTED
        return f"{acts.why(run)} Run {run.notebook} again; it goes on from there." if stopped else ""
    newest = register.writing()
    if newest is not None and newest.run_id != run.run_id:
        return f"{acts.far(run)} {acts.why(run)} Run {newest.run_id} came after it."
    return told_to_continue(register, run, reports)


def told_to_continue(register: Runs, run: Run, reports: Path) -> str:
    """How far an act came that ended before its end, why, and the command that continues it, as sentences."""
    plan = plan_of(register.ledger, reports, str(run.plan)) if run.act == Act.APPLY else None
    path = plan.kept.path if plan else None
    name = (path.parent.name if path.name == PLAN else path.name) if path else None
    return f"{acts.far(run)} {acts.why(run)} {acts.command(run, name)}"


def _latest(session: Session) -> Plan:
    """The newest plan of this database. Where a run has carried it out, nothing is open in it.

    An older plan is never taken in its place, though it was not carried out: what was learnt since may speak
    against it. It can still be named.
    """
    here, key = runner.binding(session.company, session.ledger), session.ledger.plan_key()
    for file in sorted(session.settings.reports.glob(f"*__{NOTEBOOK}/{PLAN}"), reverse=True):
        try:
            plan = Plan.load(file, key)
        except PlanError:
            continue
        if plan.binding.database == here.database:
            return plan
    raise PlanError(
        "plan: there is no plan of this database in reports/; run 30_backfill_user_ids without apply first."
    )
