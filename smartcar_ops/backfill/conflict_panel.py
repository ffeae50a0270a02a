"""The conflicts of a plan as widgets, one user at a time: the stored id, the evidence, and a choice."""

from __future__ import annotations

import html
import re

import ipywidgets as widgets
import pandas as pd

from smartcar_ops.audit.choices import NONE
from smartcar_ops.backfill import decisions
from smartcar_ops.backfill.decisions import Conflict
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.backfill.user_story import read_story
from smartcar_ops.database.ledger_rows import StoredChoice
from smartcar_ops.display.widgets import WIDE, heading, indented, muted, table, telling
from smartcar_ops.session import Session
from smartcar_ops.text import thousands

MAX_LISTED = 500
"""Conflicts that are listed at once; a new plan leaves out those decided, so that the next ones are listed."""

ID_AND_SOURCES = re.compile(r"([0-9a-f-]{36}) \(([^)]*)\)", re.IGNORECASE)
"""An id in a plan's evidence, and the sources that name it."""


class ConflictQueue:
    """Shows a plan's conflicts and records a decision with name and reason; the next plan sets the id."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._conflicts: list[Conflict] = []
        self._decided: set[str] = set()
        wide, narrow = widgets.Layout(width=WIDE), widgets.Layout(width="40px")
        self.title = heading("")
        self.which = widgets.Dropdown(description="Conflict", layout=widgets.Layout(width="340px"))
        self.back = widgets.Button(icon="arrow-left", tooltip="Previous conflict", layout=narrow)
        self.forward = widgets.Button(icon="arrow-right", tooltip="Next conflict", layout=narrow)
        self.facts = widgets.HTML()
        self.whole_story = widgets.ToggleButton(
            description="All that is known",
            icon="list",
            tooltip="The user's vehicles, each piece of evidence with source and date, decisions, changes",
        )
        self.story = widgets.HTML()
        self.choice = widgets.RadioButtons(layout=widgets.Layout(width=WIDE))
        self.by = widgets.Text(description="Your name", placeholder="who decides", layout=wide)
        self.reason = widgets.Text(description="Reason", placeholder="why; stored with your decision", layout=wide)
        self.decide = widgets.Button(
            description="Decide", icon="gavel", tooltip="Record your decision; the next plan sets the id"
        )
        self.said = widgets.HTML()
        self.which.observe(lambda _: self._show(), "value")
        self.whole_story.observe(lambda _: self._show_story(), "value")
        self.back.on_click(lambda _: self._move(-1))
        self.forward.on_click(lambda _: self._move(1))
        self.decide.on_click(lambda _: self._press())
        self.form = widgets.VBox(
            [
                widgets.HBox([self.which, self.back, self.forward]),
                indented(self.facts, self.whole_story, self.story, self.choice),
                self.by,
                self.reason,
                indented(self.decide),
            ]
        )
        self.box = widgets.VBox([self.title, self.form, indented(self.said)])
        self.show(None)

    @property
    def conflict(self) -> Conflict | None:
        """The conflict that is shown; None if there is none."""
        place = self.which.value
        return self._conflicts[place] if place is not None and place < len(self._conflicts) else None

    def show(self, plan: Plan | None) -> None:
        """List the conflicts of a plan, and mark those decided after it was made."""
        before, chosen = self.conflict, self.choice.value
        conflicts = decisions.conflicts(plan) if plan else []
        self._conflicts = conflicts[:MAX_LISTED]
        choices = self._session.ledger.choices() if conflicts else {}
        self._decided = {one.user_id for one in self._conflicts if _is_newer(one, choices.get(one.user_id))}
        more = f" The first {MAX_LISTED:,} are listed; plan again to see more." if len(conflicts) > MAX_LISTED else ""
        total = plan.counts("users")["conflict"] if plan else 0
        words = f"Conflicts: {thousands(total, 'users')} to decide on.{more}" if total else "Conflicts: none."
        self.title.value = heading(words if plan else "Conflicts: make a plan first.").value
        self.said.value = ""
        self.form.layout.display = "" if self._conflicts else "none"
        again = [place for place, one in enumerate(self._conflicts) if one == before]
        self._list(again[0] if again else self._next_open(0))
        if again:
            self.choice.value = chosen  # keep a choice that is about to be submitted

    def _list(self, place: int | None) -> None:
        """List the conflicts again, mark those decided, and show one."""
        total, marks = len(self._conflicts), dict.fromkeys(self._decided, " ✓ decided")
        self.which.options = [
            (f"{number} of {total} · user {one.user_id}{marks.get(one.user_id, '')}", number - 1)
            for number, one in enumerate(self._conflicts, 1)
        ]
        self.which.value = place
        self._show()

    def _next_open(self, start: int) -> int | None:
        """Return the first undecided conflict from ``start`` on; ``start`` itself if all are decided."""
        places = [*range(start, len(self._conflicts)), *range(start)]
        undecided = (place for place in places if self._conflicts[place].user_id not in self._decided)
        return next(undecided, start if places else None)

    def _move(self, steps: int) -> None:
        if self._conflicts:
            self.which.value = (self.which.value + steps) % len(self._conflicts)

    def _show(self) -> None:
        one = self.conflict
        if one is None:
            return
        stored = html.escape(one.current or "nothing")
        self.facts.value = (
            f"<div>Stored: {stored}</div><div>{muted(_why(one))}</div>{table(self._evidence(one)) if one.ids else ''}"
        )
        self.choice.options = [*((id, id) for id in one.ids), ("no id", NONE)]
        self.choice.value = None
        self._show_story()

    def _show_story(self) -> None:
        """Show all that is known about the user, if that is wanted; it stays wanted for the next conflict."""
        one, session, self.story.value = self.conflict, self._session, ""
        if one is None or not self.whole_story.value:
            return
        with telling(self.said):
            self.story.value = read_story(session.company, session.ledger, one.user_id, session.now)._repr_html_()

    def _evidence(self, one: Conflict) -> pd.DataFrame:
        """Return one row per id: whether it is stored, its sources, and the other users in conflict over it."""
        sources_by_id = {id.lower(): sources for id, sources in ID_AND_SOURCES.findall(one.evidence)}
        others = {
            id: ", ".join(other.user_id for other in self._conflicts if id in other.ids and other is not one)
            for id in one.ids
        }
        rows = [
            (id, "yes" if id == (one.current or "").strip().lower() else "no", sources_by_id.get(id, "–"), others[id])
            for id in one.ids
        ]
        frame = pd.DataFrame(rows, columns=["id", "stored", "sources", "also for user"])
        return frame if any(others.values()) else frame.drop(columns="also for user")

    def _press(self) -> None:
        with telling(self.said):
            one = self.conflict
            if one is None or self.choice.value is None:
                self.said.value = "Choose an id or “no id” first."
                return
            decided = decisions.decide(
                self._session.company,
                self._session.ledger,
                one.user_id,
                self.choice.value,
                by=self.by.value,
                reason=self.reason.value,
                now=self._session.now,
            )
            self._decided.add(one.user_id)
            self.reason.value = ""
            self._list(self._next_open(self.which.value))
            self.said.value = html.escape(decided)


def _is_newer(one: Conflict, choice: StoredChoice | None) -> bool:
    """Return whether a decision was made after the plan."""
    return choice is not None and not one.reason.startswith(f"{choice['chosen_by']} chose: {choice['reason']}")


def _why(one: Conflict) -> str:
    """Return why it is a conflict, without the ids, which are shown next to it."""
    words, _, ids = one.reason.partition(": ")
    reason = words if ids.startswith(("stored ", "found ")) else one.reason
    return reason[:1].upper() + reason[1:] + "."
