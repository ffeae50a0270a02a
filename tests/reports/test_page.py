"""The report's page: what it shows, what it leaves out, and that it opens without a network."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from nbformat import v4

from smartcar_ops.audit import charts
from smartcar_ops.reports.page import Header, failure, render
from tests.support.browser import CHROMIUM
from tests.support.browser import browser as started

WIDGET = "application/vnd.jupyter.widget-view+json"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One blue pixel, in base64 as notebooks keep it."""

OUTSIDE = """
<img src="https://cdn.example/x.png"> <link href="//cdn.example/x.css"> <b onclick="go()">bold</b>
<script src="https://cdn.example/x.js">alert(1)</script> <iframe src="http://cdn.example"></iframe>
<style>@import "https://cdn.example/y.css";</style> <p style="background: url(http://cdn.example/z)">text</p>
<a href="javascript:alert(3)">go</a> <svg><rect fill="url(#kept)"/><image href="http://cdn.example/i"/></svg>
"""
HEADER = Header(
    title="Backfill of user ids",
    verdict="139 users were given their id.",
    state="done",
    where="Sandbox",
    environment="staging",
    started="2026-11-23T14:01:00Z",
    ended="2026-11-23T14:03:10Z",
    calls={"V3": 1214, "V2": 36, "iam": 0},
    parameters={"apply": True, "plan": "", "batch_size": 5000},
    kit_version="0.1.0",
)


class Page(HTMLParser):
    """What a browser would find: tags, their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.inside = [], [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Keep the tag and its attributes."""
        self.tags.append(tag)
        self.inside = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        """Keep the text that people read."""
        self.words += data if self.inside not in ("style", "script") else ""

    def handle_endtag(self, tag):
        """What follows is of no style or script any more."""
        self.inside = ""


def cell(*outputs, tags=()):
    """A code cell that was run."""
    return v4.new_code_cell("input_of_a_cell", outputs=list(outputs), metadata={"tags": list(tags)})


def shown(**data):
    """An output that shows the same thing in these formats."""
    names = {"html": "text/html", "text": "text/plain", "png": "image/png", "svg": "image/svg+xml"}
    return v4.new_output("display_data", data={names.get(kind, kind): value for kind, value in data.items()})


def notebook(*cells):
    """A notebook of these cells."""
    return v4.new_notebook(cells=list(cells))


def page_of(*cells, **changes):
    """The page of these cells, its header changed as told."""
    return Page(render(notebook(*cells), replace(HEADER, **changes)))


@pytest.fixture
def full():
    """A notebook with everything a report can hold, and much that it must not."""
    table = pd.DataFrame({"user_id": ["1042", "1077"], "reason": ["two ids: one by token, one by car", "-"]})
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="9" cy="9" r="9"/></svg>'
    return notebook(
        v4.new_markdown_cell("# Backfill of user ids\n\nWho gets an id: [guide](https://smartcar.com/docs)."),
        v4.new_code_cell("apply = True", metadata={"tags": ["parameters"]}),
        cell(shown(html=charts.migrated_share(201, 81, 300)._repr_html_(), text="Picture")),
        cell(shown(html=table._repr_html_(), text=repr(table))),
        cell(shown(png=PNG, text="Figure")),
        cell(shown(svg=svg)),
        cell(shown(**{WIDGET: {"model_id": "1"}, "text": "Button()"})),
        cell(shown(html=OUTSIDE)),
        cell(shown(**{"application/javascript": "alert(2)"})),
    )


def test_the_page_holds_no_reference_to_the_outside(full):
    """Nothing that a browser would load: no source, no sheet, no url() but data: and links to follow."""
    html = render(full, HEADER)
    page = Page(html)
    names = {"src", "srcset", "href", "xlink:href", "data"}
    loads = [(tag, value) for tag, name, value in page.attributes if name in names]
    assert [value for tag, value in loads if tag != "a" and not value.startswith("data:image/")] == []
    assert "(external image left out)" in page.words
    assert ("rect", "fill", "url(#kept)") in page.attributes
    assert [value for tag, value in loads if tag == "a"] == ["https://smartcar.com/docs"]
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|cdn\.example", html)


