"""The pictures of the reports: what they say, and that they say it the same way every time."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup

from smartcar_ops.audit import buckets, charts
from smartcar_ops.compare.report.charts import COLORS, loss_by_make, verdicts_by_field
from smartcar_ops.display.picture import Picture
from smartcar_ops.text import percent, percents
from tests.support.browser import CHROMIUM, browser
from tests.support.pictures import bars, words

BEFORE = {
    "mapped": 62, "ready": 139, "conflict": 21, "shared": 12, "invalid": 6, "unconfirmed": 12,
    "no_vehicles": 18, "unasked": 3, "reconnect": 27,
}  # fmt: skip
AFTER = {**BEFORE, "mapped": 201, "ready": 0, "unconfirmed": 15, "unasked": 0}
ALMOST_ALL = {"mapped": 999_999, "conflict": 1}
VERDICTS = pd.DataFrame(
    {"equal": [40, 9, 0], "converted": [8, 0, 0], "stale": [1, 0, 0], "mismatch": [1, 1, 0]},
    index=["odometer", "battery-percent", "oil-life"],
)
MILLIONS = VERDICTS * 123_456
MAKES = ("MERCEDES-BENZ", "VOLKSWAGEN", "LAND_ROVER", "BMW", "RAM", "MITSUBISHI", "KIA", "OTHER")
LOSSES = pd.DataFrame(
    [
        (make, field, True, verdict, 40_000 * place, 40_000 * place * (verdict == "mismatch"))
        for place, make in enumerate(MAKES)
        for field in ("tire-pressure-back-left", "diagnostic-system-status", "vin")
        for verdict in ("equal", "mismatch" if place % 3 else "not_capable")
    ],
    columns=["make", "field", "scored", "verdict", "fields", "lost"],
)
PICTURES = {
    "users": lambda: charts.users_by_bucket(BEFORE, AFTER),
    "users once": lambda: charts.users_by_bucket(BEFORE),
    "no users": lambda: charts.users_by_bucket({}),
    "a million users": lambda: charts.users_by_bucket(ALMOST_ALL, {"mapped": 1_000_000}),
    "verdicts": lambda: verdicts_by_field(VERDICTS),
    "no verdicts": lambda: verdicts_by_field(pd.DataFrame({"equal": []})),
    "a long number": lambda: verdicts_by_field(MILLIONS),
    "losses": lambda: loss_by_make(LOSSES, sorted(set(LOSSES["field"]))),
    "share": lambda: charts.migrated_share(201, 81, 300),
    "share of a million": lambda: charts.migrated_share(999_999, 1, 1_000_000),
    "share of none": lambda: charts.migrated_share(0, 0, 0),
    "allowance": lambda: charts.allowance({"linking": 10_000, "recording": 45_000}, 23_160, 8.04),
    "allowance, nothing needed": lambda: charts.allowance({}, 0, -1),
}
every_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


def numbers(picture: Picture) -> list[int]:
    """The texts that are a number and nothing else."""
    return [int(text.replace(",", "")) for text in words(picture) if re.fullmatch(r"[\d,]+", text)]


@every_picture
def test_the_same_numbers_give_the_same_bytes(draw):
    """A picture drawn twice is the same, byte for byte."""
    assert draw() == draw()


@every_picture
def test_a_picture_refers_to_nothing(draw):
    """A picture is marks and words: no script, no link, no address, no id that two pictures could share."""
    html = draw()._repr_html_()
    assert not re.search(r"<script|href|src=| id=|url\(|https?:|@import", html)
    assert {"figure", "style", "figcaption", "div", "span", "i", "b", "small", "br"} >= {
        tag.name for tag in BeautifulSoup(html, "html.parser").find_all(True)
    }


OVERLAPS = """() => {
  const boxes = [], figure = document.querySelector("figure"), frame = figure.getBoundingClientRect(), amiss = [];
  const walk = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.textContent.trim() || node.parentElement.closest("style")) continue;
    if (parseFloat(getComputedStyle(node.parentElement).fontSize) < 11) amiss.push("small: " + node.textContent);
    const range = document.createRange(); range.selectNodeContents(node);
    for (const box of range.getClientRects()) boxes.push([box, node.textContent]);
  }
  boxes.forEach(([a, text], place) => {
    if (a.left < frame.left - 0.5 || a.right > frame.right + 0.5) amiss.push("outside: " + text);
    for (const [b, other] of boxes.slice(place + 1))
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5) amiss.push(text + " on " + other);
  });
  return amiss;
}"""


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: {CHROMIUM} is not installed (Debian: chromium)")
def test_all_text_lies_inside_the_picture_and_apart():
    """On a phone and on a desk no text leaves its picture, runs into another or is smaller than 11 pixels."""
    with browser() as started:
        for width in (420, 1280):
            page = started.new_page(viewport={"width": width, "height": 900})
            for name, draw in PICTURES.items():
                page.set_content(f"<body>{draw()._repr_html_()}")
                assert (width, name, []) == (width, name, page.evaluate(OVERLAPS))


def test_the_numbers_beside_the_bars_add_up_to_both_totals():
    """Nine buckets, before and after: the numbers shown sum to the two totals of the title."""
    picture = charts.users_by_bucket(BEFORE, AFTER)
    assert sum(numbers(picture)) == 300 + 300
    assert len(numbers(picture)) == 18
    assert picture.title == "300 users: 62 mapped before, 201 after; 81 left to do"


def test_totals_that_differ_are_both_in_the_title():
    """A user who came in between is not hidden."""
    title = charts.users_by_bucket({"mapped": 1}, {"mapped": 1, "ready": 1}).title
    assert title == "1 user before, 1 of them mapped; 2 users after, 1 mapped, 1 left to do"


def test_buckets_stand_in_a_readers_order():
    """Done first, then what is safe to set, then what needs a person, then the rest."""
    shown = [text.replace(" ", "_") for text in words(charts.users_by_bucket(BEFORE))]
    order = [
        "mapped",
        "ready",
        "unasked",
        "conflict",
        "shared",
        "invalid",
        "reconnect",
        "unconfirmed",
        "no_vehicles",
    ]
    assert [text for text in shown if text in charts.BUCKETS] == order == list(charts.BUCKETS)


def test_the_groups_of_buckets_carry_their_sums():
    """Each group says how many users it is, and has one turn: the groups that are left sum to what is left."""
    shown = words(charts.users_by_bucket(BEFORE))
    assert shown[shown.index("Left: for a person to decide") + 1] == "39 users"
    turns = {group: {buckets.BY_NAME[name].turn for name in names} for group, names in charts.GROUPS.items()}
    assert {1} == {len(found) for found in turns.values()}
    assert sum(int(shown[shown.index(group) + 1].split()[0]) for group in turns if group.startswith("Left")) == 220
    assert buckets.left(BEFORE) == 220 == sum(BEFORE.values()) - BEFORE["mapped"] - BEFORE["no_vehicles"]


def test_one_user_among_a_million_is_still_a_bar():
    """A bucket of 1 has a bar, which has a least width; the fullest bar has the whole room; none has no bar."""
    picture = charts.users_by_bucket(ALMOST_ALL)
    assert 2 == len(re.findall("<i style", picture.drawing))
    assert [0.000001] == bars(picture, charts.ORANGE)
    assert [1.0] == bars(picture, charts.BLUE)
    assert re.search(r"\.sc-picture i \{[^}]*min-width: 3px", picture._repr_html_())


def test_a_bucket_that_does_not_exist_is_refused_by_name():
    """A name outside the nine would break the sum, so it raises."""
    with pytest.raises(ValueError, match=r"'maped' is not an audit bucket; expected one of mapped"):
        charts.users_by_bucket({"maped": 1})


def test_a_count_below_zero_is_refused():
    """No picture can show fewer than none."""
    with pytest.raises(ValueError, match=r"ready is -1; expected a count of 0 or more"):
        charts.users_by_bucket({"ready": -1})


def test_every_fields_bar_is_as_long_as_the_others():
    """Bars are shares of 100%: each field's fill the same room, divided as its readings are."""
    picture = verdicts_by_field(VERDICTS)
    assert ["100.0000%"] * 2 == re.findall(r'class="stack" style="width:([\d.]+%)"', picture.drawing)
    assert [9.0, 40.0] == bars(picture, COLORS["equal"])
    assert [1.0, 1.0] == bars(picture, COLORS["mismatch"])


