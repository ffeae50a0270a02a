"""The panel of the progress report: the history to hover over, and who moved between two days."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from datetime import date
from typing import NamedTuple

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history import user_states
from smartcar_ops.database.ledger.history.user_states import Move
from smartcar_ops.display import tables
from smartcar_ops.display.picture import Picture
from smartcar_ops.display.widgets import Panel, failure, heading, indented, muted, table
from smartcar_ops.progress.progress import Progress
from smartcar_ops.session import Session
from smartcar_ops.text import day_in_words, thousands

MOST_MOVES = 200
"""Users who moved that are listed; `smartcar_ops.diff` has all of them."""

JOINED, GONE = "(new user)", "(no longer in your table)"


class TwoDays(NamedTuple):
    """What is to be shown: who moved between two days, of one bucket or of all (empty)."""

    earlier: date
    later: date
    bucket: str


class ProgressPanel(Panel):
    """The history as a picture, two days to choose, and who moved between them; makes no call and writes nothing."""

    def __init__(self, session: Session, progress: Progress) -> None:
        super().__init__()
        self._session = session
        history, report = progress.result.history, progress.report()
        shown = report.over_time() if len(history) > 1 else report.burn_down()
        markup = shown._repr_html_() if isinstance(shown, Picture) else str(shown.data)
        self.picture = widgets.HTML(markup)
        # On a day before the first with everybody's bucket nobody's bucket is known; on a later one, the last known.
        first = next((day.day for day in history if day.has_states), None)
        days = [day for day in history if first is not None and day.day >= first]
        options = [(day_in_words(day.day) + ("" if day.complete else " (audit not complete)"), day.day) for day in days]
        self.earlier = widgets.Dropdown(description="From", options=options, tooltip="The earlier day")
        self.later = widgets.Dropdown(description="To", options=options, tooltip="The later day")
        names = [(name.replace("_", " "), name) for name in buckets.NAMES]
        self.bucket = widgets.Dropdown(
            description="Bucket",
            options=[("all", ""), *names],
            tooltip="Only users who left this bucket or came into it",
        )
        self.show = widgets.Button(
            description="Who moved",
            icon="users",
            button_style="primary",
            tooltip="Lists the users who are in another bucket on the later day; makes no call",
        )
        self.counts, self.moves = widgets.HTML(), widgets.HTML()
        self._wanted: TwoDays | None = None
        self._shown: TwoDays | None = None
        self.choose = widgets.HBox([self.earlier, self.later, self.bucket], layout=widgets.Layout(flex_flow="row wrap"))
        who = [heading("Who moved"), self.choose, indented(self.show, self.status), self.counts, self.moves]
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {session.where}.')}</div>")
        if len(days) > 1:
            self.earlier.value, self.later.value = days[-2].day, days[-1].day
        elif history:
            self.status.value = muted("Who moved can be shown after audits on two days.")
        self._can_compare = len(days) > 1
        self.choose.layout.display = "" if self._can_compare else "none"
        self.box = widgets.VBox([where, self.picture, *(who if history else [])])
        for field in (self.earlier, self.later, self.bucket):
            field.observe(lambda _: self._changed(), "value")
        self.show.on_click(lambda _: self._ask())
        self._enable()

    def _enable(self) -> None:
        self.show.disabled = self._working or not self._can_compare

    def _changed(self) -> None:
        """Show the new choice, if a choice was shown before."""
        if self._wanted is not None:
            self._ask()

    def _ask(self) -> None:
        """Ask for what is chosen now; while the panel works, the work goes on with it when it is done."""
        self._wanted, self._shown = TwoDays(self.earlier.value, self.later.value, self.bucket.value), None
        self._start(self._do_show)

    def _guarded(self, work: Callable[[], None]) -> None:
        super()._guarded(work)
        if self._wanted != self._shown:
            self._start(self._do_show)  # chosen in the moment when the work ended

    def _do_show(self) -> None:
        while (wanted := self._wanted) != self._shown:
            self._shown = wanted
            if wanted is not None:
                self._show(wanted)

    def _show(self, days: TwoDays) -> None:
        self.counts.value = self.moves.value = ""
        if days.earlier >= days.later:
            self.status.value = failure("Choose a day under From that is before the day under To.")
            return
        self.status.value = "Comparing the two days…"
        ledger = self._session.ledger
        pairs = user_states.transitions(ledger, days.earlier, days.later)
        if days.bucket:
            pairs = {pair: users for pair, users in pairs.items() if days.bucket in pair}
        rows = user_states.first_moves(ledger, days.earlier, days.later, MOST_MOVES, days.bucket)
        total = sum(pairs.values())
        between = f"between {day_in_words(days.earlier)} and {day_in_words(days.later)}"
        of_bucket = f" from or to {days.bucket.replace('_', ' ')}" if days.bucket else ""
        said = (
            f"{thousands(total, 'users')} moved{of_bucket} {between}" if total else f"Nobody moved{of_bucket} {between}"
        )
        cut = f"; the first {len(rows)} are listed" if total > len(rows) else ""
        if total:
            self.counts.value = table(_counted(pairs))
            self.moves.value = str(tables.whole(_listed(rows)).data)
        self.status.value = html.escape(f"{said}{cut}.")


def _counted(pairs: Mapping[tuple[str | None, str | None], int]) -> pd.DataFrame:
    """Return how many users moved from which bucket to which, the most first."""
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], str(pair[0])))
    rows = [(_words(was, JOINED), _words(now, GONE), users) for (was, now), users in ordered]
    return pd.DataFrame(rows, columns=["from", "to", "users"])


def _listed(rows: list[Move]) -> pd.DataFrame:
    shown = [
        (move.user_id, _words(move.from_bucket, JOINED), _words(move.to_bucket, GONE), move.at.isoformat())
        for move in rows
    ]
    return pd.DataFrame(shown, columns=["user_id", "from", "to", "since"])


def _words(bucket: str | None, otherwise: str) -> str:
    return otherwise if bucket is None else bucket.replace("_", " ")
