"""What a run says while it works: its log, from which level on, and a bar; never whose data it is about."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from smartcar_ops import cli, notebook_runs
from smartcar_ops.audit import resolver
from smartcar_ops.audit.result import judge_users
from smartcar_ops.audit.sources import AUTO
from smartcar_ops.backfill.backfill import Backfill
from smartcar_ops.compare.compare import open_comparison
from smartcar_ops.errors import AllowanceSpentError, UnreachableError
from smartcar_ops.session import Session
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.settings.logs import KIT
from smartcar_ops.smartcar.http.rate_limit import TokenBucket
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.storage import run_log
from smartcar_ops.storage.run_log import Listener, Milestones, Sender, StepProgress
from tests.support.house import House

RECORD = re.compile(r"^\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) (smartcar_ops\.\w+): .+$", re.MULTILINE)
CALL = re.compile(r"v2 POST /vehicles/\{id\}/batch: \d+, \d+ units, \d+ ms")
LOOKS_LIKE_DATA = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-|@|\d\.\d{4}|\b[A-HJ-NPR-Z0-9]{17}\b|Bearer|\b[0-9a-f]{32,}\b", re.IGNORECASE
)
"""An id of Smartcar's, an e-mail address, a coordinate, a VIN, a token or a digest of one."""


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that the kit logs in this process."""
    with caplog.at_level(logging.DEBUG, logger=KIT.name):
        yield caplog


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `smartcar-ops run` on a house: its exit code, stdout and stderr."""

    def run(house: House, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(house.root)
        for name, value in house.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main(["run", *arguments])
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def own_notebook(house: House, *sources: str) -> None:
    """The house's only notebook, 95, opens a session and has these cells."""
    opens = "from smartcar_ops.session import open_session\nsession = open_session('95_own')"
    cells = [nbformat.v4.new_code_cell(source) for source in (opens, *sources, "session.finish('Done.')")]
    (house.root / "notebooks").unlink()
    (house.root / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), house.root / "notebooks" / "95_own.ipynb")


def planted(house: House) -> set[str]:
    """What stands in the company's rows and in the sandbox's cars, and is nobody else's to read."""
    people, cars, world = house.rows("users"), house.rows("vehicles"), house.world
    told = {row[name] for row in people for name in ("email", "name", "smartcar_user_id")}
    told |= {row[name] for row in cars for name in ("vin", "vehicle_access_token", "smartcar_vehicle_id")}
    told |= {car[name] for car in house.truth["vehicles"] for name in ("smartcar_vehicle_id", "local_vehicle_id")}
    told |= {place for car in world.cars.values() for place in (car.v2["location"].value or {}).values()}
    told |= {user["smartcar_user_id"] for user in house.truth["users"]}
    told |= {world.credentials.client_secret, world.credentials.management_token}
    return {str(value) for value in told if value and len(str(value)) > 4}