def test_the_worst_field_comes_first_and_one_without_readings_says_so():
    """Fields are sorted by the share of readings lost or different."""
    shown = words(verdicts_by_field(VERDICTS))
    assert [text for text in shown if text in VERDICTS.index] == ["battery-percent", "odometer", "oil-life"]
    assert "– no readings" in shown


def test_sample_sizes_and_shares_of_the_families_are_told():
    """The title holds the totals, the right edge each field's readings, the legend each verdict's."""
    picture = verdicts_by_field(VERDICTS)
    assert picture.title == "3 fields, 60 readings: 95% agree, 2% not judged, 3% (2) lost or different"
    assert {"50", "10", "0", "equal 49", "mismatch 2"} <= set(words(picture))
    assert "odometer: equal 40, converted 8, stale 1, mismatch 1" in picture.description


def test_a_verdict_that_does_not_exist_is_refused_by_name():
    """A column outside the contract would be left out of the sums, so it raises."""
    with pytest.raises(ValueError, match=r"'same' is not a compare verdict"):
        verdicts_by_field(pd.DataFrame({"same": [1]}, index=["odometer"]))


def test_missing_counts_are_zero():
    """A pivot table's empty cells count as none."""
    picture = verdicts_by_field(pd.DataFrame({"equal": [1.0, None]}, index=["vin", "make"]))
    assert picture.title.startswith("2 fields, 1 reading: 100% agree")


