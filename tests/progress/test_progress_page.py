"""The progress report's page: it reads well with any history, on a phone, in the dark, on paper, by a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat import v4

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import Snapshot, StratumParity
from smartcar_ops.progress.report import ProgressReport
from smartcar_ops.progress.result import ProgressResult
from smartcar_ops.progress.since import Since
from smartcar_ops.reports.page import render
from tests.reports.test_page import HEADER
from tests.support.browser import CHROMIUM, browser

SECTIONS = {
    "Migrated": "migrated",
    "Users left, and when they will be done": "burn_down",
    "The forecast": "forecast",
    "What changed": "since",
    "What is in the way": "blockers",
    "Users by bucket, before and now": "by_bucket",
    "Users over time": "over_time",
    "What V3 loses, by make": "parity",
}
STRATA = [
    StratumParity("BMW", "BEV", 12, 140, 0, 131, refused=False),
    StratumParity("FORD", "BEV", 30, 400, 13, 310, refused=True),
    StratumParity("FORD", "ICE", 30, 400, 130, 310, refused=True),
]


def history(number: int, *, users: int = 5_000, ended: bool = False) -> list[Snapshot]:
    """So many days: a week without audits, a setback, growth; at the end nobody is left, or some are."""
    start, days = datetime(2025, 10, 1, 5, tzinfo=UTC), []
    for place in range(number):
        done = int(0.9 * users * (place + 1) / number) - (200 if place == number // 2 else 0)
        left = 0 if ended and place == number - 1 else max(users - done, 0)
        counts = {
            "mapped": users - left,
            "ready": left // 2,
            "reconnect": left - left // 2,
            "no_vehicles": place,
        }
        gap = 7 if place > number // 3 and number > 10 else 0
        days.append(Snapshot(start + timedelta(days=place + gap), buckets.complete(counts), complete=place % 9 != 0))
    return days


def result_of(days: list[Snapshot], **changed: Any) -> ProgressResult:
    """The result after these days; half a month is left."""
    now = days[-1].counts if days else buckets.complete({})
    moment = days[-1].at + timedelta(hours=2) if days else datetime(2026, 11, 1, tzinfo=UTC)
    given: dict[str, Any] = {
        "before": days[0].counts if days else now,
        "now": now,
        "snapshot": days[-1] if days else None,
        "written_since": 0,
        "moment": moment,
        "day": None,
        "deadline": moment.date() + timedelta(days=15),
        "compared": pd.DataFrame(),
        "lost_fields": 0,
        "calls": {},
        "needed": {"linking": 40},
        "to_come": 9_000,
        "history": days,
        "strata": STRATA if days else [],
        "since": Since(date(2026, 1, 1), True, 12, 1, fell_back=pd.DataFrame({"user_id": ["7"], "now": ["reconnect"]})),
    }
    return ProgressResult(**{**given, **changed})


def page_of(result: ProgressResult) -> str:
    """The page of this result."""
    report, cells = ProgressReport(result), [v4.new_markdown_cell("# Migration progress")]
    for title, name in SECTIONS.items():
        shown = getattr(report, name)()
        html = shown.data if hasattr(shown, "data") else str(shown._repr_html_())
        output = v4.new_output("display_data", data={"text/html": html})
        cells += [v4.new_markdown_cell(f"## {title}"), v4.new_code_cell("x", outputs=[output])]
    return render(v4.new_notebook(cells=cells), HEADER)


def text_of(html: str) -> str:
    """What people read of the page's body."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(["style", "script"]):
        tag.decompose()
    return soup.get_text(" ", strip=True)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 30, 400])
def test_it_reads_well_with_any_number_of_days(number: int) -> None:
    """No picture of nothing, no forecast from too little, no number that is none; at most 2 MB."""
    result = result_of(history(number))
    html = page_of(result)
    told = text_of(html)
    assert not re.search(r"\b(nan|None|inf|NaT)\b", told.replace("None.", ""))
    assert ("No audit yet" in told) == (number == 0)
    assert (f"so far there are audits on {number} day" in told) == (0 < number < 4)
    assert ("drawn again at random" in told) == (number >= 4)
    assert (result.forecast.median is not None) == (number >= 4)
    assert len(html) < 2_000_000


