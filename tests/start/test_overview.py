"""The overview: where it acts, the last run of each step, and what to do next, whatever state the company is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

import smartcar_ops
from smartcar_ops.audit.audit import Audit
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.database.ledger.runs import Act, Runs, RunStatus, run_row
from smartcar_ops.database.ledger.tables import runs as runs_table
from smartcar_ops.session import acting
from smartcar_ops.start.overview import STEPS, Overview, overview
from tests.conftest import DATABASES
from tests.support.house import NOTEBOOKS, House

AUDIT, BACKFILL, SCHEMA, COMPARE = "20_audit_user_ids", "30_backfill_user_ids", "40_schema_phases", "10_compare_v2_v3"
PROGRESS = "90_progress_report"


def audited(house: House) -> None:
    """A whole audit by what is known."""
    with acting(AUDIT, house.settings) as session:
        audit = Audit(session, confirm=False)
        audit.finish()


def row(found: Overview, notebook: str) -> dict[str, str]:
    """A step's row of the table."""
    table = found.table().set_index("notebook")
    return dict(table.loc[notebook])


@pytest.mark.parametrize("kind", DATABASES)
def test_each_state_has_its_next_step(make_house: Callable[..., House], kind: str) -> None:
    """Before expand: expand; then audit; then plan what is ready; after a while, audit again."""
    house = make_house(kind, users=30)
    before = overview(house.settings)
    assert {step.notebook for step in STEPS} == set(before.table()["notebook"])
    assert "never" == row(before, AUDIT)["last_run"]
    assert "apply = True" in row(before, SCHEMA)["next_step"]
    assert list(before.next_steps)[:2] == ["00_start_here", SCHEMA]
    house.expand().play_callbacks()
    house.ask()
    found = overview(house.settings)
    assert SCHEMA not in found.next_steps
    assert (True, False) == (AUDIT in found.next_steps, PROGRESS in found.next_steps)
    audited(house)
    found, counts = overview(house.settings), house.audit().counts
    assert AUDIT not in found.next_steps
    people = sum(counts[bucket] for bucket in ("conflict", "shared", "invalid"))
    assert f"{counts['ready']} users were ready" in found.next_steps[BACKFILL]
    assert f"decides about {people} user" in found.next_steps[BACKFILL]
    assert f"UTC, done: {house.audit().verdict}"[:60] in row(found, AUDIT)["last_run"]
    assert PROGRESS in found.next_steps
    later = overview(house.settings, house.now + timedelta(days=9, hours=1))
    assert "9 days old" in later.next_steps[AUDIT]


def test_an_interrupted_run_comes_first(house: House) -> None:
    """With how far it came and the command that continues it; its act is told as such."""
    house.ask()
    audited(house)
    act = run_row(house.ledger, "20260101T000000Z__30_backfill_user_ids", BACKFILL, Act.UNDO, plan="run", total=9)
    house.ledger.put(runs_table, [{**act, "written": 4, "status": RunStatus.INTERRUPTED}])
    found = overview(house.settings)
    assert BACKFILL == next(iter(found.next_steps))
    assert "The undo put back 4 of 9 rows." in found.verdict and "-p undo run -p apply True" in found.verdict
    assert "interrupted" in row(found, BACKFILL)["last_run"]


def test_it_is_shown_with_links_and_its_words_are_text(house: House) -> None:
    """Each step leads to its notebook, which is there; what stands in the ledger is never markup."""
    Runs(house.ledger).start("20260101T000000Z__x", AUDIT, "audit")
    Runs(house.ledger).finish("20260101T000000Z__x", RunStatus.FAILED, {"verdict": "<b>bad</b> " + "x" * 400})
    shown = overview(house.settings)._repr_html_()
    for step in STEPS:
        assert f"<a href='{step.notebook}.ipynb'>" in shown
        assert (NOTEBOOKS / f"{step.notebook}.ipynb").is_file()
    assert "failed: &lt;b&gt;bad&lt;/b&gt; xxx" in shown and "<b>" not in shown
    assert 300 > max(len(words) for words in overview(house.settings).table()["last_run"])
    assert shown.count("<strong>") == 2  # where it acts, and the step that is next
    assert repr(overview(house.settings)).startswith(f"Acting on {house.settings.where}. Next: ")


def test_it_asks_a_handful_of_statements_and_no_call(house: House) -> None:
    """However many users and runs there are."""
    house.ask()
    audited(house)
    for number in range(30):
        Runs(house.ledger).start(f"20260101T0000{number:02}Z__x", AUDIT, "audit")
    calls, counted = len(house.sandbox.arrivals), list[str]()
    sa.event.listen(sa.Engine, "before_cursor_execute", lambda *given: counted.append(given[2]))
    overview(house.settings)
    selects = [statement for statement in counted if statement.startswith("SELECT")]
    assert (calls, True) == (len(house.sandbox.arrivals), len(selects) <= 20), selects


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SMARTCAR_DATABASE_URL": "sqlite:////nowhere/at/all.sqlite"}, "database: there is no file"),
        ({"SMARTCAR_OPS_REPORTS": "/proc/nothing"}, "/proc/nothing"),
    ],
)
def test_what_cannot_be_known_is_one_sentence(
    make_house: Callable[..., House], changed: dict[str, str], says: str
) -> None:
    """The steps are there all the same, and lead to their notebooks."""
    house = make_house(users=10)
    found = overview(house.read_settings(**changed))
    assert says in found.verdict and "Traceback" not in found.verdict
    assert {"unknown"} == set(found.table()["last_run"])
    assert "<a href='20_audit_user_ids.ipynb'>" in found._repr_html_()


def test_a_plan_leaves_it_to_apply(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front door has it, too; a company whose V2 is off is not sent to the comparison."""
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    with acting(BACKFILL, house.settings) as session:
        Backfill(session).prepare().finish()
    kit = smartcar_ops.connect()
    assert "to set; " in row(kit.overview(), BACKFILL)["last_run"]
    assert COMPARE in kit.overview().next_steps
    assert COMPARE not in overview(replace(house.settings, v2="off")).next_steps
