"""The operator's panel, clicked: in a kernel's place by its own buttons, and in JupyterLab in a real browser."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import smartcar_ops
from smartcar_ops.backfill import runner
from smartcar_ops.backfill.backfill import Backfill, keep_plan
from smartcar_ops.backfill.panel import BackfillPanel
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.database.ledger.locks import WRITER, lock
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.session import Session
from tests.support.browser import CHROMIUM, browser
from tests.support.house import NOTEBOOKS, House
from tests.support.processes import Act

NOTEBOOK = "30_backfill_user_ids"
COMPARE = "10_compare_v2_v3"
MINUTE = 60_000
WRITES = ("apply", "undo", "go_on", "retry")
"""Buttons that ask before they write."""


@pytest.fixture
def session(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on the house, as a notebook opens it."""
    monkeypatch.chdir(house.root)
    opened = Session(NOTEBOOK, house.settings)
    yield opened
    opened.transport.close()
    opened.company.engine.dispose()


def right_ids(house: House) -> dict[str, str]:
    """The ids that a backfill of this house must set, by user."""
    return {user["user_id"]: user["smartcar_user_id"] for user in house.truth["users"] if user["bucket"] == "ready"}


def stored_ids(house: House) -> dict[str, str]:
    """The ids of those users as the database has them."""
    ready = right_ids(house)
    rows = {str(row["id"]): row["smartcar_user_id"] for row in house.rows("users")}
    return {user: rows[user] for user in ready}


def begin(panel: BackfillPanel, name: str) -> None:
    """Presses a button and confirms what it asks, if it asks; the work goes on."""
    button, form = getattr(panel, name), panel.confirmation
    assert not button.disabled
    button.click()
    if name in WRITES:
        panel.wait(60)
    if form.question is not None:
        form.typed.value = str(form.question.number)
        form.confirm.click()


def press(panel: BackfillPanel, name: str) -> None:
    """Presses a button, confirms what it asks, and waits for the work that it started."""
    begin(panel, name)
    panel.wait(60)


def until(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """Waits for what a thread is about to do; a failure after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


class Gate:
    """Holds every run after so many batches, until it is opened: there is always time to press a button."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
        self.left, self.open, asked = batches, threading.Event(), Runs.requested

        def requested(runs: Runs, run_id: str) -> str:
            self.left -= 1
            assert self.left >= 0 or self.open.wait(60)
            return asked(runs, run_id)

        monkeypatch.setattr(Runs, "requested", requested)


def hand_written(house: House) -> int:
    """Rows the ledger has as written."""
    return sum(row["outcome"] == "written" for row in house.rows("smartcar_ops_changes"))


def paused(panel: BackfillPanel, gate: Gate) -> None:
    """Presses Pause while the gate holds the run, then opens the gate."""
    until(lambda: gate.left < 0 and not panel.pause.disabled)
    panel.pause.click()
    assert "pausing" in panel.watch.line.value and "Pausing the " in panel.status.value
    gate.open.set()
    until(lambda: ">paused<" in panel.watch.line.value)
    until(lambda: " is paused: " in panel.status.value)


def test_plan_writes_nothing_and_apply_writes_the_plan(house: House, session: Session) -> None:
    """Apply is locked until there is a plan; then the two buttons do what the two headless runs do."""
    panel = BackfillPanel(session, Backfill(session))
    assert panel.apply.disabled
    before = house.rows("users")
    press(panel, "plan")
    assert before == house.rows("users")
    assert " to set; " in panel.status.value
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)
    assert "Undo with undo=" in panel.status.value
    assert panel.bar.max == panel.bar.value


def test_stop_keeps_what_was_answered(house: House, session: Session) -> None:
    """Stop, pressed while Smartcar is asked, ends the asking; Plan goes on from there and ends right."""
    panel = BackfillPanel(session, Backfill(session))
    panel.asking.observe(lambda _: panel.stop.click(), "value")
    press(panel, "plan")
    assert "stopped" in panel.status.value
    panel.asking.unobserve_all()
    press(panel, "plan")
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)


