"""A ledger without a version, made by an earlier kit: everything in it is still there to be read and undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartcar_ops.backfill import runner
from smartcar_ops.compare.judging.judge import Judge
from smartcar_ops.compare.reading.replay import Replay, write_recordings
from smartcar_ops.database import schema
from smartcar_ops.database.ledger import change_log
from smartcar_ops.database.ledger import ledger as ledgers
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.history.days import History
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.database.ledger.runs import Act, Runs
from smartcar_ops.database.tables import Company
from smartcar_ops.fields.field_map import company_fields
from smartcar_ops.settings.layout import Layout
from tests import old_ledgers
from tests.conftest import DATABASES

FILE = "file"
KEPT = (*(table for table in ledgers.KEPT if table is not t.unanswered), t.tokens, t.recordings)
in_each_database = pytest.mark.parametrize("old", DATABASES, indirect=True)


@dataclass(frozen=True)
class Old:
    """A company and its ledger, opened by this kit, and what the kit that made the ledger read from it."""

    company: Company
    ledger: Ledger
    expected: dict[str, Any]
    before: dict[str, list[dict[str, Any]]]
    """The ledger's tables before this kit opened it."""

    @property
    def runs(self) -> Runs:
        """The ledger's runs."""
        return Runs(self.ledger)

    def ids(self) -> dict[str, dict[str, str | None]]:
        """Every Smartcar id in the company's tables: table -> row -> id."""
        columns = {"users": "smartcar_user_id", "vehicles": "smartcar_vehicle_id"}
        with self.company.engine.connect() as connection:
            return {
                table: {
                    str(id): value for id, value in connection.execute(sa.text(f"SELECT id, {column} FROM {table}"))
                }
                for table, column in columns.items()
            }


@pytest.fixture(params=[*DATABASES, FILE])
def old(request: pytest.FixtureRequest, make_database: Callable[[str], str], tmp_path: Path) -> Iterator[Old]:
    """The company and its old ledger: in each database in turn, and as a file before expand."""
    is_file, reports = request.param == FILE, tmp_path / "reports"
    url = make_database("sqlite" if is_file else request.param)
    old_ledgers.restore(url, "company" if is_file else request.param)
    expected = old_ledgers.expected(FILE if is_file else "database")
    company = Company.connect(url, Layout())
    made = company.engine
    if is_file:
        path = ledgers.file_path(company, reports)
        old_ledgers.restore_file(path)
        made = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    before = old_ledgers.contents(made)
    scope = Scope(expected["service"], expected["mode"])
    if not is_file:
        schema.expand(company, Ledger.open(company, scope, tmp_path / "elsewhere", to_upgrade=True))
    ledger = Ledger.open(company, scope, reports)
    assert ledger.in_database is not is_file
    yield Old(company, ledger, expected, before)
    company.engine.dispose()
    ledger.engine.dispose()


def test_its_runs_are_listed(old: Old) -> None:
    """Every act, with how it ended and how far it came, oldest first."""
    names = old.expected["runs"][0].keys()
    assert old.expected["runs"] == [{name: getattr(run, name) for name in names} for run in old.runs.all()]


def test_its_evidence_and_its_facts_are_there(old: Old) -> None:
    """Every piece of evidence of each mode by its source, every choice, and what is remembered by name."""
    for name, modes in old.expected["evidence"].items():
        table = t.metadata.tables[f"smartcar_ops_{name}"]
        for mode, sources in modes.items():
            of_mode = Ledger(old.ledger.engine, replace(old.ledger.scope, mode=mode), in_database=True)
            assert sources == Counter(row.get("source", "") for row in of_mode.rows(table)), (name, mode)
    choices = old.ledger.choices().items()
    told = ("smartcar_user_id", "chosen_by", "reason")
    assert old.expected["choices"] == {user: [choice[name] for name in told] for user, choice in choices}
    for name, value in old.expected["facts"].items():
        is_slice = name.startswith("slice:")  # of the tables that were named when it was made
        assert value == old.ledger.fact(f"{name}:{old.ledger.scope.layout}" if is_slice else name), name


