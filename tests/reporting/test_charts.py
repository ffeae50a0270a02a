"""The pictures of the reports: what they say, and that they say it the same way every time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from smartcar_ops.audit import charts
from smartcar_ops.compare.report.verdict_chart import COLORS, verdicts_by_field
from smartcar_ops.database.evidence import buckets
from smartcar_ops.display.drawing import WIDTH, Picture, measure, percent, percents, shared_out

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
PICTURES = {
    "users": lambda: charts.users_by_bucket(BEFORE, AFTER),
    "users once": lambda: charts.users_by_bucket(BEFORE),
    "no users": lambda: charts.users_by_bucket({}),
    "a million users": lambda: charts.users_by_bucket(ALMOST_ALL, {"mapped": 1_000_000}),
    "verdicts": lambda: verdicts_by_field(VERDICTS),
    "no verdicts": lambda: verdicts_by_field(pd.DataFrame({"equal": []})),
    "share": lambda: charts.migrated_share(201, 81, 300),
    "share of a million": lambda: charts.migrated_share(999_999, 1, 1_000_000),
    "share of none": lambda: charts.migrated_share(0, 0, 0),
    "allowance": lambda: charts.allowance({"linking": 10_000, "recording": 45_000}, 23_160, 8.04),
    "allowance, nothing needed": lambda: charts.allowance({}, 0, -1),
}
every_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


def texts(picture: Picture) -> list[ElementTree.Element]:
    """Every line of text in the picture."""
    return [tag for tag in ElementTree.fromstring(picture.svg).iter() if tag.tag.endswith("}text")]


def words(picture: Picture) -> list[str]:
    """What the lines of text say, in the order drawn."""
    return [tag.text or "" for tag in texts(picture)]


def numbers(picture: Picture) -> list[int]:
    """The lines that are a number and nothing else."""
    return [int(text.replace(",", "")) for text in words(picture) if re.fullmatch(r"[\d,]+", text)]


def bars(picture: Picture, color: str) -> list[tuple[float, float]]:
    """Left and right edge of every bar of this colour, in units."""
    paths = re.findall(rf'<path d="([^"]*)" style="fill: {color}[;"]', picture.svg)
    edges = [[float(x) for x, _ in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)] for path in paths]
    return [(min(xs), max(xs)) for xs in edges]


@every_picture
def test_the_same_numbers_give_the_same_bytes(draw):
    """A picture drawn twice is the same, byte for byte."""
    assert draw() == draw()


@every_picture
def test_a_picture_is_a_bare_svg_that_refers_to_nothing(draw):
    """An SVG has no prolog, no document type, no style sheet, no date, no id and no link."""
    svg = draw().svg
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert not re.search(r"<!|<\?|<style|<defs|<metadata|href| id=|url\(|pt\"", svg)
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]


@every_picture
def test_all_text_lies_inside_the_picture_and_apart(draw):
    """No line of text leaves the picture or runs into another, measured in a font wider than any system's."""
    svg = ElementTree.fromstring(draw().svg)
    height = float(svg.attrib["viewBox"].split()[3])
    boxes = []
    for tag in texts(draw()):
        style = tag.attrib["style"]
        size = float(re.search(r"font-size: ([\d.]+)px", style)[1])
        width = measure(tag.text, size, "font-weight: 700" in style) - size / 4
        x, y = float(tag.attrib["x"]), float(tag.attrib["y"])
        x -= {"end": width, "middle": width / 2}.get(re.search(r"text-anchor: (\w+)", style)[1], 0)
        assert -0.5 <= x <= x + width <= WIDTH + 0.5, tag.text
        assert size * 0.7 <= y <= height, tag.text
        boxes.append((x, x + width, y - size * 0.7, y, tag.text))
    for place, (left, right, top, bottom, text) in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top, (
                text,
                other,
            )


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
    """A bucket of 1 has a bar one can see, and no bar is longer than the picture."""
    picture = charts.users_by_bucket(ALMOST_ALL)
    conflict, *_ = [bar for bar in bars(picture, charts.ORANGE) if bar[0] > 0]
    assert conflict[1] - conflict[0] == pytest.approx(3.0)
    assert max(right for _, right in bars(picture, charts.BLUE)) < WIDTH


def test_a_bucket_that_does_not_exist_is_refused_by_name():
    """A name outside the nine would break the sum, so it raises."""
    with pytest.raises(ValueError, match=r"'maped' is no audit bucket; expected one of mapped"):
        charts.users_by_bucket({"maped": 1})


def test_a_count_below_zero_is_refused():
    """No picture can show fewer than none."""
    with pytest.raises(ValueError, match=r"ready is -1; expected a count of 0 or more"):
        charts.users_by_bucket({"ready": -1})


def test_every_fields_bar_is_as_long_as_the_others():
    """Bars are shares of 100%: the segments of every field fill the same room."""
    picture = verdicts_by_field(VERDICTS)
    ends = [right for left, right in bars(picture, COLORS["mismatch"]) if left > 112]
    assert len(ends) == 2
    assert ends[0] == pytest.approx(ends[1])


def test_the_worst_field_comes_first_and_one_without_readings_says_so():
    """Fields are sorted by the share of readings lost or different."""
    shown = words(verdicts_by_field(VERDICTS))
    assert [text for text in shown if text in VERDICTS.index] == ["battery-percent", "odometer", "oil-life"]
    assert "– no reading" in shown


def test_sample_sizes_and_shares_of_the_families_are_told():
    """The title holds the totals, the right edge each field's readings, the legend each verdict's."""
    picture = verdicts_by_field(VERDICTS)
    assert picture.title == "3 fields, 60 readings: 95% agree, 2% not judged, 3% (2) lost or different"
    assert {"50", "10", "0", "equal 49", "mismatch 2"} <= set(words(picture))
    assert "odometer: equal 40, converted 8, stale 1, mismatch 1" in picture.description


def test_a_verdict_that_does_not_exist_is_refused_by_name():
    """A column outside the contract would be left out of the sums, so it raises."""
    with pytest.raises(ValueError, match=r"'same' is no compare verdict"):
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


def test_widths_add_up_to_the_room_and_none_vanishes():
    """What the smallest segments are given is taken from the others."""
    widths = shared_out([1_000_000, 1, 0, 1], 100.0)
    assert sum(widths) == pytest.approx(100.0)
    assert widths[1:] == [3.0, 0.0, 3.0]


def test_a_notebook_cell_shows_a_figure_with_its_description():
    """The description is the label for people who do not see the picture; markup in it is text."""
    html = Picture("<svg></svg>", "A < B", 'say "A"')._repr_html_()
    assert html.startswith("<figure")
    assert 'role="img" aria-label="say &quot;A&quot;"' in html
    assert html.index("<svg>") < html.index("<figcaption")
    assert "A &lt; B</figcaption>" in html


def test_the_repr_is_one_short_line():
    """A log that prints a picture gets its title alone."""
    assert repr(charts.migrated_share(1, 1, 2)) == "Picture('Users mapped')"


def test_names_from_outside_are_text():
    """A name with markup or dollars is written as it is."""
    picture = charts.allowance({"<b>$x$</b>": 1}, 1, 1)
    assert "<b>$x$</b> 1" in words(picture)
    assert "<b>" not in picture.svg
