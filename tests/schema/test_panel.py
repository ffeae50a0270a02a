"""The schema's panel in each of its states: what is there, the SQL of what is not, Apply, and each error."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

import smartcar_ops
from smartcar_ops.database import schema as steps
from smartcar_ops.database.ledger.locks import WRITER, lock
from smartcar_ops.schema.panel import SchemaPanel
from smartcar_ops.schema.schema import Schema
from smartcar_ops.session import Session
from tests.conftest import DATABASES
from tests.support.house import House

NOTEBOOK = "40_schema_phases"


@pytest.fixture
def open_panel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SchemaPanel]]:
    """Opens the panel as the notebook does."""
    sessions: list[Session] = []

    def make(house: House, **changed: object) -> SchemaPanel:
        monkeypatch.chdir(house.root)
        session = Session(NOTEBOOK, dataclasses.replace(house.read_settings(), **changed))
        sessions.append(session)
        return SchemaPanel(session, Schema(session))

    yield make
    for session in sessions:
        session.close()


def press(panel: SchemaPanel, name: str) -> None:
    """Presses a button and waits for what it started."""
    button = getattr(panel, name)
    assert not button.disabled
    button.click()
    panel.wait(60)


def confirm(panel: SchemaPanel) -> None:
    """Types the number and confirms."""
    form = panel.confirmation
    assert form.question is not None, panel.status.value
    form.typed.value = str(form.question.number)
    form.confirm.click()
    panel.wait(60)


def shown_sql(panel: SchemaPanel) -> str:
    """The SQL as a person reads it."""
    panel.show_sql.value = True
    return html.unescape(panel.sql.value)


@pytest.mark.parametrize("kind", DATABASES)
def test_the_sql_that_is_shown_is_what_runs(make_house: Callable[..., House], kind: str) -> None:
    """Statement for statement, what expand sends to change the schema is what was shown before."""
    house = make_house(kind, users=10)
    shown = [" ".join(one.split()) for sql in steps.open_sql(house.company).values() for one in sql]
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.split()[0] in ("CREATE", "ALTER", "INSERT", "DROP"):
            sent.append(" ".join(statement.split()))

    sa.event.listen(house.company.engine, "before_cursor_execute", note)
    house.expand()
    *shown, last = shown
    assert shown == sent[: len(shown)]
    assert sent[len(shown)].startswith(last)  # SQLAlchemy may add RETURNING
    assert {"INSERT"} >= {statement.split()[0] for statement in sent[len(shown) + 1 :]}  # the file's evidence
    assert {} == steps.open_sql(house.company)


def test_apply_asks_and_runs_the_open_steps(
    make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]
) -> None:
    """Open steps with their SQL; Cancel changes nothing; confirmed, all are done, as the notebook's session sees."""
    house = make_house(users=10)
    house.execute("ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(36)")
    panel, before = open_panel(house), house.tables()
    assert "2 of 3 steps to do; nothing is changed before you confirm." == panel.status.value
    assert (1, 2) == (panel.steps.value.count(">done<"), panel.steps.value.count(">open<"))
    assert "" == panel.sql.value
    sql = shown_sql(panel)
    assert "ALTER TABLE vehicles ADD COLUMN smartcar_vehicle_id VARCHAR(36);" in sql
    assert "ALTER TABLE users" not in sql and "CREATE TABLE smartcar_ops_runs (" in sql
    press(panel, "apply")
    words = panel.confirmation.words.value
    assert "Apply runs 2 steps: add vehicles.smartcar_vehicle_id VARCHAR(36) NULL; create the smartcar_ops_" in words
    assert "database sqlite:///" in words and "evidence in the ledger&#x27;s file is copied" in words
    panel.confirmation.typed.value = "3"
    assert panel.confirmation.confirm.disabled
    panel.confirmation.cancel.click()
    assert ("Nothing was changed.", before) == (panel.status.value, house.tables())

    press(panel, "apply")
    confirm(panel)
    assert "Expanded: 2 of 2 steps done." in panel.status.value or "Expanded: 2 of 3 steps done." in panel.status.value
    assert 3 == panel.steps.value.count(">done<")
    assert panel.apply.disabled and panel.show_sql.disabled and "" == panel.sql.value
    assert panel._session.ledger.in_database and "expanded" == panel._session.company.phase
    run = panel._session.runs.all("schema")[-1]
    assert "done" == run.status and "Expanded" in smartcar_ops.load(run.run_id).summary["verdict"]
    press(panel, "check")
    assert "Everything that expand adds is there." == panel.status.value


