"""Many decisions at once, in the audit's own sheet: what is right is recorded, and nothing else is."""

from __future__ import annotations

import csv
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from smartcar_ops import cli, notebook_runs
from smartcar_ops.audit import decision_sheet
from smartcar_ops.audit.audit import Audit
from smartcar_ops.audit.result import judge_users
from smartcar_ops.backfill import decision_file, decisions, runner
from smartcar_ops.backfill.decisions import FileOutcome
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import ParameterError, SmartcarOpsError
from smartcar_ops.session import Session, acting
from tests.conftest import DATABASES
from tests.support.house import House

SOMEBODY = "f3a1e8a4-0000-4000-8000-000000000001"
Row = dict[str, str]


def sheet_of(house: House, folder: Path) -> list[Row]:
    """The rows of the sheet that an audit leaves now."""
    (path,) = decision_sheet.write(house.audit(), folder)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def save(path: Path, rows: list[Row]) -> Path:
    """The sheet as a person saves it."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, decision_sheet.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def decide(house: House, path: Path, by: str = "Ada") -> FileOutcome:
    """A person hands in a file."""
    file = decision_file.read(path)
    return decisions.decide_file(house.company, house.ledger, file, by=by, now=house.now)


def filled(row: Row, choice: str = SOMEBODY, reason: str = "asked them") -> Row:
    """A row with a choice and a reason."""
    return {**row, "choice": choice, "reason": reason}


def id_of(number: int) -> str:
    """A Smartcar id of its own for each number."""
    return f"f3a1e8a4-0000-4000-8000-{number:012}"


@pytest.fixture
def asked(house: House) -> House:
    """A company whose sources were asked, with its reports' folder."""
    house.ask()
    house.settings.reports.mkdir(exist_ok=True)
    return house


