"""Nothing is written before a person has confirmed how many rows, of what, and in which database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.backfill.panel import BackfillPanel
from smartcar_ops.display.confirm_panel import Confirmation, ConfirmQuestion
from smartcar_ops.session import Session
from tests.support.house import House

NOTEBOOK = "30_backfill_user_ids"
TABLES = ("users", "vehicles", "smartcar_ops_changes", "smartcar_ops_runs")


@pytest.fixture
def session(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a real company's database, as a notebook opens it."""
    monkeypatch.chdir(house.root)
    opened = Session(NOTEBOOK, house.settings)
    yield opened
    opened.transport.close()
    opened.company.engine.dispose()


def contents(house: House) -> dict[str, list[dict[str, Any]]]:
    """The rows that an act would change."""
    return {table: house.rows(table) for table in TABLES}


def asked(panel: BackfillPanel, name: str) -> Confirmation:
    """Presses a button; the form that it opens."""
    getattr(panel, name).click()
    panel.wait(60)
    assert panel.confirmation.question is not None, panel.status.value
    assert "" == panel.confirmation.box.layout.display
    return panel.confirmation


def confirm(panel: BackfillPanel) -> None:
    """Types the number and confirms; waits for what that started."""
    form = panel.confirmation
    form.typed.value = str(form.question.number if form.question else "")
    form.confirm.click()
    panel.wait(60)


def test_apply_undo_and_continue_ask_before_they_write(house: House, session: Session) -> None:
    """Each names the rows of both tables and the database, waits for the number, and Cancel leaves all as it was."""
    panel = BackfillPanel(session, Backfill(session).prepare())
    plan, before = panel._planned.plan, contents(house)
    assert plan is not None
    users, vehicles = plan.counts("users")["set"], plan.counts("vehicles")["set"]
    form = asked(panel, "apply")
    for words in (f"Apply writes {users + vehicles} rows ({users} users and {vehicles} vehicles).", session.where):
        assert words in form.words.value
    assert f"Type {users + vehicles} to confirm" == form.typed.description
    assert form.confirm.disabled and "Nothing is written before you confirm." == panel.status.value
    form.typed.value = f"{users + vehicles + 1}"
    assert form.confirm.disabled
    form.typed.value = f" {users + vehicles:,} "
    assert not form.confirm.disabled
    form.cancel.click()
    assert ("none", True) == (form.box.layout.display, form.confirm.disabled)
    assert "Nothing was written." == panel.status.value
    assert before == contents(house)

    asked(panel, "apply")
    confirm(panel)
    written = contents(house)
    assert users + vehicles == len(written["smartcar_ops_changes"])
    user = next(row["row_id"] for row in written["smartcar_ops_changes"] if row["table_name"] == "users")
    panel.target.value += f":1:{user}"
    form = asked(panel, "undo")
    assert f"Undo puts back 1 row (1 user) of {panel.target.value}." in form.words.value
    form.cancel.click()
    assert written == contents(house)
    asked(panel, "undo")
    confirm(panel)
    assert "1 row put back" in panel.status.value

    asked(panel, "apply")
    assert "Apply writes the rest of the plan: 1 row (1 user)." in form.words.value
    assert f"Of the plan&#x27;s rows that were written ({users + vehicles - 1})" in form.words.value
    confirm(panel)
    assert "1 row written" in panel.status.value
    assert "Apply finds nothing left to write" in asked(panel, "apply").words.value
    assert "Type 0 to confirm" == form.typed.description
    confirm(panel)
    assert "Nothing left to write for this plan." in panel.status.value


def test_what_changed_after_the_question_is_not_done(house: House, session: Session) -> None:
    """Another target, another plan or another run in between: nothing is written, and one sentence says why."""
    panel = BackfillPanel(session, Backfill(session).prepare())
    plan = panel._planned.plan
    assert plan is not None
    asked(panel, "apply")
    panel._planned = Backfill(session, plan=house.plan()).prepare()
    before = contents(house)
    confirm(panel)
    assert "what you confirmed is not what Apply would do now. Press Apply again." in panel.status.value
    assert before == contents(house)

    asked(panel, "apply")
    runner.apply(house.company, house.ledger, plan, "elsewhere")
    before = contents(house)
    confirm(panel)
    assert "Nothing was written: run elsewhere is done, which was not so when you pressed Apply." in panel.status.value
    panel.target.value = "elsewhere"
    asked(panel, "undo")
    panel.target.value = "elsewhere:1"
    confirm(panel)
    assert "what you confirmed is not what Undo would do now. Press Undo again." in panel.status.value
    assert before == contents(house)


def test_in_the_sandbox_one_press_confirms(house: House, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to type; Apply still asks, and says that it is the sandbox."""
    session.settings = dataclasses.replace(house.settings, sandbox=True)
    panel = BackfillPanel(session, Backfill(session).prepare())
    form = asked(panel, "apply")
    assert "In the sandbox: a pretend Smartcar" in form.words.value
    assert ("none", False) == (form.typed.layout.display, form.confirm.disabled)
    form.confirm.click()
    form.confirm.click()  # the second press of a double click does nothing
    panel.wait(60)
    assert "Undo with undo=" in panel.status.value
    assert 1 == len(session.runs.all("apply"))


def test_enter_confirms_only_the_right_number() -> None:
    """Enter in the field does what Confirm does, and nothing while Confirm is disabled; text is never markup."""
    form, confirmed = Confirmation("<db>", types=True), list[ConfirmQuestion]()
    question = ConfirmQuestion("Write <b>3</b> rows.", 3, note="<i>")
    form.ask(question, confirmed.append)
    assert "&lt;b&gt;3" in form.words.value and "&lt;db&gt;" in form.words.value and "&lt;i&gt;" in form.words.value
    form._entered(None, {"event": "submit"}, None)
    form.typed.value = "3"
    form.enable(busy=True)
    form._entered(None, {"event": "submit"}, None)
    assert [] == confirmed and form.confirm.disabled
    form.enable(busy=False)
    form._entered(None, {"event": "submit"}, None)
    assert [question] == confirmed and form.question is None
    form.cancel.click()
    assert [question] == confirmed
