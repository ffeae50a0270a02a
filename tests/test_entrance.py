"""The way in: whatever ends a command is one sentence and an exit code; never a traceback, never "a gate says no"."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartcar_ops import cli, entry_point
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.reports import interrupts

KIT = Path(__file__).parents[1]
ENDS = [
    (RuntimeError("the token abc-secret"), "it failed with RuntimeError"),
    (OSError(errno.ENOSPC, "No space left on device", "/reports/x"), "/reports/x: No space left on device"),
    (OSError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
    (PermissionError(errno.EACCES, "Permission denied", "/ledger"), "/ledger: Permission denied"),
    (MemoryError(), "not enough memory"),
    (ModuleNotFoundError("no", name="papermill"), "the package papermill can't be loaded"),
    (RecursionError("deep"), "RecursionError"),
    (KeyboardInterrupt(), "Stopped."),
    (SmartcarOpsError("reports: full."), "reports: full."),
]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("error", "words"), ENDS, ids=lambda value: type(value).__name__)
def test_whatever_ends_a_command_is_exit_2_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    words: str,
    as_json: bool,
) -> None:
    """Also what no part of the kit foresaw: its text, which may hold a secret, is not repeated; JSON where asked."""

    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "execute", fail)
    with pytest.raises(SystemExit) as ended:
        entry_point.main(["run", "20", *(["--json"] if as_json else [])])
    told = capsys.readouterr()
    assert 2 == ended.value.code
    assert 1 == len((told.out + told.err).strip().splitlines())
    assert words in told.out + told.err
    assert "abc-secret" not in told.out + told.err
    if as_json:
        assert (2, "", {}) == tuple(json.loads(told.out)[name] for name in ("exit_code", "where", "calls"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu", "20"], "there is no command 'rnu' (did you mean run?)"),
        (["run"], "Missing argument 'NOTEBOOK'"),
        (["run", "20", "--jsn"], "No such option"),
        (["run", "20", "--cell-minutes", "0", "--json"], "0 is not in the range"),
        (["sandbox", "--fault", "server-50"], "(did you mean server-500?)"),
    ],
)
def test_words_that_make_no_sense_are_exit_5(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """One sentence on stderr, with the nearest word; with --json, JSON."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    told = capsys.readouterr()
    assert 5 == ended.value.code
    assert words in (json.loads(told.out)["verdict"] if "--json" in arguments else told.err)


@pytest.mark.parametrize(
    ("given", "apart"),
    [
        (["-p", "max_calls=5"], ["-p", "max_calls", "5"]),
        (["-p", "max_calls", "5"], ["-p", "max_calls", "5"]),
        (["-p", "plan", "a=b", "--json"], ["-p", "plan", "a=b", "--json"]),
        (["--parameter", "undo=RUN:1", "-p", "apply=True"], ["-p", "undo", "RUN:1", "-p", "apply", "True"]),
        (["-p", "as_of="], ["-p", "as_of", ""]),
        (["-p", "max_minutes", "-5"], ["-p", "max_minutes", "-5"]),
        (["-p", "max_calls"], ["-p", "max_calls"]),
        (["-p"], ["-p"]),
        (["20", "--json"], ["20", "--json"]),
    ],
)
def test_a_parameter_may_be_written_with_an_equals_sign(given: list[str], apart: list[str]) -> None:
    """``-p name=value`` and ``-p name value`` are the same; a value may hold an equals sign itself."""
    assert apart == list(cli._split_parameters(given))


# --- asked to end --------------------------------------------------------------------------------------------


