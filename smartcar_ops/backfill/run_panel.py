"""The newest run that writes, as widgets: its progress, who started it, and buttons to pause, resume or cancel it."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.database.ledger import acts, change_log
from smartcar_ops.database.ledger.runs import Run, RunStatus, pace
from smartcar_ops.display.widgets import AMBER, BLUE, GREEN, GREY, RED, Poller, failure, lasting, muted, pill, table
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.session import Session
from smartcar_ops.text import thousands

LIFE_SECONDS = 2.0
"""How often a panel checks whether the process of a running run that does not move is still alive."""

MAX_FAILED_ROWS = 20
"""Failed rows that are shown."""

COLOURS = {"running": BLUE, "pausing": AMBER, "paused": AMBER, "cancelling": AMBER, "done": GREEN, "cancelled": GREY}
REQUESTS = ("pause", "resume", "cancel")


class RunWatch:
    """Shows the newest run that writes, whoever started it, and requests that it pause, resume or cancel.

    ``busy`` returns whether the panel itself is at work, ``closed`` whether the panel is gone. `follow` refreshes
    until the run has ended and the panel is not busy, `open` until the panel is closed.
    """

    def __init__(
        self,
        session: Session,
        status: widgets.HTML,
        *,
        busy: Callable[[], bool],
        closed: Callable[[], bool],
        on_new: Callable[[Run], None],
        on_over: Callable[[Run], None],
    ) -> None:
        self._session, self._status = session, status
        self._busy, self._on_new, self._on_over = busy, on_new, on_over
        self.run: Run | None = None
        self._failed: tuple[str, int] = ("", 0)
        self._looking = threading.RLock()
        self._pulse: tuple[object, ...] | None = None
        self._looked = 0.0
        self._poller = Poller(self._poll, is_closed=closed)
        button = {"disabled": True}
        self.pause = widgets.Button(
            description="Pause", icon="pause", tooltip="Pause after the current batch", **button
        )
        self.resume = widgets.Button(description="Resume", icon="play", tooltip="Resume the paused run", **button)
        self.cancel = widgets.Button(
            description="Cancel",
            icon="stop",
            tooltip="Stop after the current batch; you can continue later",
            **button,
        )
        self.go_on = widgets.Button(
            description="Continue",
            icon="forward",
            tooltip="Run the same apply or undo again for the rows that are left",
            **button,
        )
        self.retry = widgets.Button(
            description="Retry these",
            icon="refresh",
            tooltip="Run the same plan again for the rows that are left",
        )
        self.bar = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%"))
        self.line = widgets.HTML(value=muted("No run yet."))
        self.failures = widgets.HTML()
        self.failed = widgets.VBox([self.failures, self.retry], layout=widgets.Layout(display="none"))
        for request in REQUESTS:
            getattr(self, request).on_click(lambda _, request=request: self._request(request))
        self.box = widgets.VBox([self.bar, self.line, self._poller.problem, self.failed])

    def look(self) -> bool:
        """Show the run as it is now; return False if none is running."""
        with self._looking:
            run = self._session.runs.writing()
            if run is None:
                return False
            before, self.run, is_running = self.run, run, run.is_running
            self._show(run)
            if before is None or before.run_id != run.run_id:
                self._on_new(run)
            elif before.is_running and not is_running:
                self._on_over(run)
            elif is_running and acts.state(before) != acts.state(run):
                self._status.value = html.escape(acts.stands(run))
            return is_running

    def follow(self) -> None:
        """Refresh every half second in a thread of its own, until the run has ended."""
        self._poller.start()

    def open(self) -> None:
        """Refresh until the panel is closed, so that it shows runs that start elsewhere."""
        self._poller.open()

    @property
    def following(self) -> bool:
        """Whether the refreshing thread is alive."""
        return self._poller.is_alive

    def close(self) -> None:
        """Stop refreshing; the run continues."""
        self._poller.close()

    def _poll(self) -> bool:
        """Show the run again if anything about it changed; return whether a run or the panel is at work."""
        run = self.run
        is_running = run is not None and run.is_running
        before, self._pulse = self._pulse, None  # if this poll fails, the next one shows everything again
        pulse = self._session.runs.pulse()
        is_due = is_running and time.monotonic() - self._looked >= LIFE_SECONDS
        if pulse != before or is_due:
            is_running, self._looked = self.look(), time.monotonic()
        self._pulse = pulse
        return is_running or self._busy()

    def _request(self, request: str) -> None:
        run = self.run
        if run is None:
            return
        try:
            # Shown before the request is made, so that it can't replace the run's verdict.
            self._status.value = html.escape(acts.obeys(run, request))
            if not self._session.runs.request(run.run_id, request):
                self._status.value = f"Run {html.escape(run.run_id)} has already ended."
            self.look()
        except SmartcarOpsError as error:
            self._status.value = failure(str(error))
        self.follow()

    def _show(self, run: Run) -> None:
        state = acts.state(run)
        self.pause.disabled = not run.is_running or run.requested in ("pause", "cancel")
        self.resume.disabled = not run.is_running or run.requested != "pause"
        self.cancel.disabled = not run.is_running or run.requested == "cancel"
        self.show_continue()
        reached = pace(run)
        self.bar.max = max(reached.total, reached.done, 1)
        self.bar.value = self.bar.max if run.status is RunStatus.DONE else reached.done
        self.bar.bar_style = {"done": "success", "paused": "warning", "running": "info"}.get(state, "")
        details = [f"{reached.done:,} of {thousands(reached.total, 'rows')}", *acts.counts(run)]
        if reached.per_second is not None:
            details.append(f"{reached.per_second:,.1f} rows/s")
        if state == "running" and acts.silence(run):
            details.append(acts.silence(run))
        elif state == "running" and reached.left is not None:
            details.append(f"{lasting(reached.left)} left")
        by, since = f"{run.operator}@{run.host}", f"{run.started:%H:%M:%S}"
        who = f"{acts.name(run)} · run {run.run_id} · {by} · since {since} UTC"
        self.line.value = (
            f"<div>{pill(state, COLOURS.get(state, RED))}&ensp;{html.escape(' · '.join(details))}</div>"
            f"<div style='font-size:90%'>{muted(who)}</div>{_advice(run)}"
        )
        self._show_failed(run)

    def show_continue(self) -> None:
        """Enable Continue if there is a run to continue and the panel is not busy."""
        run = self.run
        self.go_on.disabled = run is None or not acts.can_continue(run) or self._busy()
        self.go_on.button_style = "" if self.go_on.disabled else "primary"

    def _show_failed(self, run: Run) -> None:
        now = run.run_id, run.failed or 0
        self.retry.disabled = run.is_running or self._busy()
        self.retry.layout.display = "none" if acts.can_continue(run) else ""  # Continue retries these rows too
        if now == self._failed:
            return
        self._failed = now
        self.failed.layout.display = "" if now[1] else "none"
        if not now[1]:
            return
        rows = change_log.failures(self._session.ledger, run.run_id, MAX_FAILED_ROWS)
        frame = pd.DataFrame.from_records(rows, columns=["table", "row_id", "column", "reason"])
        title = f"First {len(frame)} of {now[1]:,} failed rows" if now[1] > len(frame) else "Failed rows"
        self.failures.value = f"<div style='font-weight:600'>{title}</div>{table(frame)}"


def _advice(run: Run) -> str:
    """Return why the run did not finish, and which button to press; empty if it finished."""
    if not acts.can_continue(run):
        return ""
    why, rest = acts.WHY[run.status], acts.REST[run.act]
    return f"<div>{html.escape(why)} Press Continue to {rest}.</div>"