# --- the sheet --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize(
    ("formats", "files"), [("parquet", {"decisions.csv"}), ("xlsx", {"decisions.csv", "decisions.xlsx"})]
)
def test_every_audit_leaves_the_sheet(
    house: House, monkeypatch: pytest.MonkeyPatch, formats: str, files: set[str]
) -> None:
    """One row per user for a person, with the evidence, no e-mail, name or VIN; both files have the same rows."""
    monkeypatch.chdir(house.root)
    for name, value in {**house.environment, "SMARTCAR_OPS_TABLES": formats}.items():
        monkeypatch.setenv(name, value)
    folder = notebook_runs.run("20").folder
    assert folder
    assert files == {path.name for path in folder.glob("decisions.*")}
    with (folder / "decisions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    people = {user["user_id"] for user in house.truth["users"] if user["decision"] == "conflict"}
    assert people == {row["user_id"] for row in rows}
    assert {"conflict", "shared", "invalid"} == {row["bucket"] for row in rows}
    assert {("", "")} == {(row["choice"], row["reason"]) for row in rows}
    assert (
        list(decision_sheet.COLUMNS)
        == list(rows[0])
        == list(json.loads((folder / "columns.json").read_text())["decisions"])
    )
    text = (folder / "decisions.csv").read_text()
    private = [user[name] for user in house.rows("users") for name in ("email", "name")]
    private += [car["vin"] for car in house.rows("vehicles") if car["vin"]]
    assert [] == [value for value in private if value in text]
    if "decisions.xlsx" in files:
        book = openpyxl.load_workbook(folder / "decisions.xlsx")
        found = [[cell or "" for cell in row] for row in book["decisions"].iter_rows(values_only=True)]
        assert [list(rows[0]), *(list(row.values()) for row in rows)] == found
        assert ("A2", True) == (book["decisions"].freeze_panes, "dictionary" in book.sheetnames)


def test_a_notebook_shows_and_writes_the_sheet(asked: House, tmp_path: Path) -> None:
    """The audit returns it as a table, and one function writes it anywhere."""
    audit = Audit(Session("20_audit_user_ids", asked.settings))
    paths = decision_sheet.write(audit.result, tmp_path, ("csv", "xlsx"))
    assert [tmp_path / "decisions.csv", tmp_path / "decisions.xlsx"] == paths
    assert list(decision_sheet.COLUMNS) == list(audit.decisions().columns)
    assert len(audit.result.for_decision) == len(audit.decisions()) > 0


# --- many decisions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_five_hundred_decisions_ten_of_them_stale(make_house: Callable[..., House], tmp_path: Path, kind: str) -> None:
    """490 are recorded like single ones, ten are listed with why, a malformed file records none; `none` undoes one."""
    house = make_house(kind, users=700).expand().play_callbacks()
    house.ask()
    house.execute("UPDATE users SET smartcar_user_id = 'undefined' WHERE id % 7 <> 0")
    rows = sheet_of(house, tmp_path)
    assert 520 < len(rows)
    chosen = [
        filled(row, "none" if place % 3 == 0 else id_of(place), f"call {place}") for place, row in enumerate(rows[:500])
    ]
    stale = {row["user_id"] for row in chosen[40:50]}
    for place, user in enumerate(sorted(stale)):
        if place < 5:
            house.execute(
                "UPDATE users SET smartcar_user_id = :new WHERE id = :id", new=id_of(9_000 + place), id=int(user)
            )
        else:
            decisions.decide(house.company, house.ledger, user, "none", by="Grace", reason="first", now=house.now)
    before = (house.ledger.choices(), len(Runs(house.ledger).all("decide")))
    assert 5 == before[1]
    malformed = [*chosen[:499], filled(chosen[499], "not an id")]
    with pytest.raises(ParameterError, match=r"f\.csv: line 501, column choice: has 9 characters and is not a UUID"):
        decide(house, save(tmp_path / "f.csv", malformed))
    assert before == (house.ledger.choices(), len(Runs(house.ledger).all("decide")))

    outcome = decide(house, save(tmp_path / "f.csv", chosen + rows[500:]))
    assert (490, len(rows) - 500, 1) == (outcome.recorded, outcome.undecided, outcome.exit_code)
    assert stale == {one.user_id for one in outcome.left_out}
    said = [str(one) for one in outcome.left_out]
    assert all(text.startswith("Line ") and "left out, because " in text for text in said)
    assert 5 == sum("Grace chose none on " in text for text in said)
    known = house.ledger.choices()
    right = {row["user_id"]: row for row in chosen if row["user_id"] not in stale}
    expected = {
        user: (None if row["choice"] == "none" else row["choice"], row["reason"]) for user, row in right.items()
    }
    assert expected == {
        user: (row["smartcar_user_id"], row["reason"]) for user, row in known.items() if user not in stale
    }
    assert {"Grace"} == {known[user]["chosen_by"] for user in known.keys() & stale} and 5 == len(known.keys() & stale)
    runs = Runs(house.ledger).all("decide")
    by_ada = {run.summary["user_id"]: run for run in runs if run.summary["chosen_by"] == "Ada"}
    assert (495, right.keys()) == (len(runs), by_ada.keys())
    assert {("decide", "decide", "done")} == {(run.notebook, run.act, run.status.value) for run in runs}

    user = next(user for user, row in right.items() if row["choice"] != "none")
    decisions.decide(house.company, house.ledger, user, "none", by="Ada", reason="wrong", now=house.now)
    assert (None, "wrong") == tuple(house.ledger.choices()[user][name] for name in ("smartcar_user_id", "reason"))
    again = decide(house, tmp_path / "f.csv")
    assert (0, 500) == (again.recorded, len(again.left_out))


@pytest.mark.parametrize("kind", DATABASES)
def test_what_a_sheet_says_is_planned_and_set(make_house: Callable[..., House], tmp_path: Path, kind: str) -> None:
    """On every database: the choices of a sheet become the users' ids, with name and reason, as single ones do."""
    house = make_house(kind, users=30).expand().play_callbacks()
    house.ask()
    rows = sheet_of(house, tmp_path)
    chosen = [filled(row, f" {id_of(place).upper()} ") for place, row in enumerate(rows)]
    assert (len(rows), 0) == ((outcome := decide(house, save(tmp_path / "f.csv", chosen))).recorded, outcome.exit_code)
    plan = house.plan().rows
    planned = plan[(plan["table"] == "users") & plan["user_id"].isin([row["user_id"] for row in rows])]
    assert {"set"} == set(planned["decision"]) and {"Ada chose: asked them"} == set(planned["reason"])
    runner.apply(house.company, house.ledger, house.plan(), "run")
    stored = {str(row["id"]): row["smartcar_user_id"] for row in house.rows("users")}
    assert [id_of(place) for place in range(len(rows))] == [stored[row["user_id"]] for row in rows]


def test_a_workbook_that_a_person_filled_in_is_the_same(asked: House, tmp_path: Path) -> None:
    """Choices and reasons typed into decisions.xlsx are recorded as those of a CSV file."""
    _, path = decision_sheet.write(asked.audit(), tmp_path, ("csv", "xlsx"))
    book = openpyxl.load_workbook(path)
    sheet = book["decisions"]
    place = {name: number for number, name in enumerate(decision_sheet.COLUMNS, start=1)}
    sheet.cell(2, place["choice"], "NONE")
    sheet.cell(2, place["reason"], "sold the car")
    book.save(path)
    outcome = decide(asked, path)
    user = str(sheet.cell(2, 1).value)
    assert (1, sheet.max_row - 2) == (outcome.recorded, outcome.undecided)
    assert {user: (None, "sold the car")} == {
        name: (row["smartcar_user_id"], row["reason"]) for name, row in asked.ledger.choices().items()
    }


@pytest.mark.parametrize("id", ["00123", "=1+1", "-5", "'x", "1e5", "12345678901234567890", "mar-5", "a,b;c", "Ü"])
def test_an_id_comes_back_from_a_spreadsheet_as_it_was(
    make_house: Callable[..., House], tmp_path: Path, id: str
) -> None:
    """In the CSV file, an id that a spreadsheet would change or run has a quote in front, which is taken off again."""
    house = make_house(users=6)
    house.execute("CREATE TABLE people (id TEXT PRIMARY KEY, smartcar_user_id TEXT)")
    house.execute("INSERT INTO people VALUES (:id, 'undefined')", id=id)
    layout = house.settings.layout
    layout = layout.model_copy(update={"users": layout.users.model_copy(update={"table": "people"})})
    company = type(house.company).connect(house.url, layout)
    ledger = type(house.ledger).open(company, house.ledger.scope, house.settings.reports)
    (path,) = decision_sheet.write(judge_users(company, ledger, house.now), tmp_path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["user_id"].startswith("'")
    file_ = decision_file.read(save(tmp_path / "f.csv", [filled(row)]))
    assert 1 == decisions.decide_file(company, ledger, file_, by="Ada", now=house.now).recorded
    assert [id] == list(ledger.choices())
    company.engine.dispose()
    ledger.engine.dispose()


# --- what is not recorded ---------------------------------------------------------------------------------------


def test_a_row_without_a_choice_is_left_alone(asked: House, tmp_path: Path) -> None:
    """Whatever else is in it, also a reason, and also a user who is gone."""
    rows = sheet_of(asked, tmp_path)
    rows[0]["reason"] = "still to ask"
    rows[1]["user_id"] = "999999"
    outcome = decide(asked, save(tmp_path / "f.csv", rows))
    assert (0, len(rows), 0) == (outcome.recorded, outcome.undecided, outcome.exit_code)
    assert f"0 decisions by Ada recorded. {len(rows)} rows without a choice." == str(outcome)
    assert {} == asked.ledger.choices()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"user_id": "999999"}, "line 3, column user_id: there is no user '999999'; expected an id of the table users"),
        ({"user_id": " "}, "line 3, column user_id: is empty; expected what the audit wrote there"),
        ({"user_id": "first"}, "line 3, column user_id: is the same user as in line 2; expected one row per user"),
        ({"user_id": "00first"}, "line 3, column user_id: there is no user '00"),
        ({"choice": "yes"}, "line 3, column choice: has 3 characters and is not a UUID; expected a UUID, or none"),
        ({"choice": "00000000-0000-0000-0000-000000000000"}, "line 3, column choice: has 36 characters and is the nil"),
        ({"reason": " "}, "line 3, column reason: has 0 characters; expected 1 to 2,000: each decision is stored with"),
        ({"reason": "x" * 2001}, "line 3, column reason: has 2,001 characters; expected 1 to 2,000"),
        ({"evidence_key": ""}, "line 3, column evidence_key: is empty; expected what the audit wrote there"),
    ],
)
def test_a_file_with_one_wrong_row_records_nothing(asked: House, tmp_path: Path, changed: Row, says: str) -> None:
    """Exit 5, one sentence with line and column and what was expected; the right row before it is not recorded."""
    first, second = map(filled, sheet_of(asked, tmp_path)[:2])
    changed = {name: value.replace("first", first["user_id"]) for name, value in changed.items()}
    with pytest.raises(ParameterError) as raised:
        decide(asked, save(tmp_path / "f.csv", [first, {**second, **changed}]))
    assert (5, True) == (raised.value.exit_code, str(raised.value).startswith(f"decide: f.csv: {says}")), str(
        raised.value
    )
    assert ({}, []) == (asked.ledger.choices(), Runs(asked.ledger).all("decide"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f.csv is empty; expected the columns user_id, bucket"),
        ("hello\n", "f.csv: line 1, column 'hello': is unknown; expected the columns user_id, bucket, stored"),
        ("user_id,choice\n", "f.csv: line 1, column bucket: is missing; expected the columns user_id"),
        ("user_id,user_id\n", "f.csv: line 1, column 'user_id': is there twice; expected the columns"),
        (",".join(decision_sheet.COLUMNS) + ",email\n", "f.csv: line 1, column 'email': is unknown; expected"),
        (",".join(decision_sheet.COLUMNS) + "\n1,2,3,4,5,6,7,8,9\n", "f.csv: line 2 has more cells than the header"),
    ],
)
def test_a_file_with_other_columns_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """Nothing is guessed from a file that is not the audit's sheet."""
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(ParameterError) as raised:
        decision_file.read(tmp_path / "f.csv")
    assert str(raised.value).startswith(f"decide: {says}"), str(raised.value)