def test_it_reads_well_without_users() -> None:
    """A company without users has nothing left, and no day to wait for."""
    days = [Snapshot(datetime(2026, 11, day, tzinfo=UTC), buckets.complete({}), True) for day in range(1, 8)]
    result = result_of(days)
    told = text_of(page_of(result))
    assert "Nobody is left to do." in told
    assert (0, 0) == (result.left, result.exit_code)


def test_nobody_left_is_said() -> None:
    """When all are done there is no forecast to make and nobody in the way."""
    result = result_of(history(20, ended=True), strata=STRATA[:1])
    told = text_of(page_of(result))
    assert "Nobody is left to do." in told and "Nothing is in the way." in told
    assert "drawn again at random" not in told


def test_a_late_forecast_says_no() -> None:
    """The median after the deadline is exit 1 and so many days late; without a forecast, only the deadline counts."""
    late = result_of(history(40), deadline=date(2025, 11, 18))
    assert late.forecast.median is not None and late.forecast.median > late.deadline
    days = (late.forecast.median - late.deadline).days
    assert 1 == late.exit_code
    assert late.outlook.endswith(f", {days} day{'s' if days != 1 else ''} after the deadline.")
    assert 0 == result_of(history(40), deadline=date(2030, 1, 1)).exit_code
    assert 0 == result_of(history(3)).exit_code
    assert 1 == result_of(history(3), deadline=date(2025, 1, 1)).exit_code


def test_a_plateau_is_said_first() -> None:
    """Where only users are left who do not come back, the verdict names them and no day."""
    counts = [{"ready": max(0, 300 - 30 * day), "reconnect": 38, "mapped": 30 * min(day, 10)} for day in range(30)]
    start = datetime(2026, 10, 1, tzinfo=UTC)
    days = [Snapshot(start + timedelta(days=n), buckets.complete(c), True) for n, c in enumerate(counts)]
    result = result_of(days)
    assert "At this pace the last 38 users never finish: they must reconnect." in result.verdict
    assert (None, 0) == (result.summary()["forecast"], result.exit_code)


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """A browser."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of sixty days."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(result_of(history(60))), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 900])
def test_everybody_can_read_it(started: Any, file: Path, scheme: str, width: int) -> None:
    """Nothing scrolls sideways, no word is under 11 px or overlaps another, axe-core finds nothing serious."""
    context = started.new_context(offline=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"file://{file}")
    assert width == page.evaluate("document.documentElement.scrollWidth")
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll('main *')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility())
            .map(e => parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest >= 11
    for days in page.query_selector_all(".sc-time .days"):
        boxes = sorted((span.bounding_box() for span in days.query_selector_all("span")), key=lambda box: box["x"])
        assert all(one["x"] + one["width"] <= other["x"] for one, other in pairwise(boxes))
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    assert [] == [(one["id"], one["help"]) for one in found if one["impact"] in ("serious", "critical")]
    context.close()


def test_each_picture_has_its_numbers(file: Path) -> None:
    """Burn-down, users over time and parity are followed by a folded table with a caption and scopes."""
    soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    folded = soup.select("details.sc-numbers table")
    assert [60, 60, 3] == [len(table.select("tbody tr")) for table in folded]
    for table in soup.find_all("table"):
        assert table.caption is not None and table.caption.get_text(strip=True)
        assert {"col"} == {head.get("scope") for head in table.select("thead th")}


def test_a_day_shows_its_numbers_under_the_mouse(started: Any, file: Path) -> None:
    """Nothing is shown until the mouse is over a day; then that day's numbers, inside the page, without a script."""
    page = started.new_context(
        offline=True, java_script_enabled=False, viewport={"width": 900, "height": 900}
    ).new_page()
    page.goto(f"file://{file}")
    days = page.locator(".sc-time").first.locator(".hover")
    assert 60 == days.count()
    for place, words in ((2, "3 Oct 2025"), (59, "6 Dec 2025")):
        shown = days.nth(place).locator("span")
        assert not shown.is_visible()
        days.nth(place).hover()
        assert shown.is_visible() and words in shown.inner_text() and "users, " in shown.inner_text()
        box = shown.bounding_box()
        assert box is not None and 0 <= box["x"] and box["x"] + box["width"] <= 900
    page.context.close()
