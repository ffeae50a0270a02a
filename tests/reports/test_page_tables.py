"""A report's tables in a browser: sorted, filtered, named, and readable without script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nbformat import v4

from smartcar_ops.display import tables
from smartcar_ops.reports.page import render
from tests.reports.test_page import HEADER, cell, notebook, shown
from tests.support.browser import CHROMIUM, browser, offline_page

NUMBERS = [9, 10, 1_000, 2, 30, 4, 50, 6]
TABLE = pd.DataFrame({"user_id": [f"{number}" for number in NUMBERS], "make": [*"hgfedcba"], "cars": NUMBERS})


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """A browser."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    with browser() as started:
        yield started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A page with one long table under a heading, and another run of its day."""
    cells = (
        v4.new_markdown_cell("# Title"),
        v4.new_markdown_cell("## Users by make"),
        cell(shown(html=tables.whole(TABLE).data)),
    )
    header = replace(
        HEADER, others=[("20_audit_user_ids (07:00)", "../20261123T070000Z__20_audit_user_ids/report.html")]
    )
    path = tmp_path / "report.html"
    path.write_text(render(notebook(*cells), header), encoding="utf-8")
    return path


def column(page: Any, place: int) -> list[str]:
    """What stands in a column, in the rows that can be seen."""
    rows = [row for row in page.query_selector_all("main tbody tr") if row.is_visible()]
    return [row.query_selector_all("td")[place].inner_text() for row in rows]


def test_a_table_sorts_by_a_click_or_a_key(started: Any, file: Path) -> None:
    """Numbers as numbers, texts as people order them; once more turns it round, and a screen reader hears of it."""
    with offline_page(started, file) as (page, requests):
        page.get_by_role("button", name="cars").click()
        assert [str(number) for number in sorted(NUMBERS)] == column(page, 2)
        assert "ascending" == page.get_by_role("columnheader", name="cars").get_attribute("aria-sort")
        page.get_by_role("button", name="cars").press("Enter")
        assert "1000" == column(page, 2)[0]
        page.get_by_role("button", name="make").press("Enter")
        assert [*"abcdefgh"] == column(page, 1)
        assert page.get_by_role("columnheader", name="cars").get_attribute("aria-sort") is None
        assert [f"file://{file}"] == requests


def test_a_table_is_filtered_by_a_word(started: Any, file: Path) -> None:
    """Only rows with the word stay, in any case; without it all are back."""
    with offline_page(started, file) as (page, _):
        page.get_by_label("Filter the rows of Users by make").fill("G")
        assert ["g"] == column(page, 1)
        page.get_by_label("Filter the rows of Users by make").fill("")
        assert 8 == len(column(page, 1))


def test_an_id_leads_to_its_command_and_sorts_and_filters_by_itself(started: Any, file: Path) -> None:
    """A click on a user's id shows its command, which is neither sorted by nor found."""
    with offline_page(started, file) as (page, _):
        assert not page.get_by_text("smartcar-ops user 50").is_visible()
        page.get_by_text("50", exact=True).first.click()
        assert page.get_by_text("smartcar-ops user 50").is_visible()
        page.get_by_role("button", name="user_id").click()
        assert [*"abcdefgh"] != column(page, 1)
        ids = [text.splitlines()[0] for text in column(page, 0)]
        assert [str(number) for number in sorted(NUMBERS)] == ids
        page.get_by_label("Filter the rows of Users by make").fill("smartcar-ops")
        assert [] == column(page, 0)
        page.get_by_label("Filter the rows of Users by make").fill("30")
        assert ["30"] == column(page, 0)


def test_without_script_the_table_is_there(started: Any, file: Path) -> None:
    """All rows in their order, and no button that does nothing."""
    context = started.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{file}")
    assert [*"hgfedcba"] == column(page, 1)
    assert [] == page.query_selector_all("button, input")
    context.close()


def test_a_page_leads_to_the_other_runs_of_its_day(started: Any, file: Path) -> None:
    """By a link beside it, which also works after the reports were moved."""
    with offline_page(started, file) as (page, _):
        link = page.get_by_role("navigation", name="Other runs of this day").get_by_role("link")
        assert "20_audit_user_ids (07:00)" == link.inner_text()
        assert "../20261123T070000Z__20_audit_user_ids/report.html" == link.get_attribute("href")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(started: Any, file: Path, scheme: str) -> None:
    """axe-core finds nothing serious: names, headings, contrast, tables."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = started.new_context(offline=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"file://{file}")
    found = axe.Axe().run(page).response["violations"]
    assert [] == [(one["id"], one["help"]) for one in found if one["impact"] in ("serious", "critical")]
    context.close()