def test_evidence_that_changes_meanwhile_is_judged_again(
    asked: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision between the comparison and the transaction is seen; if that never ends, nothing is recorded."""
    first, second = map(filled, sheet_of(asked, tmp_path)[:2])
    path, judge, meanwhile = save(tmp_path / "f.csv", [first, second]), decision_sheet.standing, ["none"]

    def standing(*given: Any) -> Any:
        known = judge(*given)
        if meanwhile:
            chosen = meanwhile.pop()
            decisions.decide(
                asked.company, asked.ledger, first["user_id"], chosen, by="Grace", reason="x", now=asked.now
            )
        return known

    monkeypatch.setattr(decision_sheet, "standing", standing)
    outcome = decide(asked, path)
    assert (1, [first["user_id"]]) == (outcome.recorded, [one.user_id for one in outcome.left_out])
    assert {"Grace", "Ada"} == {row["chosen_by"] for row in asked.ledger.choices().values()}
    meanwhile[:] = [id_of(number) for number in range(20)]
    before = asked.ledger.choices().keys()
    with pytest.raises(SmartcarOpsError, match="the evidence changed 5 times") as raised:
        decide(asked, save(tmp_path / "f.csv", list(map(filled, sheet_of(asked, tmp_path)[2:4]))))
    assert (2, before) == (raised.value.exit_code, asked.ledger.choices().keys())


def test_a_transaction_that_breaks_off_records_nothing(asked: House, tmp_path: Path) -> None:
    """Where the runs of the decisions can't be written, the decisions are not, either."""
    rows = list(map(filled, sheet_of(asked, tmp_path)[:3]))
    asked.execute(
        f"CREATE TRIGGER no_more BEFORE INSERT ON {t.runs.name} WHEN NEW.run_id LIKE '%decide-3' "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(SmartcarOpsError, match="recording decisions failed") as raised:
        decide(asked, save(tmp_path / "f.csv", rows))
    assert (2, {}, []) == (raised.value.exit_code, asked.ledger.choices(), Runs(asked.ledger).all("decide"))


# --- the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    asked: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Runs `smartcar-ops decide` on the company: its exit code, and what it printed."""
    monkeypatch.chdir(asked.root)
    for name, value in asked.environment.items():
        monkeypatch.setenv(name, value)

    def run(words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["decide", *shlex.split(words)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + captured.err

    return run


def test_the_command_records_a_file(asked: House, tmp_path: Path, command: Callable[[str], tuple[int, str]]) -> None:
    """Exit 0 with the number; handed in again, exit 1 with a line for each user that was decided before."""
    rows = sheet_of(asked, tmp_path)
    path = save(tmp_path / "f.csv", [*map(filled, rows[:2]), *rows[2:]])
    code, printed = command(f"--file {path} --by Ada")
    assert (0, True) == (code, f"2 decisions by Ada recorded. Plan again to set them. {len(rows) - 2} rows" in printed)
    code, printed = command(f"--file {path} --by Grace")
    assert 1 == code
    assert f"Line 2, user {rows[0]['user_id']}: left out, because Ada chose {SOMEBODY} on " in printed
    assert "0 decisions by Grace recorded. 2 decisions left out; audit again for a sheet" in printed
    assert 0 == command(f"{rows[0]['user_id']} none --by Ada --reason 'was wrong'")[0]
    assert None is asked.ledger.choices()[rows[0]["user_id"]]["smartcar_user_id"]


def test_the_latest_audits_sheet_is_found(
    asked: House, monkeypatch: pytest.MonkeyPatch, command: Callable[[str], tuple[int, str]]
) -> None:
    """By the word that the progress report prints, from any folder; of two files, the one that was saved last."""
    monkeypatch.chdir("/")
    code, printed = command("--file latest --by Ada")
    assert (5, True) == (code, "has no sheet of an audit; run 20_audit_user_ids first" in printed)
    with acting("20_audit_user_ids", asked.settings) as session:
        audit = Audit(session, confirm=False)
        audit.finish()
    rows = sheet_of(asked, session.folder)
    (session.folder / "decisions.xlsx").write_text("an older one")
    os.utime(session.folder / "decisions.xlsx", (0, 0))
    save(session.folder / "decisions.csv", [filled(rows[0]), *rows[1:]])
    code, printed = command("--file latest --by Ada")
    assert (0, True) == (code, "1 decision by Ada recorded." in printed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("1 none --file f.csv --by Ada", "expected either --file, or USER, ID and --reason."),
        ("--file f.csv --reason x --by Ada", "expected either --file, or USER, ID and --reason."),
        ("--by Ada", "Missing argument 'USER', or use --file."),
        ("1 --by Ada --reason x", "Missing argument 'ID', or use --file."),
        ("1 none --by Ada", "Missing option '--reason', or use --file."),
        ("--file f.csv", "Missing option '--by'."),
        ("--file f.csv --by Ada", "decide: f.csv can't be read (No such file or directory)"),
        ("--file '' --by Ada", "can't be read (Is a directory)"),
    ],
)
def test_words_that_contradict_each_other_are_exit_5(
    command: Callable[[str], tuple[int, str]], words: str, says: str
) -> None:
    """One user or one file, each with what it needs; one sentence otherwise."""
    code, printed = command(words)
    assert (5, True) == (code, says in printed), printed
