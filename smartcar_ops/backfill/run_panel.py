"""The run that lives in SQL, watched: how far it is, who started it, and the three wishes it obeys."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.database.ledger import acts, change_log
from smartcar_ops.database.ledger.runs import Run, RunStatus, pace
from smartcar_ops.display.widgets import AMBER, BLUE, GREEN, GREY, RED, failure, lasting, muted, pill, table
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.session import Session

EVERY = 0.5
"""Seconds between two looks."""

AFTER_FAILURE = 5.0
SHOWN = 20
"""Failed rows that are shown."""

COLOURS = {"running": BLUE, "paused": AMBER, "cancelling": AMBER, "done": GREEN, "cancelled": GREY}
WISHES = ("pause", "resume", "cancel")


class RunWatch:
    """Shows the newest act that writes, whoever started it, and passes on what is wished of it.

    ``busy`` says whether the panel itself is at work, ``closed`` whether nobody can see it any more: `follow` looks
    until a run is over and neither holds.
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
        self._busy, self._closed, self._on_new, self._on_over = busy, closed, on_new, on_over
        self.run: Run | None = None
        self._failed: tuple[str, int] = ("", 0)
        self._looking, self._starting = threading.RLock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        button = {"disabled": True}
        self.pause = widgets.Button(description="Pause", icon="pause", tooltip="Waits between two batches", **button)
        self.resume = widgets.Button(description="Resume", icon="play", tooltip="Goes on", **button)
        self.cancel = widgets.Button(
            description="Cancel", icon="stop", tooltip="Ends between two batches; Continue goes on from there", **button
        )
        self.go_on = widgets.Button(
            description="Continue",
            icon="forward",
            tooltip="The same apply or undo again, from where it ended",
            **button,
        )
        self.retry = widgets.Button(
            description="Retry these", icon="refresh", tooltip="The same plan again: only what is still open is done"
        )
        self.bar = widgets.IntProgress(value=0, min=0, max=1, layout=widgets.Layout(width="100%"))
        self.line = widgets.HTML(value=muted("No run yet."))
        self.failures = widgets.HTML()
        self.failed = widgets.VBox([self.failures, self.retry], layout=widgets.Layout(display="none"))
        for word in WISHES:
            getattr(self, word).on_click(lambda _, word=word: self._wish(word))
        self.box = widgets.VBox([self.bar, self.line, self.failed])

    def look(self) -> bool:
        """Shows the run as it is now; False where none is under way."""
        with self._looking:
            run = self._session.runs.writing()
            if run is None:
                return False
            before, self.run, going = self.run, run, run.is_running
            self._show(run)
            if before is None or before.run_id != run.run_id:
                self._on_new(run)
            elif before.is_running and not going:
                self._on_over(run)
            return going

    def follow(self) -> None:
        """Looks every half second in a thread of its own, until there is nothing to see any more."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, daemon=True, name="smartcar-ops watch")
                self._thread.start()

    @property
    def following(self) -> bool:
        """Whether it still looks."""
        return self._thread is not None

    def close(self) -> None:
        """Ends the looking; the run goes on."""
        self._ended.set()

    def _follow(self) -> None:
        while True:
            going, wait = True, EVERY
            try:
                going = self.look()
            except SmartcarOpsError as error:
                self.line.value, wait = failure(str(error)), AFTER_FAILURE
            except Exception as error:
                self.line.value = failure(f"The kit failed with {type(error).__name__}.")
                going = False
            with self._starting:
                if self._ended.is_set() or self._closed() or not (going or self._busy()):
                    self._thread = None
                    return
            self._ended.wait(wait)

    def _wish(self, word: str) -> None:
        run = self.run
        if run is None:
            return
        try:
            # before it is asked for: the run's own verdict comes after it
            self._status.value = html.escape(acts.obeys(run, word))
            if not self._session.runs.request(run.run_id, word):
                self._status.value = f"Run {html.escape(run.run_id)} is over."
            self.look()
        except SmartcarOpsError as error:
            self._status.value = failure(str(error))
        self.follow()

    def _show(self, run: Run) -> None:
        state = acts.state(run)
        under_way, asked = run.is_running, run.requested
        self.pause.disabled = not under_way or asked in ("pause", "cancel")
        self.resume.disabled = not under_way or asked != "pause"
        self.cancel.disabled = not under_way or asked == "cancel"
        self.show_continue()
        at = pace(run)
        self.bar.max = max(at.total, at.done, 1)
        self.bar.value = self.bar.max if run.status is RunStatus.DONE else at.done
        self.bar.bar_style = {"done": "success", "paused": "warning", "running": "info"}.get(state, "")
        told = [f"{at.done:,} of {at.total:,} rows", *acts.counts(run)]
        if at.per_second is not None:
            told.append(f"{at.per_second:,.1f} rows/s")
        if state == "running" and acts.silence(run):
            told.append(acts.silence(run))
        elif state == "running" and at.left is not None:
            told.append(f"{lasting(at.left)} left")
        by, since = f"{run.operator}@{run.host}", f"{run.started:%H:%M:%S}"
        who = f"{acts.name(run)} · run {run.run_id} · {by} · since {since} UTC"
        self.line.value = (
            f"<div>{pill(state, COLOURS.get(state, RED))}&ensp;{html.escape(' · '.join(told))}</div>"
            f"<div style='font-size:90%'>{muted(who)}</div>{_advice(run)}"
        )
        self._show_failed(run)

    def show_continue(self) -> None:
        """Continue is lit if there is something to continue, and the panel is not at work."""
        run = self.run
        self.go_on.disabled = run is None or not acts.can_continue(run) or self._busy()
        self.go_on.button_style = "" if self.go_on.disabled else "primary"

    def _show_failed(self, run: Run) -> None:
        now = run.run_id, run.failed or 0
        self.retry.disabled = run.is_running or self._busy()
        self.retry.layout.display = "none" if acts.can_continue(run) else ""  # Continue does the same, and the rest
        if now == self._failed:
            return
        self._failed = now
        self.failed.layout.display = "" if now[1] else "none"
        if not now[1]:
            return
        rows = change_log.failures(self._session.ledger, run.run_id, SHOWN)
        frame = pd.DataFrame.from_records(rows, columns=["table", "row_id", "column", "reason"])
        left = f"{len(frame)} of {now[1]:,} failed rows" if now[1] > len(frame) else "Failed rows"
        self.failures.value = f"<div style='font-weight:600'>{left}</div>{table(frame)}"


def _advice(run: Run) -> str:
    """Why the act ended before its end, and what to press; empty otherwise."""
    if not acts.can_continue(run):
        return ""
    why, rest = acts.WHY[run.status], acts.REST[run.act]
    return f"<div>{html.escape(why)} Press Continue to {rest}.</div>"
