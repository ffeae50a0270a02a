"""The audit's panel, clicked by its own buttons in a kernel's place: the picture, the pages, asking, one user."""

from __future__ import annotations

import csv
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.audit import panel as panels
from smartcar_ops.audit.audit import Audit
from smartcar_ops.audit.panel import AuditPanel
from smartcar_ops.backfill.user_story import read_story
from smartcar_ops.database.evidence import user_pages
from smartcar_ops.database.evidence.user_pages import UserFilter
from smartcar_ops.database.ledger.history.days import History
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House

NOTEBOOK = "20_audit_user_ids"


class Notebook:
    """What the notebook's cells make, one after the other."""

    def __init__(self, house: House, **options: Any) -> None:
        self.house, self.session = house, Session(NOTEBOOK, house.settings)
        self.audit = Audit(self.session, **options)
        self.panel = AuditPanel(self.session, self.audit, story=read_story)

    def finish(self) -> Notebook:
        """Runs the cells that ask, judge and finish."""
        self.audit.ask()
        self.audit.finish()
        return self

    def close(self) -> None:
        """Closes the panel and what it opened."""
        self.panel.wait(60)
        self.panel.close()
        for engine in (self.panel._company.engine, self.panel._ledger.engine):
            engine.dispose()
        self.session.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Notebook]]:
    """Opens the notebook on a house."""
    made: list[Notebook] = []

    def make(house: House, **options: Any) -> Notebook:
        monkeypatch.chdir(house.root)
        made.append(Notebook(house, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def press(panel: AuditPanel, name: str) -> None:
    """Presses a button and waits for the work it started."""
    button = getattr(panel, name)
    assert not button.disabled
    button.click()
    panel.wait(60)


def listed(panel: AuditPanel) -> list[str]:
    """The ids on the page that is shown."""
    return [user.description for row, user in zip(panel.rows, panel.users, strict=True) if row.layout.display != "none"]


def all_pages(panel: AuditPanel) -> list[str]:
    """The ids on all pages, from this one on."""
    found = listed(panel)
    while not panel.next.disabled:
        panel.next.click()
        found += listed(panel)
    return found


def right_buckets(house: House) -> dict[str, str]:
    """Every user's bucket, as the audit has to find it."""
    return {user["user_id"]: user["bucket"] for user in house.truth["users"]}


def test_a_first_audit_appears_when_the_notebook_ends(house: House, opened: Callable[..., Notebook]) -> None:
    """Before any audit the panel says so; when the last cell has closed the session, it shows that audit."""
    notebook = opened(house)
    panel = notebook.panel
    assert "No audit has been recorded yet" in panel.when.value and panel.when.value in panel.shown.value
    assert {True} == {bar.disabled for bar in panel.bars.values()} and panel.export.disabled
    assert [] == listed(panel)
    notebook.finish()
    counts = Counter(right_buckets(house).values())
    assert {bucket: f"{bucket.replace('_', ' ')} · {counts[bucket]:,}" for bucket in panel.bars} == {
        bucket: bar.description for bucket, bar in panel.bars.items()
    }
    assert "Audit of 20" in panel.when.value and "60 users" in panel.when.value
    assert panels.ROWS == len(listed(panel)) and "1 to 25 of 60 users · page 1 of 3" == panel.shown.value
    assert sorted(right_buckets(house), key=int) == all_pages(panel)
    assert "51 to 60 of 60 users · page 3 of 3" == panel.shown.value and not panel.previous.disabled


def test_a_bar_filters_the_table_and_pressing_it_again_shows_all(
    house: House, opened: Callable[..., Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bar shows exactly its users, with the audit's own words; search, order and pages go together with it."""
    monkeypatch.setattr(panels, "ROWS", 5)
    notebook = opened(house).finish()
    panel, right = notebook.panel, right_buckets(house)
    users = notebook.audit.result.users.set_index("user_id")
    for bucket, bar in panel.bars.items():
        bar.click()
        assert bar.description.startswith("✓ ") and "press to show all users again" in bar.tooltip
        assert [user for user in sorted(right, key=int) if right[user] == bucket] == all_pages(panel)
        bar.click()
        assert not bar.description.startswith("✓ ")
    assert "of 60 users" in panel.shown.value
    panel.bars["conflict"].click()
    for user, cells in zip(listed(panel), panel.cells, strict=False):
        for name in ("reason", "next_action", "make"):
            text = users.loc[user, name]
            assert not isinstance(text, str) or panels._cell(text) in cells.value
    panel.bars["conflict"].click()

    panel.search.value = " 1 "
    assert [user for user in sorted(right, key=int) if user.startswith("1")] == all_pages(panel)
    panel.search.value = "17"
    assert ["17"] == listed(panel)
    panel.search.value = "1%' OR 1=1"
    assert [] == listed(panel) and "No user of the last audit matches" in panel.shown.value and panel.export.disabled
    panel.search.value = ""
    panel.descending.value = True
    assert sorted(right, key=int, reverse=True) == all_pages(panel)
    panel.descending.value = False
    for name in user_pages.SORTS:
        panel.sort.value = name
        assert "page 1 of 12" in panel.shown.value
        assert sorted(right) == sorted(all_pages(panel))
    panel.sort.value, panel.descending.value = "vehicles", True
    cars = [int(users.loc[user, "vehicles"]) for user in all_pages(panel)]
    assert sorted(cars, reverse=True) == cars
    panel.sort.value, panel.descending.value = "make", False
    makes = [users.loc[user, "make"] for user in all_pages(panel)]
    known = [make for make in makes if isinstance(make, str)]
    assert sorted(known) == known == makes[: len(known)]


@pytest.mark.parametrize("kind", DATABASES)
def test_a_page_is_one_statement_that_returns_no_more_than_its_rows(
    kind: str, make_house: Callable[..., House], opened: Callable[..., Notebook]
) -> None:
    """Whatever filters and sorts the users, and the pages say what the audit said; MariaDB finds the users first."""
    expected = 2 if kind == "mariadb" else 1
    house = make_house(kind, users=200).expand().play_callbacks()
    notebook = opened(house).finish()
    panel, users = notebook.panel, notebook.audit.result.users.set_index("user_id")
    company, ledger = panel._company, panel._ledger
    sent: list[int] = []

    @sa.event.listens_for(company.engine, "after_cursor_execute")
    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement != "BEGIN":
            sent.append(cursor.rowcount)

    def statements(act: Callable[[], None]) -> int:
        sent.clear()
        act()
        assert max(sent) <= panels.ROWS
        return len(sent)

    assert company.engine is ledger.reading
    assert expected == statements(panel.next.click) == statements(panel.bars["ready"].click)
    assert expected == statements(panel.bars["ready"].click) == statements(panel.next.click)
    for name in user_pages.sorts(ledger)[1:]:
        assert expected == statements(lambda name=name: setattr(panel.sort, "value", name))
    assert expected == statements(lambda: setattr(panel.search, "value", "2"))
    panel.search.value, panel.sort.value = "", "user_id"

    columns = ["smartcar_user_id", "bucket", "reason", "next_action", "vehicles", "make"]
    for sort in (user_pages.sorts(ledger)[0], user_pages.sorts(ledger)[-1]):
        rows = []
        for start in range(0, 200, 70):
            total, found = user_pages.page(company, ledger, datetime.now(UTC), UserFilter(sort=sort), start, 70)
            rows += panels._in_words(found).to_dict("records")
            assert 200 == total
        shown = {row.pop("user_id"): {name: row[name] for name in columns} for row in rows}
        said = {user: {name: row[name] for name in columns} for user, row in users.to_dict("index").items()}
        assert {user: {k: str(v) for k, v in row.items()} for user, row in said.items()} == {
            user: {k: str(v) for k, v in row.items()} for user, row in shown.items()
        }


def test_what_is_shown_is_exported_with_all_its_pages(house: House, opened: Callable[..., Notebook]) -> None:
    """A private CSV file in the reports folder, with no formula in it, whose name the panel says."""
    house.execute("UPDATE users SET smartcar_user_id = '=1+1' WHERE id = 7")
    notebook = opened(house).finish()
    panel = notebook.panel
    press(panel, "export")
    press(panel, "export")  # a second one replaces nothing
    panel.bars["invalid"].click()
    assert "" == panel.exported.value
    panel.sort.value, panel.descending.value = "user_id", True
    press(panel, "export")
    paths = sorted((house.root / "reports").glob("audit-users-*.csv"))
    assert 3 == len(paths) and panel.exported.value.endswith("-invalid.csv.")
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in paths}
    whole, some = (read(next(path for path in paths if ("invalid" in path.name) == of)) for of in (False, True))
    assert sorted(right_buckets(house), key=int) == [row["user_id"] for row in whole]
    assert {"7"} <= {row["user_id"] for row in some} and {"invalid"} == {row["bucket"] for row in some}
    assert [row["user_id"] for row in some] == sorted((row["user_id"] for row in some), key=int, reverse=True)
    assert "(no UUID, 4 characters)" == next(row["smartcar_user_id"] for row in some if row["user_id"] == "7")
    assert [] == [path for path in (house.root / "reports").iterdir() if path.name.endswith(".csv.partial")]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_an_export_that_cannot_be_written_is_one_sentence(
    house: House, opened: Callable[..., Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is said in the panel, and leaves no file."""
    panel = opened(house).finish().panel

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(panels, "write_csv", full)
    press(panel, "export")
    assert "can&#x27;t be written (No space left on device)" in panel.status.value
    assert [] == list((house.root / "reports").glob("*audit-users*"))


def test_ask_shows_the_cost_first_and_then_the_new_audit(house: House, opened: Callable[..., Notebook]) -> None:
    """Ask makes no call; Ask now asks, shows how far it is, leaves a run's folder, and shows the new audit."""
    panel = opened(house, confirm=False).panel
    press(panel, "ask")
    assert "Asking costs at most" in panel.status.value and "" == panel.go.layout.display
    assert not list((house.root / "reports").glob("2*"))
    seen: list[str] = []
    panel.asking.observe(lambda change: seen.append(panel.status.value), "value")
    press(panel, "go")
    assert "60 users: " in panel.status.value and "connections: " in panel.status.value.lower()
    assert any("of" in words for words in seen)
    assert (True, "none", "none") == (panel.stop.disabled, panel.asking.layout.display, panel.go.layout.display)
    assert "of 60 users" in panel.shown.value
    assert Counter(right_buckets(house).values())["ready"] == int(panel.bars["ready"].description.split(" · ")[1])
    (folder,) = (house.root / "reports").glob("2*__20_audit_user_ids")
    assert (folder / "users.parquet").is_file() and (folder / "run.json").is_file()


def test_stop_keeps_what_was_answered(house: House, opened: Callable[..., Notebook]) -> None:
    """The audit of what is known so far is shown as not complete, and Ask goes on from there."""
    panel = opened(house).panel
    press(panel, "ask")
    panel.asking.observe(lambda _: panel.stop.click(), "value")
    press(panel, "go")
    assert "Stopped; the answers so far are kept" in panel.status.value and "run it again" in panel.status.value
    assert "Not complete" in panel.when.value and "of 60 users" in panel.shown.value
    snapshot = History(house.ledger).newest()
    assert snapshot is not None and not snapshot.complete
    panel.asking.unobserve_all()
    press(panel, "ask")
    press(panel, "go")
    assert "Stopped" not in panel.status.value
    assert Counter(right_buckets(house).values())["ready"] == int(panel.bars["ready"].description.split(" · ")[1])


def test_a_failure_is_one_sentence_in_the_panel(
    house: House, opened: Callable[..., Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed act, a failed page and a bug are each told in words, and the buttons work again."""
    panel = opened(house).finish().panel

    def fails(*_: Any, **__: Any) -> None:
        raise SmartcarOpsError("database: <b>gone</b>.")

    with monkeypatch.context() as broken:
        broken.setattr(Audit, "ask", fails)
        press(panel, "go")
        assert "database: &lt;b&gt;gone&lt;/b&gt;." in panel.status.value
        broken.setattr(panels, "Clients", fails)
        press(panel, "refresh")
        assert "gone" in panel.status.value
        broken.setattr(panels.user_pages, "page", fails)
        panel.next.click()
        assert "gone" in panel.shown.value
        broken.setattr(panels, "Session", lambda *_: 1 / 0)
        press(panel, "ask")
        assert "ZeroDivisionError; this is a bug in the kit" in panel.status.value
    press(panel, "refresh")
    assert "" == panel.status.value and "of 60 users" in panel.shown.value


def test_a_user_is_opened_from_the_table_or_by_id(house: House, opened: Callable[..., Notebook]) -> None:
    """A row's button and a typed id show the same story; an unknown id is one sentence."""
    panel = opened(house).finish().panel
    user = listed(panel)[2]
    panel.users[2].click()
    assert user == panel.which.value and f"User {user} is {right_buckets(house)[user]}" in panel.story.value
    shown, panel.story.value = panel.story.value, ""
    panel.users[2].click()
    assert shown == panel.story.value
    panel.which.value = "60"
    assert "User 60 is " in panel.story.value
    panel.which.value = "<moon>"
    assert "" == panel.story.value and "there is no user &#x27;&lt;moon&gt;&#x27;" in panel.told.value
    panel.which.value = ""
    assert "" == panel.told.value


def test_without_a_story_users_are_listed_but_not_opened(house: House, opened: Callable[..., Notebook]) -> None:
    """Only the notebook knows where a story is read."""
    notebook = opened(house).finish()
    panel = AuditPanel(notebook.session, notebook.audit)
    assert panels.ROWS == len(listed(panel)) and {True} == {user.disabled for user in panel.users}
    panel.close()


def test_an_audit_that_another_made_is_shown(house: House, opened: Callable[..., Notebook]) -> None:
    """The panel shows the last audit of the ledger at once; Refresh finds a newer one and who is gone since."""
    opened(house).finish()
    panel = opened(house).panel
    assert "of 60 users" in panel.shown.value
    panel.next.click()
    panel.next.click()
    house.execute("DELETE FROM vehicles WHERE user_id > 20")
    house.execute("DELETE FROM users WHERE id > 20")
    panel.previous.click()
    assert "1 to 20 of 20 users · page 1 of 1" == panel.shown.value
    opened(house, confirm=False).finish()
    press(panel, "refresh")
    assert "20 users" in panel.when.value


def test_before_expand_the_pages_come_from_the_ledgers_file(
    make_house: Callable[..., House], opened: Callable[..., Notebook]
) -> None:
    """The same panel; only the orders that need every user's data are not offered. After expand they are."""
    house = make_house()
    notebook = opened(house).finish()
    panel, right = notebook.panel, right_buckets(house)
    users = notebook.audit.result.users.set_index("user_id")
    assert not panel._ledger.in_database
    assert ["user_id", "bucket"] == [value for _, value in panel.sort.options]
    assert sorted(users.index, key=int) == all_pages(panel)
    counts = Counter(users["bucket"])
    bucket = counts.most_common(1)[0][0]
    panel.bars[bucket].click()
    assert [user for user in sorted(right, key=int) if users.loc[user, "bucket"] == bucket] == all_pages(panel)
    panel.search.value = "1"
    wanted = [user for user in listed(panel) if user.startswith("1")]
    assert wanted == listed(panel) and wanted
    for user, cells in zip(wanted, panel.cells, strict=False):
        assert panels._cell(users.loc[user, "reason"]) in cells.value
        assert f"<span>{users.loc[user, 'vehicles']}</span>" in cells.value
    press(panel, "export")
    (path,) = (house.root / "reports").glob("audit-users-*.csv")
    assert {bucket} == {row["bucket"] for row in read(path)}
    panel.search.value = ""
    house.expand()
    press(panel, "refresh")
    assert panel._ledger.in_database and list(user_pages.SORTS) == [value for _, value in panel.sort.options]
    assert counts[bucket] == len(all_pages(panel))


def test_an_empty_company_is_said(make_house: Callable[..., House], opened: Callable[..., Notebook]) -> None:
    """There is nothing to list, and nothing fails."""
    house = make_house().expand()
    house.execute("DELETE FROM vehicles")
    house.execute("DELETE FROM users")
    panel = opened(house, confirm=False).finish().panel
    assert "There are no users." == panel.shown.value and "no users" in panel.when.value
    assert [] == listed(panel) and panel.export.disabled and panel.next.disabled
    panel.bars["ready"].click()
    assert "There are no users." == panel.shown.value


def test_an_audit_whose_buckets_were_not_kept_says_so(
    house: House, opened: Callable[..., Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the account may create no temporary table, the picture is there and the table says why it is not."""
    monkeypatch.setattr("smartcar_ops.database.ledger.history.user_states.write", lambda *_: False)
    panel = opened(house).finish().panel
    assert "60 users" in panel.when.value
    assert "may not create temporary tables" in panel.shown.value and [] == listed(panel)


def test_every_control_has_words(house: House, opened: Callable[..., Notebook]) -> None:
    """No button is only an icon or a color, and each says what it does."""
    panel = opened(house).finish().panel
    names = ("refresh", "ask", "go", "stop", "previous", "next", "export", "look", "descending")
    for control in [*(getattr(panel, name) for name in names), *panel.bars.values(), *panel.users]:
        assert control.description and control.tooltip
    assert {"Sort by", "User id", "User"} == {panel.sort.description, panel.search.description, panel.which.description}
