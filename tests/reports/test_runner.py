"""`smartcar-ops run` and its neighbours: exit codes, folders, locks, and whom they act on."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
import sqlalchemy as sa

from smartcar_ops import cli
from smartcar_ops.backfill import runner as backfill_runner
from smartcar_ops.backfill.plan import Plan
from smartcar_ops.clients import shared_bucket
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.ledger.locks import WRITER, lock, utcnow
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import SettingsError
from smartcar_ops.reports import page, runner
from tests.support.histories import past_snapshot
from tests.support.house import NOTEBOOKS, House
from tests.support.processes import Act

AUDIT, PROGRESS = "20_audit_user_ids", "90_progress_report"
RUN_KEYS = {
    "kit_version",
    "notebook",
    "notebook_sha256",
    "parameters",
    "environment",
    "sandbox",
    "started",
    "ended",
    "status",
    "exit_code",
    "calls",
    "oddities",
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command line on a house: its exit code and all it printed; with --json, on stdout alone."""

    def run(house: House, *arguments: str, **changed: str | None) -> tuple[int, str]:
        monkeypatch.chdir(house.root)
        for name, value in {**house.environment, **changed}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + ("" if "--json" in arguments else captured.err)

    return run


def folders(house: House) -> list[Path]:
    """The folders of a house's runs, whole or not."""
    return sorted(path for path in house.settings.reports.glob("*__*") if path.is_dir())


def dump(house: House) -> dict[str, list[dict[str, object]]]:
    """Every row of every table."""
    return {table: house.rows(table) for table in sorted(house.tables())}


# --- a run's folder ------------------------------------------------------------------------------------------


