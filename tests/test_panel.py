"""The operator's panel, clicked: in a kernel's place by its own buttons, and in JupyterLab in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from smartcar_ops.reporting.backfill import Backfill
from smartcar_ops.reporting.panels import BackfillPanel
from smartcar_ops.session import Session
from tests.browser import CHROMIUM, browser
from tests.house import NOTEBOOKS, House

NOTEBOOK = "30_backfill_user_ids"
MINUTE = 60_000


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


def press(panel: BackfillPanel, name: str) -> None:
    """Presses a button and waits for the work it started."""
    button = getattr(panel, name)
    assert not button.disabled
    button.click()
    panel.wait(60)


def test_plan_writes_nothing_and_apply_writes_the_plan(house: House, session: Session) -> None:
    """Apply is locked until there is a plan; then the two buttons do what the two headless runs do."""
    panel = BackfillPanel(session, Backfill(session))
    assert panel.apply.disabled
    before = house.rows("users")
    press(panel, "plan")
    assert before == house.rows("users")
    assert "user ids and" in panel.status.value
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)
    assert "Undo with undo=" in panel.status.value
    assert panel.bar.max == panel.bar.value


def test_stop_keeps_what_was_answered(house: House, session: Session) -> None:
    """Stop, pressed while Smartcar is asked, ends the asking; Plan goes on from there and ends right."""
    panel = BackfillPanel(session, Backfill(session))
    panel.bar.observe(lambda _: panel.stop.click(), "value")
    press(panel, "plan")
    assert "stopped" in panel.status.value
    panel.bar.unobserve_all()
    press(panel, "plan")
    press(panel, "apply")
    assert right_ids(house) == stored_ids(house)


def test_a_failure_is_one_sentence_in_the_panel(house: House, session: Session) -> None:
    """A wrong source is told in the panel, and the buttons work again."""
    panel = BackfillPanel(session, Backfill(session))
    panel.sources.value = "moon"
    press(panel, "plan")
    assert "sources names &#x27;moon&#x27;" in panel.status.value
    assert not panel.plan.disabled


@pytest.fixture
def lab(house: House) -> Iterator[Callable[[str], str]]:
    """JupyterLab on the house's notebooks: gives a notebook's address."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    (house.root / "notebooks").unlink()
    shutil.copytree(NOTEBOOKS, house.root / "notebooks")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--expose-app-in-browser"]
    quiet = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", f"--notebook-dir={house.root}", *options, *quiet],
        cwd=house.root,
        env=house.process_environment(),
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
    yield lambda name: f"{url}/lab/tree/notebooks/{name}.ipynb"
    process.terminate()
    process.wait(20)


def test_an_operator_plans_and_applies_in_jupyterlab(house: House, lab: Callable[[str], str]) -> None:
    """In a real browser: run the notebook, press Plan (nothing is written), press Apply (the right ids are)."""
    before = house.rows("users")
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(lab(NOTEBOOK), timeout=2 * MINUTE)
        page.get_by_text("| Idle").wait_for(timeout=2 * MINUTE)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        panel = page.locator(".widget-vbox")
        panel.get_by_role("button", name="Apply").wait_for(timeout=2 * MINUTE)
        panel.get_by_role("button", name="Plan").click()
        apply = panel.locator("button:has-text('Apply'):not([disabled])")
        apply.wait_for(timeout=MINUTE)
        assert before == house.rows("users")
        apply.click()
        panel.get_by_text("Undo with undo=").wait_for(timeout=MINUTE)
    assert right_ids(house) == stored_ids(house)
