"""The operator's panel: buttons over the same functions that papermill calls, in plain ipywidgets."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.reporting.backfill import Backfill
from smartcar_ops.session import Session


class Stopped(SmartcarOpsError):
    """The operator pressed Stop while Smartcar was being asked; what was answered is kept."""


class BackfillPanel:
    """Plan, apply, stop, progress; the work runs in a thread, so that the kernel stays free."""

    def __init__(self, session: Session, backfill: Backfill) -> None:
        self._session = session
        self._options: dict[str, Any] = {
            "batch_size": backfill.batch_size,
            "max_calls": backfill.max_calls,
            "max_minutes": backfill.max_minutes,
        }
        self._planned = backfill
        self._run_id = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.sources = widgets.Text(value=",".join(backfill.sources), description="Sources")
        self.plan = widgets.Button(description="Plan", icon="search", tooltip="Asks Smartcar and plans; writes nothing")
        self.apply = widgets.Button(description="Apply", icon="check", button_style="primary", disabled=True)
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, tooltip="Stops between two batches")
        self.bar = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%"))
        self.status = widgets.HTML(value=self._where())
        self.table = widgets.HTML()
        self.plan.on_click(lambda _: self._start(self._do_plan))
        self.apply.on_click(lambda _: self._start(self._do_apply))
        self.stop.on_click(lambda _: self._do_stop())
        self.box = widgets.VBox(
            [self.sources, widgets.HBox([self.plan, self.apply, self.stop]), self.bar, self.status, self.table]
        )
        if backfill.plan is not None:
            self._show_plan()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]

    def wait(self, seconds: float | None = None) -> None:
        """Waits for the work that a button started; for scripts and tests."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _where(self) -> str:
        return f"Acting on {html.escape(self._session.where)}."

    def _start(self, work: Callable[[], None]) -> None:
        self._stop.clear()
        self._enable(working=True)
        self._thread = threading.Thread(target=self._guarded, args=(work,), daemon=True)
        self._thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SmartcarOpsError as error:
            self.status.value = f"<span style='color:#b3261e'>{html.escape(str(error))}</span>"
        except Exception as error:
            self.status.value = f"<span style='color:#b3261e'>The kit failed with {type(error).__name__}.</span>"
        finally:
            self._enable(working=False)

    def _do_plan(self) -> None:
        self.status.value = "Asking Smartcar…"
        self._planned = Backfill(self._session, sources=self.sources.value, **self._options)
        self.status.value = f"Asking Smartcar: {html.escape(str(self._planned.cost()))}."
        self._planned.prepare(self._asking)
        self._show_plan()

    def _do_apply(self) -> None:
        self._run_id = self._session.new_run_id()
        plan = self._planned.plan or ""
        backfill = Backfill(self._session, apply=True, plan=plan, **self._options)
        self.status.value = f"Applying as run {self._run_id}…"
        outcome = backfill.carry_out(self._writing, self._run_id)
        self.status.value = f"{html.escape(backfill.verdict)} Undo with undo={self._run_id}."
        self.table.value = _table(outcome)

    def _do_stop(self) -> None:
        self._stop.set()
        if self._run_id:
            self._session.runs.request(self._run_id, "cancel")
        self.status.value = "Stopping…"

    def _asking(self, what: str, done: int, of: int) -> None:
        if self._stop.is_set():
            raise Stopped("stopped: what was answered is kept; Plan goes on from there.")
        self._progress(done, of)
        self.status.value = f"Asking {html.escape(what)}: {done:,} of {of:,}"

    def _writing(self, done: int, of: int, written: int) -> None:
        self._progress(done, of)
        self.status.value = f"{done:,} of {of:,} rows, {written:,} written"

    def _progress(self, done: int, of: int) -> None:
        self.bar.max, self.bar.value = max(of, 1), done

    def _show_plan(self) -> None:
        plan = self._planned.plan
        if plan is not None:
            self.status.value = html.escape(plan.verdict)
            self.table.value = _table(self._planned.counts().rename_axis("table").reset_index())

    def _enable(self, *, working: bool) -> None:
        plan = self._planned.plan
        self.plan.disabled = working
        self.stop.disabled = not working
        self.apply.disabled = working or plan is None or plan.exit_code != 0


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_html(index=False, border=0))