def interrupted_in_an_import(
    tmp_path: Path, module: str, number: signal.Signals, *, in_a_string: bool = False
) -> subprocess.CompletedProcess[str]:
    """A run that gets a signal while it imports a module, told by a pipe that the module itself opens."""
    stubs, pipe = tmp_path / "stubs", tmp_path / "pipe"
    stubs.mkdir()
    os.mkfifo(pipe)
    code = f"import threading\nopen({str(pipe)!r}, 'w').close()\nthreading.Event().wait()\n"
    (stubs / f"{module}.py").write_text(f"exec({code!r})" if in_a_string else code)
    process = subprocess.Popen(
        [sys.executable, "-m", "smartcar_ops", "run", "20", "--json"],
        cwd=KIT,
        env={**os.environ, "PYTHONPATH": f"{stubs}{os.pathsep}{KIT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup's child ignores SIGHUP, a shell's & SIGINT
    )
    pipe.open().close()  # returns when the module is being imported
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize(
    ("module", "number"),
    [("click", signal.SIGTERM), ("papermill", signal.SIGTERM), ("click", signal.SIGINT), ("click", signal.SIGHUP)],
)
def test_a_signal_in_an_import_is_exit_2(tmp_path: Path, module: str, number: signal.Signals) -> None:
    """From the first import on: one line of JSON, nothing on stderr."""
    ended = interrupted_in_an_import(tmp_path, module, number)
    assert (2, "") == (ended.returncode, ended.stderr)
    assert [2] == [json.loads(line)["exit_code"] for line in ended.stdout.splitlines()]


def test_a_signal_in_a_string_of_code_is_exit_2(tmp_path: Path) -> None:
    """Imports define classes by strings of code; Python would end by SIGINT after an interrupt in one."""
    ended = interrupted_in_an_import(tmp_path, "click", signal.SIGINT, in_a_string=True)
    assert (2, "") == (ended.returncode, ended.stderr)


def test_only_the_first_request_to_end_interrupts() -> None:
    """A second signal does not end the tidying up that the first began; what finishes is not interrupted at all."""
    with interrupts.heeded():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    with interrupts.heeded(), interrupts.finishing() as finish:
        finish()
        signal.raise_signal(signal.SIGTERM)
        interrupts.check()


def test_a_request_that_was_swallowed_is_heard_later() -> None:
    """Where somebody else's code passed over the interrupt, the next check raises it."""
    with interrupts.heeded():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    interrupts.check()


def test_a_request_in_a_finalizer_is_made_again() -> None:
    """Python drops an exception there; the request is not lost with it."""

    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with interrupts.heeded(), pytest.raises(KeyboardInterrupt):
        Finalized()
        threading.Event().wait(30)


def test_what_is_ignored_stays_ignored() -> None:
    """``nohup`` and ``&`` make a process ignore SIGHUP or SIGINT."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.heeded():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_after_the_last_word_changes_nothing() -> None:
    """While the interpreter ends, which takes a while, the exit code is what was told."""
    code = (
        "import atexit, os, signal, sys; from smartcar_ops import entry_point;"
        "atexit.register(lambda: [os.kill(os.getpid(), number) for number in (signal.SIGTERM, signal.SIGINT)]);"
        "sys.argv[1:] = ['--version']; entry_point.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=KIT, capture_output=True, text=True, timeout=60)
    assert (0, "") == (ended.returncode, ended.stderr)


# --- nobody takes what is printed ------------------------------------------------------------------------------


@pytest.fixture
def shell() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a line of bash in which ``kit`` is the command."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        kit = f'kit() {{ {sys.executable} -m smartcar_ops "$@"; }}; {line}'
        return subprocess.run(["bash", "-c", kit], cwd=KIT, capture_output=True, text=True, timeout=60)

    return run


def test_an_output_that_nobody_takes_is_exit_2(shell: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """On a full disk or into a closed pipe: a sentence, not Python's own exit codes 1 and 120."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    full = shell("kit --help > /dev/full")
    assert (2, "smartcar-ops: No space left on device.\n") == (full.returncode, full.stderr)
    closed = shell("kit --help | true; echo ${PIPESTATUS[0]}")
    assert closed.stdout.strip() in ("0", "2") and "Traceback" not in closed.stderr