def test_each_of_its_values_is_kept(old: Old) -> None:
    """Every row of evidence, runs, changes, tokens and recordings holds in each column what it held."""
    after = old_ledgers.contents(old.ledger.engine)
    for table in (table for table in KEPT if table is not t.history):
        rows = old.before[table.name]
        assert old.expected["rows"][table.name] == len(rows) == len(after[table.name]), table.name
        for was, now in zip(rows, after[table.name], strict=True):
            assert was == {name: now[name] for name in was}, table.name


def test_its_audits_are_its_history(old: Old) -> None:
    """Each day with an audit has the snapshot of its last one, with its counts and what was spent until then."""
    audits = [run for run in old.runs.all(Act.AUDIT) if "buckets" in run.summary]
    last = {run.began.date(): run for run in audits}
    days = History(old.ledger).all()
    assert [*last] == [day.day for day in days] != []
    for day in days:
        run = last[day.day]
        assert (run.summary["buckets"], run.began, run.run_id) == (day.counts, day.at, day.run_id)
        assert day.calls and not day.has_states


def test_its_recordings_replay(old: Old, tmp_path: Path) -> None:
    """Each recorded vehicle, judged again without a call, has the verdicts that it had."""
    recordings = Recordings(old.ledger)
    keys = recordings.index().keys()
    assert old.expected["recordings"] == [list(key) for key in sorted(keys)]
    write_recordings(recordings.stream(keys), tmp_path / "recordings.parquet")
    layout, now = Layout(), datetime.fromisoformat(old.expected["now"])
    judging = Judge(company_fields(layout), layout, now)
    for recording in Replay(tmp_path).recordings():
        judging.add(recording)
    assert old.expected["verdicts"] == judging.done({}).verdicts


@in_each_database
def test_its_changes_are_read_by_run(old: Old) -> None:
    """What each run wrote and skipped, and how much of it an undo would still put back."""
    for run, outcomes in old.expected["changes"].items():
        outcome = [column.name for column in change_log.COLUMNS].index("outcome")
        rows = [row for part in change_log.of_run(old.ledger, run) for row in part]
        assert outcomes == Counter(row[outcome] for row in rows), run
        stands = outcomes["written"] - sum(old.expected["undone"].get(run, {}).values())
        assert stands == runner.undo_preview(old.ledger, run, 1)[0], run


@in_each_database
def test_its_runs_can_be_undone(old: Old) -> None:
    """The undo of the finished run, then of the killed one, puts back every value that they found."""
    assert old.expected["company"] == old.ids()
    for number, undo in enumerate(old.expected["undo"]):
        undone = runner.undo(old.company, old.ledger, undo["run"], f"undo-{number}")
        assert {name: undo[name] for name in undone.summary} == undone.summary
        assert undo["company"] == old.ids()
        assert 0 == runner.undo_preview(old.ledger, undo["run"], 1)[0]


@in_each_database
def test_its_killed_run_is_known_as_dead(old: Old) -> None:
    """The apply that left its lock behind is the last act, does not live, and the next act calls it interrupted."""
    killed = old.expected["undo"][-1]["run"]
    last = old.runs.writing()
    assert last is not None
    assert (killed, "interrupted") == (last.run_id, last.status)
    runner.undo(old.company, old.ledger, killed, "undo")
    assert ["interrupted"] == [run.status for run in old.runs.all() if run.run_id == killed]


@pytest.mark.parametrize("old", [FILE], indirect=True)
def test_expand_takes_the_old_file_over(old: Old, tmp_path: Path) -> None:
    """Evidence, choices and runs of the file are in the database after expand."""
    schema.expand(old.company, old.ledger)
    ledger = Ledger.open(old.company, old.ledger.scope, tmp_path / "reports")
    assert ledger.in_database
    assert old.runs.all() == Runs(ledger).all()
    for table in ledgers.EVIDENCE:
        assert old.ledger.rows(table) == ledger.rows(table), table.name
