"""The form that asks before anything is written: how many rows, what happens to them, and in which database."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from smartcar_ops.display.widgets import AMBER, in_a_row, muted


@dataclass(frozen=True)
class ConfirmQuestion:
    """What is about to happen, as a sentence, and the number that an operator types to confirm it.

    Two questions are equal if they are about the same act on the same rows: ``about`` says what the number depends on,
    such as the plan or the run that was the newest when the question was made.
    """

    words: str
    number: int
    about: tuple[object, ...] = ()
    note: str = ""


class Confirmation:
    """Asks a question; only its Confirm button starts the work, and its Cancel button leaves everything as it was.

    Outside the sandbox (``types`` is true) the operator types the question's number first.
    """

    def __init__(self, where: str, *, types: bool) -> None:
        self._where, self._types = where, types
        self._question: ConfirmQuestion | None = None
        self._then: Callable[[ConfirmQuestion], None] = lambda question: None
        self._otherwise: Callable[[], None] = lambda: None
        self._busy, self._wants_focus = False, False
        self.words = widgets.HTML()
        self.typed = widgets.Text(layout=widgets.Layout(width="240px"), style={"description_width": "initial"})
        self.confirm = widgets.Button(
            description="Confirm", icon="check", button_style="warning", tooltip="Do this now", disabled=True
        )
        self.cancel = widgets.Button(description="Cancel", icon="times", tooltip="Do nothing", disabled=True)
        self.box = widgets.VBox(
            [self.words, in_a_row(self.typed, self.confirm, self.cancel)],
            layout=widgets.Layout(
                display="none", border=f"1px solid var(--jp-warn-color1, {AMBER})", padding="6px", margin="4px 0"
            ),
        )
        self.confirm.on_click(lambda _: self._press())
        self.cancel.on_click(lambda _: self._leave())
        self.typed.observe(lambda _: self._show(), "value")
        self.typed.on_msg(self._entered)

    @property
    def question(self) -> ConfirmQuestion | None:
        """The question that is asked now; None if the form is closed."""
        return self._question

    def ask(
        self,
        question: ConfirmQuestion,
        then: Callable[[ConfirmQuestion], None],
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        """Show the form; call ``then`` with this question if it is confirmed, ``otherwise`` if it is cancelled."""
        self._question, self._then, self._otherwise = question, then, otherwise
        note = f"<div>{muted(question.note)}</div>" if question.note else ""
        self.words.value = (
            f"<div style='line-height:1.5; font-weight:600'>{html.escape(question.words)}</div>"
            f"<div style='line-height:1.5'>{html.escape(f'In {self._where}.')}</div>{note}"
        )
        self.typed.value = ""
        self.typed.description = f"Type {question.number} to confirm"
        self.typed.layout.display = "" if self._types else "none"
        self.box.layout.display, self._wants_focus = "", True
        self._show()

    def close(self) -> None:
        """Take the question away; nothing is done."""
        self._question = None
        self.box.layout.display = "none"
        self._show()

    def enable(self, *, busy: bool) -> None:
        """Disable Confirm while the panel is busy."""
        self._busy = busy
        self._show()

    def _show(self) -> None:
        question = self._question
        agreed = question is not None and (not self._types or _number(self.typed.value) == str(question.number))
        self.confirm.disabled, self.cancel.disabled = self._busy or not agreed, question is None
        if self._wants_focus and question is not None and not self._busy:
            self._wants_focus = False  # a disabled button can't have the focus
            (self.typed if self._types else self.confirm).focus()

    def _press(self) -> None:
        question = self._question
        if question is None or self.confirm.disabled:
            return  # pressed twice, before the browser disabled the button
        self.close()
        self._then(question)

    def _leave(self) -> None:
        if self._question is not None:
            self.close()
            self._otherwise()

    def _entered(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Enter in the field does what Confirm does, if it may be pressed."""
        if content.get("event") == "submit":
            self._press()


def _number(typed: str) -> str:
    """Return what was typed without spaces and separators of thousands."""
    return "".join(character for character in typed if character not in " ,\u00a0\u202f")