def test_a_run_leaves_a_whole_folder(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """The page, the notebook, the JSON files and the tables, under the run's own name; `latest` points there."""
    code, printed = command(house, "run", AUDIT, SMARTCAR_OPS_ENVIRONMENT="staging <1>")
    assert 1 == code
    (folder,) = folders(house)
    files = {"report.html", "run.ipynb", "run.json", "summary.json", "columns.json", "decisions.csv"}
    tables = {"users.parquet", "orphans.parquet", "calls.parquet", "unanswered.parquet"}
    assert files | tables == {path.name for path in folder.iterdir()}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert {0o700} == {path.stat().st_mode & 0o777 for path in (folder, folder.parent / "latest")}
    run, summary = (json.loads((folder / name).read_text()) for name in ("run.json", "summary.json"))
    assert run.keys() >= RUN_KEYS
    assert ("done", 1, False, "staging <1>") == (run["status"], run["exit_code"], run["sandbox"], run["environment"])
    assert {"iam", "management_v3", "v2", "v3"} == set(run["calls"])
    assert not (house.root / ".sandbox").exists()
    assert summary.keys() >= {"verdict", "complete", "total", "buckets"}
    assert "staging &lt;1&gt;" in (folder / "report.html").read_text()
    assert folder == (house.settings.reports / "latest" / AUDIT).resolve()
    assert str(folder / "report.html") in printed
    for step in ("Cost of the queries", "At most ", "Users by bucket"):
        assert step in printed  # on stderr, while it is at work
    assert "smartcar_ops." not in printed  # a log only where it is asked for


@pytest.mark.usefixtures("without_kernel")
def test_json_is_for_scripts(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """With --json, all that is printed on stdout is one line: a JSON object with the outcome."""
    code, printed = command(house, "run", AUDIT, "-p", "confirm", "False", "--json")
    told = json.loads(printed)
    assert [json.dumps(told, ensure_ascii=False)] == printed.splitlines()
    assert code == told["exit_code"]
    assert {} == told["calls"]
    assert 60 == told["summary"]["total"]


@pytest.mark.usefixtures("without_kernel")
def test_a_report_that_looks_back_says_so_and_is_not_the_latest(
    house: House, command: Callable[..., tuple[int, str]]
) -> None:
    """The day stands in the page's title and in the verdict; `latest` stays where it is."""
    register, day = Runs(house.ledger), datetime.now(UTC) - timedelta(days=2)
    register.start("then", AUDIT, "audit")
    register.finish("then", "done", {"buckets": {"mapped": 3, "ready": 1}})
    with house.ledger.begin() as connection:
        connection.execute(sa.update(t.runs).values(started=day.replace(tzinfo=None)))
    past_snapshot(house.ledger, day, {"mapped": 3, "ready": 1})
    code, printed = command(house, "run", PROGRESS, "-p", "as_of", f"{day:%Y-%m-%d}", "-p", "deadline", "2999-12-01")
    assert 0 == code, printed
    (folder,) = folders(house)
    page = (folder / "report.html").read_text()
    assert f"<h1>Migration progress, as of {day:%Y-%m-%d}</h1>" in page
    assert f"As of {day:%Y-%m-%d}: 3 of 4 users (75%) are mapped" in page
    assert "The units still needed are not known for a past day." in page
    assert not (house.settings.reports / "latest" / PROGRESS).exists()


# --- known wrong before any connection: exit 5, no folder ----------------------------------------------------

WRONG = [
    ((), {"SMARTCAR_CLIENT_ID": None}, "SMARTCAR_CLIENT_ID is not set"),
    ((), {"SMARTCAR_CLIENT_SECRET": None}, "SMARTCAR_CLIENT_SECRET is not set"),
    ((), {"SMARTCAR_DATABASE_URL": None}, "SMARTCAR_DATABASE_URL is not set"),
    ((), {"SMARTCAR_CLIENT_ID": "a4c82e9f-1111-4111-8111-111111111111"}, "looks like an Application ID"),
    ((), {"SMARTCAR_CLIENT_SECRET": "client_01abc"}, "perhaps the id and the secret are swapped"),
    ((), {"SMARTCAR_DATABASE_URL": "company.sqlite"}, "is not a SQLAlchemy URL"),
    ((), {"SMARTCAR_API_ORIGIN": "api.smartcar.com"}, "expected an address such as"),
    ((), {"SMARTCAR_MODE": "test"}, "SMARTCAR_MODE is 'test'; expected one of live, simulated"),
    ((), {"SMARTCAR_ALLOWANCE_BURST": "many"}, "SMARTCAR_ALLOWANCE_BURST is 'many'"),
    ((), {"SMARTCAR_OPS_CONFIG": "missing.toml"}, "there is no such file"),
    (("-p", "foo", "1"), {}, "has no parameter 'foo'; it has confirm, sources"),
    (("-p", "max_calls", "many"), {}, "max_calls is 'many'; expected a whole number"),
    (("-p", "confirm", "maybe"), {}, "confirm is 'maybe'; expected True or False"),
    (("-p", "max_calls"), {}, "requires 2 arguments"),
]


@pytest.mark.parametrize(("arguments", "changed", "words"), WRONG)
def test_what_is_known_wrong_is_one_sentence(
    make_house: Callable[..., House],
    command: Callable[..., tuple[int, str]],
    arguments: tuple[str, ...],
    changed: dict[str, str | None],
    words: str,
) -> None:
    """Exit 5, one sentence that names the value, nothing asked, nothing written, no sandbox in its place."""
    house = make_house(users=40)
    before = dump(house)
    code, printed = command(house, "run", AUDIT, *arguments, **changed)
    assert 5 == code
    assert words in printed
    assert 1 == len(printed.strip().splitlines())
    assert ([], before) == (house.sandbox.arrivals, dump(house))
    assert [] == folders(house)
    assert not (house.root / ".sandbox").exists()


KNOWN_EARLY = [
    ("99", (), "there is no notebook '99'"),
    ("20_audit_usr_ids", (), "(did you mean 20_audit_user_ids?)"),
    ("nowhere/20_audit.ipynb", (), "there is no notebook 'nowhere/20_audit.ipynb' (did you mean 20_audit_user_ids?)"),
    ("20", ("-p", "max_cals=5"), "has no parameter 'max_cals' (did you mean max_calls?)"),
    ("20", ("-p", "sources=token"), "sources has 'token' (did you mean tokens?)"),
    ("20", ("-p", "max_calls=-1"), "max_calls is -1; expected 0 or more"),
    ("20", ("-p", "max_minutes=-5"), "max_minutes is -5; expected 0 or more"),
    ("10", ("-p", "vehicles=-1"), "vehicles is -1; expected 0 or more"),
    ("10", ("-p", "replay=nowhere"), "replay is 'nowhere', and there is no such folder"),
    ("30", ("-p", "apply", "True"), "apply=True needs a plan or an undo"),
    ("30", ("-p", "apply=True", "-p", "plan=latest", "-p", "undo=RUN"), "plan and undo are both set"),
    ("30", ("-p", "plan=nowhere"), "'nowhere' is not a run's folder"),
    ("30", ("-p", "batch_size=0"), "batch_size is 0; expected 1 or more"),
    ("40", ("-p", "phase=expnd"), "phase is 'expnd' (did you mean expand?)"),
    ("40", ("-p", "phase=contract"), "is not supported by this version"),
    ("50", ("-p", "redirects=gone.csv"), "is not a file"),
    ("50", ("-p", "webhooks=gone.jsonl"), "is not a file"),
    ("90", ("-p", "deadline=soon"), "deadline is 'soon'; expected a day"),
    ("90", ("-p", "as_of=2026-13-01"), "as_of is '2026-13-01'; expected a day"),
    ("90", ("-p", "as_of=2999-01-01"), "which is in the future"),
]


def test_what_makes_no_sense_is_told_before_a_kernel_starts(
    house: House, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 5 and one sentence, with the nearest name for a typo; no folder, no call, no row in the ledger."""
    monkeypatch.setattr(runner.papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    before = dump(house)
    for notebook, arguments, words in KNOWN_EARLY:
        code, printed = command(house, "run", notebook, *arguments)
        assert (5, 1) == (code, len(printed.strip().splitlines())), printed
        assert words in printed
    assert ([], [], before) == (folders(house), house.sandbox.arrivals, dump(house))


def test_a_run_takes_a_path(house: House, command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A notebook of one's own, wherever it is and whatever its name; its folder is among the others."""
    cells = [nbformat.v4.new_markdown_cell("# Mine"), nbformat.v4.new_code_cell("raise OSError(28, 'x')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    code, printed = command(house, "run", str(tmp_path / "mine.ipynb"))
    assert 2 == code
    assert "cell 1 of mine failed with OSError (No space left on device)" in printed
    (folder,) = folders(house)
    assert folder.name.endswith("__mine")
    run = Runs(house.ledger).one(folder.name)
    assert run is not None and ("mine", "failed") == (run.act, run.status)


SPEAKING = (
    "print('said')",
    "from IPython.display import HTML, display\ndisplay(HTML('<p>shown</p>'))\n{'the': 'value'}",
    "from smartcar_ops.session import show_errors_plainly\nshow_errors_plainly()",
    "from smartcar_ops.errors import DatabaseError\nraise DatabaseError('one sentence')",
    "print('never')",
)


def test_without_a_kernel_a_notebook_puts_out_the_same(
    house: House, command: Callable[..., tuple[int, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What tests run in their own process has the outputs, the numbers and the exit code that a kernel gives."""
    cells = [nbformat.v4.new_code_cell(source) for source in SPEAKING]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    told = []
    for fixture in (None, "without_kernel"):
        if fixture:
            request.getfixturevalue(fixture)
        code, _ = command(house, "run", str(tmp_path / "mine.ipynb"))
        notebook = nbformat.read(folders(house)[-1] / "run.ipynb", as_version=4)
        told.append((code, [(cell.execution_count, cell.outputs) for cell in notebook.cells if "outputs" in cell]))
    assert told[0] == told[1]
    assert [1, 2, 0, 1, 0] == [len(outputs) for _, outputs in told[0][1]]


def test_a_notebook_elsewhere_acts_by_the_settings_beside_it(
    house: House, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """Not by those of the working folder, and never on the sandbox instead; a link is where it lies."""
    lines = [f"{name}={value}" for name, value in house.environment.items()]
    (house.root / ".env").write_text("\n".join(lines) + "\n")
    path, unset = house.root / "notebooks" / "90_progress_report.ipynb", dict.fromkeys(house.environment)
    house.root = tmp_path / "elsewhere"
    house.root.mkdir()
    code, printed = command(house, "run", str(path), **unset)
    assert 3 == code, printed
    assert house.settings.where in printed
    assert 1 == len(folders(house))
    assert [] == list(house.root.iterdir())


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize(
    ("notebook", "arguments", "words"),
    [
        ("30", ("-p", "plan", "latest", "-p", "apply", "True"), "has no plan for this database"),
        ("10", ("-p", "vehicle_id", "nothing"), "is not a linked vehicle"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_sentence(
    house: House, command: Callable[..., tuple[int, str]], notebook: str, arguments: tuple[str, ...], words: str
) -> None:
    """Exit 5, told by the notebook's own words, and no folder is left."""
    code, printed = command(house, "run", notebook, *arguments)
    assert (5, []) == (code, folders(house))
    assert words in printed
    assert "Traceback" not in printed


# --- the world failed: exit 2, a marked folder ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"SMARTCAR_DATABASE_URL": "postgresql://u:pass-word@127.0.0.1:1/x"}, "connecting failed on postgresql"),
        ({"SMARTCAR_DATABASE_URL": "sqlite:////nowhere/company.sqlite"}, "there is no file /nowhere/company.sqlite"),
        ({"SMARTCAR_CLIENT_SECRET": "old-secret"}, "refused the credentials of client_01SAN…"),
        ({"SMARTCAR_IAM_ORIGIN": "http://127.0.0.1:1"}, "127.0.0.1 gave no answer to POST /oauth2/token"),
    ],
)
def test_a_failing_world_is_one_sentence_and_a_marked_folder(
    house: House,
    command: Callable[..., tuple[int, str]],
    request: pytest.FixtureRequest,
    changed: dict[str, str],
    words: str,
) -> None:
    """Exit 2; the folder holds the page that says what failed; `latest` does not point there; no secret is told."""
    if "SMARTCAR_CLIENT_SECRET" not in changed:  # what a kernel tells of an error is tried with a secret
        request.getfixturevalue("without_kernel")
    code, printed = command(house, "run", AUDIT, **changed)
    (folder,) = folders(house)
    page, notebook = (folder / "report.html").read_text(), (folder / "run.ipynb").read_text()
    assert 2 == code
    assert words in printed
    assert words.replace("'", "&#39;") in page
    assert "failed" == json.loads((folder / "run.json").read_text())["status"]
    assert not (house.settings.reports / "latest").exists()
    assert "Traceback" not in printed + page
    assert not any(secret in printed + page + notebook for secret in ("pass-word", "old-secret"))


def test_a_missing_table_is_named(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Exit 2, with the table's name and where to tell another."""
    (house.root / "smartcar_ops.toml").write_text('[users]\ntable = "people"\n')
    code, printed = command(house, "run", AUDIT)
    assert 2 == code
    assert "there is no table 'people'" in printed
    assert "[users] table" in printed


@pytest.mark.usefixtures("without_kernel")
def test_a_silent_v2_ends_the_comparison(
    make_house: Callable[..., House], command: Callable[..., tuple[int, str]]
) -> None:
    """Where V2 answers for no vehicle at all, the comparison ends with exit 2 and says to replay."""
    house = make_house(faults=("v2-off",)).expand().play_callbacks()
    _, audited = command(house, "run", "20")
    code, printed = command(house, "run", "10")
    assert 2 == code
    assert "V2 answered for none of" in printed
    assert "replay" in printed
    assert 1 == sum(path.startswith("/v2.0/") for _, _, path in house.sandbox.arrivals)
    pages = [(folder / "report.html").read_text() for folder in folders(house)]
    assert [1, 1] == [page.count("V2 has stopped") for page in pages]
    assert [1, 1] == [text.count("V2 has stopped") for text in (audited, printed)]
    told = json.loads((folders(house)[-1] / "run.json").read_text())
    run = Runs(house.ledger).one(folders(house)[-1].name)
    assert run is not None and "failed" == run.status
    assert {} == told["calls"] == run.calls


def test_a_cell_that_hangs_is_ended(
    house: House, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that stops answering ends with exit 2 when its time is over, its folder marked."""
    (house.root / "notebooks").unlink()
    (house.root / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell("import threading\nthreading.Event().wait()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), house.root / "notebooks" / "95_hangs.ipynb")
    monkeypatch.setattr(runner, "GRACE", -10 * 60 + 2)
    code, printed = command(house, "run", "95")
    assert 2 == code
    assert "timed out" in printed and "--cell-minutes" in printed
    assert 1 == len(folders(house))


def test_a_kernel_that_dies_is_told_with_its_cell(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Exit 2, and the page shows the cell that ran when the kernel died: not one before it, not "between cells"."""
    (house.root / "notebooks").unlink()
    (house.root / "notebooks").mkdir()
    sources = ("first = 1", "import os\nos._exit(9)", "last = 1")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), house.root / "notebooks" / "95_dies.ipynb")
    code, printed = command(house, "run", "95")
    (folder,) = folders(house)
    page = (folder / "report.html").read_text()
    assert 2 == code and "the kernel of 95_dies ended" in printed
    assert "The run stopped in this cell" in page and "os._exit(9)" in page
    assert "between its cells" not in page and "last = 1" not in page


def test_a_cells_time_limit_can_be_set(house: House) -> None:
    """By the command, else by a setting; a setting that is no number is refused."""
    chosen = house.read_settings(SMARTCAR_OPS_CELL_MINUTES="7")
    path = NOTEBOOKS / f"{AUDIT}.ipynb"
    assert 7 * 60 == runner._Run(path, {}, chosen, print, str, chosen.cell_minutes)._allowed
    assert 2 * 60 == runner._Run(path, {"apply": True}, chosen, print, str, 2)._allowed
    assert runner.GRACE + 300 == runner._Run(path, {"max_minutes": 5}, chosen, print, str, 0)._allowed
    with pytest.raises(SettingsError, match="SMARTCAR_OPS_CELL_MINUTES is 'long'"):
        house.read_settings(SMARTCAR_OPS_CELL_MINUTES="long")


def test_a_kernel_that_can_not_start_says_why(
    house: House, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its own last line, not a guess about the disk; nothing is left but the run's folder."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named ipykernel_launcher' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    code, printed = command(house, "run", AUDIT)
    assert 2 == code
    assert f"its kernel ({broken}) could not start: No module named ipykernel_launcher." in printed
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    code, printed = command(house, "run", AUDIT)
    assert (2, True) == (code, "gone: No such file or directory" in printed)
    assert [] == list(house.settings.reports.glob(".*.partial*"))


@pytest.mark.usefixtures("without_kernel")
def test_a_page_that_can_not_be_made_loses_no_table(
    house: House, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 and a sentence; what the notebook had saved is in the run's folder."""
    monkeypatch.setattr(page, "render", lambda *_: {}["no such template"])
    code, printed = command(house, "run", AUDIT, "-p", "confirm=False")
    assert 2 == code
    assert "the page of 20_audit_user_ids could not be written" in printed
    assert (folders(house)[0] / "users.parquet").is_file()


def test_reports_that_can_not_be_written_are_a_sentence(
    make_house: Callable[..., House], command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """Every command that needs them, for its folder or for the ledger's file, says so with exit 2."""
    house = make_house(users=40)
    (tmp_path / "file").touch()
    changed = {"SMARTCAR_OPS_REPORTS": str(tmp_path / "file" / "reports")}
    for words in (("run", AUDIT), ("runs",), ("decide", "1", "none", "--by", "Ada", "--reason", "x")):
        code, printed = command(house, *words, **changed)
        assert 2 == code
        assert "Not a directory" in printed and "Traceback" not in printed


# --- locks ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_kernel")
def test_a_second_run_of_a_notebook_is_refused(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Exit 4 with the holder's name, no folder; another notebook may run."""
    with lock(house.ledger, AUDIT, "the-first-run"):
        code, printed = command(house, "run", AUDIT)
        other, _ = command(house, "run", "90")
    assert (4, 3) == (code, other)
    assert "the-first-run" in printed
    assert [] == [path for path in folders(house) if path.name.endswith(AUDIT)]


# --- nothing to do -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_kernel")
def test_nothing_to_do_is_exit_3(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Expanding twice, comparing what is not linked, reporting without an audit: exit 3, with a page."""
    for notebook, words in (("40", "already there"), ("10", "No vehicle is linked"), ("90", "There is no audit")):
        code, printed = command(house, "run", notebook, *(("-p", "apply", "True") if notebook == "40" else ()))
        assert 3 == code, printed
        assert words in printed
    assert 3 == len(folders(house))


# --- who may read alone --------------------------------------------------------------------------------------


def audits_compares_reports(house: House, command: Callable[..., tuple[int, str]], **changed: str) -> None:
    """Audit, compare, plan and report do their work on an account that may only read, and change nothing."""
    before = dump(house)
    code, printed = command(house, "run", "20", **changed)
    assert 1 == code, printed
    assert command(house, "run", "10", "-p", "vehicles", "5", **changed)[0] in (0, 1)
    assert 0 == command(house, "run", "30", **changed)[0]
    code, printed = command(house, "run", "90", **changed)
    assert 0 == code
    assert "of 60 users" in printed
    assert before == dump(house)


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.slow  # rights that end at SELECT are tried below on every run
def test_a_read_only_file_is_enough(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """With a SQLite file opened for reading alone."""
    path = house.url.removeprefix("sqlite:///")
    audits_compares_reports(house, command, SMARTCAR_DATABASE_URL=f"sqlite:///file:{path}?mode=ro&uri=true")


@pytest.mark.usefixtures("without_kernel")
def test_select_rights_are_enough(make_house: Callable[..., House], command: Callable[..., tuple[int, str]]) -> None:
    """With a PostgreSQL role that has SELECT on the two tables and nothing else."""
    house = make_house("postgresql").expand().play_callbacks()
    role = f"reader_{os.getpid()}"
    house.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
    house.execute(f"GRANT SELECT ON users, vehicles TO {role}")
    url = sa.make_url(house.url).set(username=role, password="reads").render_as_string(hide_password=False)
    try:
        audits_compares_reports(house, command, SMARTCAR_DATABASE_URL=url)
    finally:
        house.execute(f"DROP OWNED BY {role}")
        house.execute(f"DROP ROLE {role}")


@pytest.mark.usefixtures("without_kernel")
def test_a_dry_run_leaves_the_database_as_it_was(
    make_house: Callable[..., House], command: Callable[..., tuple[int, str]]
) -> None:
    """Before expand, audit and plan leave no new table, column or row; what they learn is kept beside the reports."""
    house = make_house(users=40)
    path = Path(house.url.removeprefix("sqlite:///"))
    before = list(sqlite3.connect(path).iterdump())
    for notebook, code in (("20", 1), ("30", 0), ("40", 0)):
        assert code == command(house, "run", notebook)[0]
    assert before == list(sqlite3.connect(path).iterdump())
    assert 1 == len(list(house.settings.reports.glob(".ledger-*.sqlite")))


# --- the way there and back ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_kernel")
def test_plan_apply_undo_by_the_command_line(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """A plan, the same applied, applied again (nothing open), then undone: users and vehicles are as before."""
    before = house.rows("users"), house.rows("vehicles")
    assert 0 == command(house, "run", "30")[0]
    assert before == (house.rows("users"), house.rows("vehicles"))
    code, printed = command(house, "run", "30", "-p", "plan", "latest", "-p", "apply", "True", "--json")
    told = json.loads(printed)
    assert (0, 0, 0) == (code, told["summary"]["skipped"], told["summary"]["failed"])
    assert before != (house.rows("users"), house.rows("vehicles"))
    plan = str(folders(house)[0])
    assert 3 == command(house, "run", "30", "-p", "plan", plan, "-p", "apply", "True")[0]
    undo = ("run", "30", "-p", "undo", Path(told["folder"]).name)
    assert 0 == command(house, *undo)[0]
    assert before != (house.rows("users"), house.rows("vehicles"))
    assert 0 == command(house, *undo, "-p", "apply", "True")[0]
    assert before == (house.rows("users"), house.rows("vehicles"))


@pytest.mark.usefixtures("without_kernel")
def test_an_allowance_is_kept_and_said(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """With max_calls the audit spends no more, says that it is not complete, and ends well."""
    code, printed = command(house, "run", AUDIT, "-p", "max_calls", "20", "--json")
    told = json.loads(printed)
    assert code in (0, 1)
    assert told["summary"]["complete"] is False
    assert 20 >= told["calls"]["v2"] + told["calls"]["v3"]


def test_the_doctor_tells_line_by_line(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """On a company in order every line passes, at most 5 calls are made; a refused credential is exit 2."""
    code, printed = command(house, "doctor")
    assert 0 == code, printed
    assert 5 >= len([path for _, _, path in house.sandbox.arrivals if path != "/health"])
    code, printed = command(house, "doctor", SMARTCAR_CLIENT_SECRET="old-secret")
    assert 2 == code
    assert "Was the secret rotated?" in printed


@pytest.mark.usefixtures("without_kernel")
def test_runs_lists_what_was_done(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """`runs` lists the ledger's runs, and a pause that holds them up; a wish for a run that is not under way is
    refused."""
    command(house, "run", AUDIT)
    shared_bucket(house.settings, house.ledger).hold(3000)
    code, printed = command(house, "runs")
    assert 0 == code
    assert "audit" in printed
    assert "Smartcar asked for a pause (50 minutes left)" in printed
    code, printed = command(house, "runs", "cancel", "nothing")
    assert 5 == code
    assert "no run 'nothing' is in progress" in printed


KILLED = "20260102T000000Z__30_backfill_user_ids"
BACKFILL = "30_backfill_user_ids"


def kill(house: House, name: str, target: str | Path, *, batches: int = 3) -> int:
    """Kills an act of five rows a batch after so many batches: how many rows it has written or put back."""
    act = Act(house, name, target, KILLED)
    for _ in range(batches):
        assert act.go()
        act.release()
    assert act.go()
    act.kill()
    return batches * 5


def kept_plan(house: House) -> tuple[str, Plan]:
    """A plan in the folder of a run, and that run's name."""
    house.ask()
    folder = house.settings.reports / f"20260101T000000Z__{BACKFILL}"
    folder.mkdir(parents=True)
    plan = house.plan()
    plan.save(folder / "plan.parquet")
    return folder.name, plan


def line_of(printed: str, run: str) -> str:
    """What a list of runs says of one."""
    return next(line for line in printed.splitlines() if line.startswith(run))


def test_runs_tells_a_killed_undo_and_how_it_goes_on(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Interrupted, not running: what it put back, and the command that continues it; with its batches on demand."""
    _, plan = kept_plan(house)
    total = len(plan.changes())
    backfill_runner.apply(house.company, house.ledger, plan, "run")
    put_back = kill(house, "undo", "run")
    goes_on = f"Continue with `smartcar-ops run {BACKFILL} -p undo run -p apply True`."
    _, printed = command(house, "runs")
    line = line_of(printed, KILLED)
    assert " interrupted " in line and f"{put_back} of {total}, {put_back} put back" in line and "left" not in line
    assert f"The undo put back {put_back} of {total} rows. The process that ran this has stopped." in printed
    assert goes_on in printed
    code, printed = command(house, "runs", KILLED)
    assert 0 == code
    assert "Undo of run" in printed and "interrupted" in printed and goes_on in printed
    batches = [line.split() for line in printed.splitlines() if line.split()[1:2] == ["users"]]
    assert [["1", "users", "5", "0", "0"], ["2", "users", "5", "0", "0"], ["3", "users", "5", "0", "0"]] == [
        batch[:5] for batch in batches
    ]
    for wish in ("pause", "resume", "cancel"):
        code, printed = command(house, "runs", wish, KILLED)
        assert 5 == code
        assert f"is interrupted, so it can't {wish}" in printed and goes_on in printed
    backfill_runner.undo(house.company, house.ledger, "run", "rest")
    _, printed = command(house, "runs")
    assert "interrupted" in line_of(printed, KILLED) and "Continue" not in printed
    _, printed = command(house, "runs", KILLED)
    assert "Run rest came after it." in printed


def test_runs_lists_what_of_a_run_can_be_undone(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Batches and rows by the names that undo takes; what was put back is listed no more, of a run or of a batch."""
    _, plan = kept_plan(house)
    done = backfill_runner.apply(house.company, house.ledger, plan, "run", batch_size=5).table("written")
    first = done[done["batch"] == 1]

    def told(target: str) -> list[list[str]]:
        code, printed = command(house, "runs", target)
        assert 0 == code, printed
        return [line.split() for line in printed.splitlines() if line.startswith("run:")]

    rows = [[f"run:1:{row.row_id}", "users.smartcar_user_id", row.after, "–"] for row in first.itertuples()]
    assert 5 == len(rows) and rows == told("run:1") == told("run")[:5]
    assert 20 == len(told("run"))
    _, printed = command(house, "runs", "run")
    assert f"{len(done)} rows; `smartcar-ops runs run:BATCH` lists those of one batch." in printed
    assert f"`smartcar-ops run {BACKFILL} -p undo run -p apply True`" in printed
    backfill_runner.undo(house.company, house.ledger, rows[0][0], "back")
    assert rows[1:] == told("run:1")
    _, printed = command(house, "runs", "run")
    batch = next(line.split() for line in printed.splitlines() if line.split()[:2] == ["1", "users"])
    assert ["1", "users", "5", "0", "0", "4"] == batch[:6]
    backfill_runner.undo(house.company, house.ledger, "run", "all")
    _, printed = command(house, "runs", "run")
    assert "Nothing left to undo for this run." in printed and [] == told("run")
    code, printed = command(house, "runs", "run:x")
    assert (5, True) == (code, "is 'x', not a number" in printed)


def test_runs_tells_a_killed_apply_and_its_own_plan(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """An apply goes on with the plan it was, though there is a newer one; without its file, a new plan is needed."""
    folder, plan = kept_plan(house)
    path = house.settings.reports / folder / "plan.parquet"
    written = kill(house, "apply", path)
    newer = path.parent.with_name(f"20260103T000000Z__{BACKFILL}")
    newer.mkdir()
    house.plan().save(newer / "plan.parquet")
    _, printed = command(house, "runs")
    assert f"{written} of {len(plan.changes())}, {written} written" in line_of(printed, KILLED)
    assert f"-p plan {folder} -p apply True`" in printed
    path.unlink()
    _, printed = command(house, "runs", KILLED)
    assert "Its plan is no longer here: plan again" in printed


def test_runs_tells_a_run_that_is_silent(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """On another host a process can't be seen: silent for 40 s it is told so; for longer than its lease, it is dead."""
    runs_of, row = Runs(house.ledger), {"name": WRITER, "run_id": KILLED, "operator": "eve", "host": "far", "pid": 1}
    row |= {"token": 1, "process": ""}
    runs_of.start(KILLED, BACKFILL, "undo", plan="run")
    runs_of.expect(KILLED, 100)
    for seconds, told, untold in (
        (0, " running ", "sign of life"),
        (40, "no sign of life for 4", "interrupted"),
        (100, " interrupted ", " running "),
    ):
        house.ledger.put(t.locks, [{**row, "beat": utcnow() - timedelta(seconds=seconds)}])
        line = line_of(command(house, "runs")[1], KILLED)
        assert told in line and untold not in line


def test_runs_tells_a_paused_act_in_its_own_words(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Asked to pause, an undo says what it does then; it is listed as pausing, then as paused, without a time left."""
    runs_of = Runs(house.ledger)
    with lock(house.ledger, WRITER, KILLED):
        runs_of.start(KILLED, BACKFILL, "undo", plan="run")
        code, printed = command(house, "runs", "pause", KILLED)
        assert 0 == code
        assert "Pausing the undo: the current batch is put back first." in printed
        assert " pausing " in line_of(command(house, "runs")[1], KILLED)
        runs_of.answer_pause(KILLED)
        assert " paused " in line_of(command(house, "runs")[1], KILLED)
        assert " running " not in line_of(command(house, "runs")[1], KILLED)


def test_runs_tells_a_killed_audit(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """A run that writes no rows is told as killed, too, and is run again."""
    Runs(house.ledger).start("20260102T000000Z__20_audit_user_ids", AUDIT, "audit")
    assert " interrupted " in line_of(command(house, "runs")[1], "20260102T000000Z__20_audit_user_ids")
    _, printed = command(house, "runs", "20260102T000000Z__20_audit_user_ids")
    assert "The process that ran this has stopped. Run 20_audit_user_ids again" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nothing",), "the ledger has no run 'nothing'"),
        (("pause",), "pause needs the run's name"),
        (("stop", "run"), "'stop' is not a command; expected pause, resume, cancel"),
        (("pause", "run", "now"), "got 3 arguments"),
    ],
)
def test_runs_refuses_other_words(
    house: House, command: Callable[..., tuple[int, str]], words: tuple[str, ...], told: str
) -> None:
    """What `runs` can't mean is one sentence and exit 5."""
    code, printed = command(house, "runs", *words)
    assert 5 == code
    assert told in printed


KILLING = """
import os, signal
backfill.execute(lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""
ROBBING = """
import sqlalchemy as sa
from smartcar_ops.database.ledger import tables as t
def rob(*_):
    with session.ledger.begin() as connection:
        for table in (t.locks, t.fences):  # as whoever takes a lock does
            taken = {"run_id": "thief", "token": table.c.token + 1}
            connection.execute(sa.update(table).where(table.c.name == "writer").values(**taken))
backfill.execute(rob)
"""


def carrying_out(house: House, source: str) -> list[str]:
    """The words that run the backfill's notebook with ``apply``, five rows a batch, and this cell for the act."""
    (house.root / "notebooks").unlink()
    shutil.copytree(NOTEBOOKS, house.root / "notebooks")
    path = house.root / "notebooks" / f"{BACKFILL}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "backfill.execute()" in cell.source)
    cell.source = source
    nbformat.write(notebook, path)
    return ["run", BACKFILL, "-p", "apply", "True", "-p", "batch_size", "5"]


def test_a_kernel_killed_in_an_undo_is_told_and_the_undo_goes_on(
    house: House, command: Callable[..., tuple[int, str]]
) -> None:
    """The page and the summary say what was put back and how to go on; what was put back is noted by the next act."""
    before = house.rows("users"), house.rows("vehicles")
    _, plan = kept_plan(house)
    backfill_runner.apply(house.company, house.ledger, plan, "run")
    code, printed = command(house, *carrying_out(house, KILLING), "-p", "undo", "run")
    assert 2 == code
    told = f"The undo put back 5 of {len(plan.changes())} rows. The process that ran this has stopped."
    goes_on = f"smartcar-ops run {BACKFILL} -p undo run -p apply True"
    assert told in printed and goes_on in printed
    folder = folders(house)[-1]
    summary = json.loads((folder / "summary.json").read_text())
    assert (5, 0, 0, False) == tuple(summary[name] for name in ("applied", "skipped", "failed", "complete"))
    assert told in (folder / "report.html").read_text() and goes_on in (folder / "report.html").read_text()
    assert " interrupted " in line_of(command(house, "runs")[1], folder.name)
    rest = backfill_runner.undo(house.company, house.ledger, "run", "rest")
    assert {"applied": len(plan.changes()) - 5, "skipped": 0, "failed": 0} == rest.summary
    assert before == (house.rows("users"), house.rows("vehicles"))
    assert 0 == backfill_runner.undo_preview(house.ledger, "run", 1)[0]


@pytest.mark.slow
def test_an_act_that_lost_its_lock_stays_in_the_ledger(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Exit 4, no folder; but what it had written is still known under its name, and can be undone."""
    before = house.rows("users"), house.rows("vehicles")
    folder, plan = kept_plan(house)
    code, printed = command(house, *carrying_out(house, ROBBING), "-p", "plan", folder)
    assert 4 == code, printed
    assert 1 == len(folders(house))
    (run,) = Runs(house.ledger).all("apply")
    assert 0 < run.written < len(plan.changes())
    house.execute("DELETE FROM smartcar_ops_locks")
    assert run.written == backfill_runner.undo(house.company, house.ledger, run.run_id, "back").count("written")
    assert before == (house.rows("users"), house.rows("vehicles"))


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.slow
def test_a_run_takes_no_name_that_the_ledger_knows(house: House, command: Callable[..., tuple[int, str]]) -> None:
    """Another machine's run of the same second, from its own folder, keeps its row; this one is named after it."""
    now, register = datetime.now(UTC), Runs(house.ledger)
    taken = [f"{now + timedelta(seconds=number):%Y%m%dT%H%M%SZ}__{AUDIT}" for number in range(120)]
    for name in taken:
        register.start(name, AUDIT, "audit")
    before = house.rows("smartcar_ops_runs")
    command(house, "run", AUDIT, "-p", "confirm", "False")
    (folder,) = folders(house)
    assert folder.name > taken[-1]
    assert before == [row for row in house.rows("smartcar_ops_runs") if row["run_id"] != folder.name]


def test_the_notebook_acts_where_the_command_says(
    make_house: Callable[..., House], command: Callable[..., tuple[int, str]]
) -> None:
    """From a folder with a `.env` of its own, the run acts on that company, not on the one of the folder above."""
    above, own = make_house(users=40), make_house(users=40)
    for house, folder in ((above, above.root), (own, above.root / "staging")):
        folder.mkdir(exist_ok=True)
        lines = [f"{name}={value}" for name, value in house.environment.items()]
        (folder / ".env").write_text("\n".join(lines) + "\n")
    before = above.tables()
    above.root = above.root / "staging"
    unset = dict.fromkeys(above.environment)
    code, printed = command(above, "run", "40", "-p", "apply", "True", **unset)
    assert 0 == code, printed
    assert before == above.tables()
    assert "smartcar_ops_changes" in own.tables()