def test_importing_the_kit_sets_up_nothing() -> None:
    """After every module is imported, the kit's loggers have no handler but one that does nothing, and no level."""
    code = (
        "import importlib, logging, pkgutil, smartcar_ops\n"
        "names = [m.name for m in pkgutil.walk_packages(smartcar_ops.__path__, 'smartcar_ops.')]\n"
        "for name in names:\n"
        "    if 'steps' not in name and not name.endswith('__main__'):\n"
        "        importlib.import_module(name)\n"
        "kit = [logging.getLogger(n) for n in logging.root.manager.loggerDict if n.startswith('smartcar_ops')]\n"
        "print(sorted(type(h).__name__ for logger in kit for h in logger.handlers), {logger.level for logger in kit})\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("['NullHandler'] {0}\n", "") == (said.stdout, said.stderr)


def test_the_log_tells_what_is_done_and_not_whose_data_it_is(house: House, log: pytest.LogCaptureFixture) -> None:
    """Audit, comparison, plan and apply at DEBUG: templates, counts and batches; no id, VIN, token, e-mail or place."""
    session = Session("20_audit_user_ids", house.settings)
    resolver.ask(session, AUTO, max_calls=0, max_minutes=1)
    judge_users(session.company, session.ledger, session.now)
    open_comparison(session, vehicles=8).read()
    plan = Backfill(session, plan="").prepare().plan
    assert plan is not None
    Backfill(session, plan=plan, apply=True, batch_size=20).execute()
    session.transport.close()
    told = [(record.name.removeprefix("smartcar_ops."), record.getMessage()) for record in log.records]
    told = [(name, words) for name, words in told if name != "httpx"]
    text = "\n".join(words for _, words in told)
    assert {"audit", "compare", "backfill", "database", "smartcar"} <= {name for name, _ in told}
    assert CALL.search(text)
    for words in (
        r"connections: \d+ answers in",
        r"judged: .*\d+ ready",
        r"8 of \d+ linked vehicles are to be read",
        r"read: 8 vehicles",
        r"planned: \d+ set",
        r"batch 1: users\.smartcar_user_id, 20 written in \d",
        r"apply: done: \d+ written",
        r"lock writer: taken by run",
    ):
        assert re.search(words, text), words
    assert [] == [value for value in planted(house) if value in text]
    assert None is LOOKS_LIKE_DATA.search(text), LOOKS_LIKE_DATA.search(text)
    assert len(planted(house)) > 300


def test_a_level_reaches_the_notebook(house: House, run: Callable[..., tuple[int, str, str]]) -> None:
    """At DEBUG stderr has the notebook's records between its steps as they come; stdout is the one line of JSON.

    Nothing of them is on the page, in the notebook, or a file of its own.
    """
    house.ask()
    code, out, err = run(house, "10", "-p", "vehicles=4", "--log-level", "DEBUG", "--json")
    assert 1 == code, err
    assert [json.loads(out)] == [json.loads(line) for line in out.splitlines()]
    lines = err.splitlines()
    assert CALL.search(err)
    assert {"compare", "smartcar", "reports", "database"} <= {name[13:] for _, name in RECORD.findall(err)}
    cost, read = (next(i for i, line in enumerate(lines) if words in line) for words in ("At most ", "read: 4 vehi"))
    assert cost < read < next(i for i, line in enumerate(lines) if line == "Verdicts")
    assert [] == [value for value in planted(house) if value in err]
    folder = Path(json.loads(out)["folder"])
    assert not (folder / run_log.FILE).exists()
    for name in ("report.html", "run.ipynb"):
        assert "smartcar_ops.compare: " not in (folder / name).read_text("utf-8")


def test_a_level_that_is_none_is_one_sentence(house: House, run: Callable[..., tuple[int, str, str]]) -> None:
    """Exit 5, naming the value and the levels that there are; nothing is asked and no folder made."""
    code, out, err = run(house, "20", "--log-level", "loud")
    assert (5, "") == (code, out)
    assert "'loud' is not one of 'debug', 'info', 'warning', 'error'" in err
    assert 1 == len(err.strip().splitlines())
    assert ([], []) == (house.sandbox.arrivals, list(house.settings.reports.glob("*__*")))


def test_warning_asked_for_leaves_out_the_steps(house: House, run: Callable[..., tuple[int, str, str]]) -> None:
    """For a schedule that mails whatever is on stderr: nothing is, where nothing is wrong."""
    own_notebook(house)
    code, out, err = run(house, "95", "--log-level", "warning")
    assert (0, "") == (code, err)
    assert "Done." in out


def test_a_terminal_shows_steps_a_bar_and_no_records(house: House) -> None:
    """Without a level: each step, a warning, and so many of so many while a step lasts; stdout has none of it."""
    own_notebook(
        house,
        "import logging\nfrom smartcar_ops.storage.run_log import Milestones\n"
        "log = logging.getLogger('smartcar_ops.own')\nlog.info('quiet')\nlog.warning('loud')\n"
        "Milestones(log, 'cars').reached(3, 10)",
    )
    master, slave = pty.openpty()
    environment = {**house.process_environment(), "TERM": "xterm"}
    command = [sys.executable, "-m", "smartcar_ops", "run", "95"]
    process = subprocess.Popen(command, cwd=house.root, env=environment, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    shown = b"".join(iter(lambda: _read(master), b"")).decode()
    out = process.communicate()[0].decode()
    os.close(master)
    assert 0 == process.returncode, shown
    assert re.search(r"cars .*━.*3/10", shown)
    assert "\x1b[?25h" in shown.rpartition("3/10")[2]  # the cursor is there again
    assert "Running 95_own on " in shown
    assert "WARNING smartcar_ops.own: loud" in shown and "INFO" not in shown
    assert "Done." in out and not any(words in out for words in ("3/10", "loud", "Running"))


def _read(terminal: int) -> bytes:
    """What a terminal shows next; nothing once its last program has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_a_script_gets_the_notebooks_log_from_its_own_loggers(
    house: House, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs a notebook from Python hears its records under their names, and how far it is."""
    own_notebook(
        house,
        "import logging\nfrom smartcar_ops.storage.run_log import Milestones\n"
        "log = logging.getLogger('smartcar_ops.own')\nlog.info('two\\nlines, and ünïcode')\n"
        "Milestones(log, 'cars').reached(1, 2)",
    )
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    seen: list[StepProgress | None] = []
    result = notebook_runs.run("95", watch=seen.append, log_level="info")
    assert 0 == result.exit_code, result.verdict
    assert ["two\nlines, and ünïcode"] == [r.getMessage() for r in log.records if r.name == "smartcar_ops.own"]
    assert StepProgress("cars", 1, 2) in seen and seen[-1] is None


def test_what_a_notebook_told_is_read_line_by_line(tmp_path: Path) -> None:
    """Each line once; one that is cut off waits for its rest, one that a full disk spoilt is passed over."""
    listener, sender = Listener(tmp_path), Sender(tmp_path)
    assert [] == list(listener.heard())
    sender.emit(logging.makeLogRecord({"name": "smartcar_ops.own", "levelno": 20, "msg": "%s of %s", "args": (1, 2)}))
    with (tmp_path / run_log.FILE).open("ab") as file:
        file.write(b'{"what": "cars", ')
    assert ["1 of 2"] == [heard.getMessage() for heard in listener.heard() if isinstance(heard, logging.LogRecord)]
    with (tmp_path / run_log.FILE).open("ab") as file:
        file.write(b'"done": 1, "of": 3}\n{"name": {"name": "smartcar_ops.own"}\n\n')
    assert [StepProgress("cars", 1, 3)] == list(listener.heard())
    assert 0o600 == (tmp_path / run_log.FILE).stat().st_mode & 0o777


def test_a_long_act_says_how_far_it_is(log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of every item, but again after so many seconds."""
    act = Milestones(logging.getLogger("smartcar_ops.own"), "cars")
    act.reached(1, 9_000)
    assert [] == log.messages
    monkeypatch.setattr(run_log, "LOGGED_EVERY", 0.0)
    act.reached(4_000, 9_000)
    assert ["cars: 4,000 of 9,000 so far"] == log.messages


def test_a_wait_for_the_allowance_is_told_with_its_reason(log: pytest.LogCaptureFixture) -> None:
    """How long a call waits, and whether for refills or because Smartcar asked for a pause."""
    bucket = TokenBucket(Allowance(burst=2, per_minute=60), sleep=lambda seconds: None)
    until = bucket.level().at + 3600
    bucket.take(2, until)
    bucket.take(2, until)
    bucket.hold(300)
    bucket.take(1, until)
    told = [message for message in log.messages if "waits" in message or "pause" in message]
    assert "a call of 2 units waits 2 seconds: the allowance is used up" == told[0]
    assert "Smartcar asked for a pause: nothing is sent for 5 minutes" == told[1]
    assert re.fullmatch(r"a call of 1 unit waits \d minutes: Smartcar asked for a pause", told[2])
    with pytest.raises(AllowanceSpentError):
        bucket.take(1, until - 3600)


def test_a_call_that_is_given_up_says_so(log: pytest.LogCaptureFixture) -> None:
    """After its last attempt, by its template, with what came instead of an answer."""
    transport = Transport(attempts=2)
    with pytest.raises(UnreachableError):
        transport.send(Request("v3", "GET", "http://127.0.0.1:1/v3/vehicles/an-id/vin", "/vehicles/{id}/vin"))
    transport.close()
    told = [message for message in log.messages if message.startswith("v3 ")]
    assert ["v3 GET /vehicles/{id}/vin: UnreachableError, 1 units"] * 2 == [
        words.rpartition(",")[0] for words in told[:2]
    ]
    assert ["v3 GET /vehicles/{id}/vin: given up after 2 attempts: UnreachableError"] == told[2:]
