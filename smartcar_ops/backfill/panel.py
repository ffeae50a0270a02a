"""The operator's panel in plain ipywidgets: its buttons call the same functions that papermill calls."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from smartcar_ops.backfill import questions, runner
from smartcar_ops.backfill.backfill import Backfill, plan_of
from smartcar_ops.backfill.conflict_panel import ConflictQueue
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.run_panel import RunWatch
from smartcar_ops.backfill.undo_panel import UndoList
from smartcar_ops.database.ledger import acts
from smartcar_ops.database.ledger.runs import Act, Run
from smartcar_ops.display.confirm_panel import Confirmation, ConfirmQuestion
from smartcar_ops.display.widgets import WIDE, Panel, TimeLeft, heading, in_a_row, indented, muted, table, telling
from smartcar_ops.errors import PlanError, SmartcarOpsError, StoppedError
from smartcar_ops.session import Session, acting, run_folder
from smartcar_ops.text import thousands


class BackfillPanel(Panel):
    """Buttons to plan, decide, apply, pause, resume, cancel and undo; the work runs in a thread of its own.

    A run is stored in the database: any panel, opened later or on another machine, shows it and can pause, resume or
    cancel it.
    """

    def __init__(self, session: Session, backfill: Backfill) -> None:
        super().__init__()
        self._session = session
        self._options: dict[str, Any] = {
            "batch_size": backfill.batch_size,
            "max_calls": backfill.max_calls,
            "max_minutes": backfill.max_minutes,
        }
        self._planned, self._applied = backfill, backfill.plan
        self._stop, self._left = threading.Event(), TimeLeft()
        self._planning: Session | None = None
        self._own_run_id = ""
        self._planned_after = ""  # the newest run when Plan was pressed
        self.where = widgets.HTML(value=f"<div style='line-height:1.4'>{muted(f'Acting on {session.where}.')}</div>")
        self.sources = widgets.Text(
            value=",".join(backfill.sources), description="Sources", layout=widgets.Layout(width=WIDE)
        )
        self.plan = widgets.Button(description="Plan", icon="search", tooltip="Query Smartcar and plan; writes nothing")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, tooltip="Stop querying Smartcar")
        self.asking = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%", display="none"))
        self.table = widgets.HTML()
        self.apply = widgets.Button(
            description="Apply", icon="check", button_style="primary", disabled=True, tooltip="Write exactly this plan"
        )
        self.target = widgets.Text(
            description="Undo of",
            placeholder="RUN, RUN:BATCH or RUN:BATCH:ROW",
            continuous_update=False,
            layout=widgets.Layout(width=WIDE),
        )
        self.undo = widgets.Button(
            description="Undo",
            icon="undo",
            disabled=True,
            tooltip="Put back the old values; rows changed since then are skipped",
        )
        self.undo_preview = widgets.HTML()
        self.undos = UndoList(session, undo=self._undo_this, choose=self._choose_run)
        self.confirmation = Confirmation(session.where, types=not session.settings.sandbox)
        self.queue = ConflictQueue(session)
        self.watch = RunWatch(
            session,
            self.status,
            busy=lambda: self._working,
            closed=lambda: self.box.comm is None,
            on_new=self._attached,
            on_over=self._ended,
        )
        self.pause, self.resume, self.cancel = self.watch.pause, self.watch.resume, self.watch.cancel
        self.go_on = self.watch.go_on
        self.bar, self.retry, self.decide = self.watch.bar, self.watch.retry, self.queue.decide
        self.box = self._layout()
        for button, work in (
            (self.plan, self._do_plan),
            (self.apply, self._ask_apply),
            (self.undo, self._ask_undo),
            (self.go_on, lambda: self._ask_continue("Continue")),
            (self.retry, lambda: self._ask_continue("Retry")),
        ):
            button.on_click(lambda _, work=work: self._start(work))
        self.stop.on_click(lambda _: self._do_stop())
        self.target.observe(lambda _: self._show_undo_preview(), "value")
        with telling(self.status):
            self._show_plan()
            self._enable()
            if self.watch.look():
                self.watch.follow()

    def _displayed(self) -> None:
        """Keep up with runs that start elsewhere; on a page that ``smartcar-ops run`` makes, nobody is looking."""
        if run_folder() is None:
            self.watch.open()

    def close(self) -> None:
        """Remove the panel; a running run continues."""
        self.watch.close()
        super().close()

    def _layout(self) -> widgets.VBox:
        part = widgets.Layout(border_top="1px solid var(--jp-border-color2, #ccc)", padding="0 0 8px 0")
        plan = [self.sources, indented(widgets.HBox([self.plan, self.stop]), self.asking, self.table)]
        run = [
            indented(
                in_a_row(self.apply, self.pause, self.resume, self.cancel, self.go_on),
                self.confirmation.box,
                self.watch.box,
            ),
            widgets.HBox([self.target, self.undo]),
            indented(self.undo_preview),
            self.undos.box,
        ]
        parts = [[heading("Plan"), *plan], [heading("Run"), *run], [self.queue.box]]
        return widgets.VBox([self.where, self.status, *(widgets.VBox(children, layout=part) for children in parts)])

    # --- what the buttons do -----------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        self._stop.clear()
        super()._guarded(work)
        with telling(self.status):
            if self.watch.look():
                self.watch.follow()

    def _do_plan(self) -> None:
        self.status.value = "Querying Smartcar…"
        self.stop.disabled, self.asking.layout.display = False, ""
        try:
            with acting(self._session.notebook, self._session.settings) as session:
                self._planning = session
                planned = Backfill(session, sources=self.sources.value, **self._options)
                self.status.value = f"Querying Smartcar: {html.escape(str(planned.cost()))}."
                planned.prepare(self._asking).finish()
            self._planned = planned
        finally:
            self._planning = None
            self.stop.disabled, self.asking.layout.display = True, "none"
        self._planned_after = self.watch.run.run_id if self.watch.run else ""
        self._show_plan()
        self.status.value = f"Planned: {self.status.value}"
        if not planned.complete:
            self.status.value += " Some questions have no answer yet; press Plan again to continue."

    def _ask_apply(self) -> None:
        self._ask("Apply", self._question_of_apply, self._do_apply)

    def _question_of_apply(self) -> ConfirmQuestion:
        plan = self._planned.plan
        if plan is None:
            raise PlanError("plan: there is none; press Plan first.")
        return questions.to_apply(self._session, plan, "Apply")

    def _do_apply(self) -> None:
        self._applied = self._planned.plan
        self._execute("Applying", plan=self._applied or "")

    def _choose_run(self, run_id: str) -> None:
        self.target.value = run_id

    def _undo_this(self, target: str) -> None:
        """Fill in the target that was pressed in the list, and ask; Cancel puts the former target back."""
        if self._working:
            return
        before, self.target.value = self.target.value, target

        def put_back() -> None:
            self.target.value = before
            self._cancelled()

        self._start(lambda: self._ask_undo(put_back))

    def _ask_undo(self, cancelled: Callable[[], None] | None = None) -> None:
        """Ask before the target is undone; say so if nothing of it is left."""
        target = self.target.value.strip()
        if not questions.to_undo(self._session, target, "Undo").number:
            self.status.value = html.escape(questions.nothing_left(target))
            return
        self._ask(
            "Undo",
            lambda: questions.to_undo(self._session, self.target.value.strip(), "Undo"),
            lambda: self._execute("Putting back", undo=target),
            cancelled,
        )

    def _ask(
        self,
        button: str,
        question_of: Callable[[], ConfirmQuestion],
        do: Callable[[], None],
        cancelled: Callable[[], None] | None = None,
    ) -> None:
        """Ask before ``do`` writes; once confirmed, it is done only if the question would still be the same."""

        def confirmed(asked: ConfirmQuestion) -> None:
            now = question_of()
            if now == asked:
                do()
            else:
                self.status.value = html.escape(questions.changed(asked, now, button))

        self.status.value = "Nothing is written before you confirm."
        self.confirmation.ask(
            question_of(), lambda asked: self._start(lambda: confirmed(asked)), otherwise=cancelled or self._cancelled
        )

    def _cancelled(self) -> None:
        self.status.value = "Nothing was written."

    def _ask_continue(self, button: str) -> None:
        """Ask before the same act runs again for the rows left: an apply of its own plan, an undo of its target."""
        seen = self.watch.run
        self.watch.look()
        run = self.watch.run
        if run is None:
            return
        if seen is None or run.run_id != seen.run_id:
            self.status.value = html.escape(f"Run {run.run_id} has started in the meantime; nothing was done.")
        elif run.act == Act.UNDO:
            target = run.plan or ""
            self._ask(
                button,
                lambda: questions.to_undo(self._session, target, button),
                lambda: self._execute("Putting back", undo=target),
            )
        else:
            plan = self._plan_of(run)
            self._ask(
                button,
                lambda: questions.to_apply(self._session, plan, button),
                lambda: self._execute("Applying", plan=plan),
            )

    def _execute(self, doing: str, **given: Any) -> None:
        """Do what papermill does with ``apply=True`` and the same parameters, as a new run."""
        with acting(self._session.notebook, self._session.settings) as session:
            backfill = Backfill(session, apply=True, **given, **self._options).prepare()
            self._own_run_id = run_id = session.run_id
            self.status.value = f"{doing} as run {run_id}…"
            self.watch.follow()
            backfill.execute()
            backfill.finish()
        with suppress(SmartcarOpsError):
            self.watch.look()  # so that no refresh that began during the run replaces the verdict
        has_written = backfill.applied and backfill.applied.count("written")
        how = "Undo with" if backfill.plan else "Undo this undo with"
        self.status.value = html.escape(backfill.verdict) + (f" {how} undo={run_id}." if has_written else "")

    def _plan_of(self, run: Run) -> Plan:
        """Return the plan that a run applied; PlanError if it is no longer available."""
        for plan in (self._applied, self._planned.plan):
            if plan is not None and plan.hash == run.plan:
                return plan
        found = plan_of(self._session.ledger, self._session.settings.reports, str(run.plan))
        if found is None:
            raise PlanError(
                f"plan: the plan of run {run.run_id} is no longer here, so the run can't be continued; "
                "press Plan, then Apply: the new plan has the rows that are left."
            )
        return found

    def _do_stop(self) -> None:
        """Stop the querying: at the next answer, or at once if all calls wait for the allowance."""
        self._stop.set()
        self.status.value = "Stopping…"
        if (planning := self._planning) is not None:
            planning.transport.end()

    def _asking(self, what: str, done: int, of: int) -> None:
        if self._stop.is_set():
            raise StoppedError("stopped: the answers so far are kept; press Plan to continue.")
        self.asking.max, self.asking.value = max(of, 1), done
        self.status.value = f"Querying {html.escape(what)}: {done:,} of {of:,}{self._left.of(what, done, of)}."

    # --- what is shown -----------------------------------------------------------------------------------

    def _show_plan(self) -> None:
        plan = self._planned.plan
        if plan is not None:
            self.status.value = html.escape(plan.verdict)
            self.table.value = table(self._planned.counts().rename_axis("table").reset_index())
        self.queue.show(plan)

    def _attached(self, run: Run) -> None:
        """Show a run that is new to this panel: preset Undo to this run, or to the apply that it belongs to."""
        if run.act == Act.APPLY or not self.target.value or self._undoes_an_undo(run):
            self.target.value = self._session.runs.chain(run)[-1]
        self._show_apply()

    def _undoes_an_undo(self, run: Run) -> bool:
        return len(self._session.runs.chain(run)) > 2

    def _ended(self, run: Run) -> None:
        """Show that a run which this panel watched has ended; the panel's own runs end with their verdict."""
        if run.run_id != self._own_run_id:
            self.status.value = html.escape(f"Run {run.run_id} is {run.status}: {', '.join(acts.counts(run))}.")
        self._show_undo_preview()
        self._show_apply()

    def _show_undo_preview(self) -> None:
        """Show how many changes Undo would put back, and list them; nothing during a run, which changes them."""
        target = self.target.value.strip()
        self.undo.disabled = self._working or not target
        self.undo_preview.value = ""
        self.undos.hide()
        with telling(self.undo_preview):
            if target and not (self.watch.run and self.watch.run.is_running):
                self.undos.show(target.partition(":")[0])
                count, _ = runner.undo_preview(self._session.ledger, target, 0)
                left = f"{thousands(count, 'changes')} to put back." if count else questions.nothing_left(target)
                self.undo_preview.value = muted(left)

    def _enable(self) -> None:
        working = self._working
        self.plan.disabled = self.retry.disabled = working
        self.confirmation.enable(busy=working)
        self.undos.enable(busy=working)
        self.watch.show_continue()
        self._show_apply()
        self.undo.disabled = working or not self.target.value.strip()
        if not working:
            self._show_undo_preview()

    def _show_apply(self) -> None:
        """Enable Apply if there is a plan with rows to set; after an unfinished undo only if the plan is newer."""
        plan, run = self._planned.plan, self.watch.run
        unfinished = run if run is not None and acts.can_continue(run) else None
        waits = unfinished and unfinished.act == Act.UNDO and unfinished.run_id != self._planned_after
        self.apply.disabled = self._working or plan is None or plan.exit_code != 0 or bool(waits)
        self.apply.button_style = "" if unfinished else "primary"
