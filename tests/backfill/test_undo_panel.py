"""What a run changed is listed a page at a time, and each batch and each row has a button that puts it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from smartcar_ops.backfill import runner
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.backfill.panel import BackfillPanel
from smartcar_ops.backfill.undo_panel import BATCHES, ROWS, Pages
from smartcar_ops.session import Session
from tests.support.house import House

NOTEBOOK = "30_backfill_user_ids"


@pytest.fixture
def applied(house: House) -> House:
    """A company in which the run "first" wrote a whole plan, seven rows a batch."""
    house.ask()
    runner.apply(house.company, house.ledger, house.plan(), "first", batch_size=7)
    return house


@pytest.fixture
def panel(applied: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackfillPanel]:
    """The panel of a session on that company."""
    monkeypatch.chdir(applied.root)
    session = Session(NOTEBOOK, applied.settings)
    yield BackfillPanel(session, Backfill(session, batch_size=7))
    session.close()


def shown(pages: Pages[Any]) -> list[str]:
    """The lines that a page shows."""
    pairs = zip(pages._boxes, pages.texts, strict=True)
    return [text.value for box, text in pairs if box.layout.display == ""]


def confirm(panel: BackfillPanel) -> None:
    """Confirms what the panel asks, and waits for the end."""
    panel.wait(60)
    form = panel.confirmation
    assert form.question is not None, panel.status.value
    form.typed.value = str(form.question.number)
    form.confirm.click()
    panel.wait(60)


def standing(house: House) -> list[dict[str, Any]]:
    """The changes of the first run that were not undone."""
    rows = [row for row in house.rows("smartcar_ops_changes") if row["run_id"] == "first"]
    rows = [row for row in rows if row["outcome"] == "written" and not row["undone_by"]]
    return sorted(rows, key=lambda row: (row["batch"], row["place"]))


def test_all_changes_are_listed_page_by_page(applied: House, panel: BackfillPanel) -> None:
    """Next and Previous lead through batches and rows, in order, and never more than a page of them is read."""
    undos, changes = panel.undos, standing(applied)
    assert "first" == undos.runs.value
    assert f"Apply · run first · {len(changes)} written · done" == undos.runs.options[0][0]
    listed: list[str] = []
    while True:
        listed += [row.name for row in undos.rows.lines]
        assert len(undos.rows.lines) <= ROWS
        if undos.rows.forward.disabled:
            break
        undos.rows.forward.click()
    assert [f"first:{row['batch']}:{row['row_id']}" for row in changes] == listed
    last = shown(undos.rows)
    undos.rows.back.click()
    assert ROWS == len(shown(undos.rows)) and last != shown(undos.rows)
    batches: list[int] = []
    while True:
        batches += [batch.batch for batch in undos.batches.lines]
        assert len(undos.batches.lines) <= BATCHES
        if undos.batches.forward.disabled:
            break
        undos.batches.forward.click()
    assert sorted({row["batch"] for row in changes}) == batches
    one = changes[0]
    while not undos.rows.back.disabled:
        undos.rows.back.click()
    assert f"{one['row_id']} · users.smartcar_user_id · now {one['after_value']} · before –" == shown(undos.rows)[0]


def test_a_row_and_a_batch_are_put_back(applied: House, panel: BackfillPanel) -> None:
    """A press fills the target and asks; Cancel restores the target, Confirm puts back exactly that, and lists anew."""
    undos, changes, users = panel.undos, standing(applied), applied.rows("users")
    undos.rows.forward.click()
    row = undos.rows.lines[2]
    undos.rows.buttons[2][0].click()
    panel.wait(60)
    assert row.name == panel.target.value
    assert f"Undo puts back 1 row (1 user) of {row.name}." in panel.confirmation.words.value
    panel.confirmation.cancel.click()
    assert "first" == panel.target.value and changes == standing(applied) and users == applied.rows("users")

    undos.rows.buttons[2][0].click()
    confirm(panel)
    assert "1 row put back" in panel.status.value
    assert [one for one in changes if f"first:{one['batch']}:{one['row_id']}" != row.name] == standing(applied)
    assert row.name not in [line.name for line in undos.rows.lines] and not undos.rows.back.disabled  # the same page

    batch = undos.batches.lines[1]
    assert f"Batch {batch.batch} · users · {batch.written} written · 0 skipped · 0 failed · " in shown(undos.batches)[1]
    undos.batches.buttons[1][1].click()
    assert {batch.batch} == {line.place[0] for line in undos.rows.lines}
    assert f"Rows of batch {batch.batch}:" in undos.title.value and "" == undos.all.layout.display
    undos.batches.buttons[1][0].click()
    confirm(panel)
    assert batch.batch not in {one["batch"] for one in standing(applied)}
    assert "nothing left to put back" in shown(undos.batches)[1]
    assert [True, True] == [button.disabled for button in undos.batches.buttons[1]]
    assert [] == undos.rows.lines
    undos.all.click()
    assert ROWS == len(undos.rows.lines) and "none" == undos.all.layout.display


def test_another_run_is_chosen(applied: House, panel: BackfillPanel) -> None:
    """The list of runs has those that wrote, the newest first; one that is chosen becomes the target."""
    runner.undo(applied.company, applied.ledger, "first:1", "back")
    panel.watch.look()
    undos = panel.undos
    panel._show_undo_preview()
    assert ["back", "first"] == [run_id for _, run_id in undos.runs.options]
    undos.runs.value = "back"
    assert "back" == panel.target.value and "7 changes to put back" in panel.undo_preview.value
    assert {"back"} == {row.name.partition(":")[0] for row in undos.rows.lines}
    panel.target.value = "nobody"
    assert "no run &#x27;nobody&#x27;" in panel.undo_preview.value
    assert ("none", None) == (undos._list.layout.display, undos.runs.value)
    panel.target.value = "first:2"
    assert "first" == undos.runs.value and "" == undos._list.layout.display


def test_without_a_run_there_is_no_list(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first run the panel lists nothing; while it works, no button of the list may be pressed."""
    monkeypatch.chdir(house.root)
    session = Session(NOTEBOOK, house.settings)
    panel = BackfillPanel(session, Backfill(session))
    assert "none" == panel.undos.box.layout.display
    house.ask()
    runner.apply(house.company, house.ledger, house.plan(), "first")
    panel.watch.look()
    assert "" == panel.undos.box.layout.display and not panel.undos.rows.buttons[0][0].disabled
    panel.undos.enable(busy=True)
    assert panel.undos.rows.buttons[0][0].disabled
    panel.undos.rows.buttons[0][0].click()
    assert panel.confirmation.question is None
    session.close()