def test_stop_ends_a_wait_for_the_allowance(house: House, session: Session) -> None:
    """With the allowance spent, the next answer may be minutes away: Stop does not wait for it, and keeps the rest."""
    session.settings = house.read_settings(SMARTCAR_ALLOWANCE_BURST="12", SMARTCAR_ALLOWANCE_PER_MINUTE="1")
    panel = BackfillPanel(session, Backfill(session, max_calls=1000, max_minutes=60))
    panel.plan.click()
    until(lambda: panel.asking.value)
    panel.stop.click()
    panel.wait(30)
    assert not panel.plan.disabled and panel.stop.disabled
    assert "stopped: the answers so far are kept" in panel.status.value or "no answer yet" in panel.status.value
    assert session.ledger.connections()


def test_a_failure_is_one_sentence_in_the_panel(house: House, session: Session) -> None:
    """A wrong source is told in the panel, and the buttons work again."""
    panel = BackfillPanel(session, Backfill(session))
    panel.sources.value = "moon"
    press(panel, "plan")
    assert "sources has &#x27;moon&#x27;" in panel.status.value
    assert not panel.plan.disabled


def test_a_run_is_paused_and_resumed(house: House, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused, a run stands between two batches, however long; resumed, it does exactly the rest."""
    panel, gate = BackfillPanel(session, Backfill(session, batch_size=1).prepare()), Gate(monkeypatch, 3)
    begin(panel, "apply")
    assert panel.plan.disabled and panel.apply.disabled and panel.undo.disabled
    paused(panel, gate)
    until(lambda: "3 of" in panel.watch.line.value)
    panel.wait(1.5)
    assert 3 == hand_written(house) == panel.bar.value
    assert (True, False, False) == (panel.pause.disabled, panel.resume.disabled, panel.cancel.disabled)
    panel.resume.click()
    panel.wait(60)
    assert right_ids(house) == stored_ids(house)
    assert "done" in panel.watch.line.value
    assert {True} == {button.disabled for button in (panel.pause, panel.resume, panel.cancel)}
    until(lambda: not panel.watch.following)


def test_a_paused_run_is_cancelled_and_apply_goes_on(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled, a run leaves whole batches; Apply then does the rest of the same plan."""
    panel, gate = BackfillPanel(session, Backfill(session, batch_size=2).prepare()), Gate(monkeypatch, 2)
    begin(panel, "apply")
    paused(panel, gate)
    panel.cancel.click()
    panel.wait(60)
    assert 4 == hand_written(house)
    assert "cancelled before it finished" in panel.status.value
    assert "cancelled" in panel.watch.line.value
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)


