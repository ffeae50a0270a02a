"""The schema phase as a panel: what is there, the SQL of what is not, and Apply, which asks before it acts."""

from __future__ import annotations

import html
from contextlib import suppress

import ipywidgets as widgets

from smartcar_ops.display.confirm_panel import Confirmation, ConfirmQuestion
from smartcar_ops.display.widgets import BLUE, GREEN, Panel, heading, in_a_row, indented, muted, pill, telling
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.schema.schema import Schema
from smartcar_ops.session import Session, acting
from smartcar_ops.text import thousands

CELL = "padding:2px 14px 2px 0; border:0; text-align:left"
SQL_STYLE = (
    "max-height:340px; overflow:auto; padding:6px; margin:0; line-height:1.35; white-space:pre-wrap; "
    "background:var(--jp-layout-color2, #eee); color:var(--jp-ui-font-color1, #222)"
)


class SchemaPanel(Panel):
    """The steps of a phase with their state and SQL; Apply runs the open ones, as papermill does with ``apply``."""

    def __init__(self, session: Session, schema: Schema) -> None:
        super().__init__()
        self._session, self._phase = session, schema.phase
        self._found = schema
        self._sql: dict[str, tuple[str, ...]] = {}
        where = widgets.HTML(f"<div style='line-height:1.4'>{muted(f'Acting on {session.where}.')}</div>")
        self.steps = widgets.HTML()
        self.show_sql = widgets.ToggleButton(
            description="SQL", icon="code", tooltip="Show the SQL of the steps that are not done yet"
        )
        self.sql = widgets.HTML()
        self.check = widgets.Button(
            description="Check again", icon="refresh", tooltip="Read the schema again; changes nothing"
        )
        self.apply = widgets.Button(
            description="Apply", icon="check", disabled=True, tooltip="Run the steps that are not done yet"
        )
        self.confirmation = Confirmation(session.where, types=not session.settings.sandbox)
        buttons = in_a_row(self.check, self.show_sql, self.apply)
        self.box = widgets.VBox(
            [
                where,
                self.status,
                heading(f"Schema: {self._phase}"),
                self.steps,
                indented(buttons, self.confirmation.box, self.sql),
            ]
        )
        self.check.on_click(lambda _: self._start(self._do_check))
        self.apply.on_click(lambda _: self._start(self._ask))
        self.show_sql.observe(lambda _: self._show_sql(), "value")
        with telling(self.status):
            self._do_check()
        self._enable()

    # --- what the buttons do -----------------------------------------------------------------------------

    def _do_check(self) -> None:
        """Read the schema again, and show it."""
        self._found, self._sql, self.steps.value = Schema(self._session, phase=self._phase), {}, ""
        self._session.company.refresh()
        steps = self._found.found
        self._sql = self._found.sql()
        rows = "".join(
            f"<tr><td style='{CELL}'>{pill('done', GREEN) if step.done else pill('open', BLUE)}</td>"
            f"<td style='{CELL}'>{html.escape(step.name)}</td><td style='{CELL}'>{html.escape(step.does)}</td></tr>"
            for step in steps
        )
        self.steps.value = f"<table style='line-height:1.5; border-collapse:collapse'>{rows}</table>"
        number = self._found.open
        done = f"{number} of {thousands(len(steps), 'steps')} to do; nothing is changed before you confirm."
        self.status.value = done if number else f"Everything that {self._phase} adds is there."
        self._show_sql()

    def _ask(self) -> None:
        self._do_check()
        if self._found.open:
            self.confirmation.ask(
                self._question(),
                lambda asked: self._start(lambda: self._do_apply(asked)),
                otherwise=self._cancelled,
            )

    def _question(self) -> ConfirmQuestion:
        steps = [step.does for step in self._found.found if not step.done]
        copied = "" if self._session.ledger.in_database else " The evidence in the ledger's file is copied to them."
        return ConfirmQuestion(
            f"Apply runs {thousands(len(steps), 'steps')}: {'; '.join(steps)}.",
            len(steps),
            (self._phase, tuple(self._sql.items())),
            f"Nothing is removed, and no value of yours changes.{copied}",
        )

    def _cancelled(self) -> None:
        self.status.value = "Nothing was changed."

    def _do_apply(self, asked: ConfirmQuestion) -> None:
        """Do what papermill does with ``apply=True``, if the open steps are still those that were confirmed."""
        self._do_check()
        if self._question() != asked:
            self.status.value = (
                "Nothing was changed: the steps to do are no longer those that you confirmed. Press Apply again."
            )
            return
        self.status.value = "Changing the schema…"
        try:
            with acting(self._session.notebook, self._session.settings) as session:
                schema = Schema(session, phase=self._phase, apply=True)
                schema.execute()
                outcome = schema.finish()
        except SmartcarOpsError:
            with suppress(SmartcarOpsError):  # the first error says more than one raised here
                self._look_again()
            raise
        self._look_again()
        self.status.value = html.escape(outcome.sentence)

    def _look_again(self) -> None:
        """Let the notebook's own session see the new columns and tables, and show the steps as they are now."""
        self._session.reopen_ledger()
        self._do_check()

    # --- what is shown -----------------------------------------------------------------------------------

    def _show_sql(self) -> None:
        """Show the SQL of the open steps, if that is wanted."""
        parts = [
            f"-- {name}\n" + "\n".join(sql if sql.startswith("--") else f"{sql};" for sql in statements)
            for name, statements in self._sql.items()
        ]
        sql = html.escape("\n\n".join(parts))
        self.sql.value = f"<pre style='{SQL_STYLE}'>{sql}</pre>" if parts and self.show_sql.value else ""

    def _enable(self) -> None:
        is_open = bool(self._sql)
        self.check.disabled = self._working
        self.apply.disabled = self._working or not is_open
        self.apply.button_style = "primary" if is_open else ""
        self.show_sql.disabled = not is_open
        self.confirmation.enable(busy=self._working)