def test_the_page_holds_no_script_but_its_own(full):
    """Neither scripts nor handlers stay, whatever the outputs held; the page's own is the one that its policy names."""
    html = render(full, HEADER)
    page = Page(html)
    assert 1 == page.tags.count("script")
    own = re.search(r"<script>(.*)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []
    assert "alert" not in page.words


def test_the_policy_forbids_what_the_page_does_not_hold():
    """The page's own policy allows inline style, data pictures and its one script, and nothing else."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-"
    (given,) = [value for tag, name, value in page_of().attributes if tag == "meta" and value.startswith("default-src")]
    assert given.startswith(policy)
    assert 1 == given.count("sha256-")


@pytest.mark.parametrize("field", ["verdict", "title", "where", "environment", "kit_version"])
def test_markup_from_outside_is_shown_as_text(field):
    """A header's text never becomes markup."""
    page = page_of(**{field: "<img src=x onerror=alert(1)> & co"})
    assert "img" not in page.tags
    assert "<img src=x onerror=alert(1)> & co" in page.words


def test_markup_in_parameters_and_calls_is_shown_as_text():
    """Names and values of parameters and of APIs never become markup."""
    page = page_of(parameters={"<i>": "</table><u>"}, calls={"<s>": 1})
    assert not {"i", "u", "s"} & set(page.tags)


def test_inputs_are_left_out():
    """A report shows what came out, not the code."""
    assert "input_of_a_cell" not in page_of(cell(shown(text="came out"))).words


def test_widgets_are_dropped_with_their_text():
    """A button is nothing in a report."""
    page = page_of(cell(shown(**{WIDGET: {"model_id": "1"}, "text": "Button()"})), cell(shown(text="kept")))
    assert "Button" not in page.words
    assert "kept" in page.words


@pytest.mark.parametrize("tag", ["panel", "parameters", "injected-parameters", "not-in-report"])
def test_tagged_cells_are_removed(tag):
    """Cells for hands, and the parameters' cells, are no part of a report."""
    page = page_of(cell(shown(text="hidden"), tags=[tag]), cell(shown(text="kept"), tags=["other"]))
    assert "hidden" not in page.words
    assert "kept" in page.words


def test_warnings_and_tracebacks_stay_in_the_notebook():
    """Of an error the last line is shown; stderr and frames, which name folders, are not."""
    error = v4.new_output("error", ename="ValueError", evalue="no", traceback=["File /home/me/x.py"])
    page = page_of(cell(v4.new_output("stream", name="stderr", text="/home/me/y.py: warning"), error))
    assert "/home/me" not in page.words
    assert "ValueError: no" in page.words


@pytest.mark.parametrize("source", ["# Backfill of user ids\n\nText", "Backfill of user ids\n===\nText"])
def test_the_title_stands_once(source):
    """The notebook's own title gives way to the page's; what follows it stays."""
    html = render(notebook(v4.new_markdown_cell(source)), HEADER)
    assert html.count("Backfill of user ids</h1>") == 1
    assert Page(html).tags.count("h1") == 1
    assert "Text" in Page(html).words


def test_a_later_heading_stays():
    """Only the notebook's title goes."""
    assert "What now" in page_of(v4.new_markdown_cell("Text\n\n# What now")).words


@pytest.mark.parametrize(
    ("state", "badge"),
    [("done", "Done"), ("gate", "the gate says no"), ("nothing", "Nothing to do"), ("failed", "Failed")],
)
def test_the_state_is_told_in_words(state, badge):
    """A badge is read, not only seen."""
    assert badge in page_of(state=state).words


def test_an_unknown_state_is_refused():
    """A state outside the four raises, naming it."""
    with pytest.raises(ValueError, match=r"state is 'maybe'; expected one of done"):
        page_of(state="maybe")


def test_the_head_says_where_when_and_what_it_spent():
    """Place, environment, start, duration, and calls per API with their sum."""
    words = page_of().words
    for part in (
        "Sandbox",
        "staging",
        "23 Nov 2026, 14:01 UTC, took 2 min 10 s",
        "V3 1,214 · V2 36 · total 1,250",
    ):
        assert part in words


def test_no_environment_and_no_calls():
    """An empty environment leaves no label behind; no call is said as none."""
    words = page_of(environment="", calls={}).words
    assert "Environment" not in words
    assert "none" in words


def test_parameters_are_folded_and_told_as_json():
    """An empty text can be told from no text."""
    page = page_of()
    assert page.tags.count("details") == 1
    assert re.search(r'apply\s*true\s*plan\s*""\s*batch_size\s*5000', page.words)


def test_columns_of_numbers_stand_to_the_right():
    """Numbers and their heads are marked, texts are not."""
    table = pd.DataFrame({"make": ["FORD", "BMW"], "vehicles": [12, 1_200]}).set_index("make")
    html = render(notebook(cell(shown(html=table._repr_html_()))), HEADER)
    assert html.count('<td class="number">') == 2
    assert re.search(r'<th class="number" scope="col">vehicles</th>', html)
    assert '<th scope="row">FORD</th>' in html


def test_the_name_of_an_index_stands_beside_those_of_the_columns():
    """pandas' second head row is folded into the first."""
    table = pd.DataFrame({"vehicles": [12]}, index=pd.Index(["FORD"], name="make"))
    html = render(notebook(cell(shown(html=table._repr_html_()))), HEADER)
    head = html[html.index("<main>") :].split("</thead>")[0]
    assert Page(head).words.split() == ["make", "vehicles"]
    assert head.count("<tr") == 1


def test_the_same_input_gives_the_same_bytes(full):
    """A report rendered twice is the same, and rendering does not touch the notebook."""
    before = copy.deepcopy(full)
    assert render(full, HEADER) == render(full, HEADER)
    assert full == before


def test_a_failed_run_says_what_failed_and_where_the_notebook_is():
    """One sentence, the cell, and the marked notebook beside the page."""
    page = Page(failure(HEADER, "Smartcar refused <the> credentials.", "ask(<b>)"))
    for part in ("Failed", "Smartcar refused <the> credentials.", "ask(<b>)", "run.ipynb"):
        assert part in page.words
    assert HEADER.verdict not in page.words


def test_a_failure_without_a_cell_says_so():
    """A run can fail before its first cell."""
    assert "before its first cell or between two cells" in Page(failure(HEADER, "Disk full.", None)).words


@pytest.fixture(scope="module")
def browser():
    """Chromium, or a skip that says what is missing."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
    with started() as chromium:
        yield chromium


@pytest.mark.parametrize("width", [420, 1200])
def test_the_page_opens_without_a_network(browser, full, tmp_path, width):
    """Without a network every picture has a size, nothing is asked for, and nothing runs off the side."""
    (tmp_path / "report.html").write_text(render(full, HEADER), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": width, "height": 800})
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("figure.picture").bounding_box()["width"] > 300
    assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True, True]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    context.close()