def test_a_panel_attaches_to_a_run_started_elsewhere(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panel opened anew shows who runs what, pauses and resumes it; Apply meanwhile is one sentence."""
    house.ask()
    plan, gate = house.plan(), Gate(monkeypatch, 5)
    elsewhere = threading.Thread(
        target=runner.apply, args=(house.company, house.ledger, plan, "elsewhere"), kwargs={"batch_size": 1}
    )
    elsewhere.start()
    until(lambda: 5 == hand_written(house))
    panel = BackfillPanel(session, Backfill(session).prepare())
    assert "running" in panel.watch.line.value and "run elsewhere · " in panel.watch.line.value
    assert socket.gethostname() in panel.watch.line.value
    assert (5, len(plan.changes())) == (panel.bar.value, panel.bar.max)
    paused(panel, gate)
    press(panel, "apply")
    assert "run elsewhere) holds the lock" in panel.status.value
    assert 5 == hand_written(house)
    panel.resume.click()
    elsewhere.join(60)
    until(lambda: not panel.watch.following)
    assert "done" in panel.watch.line.value
    assert "Run elsewhere is done: " in panel.status.value
    assert f"{len(plan.changes()):,} changes to put back" in panel.undo_preview.value
    assert right_ids(house) == stored_ids(house)
    assert "elsewhere" == panel.target.value


def test_a_killed_run_is_told(house: House, session: Session) -> None:
    """A run whose process is gone is shown as interrupted, not as running; nobody waits for it."""
    session.runs.start("killed", NOTEBOOK, "apply")
    panel = BackfillPanel(session, Backfill(session))
    assert "interrupted" in panel.watch.line.value
    assert panel.pause.disabled and not panel.watch.following
    with lock(session.ledger, WRITER, "killed"):
        assert panel.watch.look()
        assert "running" in panel.watch.line.value


def killed(house: House, name: str, target: Path | str, run_id: str, batches: int) -> int:
    """An act of five rows a batch, killed after so many batches: the rows it has written or put back."""
    act = Act(house, name, target, run_id)
    for _ in range(batches):
        assert act.go()
        act.release()
    assert act.go()
    act.kill()
    run = Runs(house.ledger).one(run_id)
    assert run and batches * 5 == run.written
    return batches * 5


def applied(house: House, run_id: str) -> Plan:
    """A plan that was carried out under this name."""
    house.ask()
    plan = house.plan()
    runner.apply(house.company, house.ledger, plan, run_id)
    return plan


def company_rows(house: House) -> dict[str, list[dict[str, Any]]]:
    """Every row of the company's own tables."""
    return {table: house.rows(table) for table in ("users", "vehicles")}


def test_a_killed_undo_is_told_as_an_undo_and_continued(house: House, session: Session) -> None:
    """Counted as put back, what stands without it; Continue, and nothing else, is lit, and puts back the rest."""
    before, plan = company_rows(house), applied(house, "run")
    put_back, total = killed(house, "undo", "run", "undo", 3), len(plan.changes())
    panel = BackfillPanel(session, Backfill(session, plan=plan).prepare())
    told = panel.watch.line.value
    assert f"{put_back} of {total} rows · {put_back} put back · 0 skipped · 0 failed" in told
    assert "interrupted" in told and "Undo of run · run undo" in told and "written" not in told and "left" not in told
    assert "The process that ran this has stopped. Press Continue to put back the rest." in told
    assert f"{total - put_back} changes to put back" in panel.undo_preview.value
    assert ("run", "primary", False) == (panel.target.value, panel.go_on.button_style, panel.go_on.disabled)
    assert ("", True) == (panel.apply.button_style, panel.apply.disabled)
    assert {True} == {button.disabled for button in (panel.pause, panel.resume, panel.cancel)}
    press(panel, "go_on")
    assert before == company_rows(house)
    assert f"{total - put_back} rows put back, 0 skipped, 0 failed. Undo this undo with undo=" in panel.status.value
    assert f"{total - put_back} put back · 0 skipped" in panel.watch.line.value
    assert panel.go_on.disabled
    assert ("primary", False) == (panel.apply.button_style, panel.apply.disabled)


def test_apply_can_be_chosen_after_a_killed_undo(house: House, session: Session) -> None:
    """Who plans anew with the interrupted undo in sight may apply; Continue alone stays lit until then."""
    applied(house, "run")
    after = company_rows(house)
    killed(house, "undo", "run", "undo", 2)
    panel = BackfillPanel(session, Backfill(session))
    press(panel, "plan")
    assert ("", "primary") == (panel.apply.button_style, panel.go_on.button_style)
    press(panel, "apply")
    assert after == company_rows(house)


def test_a_killed_undo_of_a_batch_is_continued_as_such(house: House, session: Session) -> None:
    """Continue takes the undo's own target, RUN:BATCH, and not the whole run."""
    applied(house, "run")
    total = hand_written(house)
    batch = max(house.rows("smartcar_ops_changes"), key=lambda row: row["place"])["batch"]
    killed(house, "undo", f"run:{batch}", "undo", 1)
    panel = BackfillPanel(session, Backfill(session))
    press(panel, "go_on")
    undone = [row for row in house.rows("smartcar_ops_changes") if row["undone_by"]]
    assert {batch} == {row["batch"] for row in undone} and len(undone) < total
    of_batch = [row for row in house.rows("smartcar_ops_changes") if row["run_id"] == "run" and row["batch"] == batch]
    assert len(of_batch) == len(undone)


def test_a_killed_undo_of_an_undo_counts_what_stands_again(house: House, session: Session) -> None:
    """Half set again, the apply's changes stand by half; continued, all of them do, and Undo would put back those."""
    total = len(applied(house, "run").changes())
    after = company_rows(house)
    runner.undo(house.company, house.ledger, "run", "back")
    again = killed(house, "undo", "back", "forth", 3)
    panel = BackfillPanel(session, Backfill(session))
    assert "run" == panel.target.value
    assert f"{again} changes to put back" in panel.undo_preview.value
    assert total - again == runner.undo_preview(house.ledger, "back", 1)[0]
    press(panel, "go_on")
    assert after == company_rows(house)
    assert "run" == panel.target.value
    assert f"{total} changes to put back" in panel.undo_preview.value
    panel.target.value = "back"
    press(panel, "undo")
    assert "Nothing left to undo for this run." in panel.status.value


def test_an_apply_killed_with_its_kernel_is_continued(house: House, session: Session) -> None:
    """A plan made in the panel is kept until it is carried out: a new panel goes on with it, not with its own.

    What the company cleared since is open again.
    """
    house.ask()
    plan = house.plan()
    assert keep_plan(house.settings.reports, plan)
    (kept,) = house.settings.reports.glob(".plan-*")
    assert 0o600 == kept.stat().st_mode & 0o777
    written = killed(house, "apply", kept, "killed", 3)
    house.execute("UPDATE users SET smartcar_user_id = NULL")
    panel = BackfillPanel(session, Backfill(session).prepare())
    told = panel.watch.line.value
    assert f"{written} written" in told and "Press Continue to write the rest." in told
    assert ("", "primary") == (panel.apply.button_style, panel.go_on.button_style)
    press(panel, "go_on")
    run = Runs(house.ledger).writing()
    open_again = sum(change.before is None for change in plan.changes())
    assert run and (plan.hash, open_again) == (run.plan, run.written)
    assert [] == list(house.settings.reports.glob(".plan-*"))


def test_a_plan_applied_in_the_panel_is_kept_while_it_is_open(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled, its plan is still at hand for a panel in another kernel; done, the copy is taken away."""
    panel, gate = BackfillPanel(session, Backfill(session, batch_size=2).prepare()), Gate(monkeypatch, 2)
    begin(panel, "apply")
    paused(panel, gate)
    assert "The apply is paused: 4 of " in panel.status.value
    panel.cancel.click()
    panel.wait(60)
    other = BackfillPanel(session, Backfill(session))
    assert "It was cancelled before it finished. Press Continue to write the rest." in other.watch.line.value
    press(other, "go_on")
    assert right_ids(house) == stored_ids(house)
    assert [] == list(house.settings.reports.glob(".plan-*"))


def test_a_killed_apply_without_its_plan_says_so(house: House, session: Session) -> None:
    """Where the plan's file is gone, Continue says it in one sentence with what to press, and writes nothing."""
    house.ask()
    plan, path = house.plan(), house.root / "plan.parquet"
    plan.save(path)
    killed(house, "apply", path, "killed", 1)
    path.unlink()
    before, panel = company_rows(house), BackfillPanel(session, Backfill(session))
    press(panel, "go_on")
    assert "the plan of run killed is no longer here, so the run can&#x27;t be continued" in panel.status.value
    assert "press Plan, then Apply" in panel.status.value
    assert before == company_rows(house)
    press(panel, "plan")
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)


def test_an_undo_is_paused_and_cancelled_in_its_own_words(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pause, Resume and Cancel of an undo speak of putting back; Continue then puts back the rest."""
    before, _ = company_rows(house), applied(house, "run")
    panel, gate = BackfillPanel(session, Backfill(session, batch_size=2)), Gate(monkeypatch, 2)
    begin(panel, "undo")
    paused(panel, gate)
    assert "The undo is paused: 4 of " in panel.status.value and " put back. Press Resume or " in panel.status.value
    assert "4 put back" in panel.watch.line.value
    panel.cancel.click()
    assert "Cancelling the undo" in panel.status.value or "was cancelled" in panel.status.value
    panel.wait(60)
    assert "4 rows put back, 0 skipped, 0 failed. The undo was cancelled before it finished." in panel.status.value
    assert "It was cancelled before it finished. Press Continue to put back the rest." in panel.watch.line.value
    press(panel, "go_on")
    assert before == company_rows(house)


def test_a_closed_panel_watches_no_more(house: House, session: Session) -> None:
    """Closing a panel ends its looking; the run it showed is left alone."""
    session.runs.start("long", NOTEBOOK, "apply")
    with lock(session.ledger, WRITER, "long"):
        panel = BackfillPanel(session, Backfill(session))
        assert panel.watch.following
        panel.close()
        until(lambda: not panel.watch.following)
        run = session.runs.one("long")
    assert run and ("running", "") == (run.status, run.requested)


def test_one_row_is_undone(house: House, session: Session) -> None:
    """Undo takes RUN:BATCH:ROW, says how many changes that is, and puts back no other row."""
    panel = BackfillPanel(session, Backfill(session).prepare())
    before = house.rows("users")
    press(panel, "apply")
    after, user = house.rows("users"), next(iter(right_ids(house)))
    assert "changes to put back" in panel.undo_preview.value
    panel.target.value += f":1:{user}"
    assert "1 change to put back" in panel.undo_preview.value
    press(panel, "undo")
    assert "1 row put back" in panel.status.value
    expected = [old if str(old["id"]) == user else new for old, new in zip(before, after, strict=True)]
    assert expected == house.rows("users")
    assert f"Nothing left to undo for {panel.target.value}." in panel.undo_preview.value
    panel.target.value = "nobody"
    assert "no run &#x27;nobody&#x27;" in panel.undo_preview.value
    press(panel, "undo")
    assert "no run &#x27;nobody&#x27;" in panel.status.value


def test_failed_rows_are_listed_and_tried_again(house: House, session: Session) -> None:
    """A row that the database refuses is listed with the reason; mended, Retry these writes it alone."""
    panel = BackfillPanel(session, Backfill(session).prepare())
    user, id = next(iter(right_ids(house).items()))
    other = next(one["user_id"] for one in house.truth["users"] if one["bucket_uncalled"] == "no_vehicles")
    alike = f"WHERE smartcar_user_id LIKE '{id[:30]}%'"
    house.execute(f"CREATE UNIQUE INDEX one_beginning ON users (substr(smartcar_user_id, 1, 30)) {alike}")
    house.execute("UPDATE users SET smartcar_user_id = :x WHERE id = :id", x=f"{id[:30]}zzzzzz", id=int(other))
    press(panel, "apply")
    assert "1 failed" in panel.status.value
    assert "" == panel.watch.failed.layout.display
    for told in (">users<", f">{user}<", ">smartcar_user_id<", ">IntegrityError<"):
        assert told in panel.watch.failures.value
    assert id not in panel.watch.failures.value
    house.execute("UPDATE users SET smartcar_user_id = NULL WHERE id = :id", id=int(other))
    written = hand_written(house)
    press(panel, "retry")
    assert "1 row written, 0 skipped, 0 failed" in panel.status.value
    assert (written + 1, right_ids(house)) == (hand_written(house), stored_ids(house))
    assert "none" == panel.watch.failed.layout.display


def test_a_conflict_is_decided_and_planned_again(house: House, session: Session) -> None:
    """A choice with name and reason is marked, and set by the next plan, which asks nothing that was answered."""
    panel = BackfillPanel(session, Backfill(session).prepare())
    queue = panel.queue
    wanted = [str(user["user_id"]) for user in house.truth["users"] if user["decision"] == "conflict"]
    assert len(wanted) == len(queue.which.options)
    user = next(str(one["user_id"]) for one in house.truth["users"] if one["persona"] == "wrong_id")
    while queue.conflict.user_id != user:
        queue.forward.click()
    stored = next(row["smartcar_user_id"] for row in house.rows("users") if str(row["id"]) == user)
    assert stored in queue.facts.value and "vins" in queue.facts.value
    assert None is queue.choice.value
    assert "" == queue.story.value
    queue.whole_story.value = True
    for words in (f"User {user} is conflict: ", "VIN on V3", "V3 connections", " UTC", "Stored id: "):
        assert words in queue.story.value
    panel.decide.click()
    assert "Choose an id" in queue.said.value
    chosen = next(id for _, id in queue.choice.options if id not in (stored, "none"))
    queue.choice.value = chosen
    panel.decide.click()
    assert "the name has 0 characters" in queue.said.value
    queue.by.value, queue.reason.value = "<b>Ada</b>", "asked them"
    panel.decide.click()
    assert f"&lt;b&gt;Ada&lt;/b&gt; chose the Smartcar id {chosen}. Plan again" in queue.said.value
    assert user != queue.conflict.user_id
    assert f"User {queue.conflict.user_id} is " in queue.story.value
    assert [f"user {user} ✓ decided"] == [name.split(" · ")[1] for name, _ in queue.which.options if "✓" in name]
    other = BackfillPanel(session, Backfill(session, plan=panel._planned.plan).prepare())
    assert 1 == sum("✓" in name for name, _ in other.queue.which.options)
    press(panel, "plan")
    statuses = smartcar_ops.load(session.runs.all("backfill")[-1].run_id)["calls"].query("api != 'iam'")["status"]
    assert {500} == set(statuses)  # what failed before is still open
    assert len(wanted) - 1 == len(queue.which.options)
    press(panel, "apply")
    assert chosen == next(row["smartcar_user_id"] for row in house.rows("users") if str(row["id"]) == user)


def test_what_is_no_id_is_not_shown(house: House, session: Session) -> None:
    """An e-mail in the id's column stands nowhere in the panel."""
    user = next(str(one["user_id"]) for one in house.truth["users"] if one["persona"] == "malformed")
    house.execute("UPDATE users SET smartcar_user_id = 'ada@example.com' WHERE id = :id", id=int(user))
    queue = BackfillPanel(session, Backfill(session).prepare()).queue
    while queue.conflict.user_id != user:
        queue.forward.click()
    assert "no UUID, 15 characters" in queue.facts.value
    assert "ada@" not in f"{queue.facts.value} {queue.choice.options}"


@pytest.fixture
def crowd(make_house: Callable[..., House]) -> House:
    """A company of 300 users, everything asked: with a row a batch there is time to press Pause."""
    house = make_house(users=300).expand().play_callbacks()
    house.ask()
    return house


@pytest.fixture
def lab(crowd: House) -> Iterator[Callable[[str], str]]:
    """JupyterLab on the crowd's notebooks, a row a batch: gives a notebook's address."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    (crowd.root / "notebooks").unlink()
    shutil.copytree(NOTEBOOKS, crowd.root / "notebooks")
    copy = crowd.root / "notebooks" / f"{NOTEBOOK}.ipynb"
    copy.write_text(copy.read_text().replace("batch_size: int = 5000", "batch_size: int = 1"))
    other = crowd.root / "notebooks" / f"{COMPARE}.ipynb"
    other.write_text(other.read_text().replace("vehicles: int = 25", "vehicles: int = 1"))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=", "--expose-app-in-browser"]
    process = subprocess.Popen(
        [sys.executable, "-m", "smartcar_ops", "lab", *options],
        cwd=crowd.root,
        env=crowd.process_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        try:
            httpx.get(f"{url}/api/status", timeout=5)
            break
        except httpx.HTTPError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail("JupyterLab ended before it answered")
    # A workspace each: JupyterLab opens with what was open before, and "Run All" would run that.
    yield lambda name: f"{url}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb"
    process.terminate()
    process.wait(20)


class Walk:
    """The panel in JupyterLab, as an operator has it in a browser."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.panel = page, page.locator(".widget-vbox")
        page.goto(address, timeout=2 * MINUTE)

    def run_all(self, button: str = "Apply") -> None:
        """Runs the notebook, and waits for its panel."""
        self.page.get_by_text("| Idle").wait_for(timeout=2 * MINUTE)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        self.panel.get_by_role("button", name=button).wait_for(timeout=2 * MINUTE)

    def reload(self) -> None:
        """Saves the notebook and loads the page anew: the panel is there again, without running a cell."""
        with self.page.expect_response(lambda answer: answer.request.method == "PUT" and "/contents/" in answer.url):
            self.page.keyboard.press("Control+s")
        self.page.reload(timeout=2 * MINUTE)

    def press(self, name: str) -> None:
        """Presses a button as soon as it may be pressed."""
        self.panel.locator(f"button:has-text('{name}'):not([disabled])").click(timeout=MINUTE)

    def confirm(self) -> None:
        """Types the number that the form asks for, and confirms."""
        label = self.panel.get_by_text(re.compile(r"^Type \d+ to confirm$"))
        label.wait_for(timeout=MINUTE)
        self.fill(label.inner_text(), label.inner_text().split()[1])
        self.press("Confirm")

    def fill(self, label: str, text: str) -> None:
        """Types into a field."""
        self.panel.locator(f".widget-text:has(.widget-label:text-is('{label}')) input").first.fill(text)

    def sees(self, words: str) -> None:
        """Waits for words in the panel."""
        self.panel.get_by_text(words).first.wait_for(timeout=MINUTE)


def changed_rows(house: House, before: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The company's rows that are not as they were."""
    return {
        (table, str(new["id"])): new
        for table, rows in before.items()
        for old, new in zip(rows, house.rows(table), strict=True)
        if old != new
    }


def look_at_a_vehicle(page: Any, address: str) -> None:
    """In the other notebook: type a make, press Look, and read V2 beside V3 beneath."""
    walk = Walk(page, address)
    walk.run_all("Look")
    walk.fill("Filter", "tesla")
    walk.press("Look")
    walk.sees("1 vehicle read on both versions")
    boxes = [part.bounding_box() for part in page.locator(".smartcar-vehicle .row").all()[:3]]
    assert {True} == {box["width"] > 400 and box["height"] > 15 for box in boxes}


def test_an_operator_walks_the_panel_in_jupyterlab(crowd: House, lab: Callable[[str], str]) -> None:
    """In a browser: plan, decide, apply, pause, reload, resume, done, undo a row, look; the database agrees at each."""
    before = {table: crowd.rows(table) for table in ("users", "vehicles")}
    with browser() as chromium:
        walk = Walk(chromium.new_page(viewport={"width": 1400, "height": 1500}), lab(NOTEBOOK))
        walk.run_all()
        walk.press("Plan")
        walk.sees("Planned: ")
        assert {} == changed_rows(crowd, before)

        walk.panel.locator(".widget-radio-box label").first.click()
        walk.fill("Your name", "Ada")
        walk.fill("Reason", "asked them")
        walk.press("Decide")
        walk.sees("Plan again to set it.")
        (choice,) = crowd.rows("smartcar_ops_choices")
        assert ("Ada", "asked them") == (choice["chosen_by"], choice["reason"])
        assert {} == changed_rows(crowd, before)
        walk.press("Plan")
        walk.panel.get_by_text("Plan again to set it.").wait_for(state="hidden", timeout=MINUTE)

        walk.press("Apply")
        walk.confirm()
        walk.press("Pause")
        walk.panel.locator("span:text-is('paused')").wait_for(timeout=MINUTE)
        (run,) = Runs(crowd.ledger).all("apply")
        assert ("running", "pause") == (run.status, run.requested)
        walk.reload()
        walk.panel.locator("span:text-is('paused')").wait_for(timeout=MINUTE)
        written = hand_written(crowd)
        assert 0 < written == len(changed_rows(crowd, before)) < run.total

        walk.press("Resume")
        walk.panel.locator("span:text-is('done')").wait_for(timeout=MINUTE)
        assert run.total == hand_written(crowd) == len(changed_rows(crowd, before))
        decided = changed_rows(crowd, before)["users", choice["user_id"]]
        assert choice["smartcar_user_id"] == decided["smartcar_user_id"]
        assert right_ids(crowd) == stored_ids(crowd)

        after = {table: crowd.rows(table) for table in ("users", "vehicles")}
        first = crowd.rows("smartcar_ops_changes")[0]
        walk.fill("Undo of", f"{run.run_id}:{first['batch']}:{first['row_id']}")
        walk.panel.locator("input").last.press("Tab")
        walk.sees("1 change to put back")
        walk.press("Undo")
        walk.confirm()
        walk.sees("1 row put back, 0 skipped, 0 failed.")
        look_at_a_vehicle(chromium.new_page(viewport={"width": 1400, "height": 1500}), lab(COMPARE))
    assert [(first["table_name"], first["row_id"])] == list(changed_rows(crowd, after))
    assert run.total - 1 == len(changed_rows(crowd, before))