def test_what_changed_after_the_question_is_not_done(
    make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]
) -> None:
    """Somebody else ran a step in between: nothing is changed, and one sentence says so; all done, there is no form."""
    house = make_house(users=10)
    panel = open_panel(house)
    press(panel, "apply")
    house.execute("ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(36)")
    tables = house.tables()
    confirm(panel)
    assert "Nothing was changed: the steps to do are no longer those that you confirmed." in panel.status.value
    assert tables == house.tables()
    house.company.refresh()
    house.expand()
    assert not panel.apply.disabled
    press(panel, "apply")
    assert panel.confirmation.question is None and panel.apply.disabled
    assert "Everything that expand adds is there." == panel.status.value


def test_in_the_sandbox_one_press_confirms(
    make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]
) -> None:
    """There is nothing to type."""
    house = make_house(users=10)
    panel = open_panel(house, sandbox=True)
    press(panel, "apply")
    assert "none" == panel.confirmation.typed.layout.display
    panel.confirmation.confirm.click()
    panel.wait(60)
    assert "Expanded: 3 of 3 steps done." == panel.status.value


def test_errors_are_one_sentence(make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]) -> None:
    """A writing run, a newer kit's tables, a database that is gone: a sentence, and Apply may be pressed or not."""
    house = make_house(users=10)
    panel = open_panel(house)
    press(panel, "apply")
    with lock(panel._session.ledger, WRITER, "elsewhere"):
        confirm(panel)
    assert "run elsewhere) holds the lock" in panel.status.value
    assert not panel.apply.disabled and 3 == panel.steps.value.count(">open<")
    house.expand()
    house.execute("ALTER TABLE vehicles DROP COLUMN smartcar_vehicle_id")
    house.execute("UPDATE smartcar_ops_version SET version_num = '9999'")
    press(panel, "check")
    assert "made by a newer smartcar-ops" in panel.status.value
    assert panel.apply.disabled and "" == panel.steps.value


def test_an_upgrade_of_the_ledger_names_its_steps(
    make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]
) -> None:
    """The steps look at the tables before each change: instead of SQL there is what each of them does."""
    house = make_house(users=10).expand()
    for table in ("history", "user_states"):
        house.execute(f"DROP TABLE smartcar_ops_{table}")
    house.execute("UPDATE smartcar_ops_version SET version_num = '0006'")
    panel = open_panel(house)
    assert "upgrade the smartcar_ops_… tables" in panel.steps.value
    sql = shown_sql(panel)
    assert "-- step 0007: Every audit leaves a snapshot of its day" in sql and "step 0006" not in sql
    press(panel, "apply")
    confirm(panel)
    assert "smartcar_ops_history" in house.tables() and panel.apply.disabled


def test_a_missing_right_is_one_sentence(
    make_house: Callable[..., House], open_panel: Callable[..., SchemaPanel]
) -> None:
    """The panel says which column could not be added; the steps stay open."""
    house = make_house("postgresql", users=10)
    house.execute("CREATE ROLE panel_looker LOGIN PASSWORD 'look'")
    house.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO panel_looker")
    url = sa.make_url(house.url).set(username="panel_looker", password="look").render_as_string(hide_password=False)
    house.environment["SMARTCAR_DATABASE_URL"] = url
    panel = open_panel(house)
    press(panel, "apply")
    confirm(panel)
    assert "adding users.smartcar_user_id failed on " in panel.status.value and "must be owner" in panel.status.value
    assert "look@" not in panel.status.value and 3 == panel.steps.value.count(">open<") and not panel.apply.disabled
