"""The panel of the progress report, pressed from Python: with no audit, one, two and four hundred."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from smartcar_ops.audit import buckets
from smartcar_ops.database.ledger.history.days import History, Snapshot
from smartcar_ops.progress.panel import MOST_MOVES, ProgressPanel
from smartcar_ops.progress.progress import Progress
from smartcar_ops.session import Session
from smartcar_ops.storage.parquet import ParquetTable
from tests.support.histories import past_snapshot
from tests.support.house import House

FIRST = datetime(2026, 9, 1, 5, tzinfo=UTC)


def audited(house: House, at: datetime, states: Mapping[str, str], *, complete: bool = True) -> None:
    """An audit of a day that found these users in these buckets."""
    counts = buckets.complete({name: [*states.values()].count(name) for name in {*states.values()}})
    rows = ParquetTable({"user_id": "str", "bucket": "str"})
    rows.append(pd.DataFrame({"user_id": [*states], "bucket": [*states.values()]}))
    History(house.ledger).record(Snapshot(at, counts, complete), rows.close())


def opened(house: House) -> ProgressPanel:
    """The panel, as its notebook opens it."""
    session = Session("90_progress_report", house.settings)
    return ProgressPanel(session, Progress(session, deadline="2027-12-01"))


def pressed(panel: ProgressPanel) -> str:
    """Presses "Who moved"; the sentence that it ends with."""
    assert not panel.show.disabled
    panel.show.click()
    panel.wait(60)
    return panel.status.value


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A company with its ledger, never audited."""
    return make_house(users=5).expand()


def test_without_an_audit_it_says_so(house: House) -> None:
    """No picture, nothing to choose, and the command that makes the first audit; then one audit is not two."""
    panel = opened(house)
    assert "No audit yet: run 20_audit_user_ids." in panel.picture.value
    assert (True, 2) == (panel.show.disabled, len(panel.box.children))
    audited(house, FIRST, {"1": "ready"})
    panel = opened(house)
    assert "1 Sep 2026\n1 user, 1 left\nready 1</span>" in panel.picture.value
    assert "Who moved can be shown after audits on two days." in panel.status.value
    assert (True, "none") == (panel.show.disabled, panel.choose.layout.display)


def test_it_shows_who_moved_between_two_days(house: House) -> None:
    """Counts from bucket to bucket, each user with its command; by bucket; a wrong order is one sentence; no call."""
    many = {str(number): "ready" for number in range(10, 220)}
    audited(house, FIRST, {"1": "ready", "2": "mapped", "3<b>": "ready"})
    audited(house, FIRST + timedelta(days=2), {"1": "mapped", "2": "mapped", **many}, complete=False)
    audited(house, FIRST + timedelta(days=3), {"1": "mapped", "2": "reconnect", **many})
    sent = len(house.sandbox.arrivals)
    panel = opened(house)
    assert 3 == panel.picture.value.count('class="hover"')
    assert "3 Sep 2026 (audit not complete)" == panel.earlier.label
    assert "1 user moved between 3 Sep 2026 and 4 Sep 2026." == pressed(panel)
    assert "<code>smartcar-ops user 2</code>" in panel.moves.value and "2026-09-04" in panel.moves.value
    panel.earlier.value = FIRST.date()  # follows at once, because a comparison is shown
    panel.wait(60)
    assert (
        f"213 users moved between 1 Sep 2026 and 4 Sep 2026; the first {MOST_MOVES} are listed." == panel.status.value
    )
    assert MOST_MOVES == panel.moves.value.count("smartcar-ops user ")
    assert re.search(r"\(new user\)</td><td[^>]*>ready</td><td[^>]*>210</td>", panel.counts.value)
    assert "(no longer in your table)" in panel.counts.value
    panel.bucket.value = "mapped"
    panel.wait(60)
    assert "2 users moved from or to mapped between 1 Sep 2026 and 4 Sep 2026." == panel.status.value
    assert ["1", "2"] == re.findall(r"<summary>(\w+)</summary>", panel.moves.value)
    panel.bucket.value = "ready"
    panel.wait(60)
    assert "3&lt;b&gt;" not in panel.status.value and "3<b>" not in panel.moves.value
    panel.bucket.value = "unasked"
    panel.wait(60)
    assert "Nobody moved from or to unasked between 1 Sep 2026 and 4 Sep 2026." == panel.status.value
    panel.later.value = FIRST.date()
    panel.wait(60)
    assert "Choose a day under From that is before the day under To." in panel.status.value
    assert ("", "", False) == (panel.counts.value, panel.moves.value, panel.show.disabled)
    assert sent == len(house.sandbox.arrivals)


def test_a_failure_is_one_sentence_and_may_be_repeated(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the database or of the kit stands in the panel, and the button works again."""
    for day in range(2):
        audited(house, FIRST + timedelta(days=day), {"1": ("ready", "mapped")[day]})
    panel = opened(house)
    with monkeypatch.context() as patched:
        patched.setattr("smartcar_ops.database.ledger.history.user_states.transitions", lambda *_: 1 / 0)
        assert "The kit failed with ZeroDivisionError" in pressed(panel)
    assert "1 user moved between 1 Sep 2026 and 2 Sep 2026." == pressed(panel)


def test_a_year_of_audits_is_one_picture(house: House) -> None:
    """With 400 days each one can be hovered over and chosen, and the picture stays small."""
    for day in range(400):
        past_snapshot(house.ledger, FIRST - timedelta(days=400 - day), {"mapped": day, "ready": 400 - day})
    panel = opened(house)
    assert 400 == panel.picture.value.count('class="hover"')
    assert len(panel.picture.value) < 400_000
    assert 400 == len(panel.earlier.options)
    assert "Nobody moved between" in pressed(panel)