def test_all_is_said_only_of_all():
    """Shares never round to 0% of some or to 100% of not quite all."""
    told = [percent(part, 1_000_000) for part in (0, 1, 500_000, 999_999, 1_000_000)]
    assert told == ["0%", "under 1%", "50%", "over 99%", "100%"]
    assert percent(0, 0) == "–"


def test_shares_of_parts_add_up_to_a_hundred():
    """Three thirds are 34, 33 and 33."""
    assert percents([1, 1, 1]) == ["34%", "33%", "33%"]


def test_the_share_is_in_large_type_with_its_numbers():
    """Two thirds of 300 users are told as a share and as numbers."""
    assert words(charts.migrated_share(201, 81, 300)) == [
        "67%",
        "201 of 300 users mapped",
        "81 left to do, 18 with nothing to map",
    ]


def test_more_mapped_than_there_are_is_refused():
    """A share above one is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"mapped is 2 and left 0 of 1"):
        charts.migrated_share(2, 0, 1)


@pytest.mark.parametrize(
    ("to_come", "days", "sentence"),
    [
        (23_160, 8.0, "It does not fit: 31,840 units short"),
        (60_000, 20.0, "It fits, with 5,000 units to spare"),
        (60_000, 0.0, "The deadline has passed with 55,000 units open"),
    ],
)
def test_whether_it_fits_is_said_in_words(to_come, days, sentence):
    """The first line of the picture is the answer, and the description repeats it."""
    picture = charts.allowance({"linking": 10_000, "recording": 45_000}, to_come, days)
    assert words(picture)[0] == sentence
    assert picture.description.startswith(sentence)


def test_what_is_spent_first_is_said_to_fit_first():
    """Links come before recordings: they fit whole, recordings in part."""
    shown = words(charts.allowance({"linking": 10_000, "recording": 45_000}, 23_160, 8.04))
    assert shown[shown.index("linking 10,000") + 1] == "fits"
    assert shown[shown.index("recording 45,000") + 1] == "13,160 of them fit"


def test_a_notebook_cell_shows_a_figure_with_its_description():
    """The description is the label for people who do not see the picture; markup in it is text."""
    figure = BeautifulSoup(Picture(Markup("<i></i>"), "A < B", 'say "A"')._repr_html_(), "html.parser").figure
    assert {"role": "img", "aria-label": 'say "A"'}.items() <= figure.attrs.items()
    assert "A < B" == figure.figcaption.string
    assert figure.i


def test_the_repr_is_one_short_line():
    """A log that prints a picture gets its title alone."""
    assert repr(charts.migrated_share(1, 1, 2)) == "Picture('Users mapped')"


def test_names_from_outside_are_text():
    """A name with markup or dollars is written as it is."""
    picture = charts.allowance({"<b>$x$</b>": 1}, 1, 1)
    assert "<b>$x$</b> 1" in words(picture)
    assert "<b>$" not in picture._repr_html_()
