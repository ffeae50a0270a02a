"""The command line helps: what a notebook takes, whole sentences, words that a shell completes, a sandbox made anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smartcar_ops import cli
from smartcar_ops.database.ledger.runs import Runs
from smartcar_ops.errors import ParameterError
from smartcar_ops.sandbox import embedded
from smartcar_ops.settings import startup
from tests.support.house import House
from tests.support.notebooks import NAMES

Printed = Callable[..., str]


@pytest.fixture
def printed(house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Runs a command line that ends well on the house: what it printed, its lines joined."""
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> str:
        assert 0 == cli.execute(words)
        return " ".join(capsys.readouterr().out.split())

    return run


def test_without_a_command_it_shows_its_help(printed: Printed) -> None:
    """Exit 0, every command, and no sentence cut short."""
    shown = printed()
    assert shown == printed("--help")
    assert "…" not in shown and "..." not in shown.replace("[ARGS]...", "")
    assert {True} == {f" {name} " in shown for name in cli.cli.commands}
    assert "or with --file about many users at once." in shown


def test_the_help_of_run_lists_notebooks_or_parameters(printed: Printed) -> None:
    """Alone the notebooks with their titles; with one, by number or name, its parameters with type and default."""
    shown = printed("run", "--help")
    assert {True} == {name in shown for name in NAMES}
    assert "20_audit_user_ids Which users have no Smartcar user id?" in shown
    for given in (("run", "20", "--help"), ("run", "--json", "20_audit_user_ids", "-h")):
        shown = printed(*given)
        assert "max_calls (int) most units this run may spend; 0 means what the allowance holds [default: 0]" in shown
        assert "confirm (bool)" in shown and "--cell-minutes" in shown
    assert "Parameters of 00: none" in printed("run", "00", "--help")
    with pytest.raises(ParameterError, match=r"no notebook '20_audit_users' \(did you mean 20_audit_user_ids\?\)"):
        cli.execute(["run", "20_audit_users", "--help"])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("smartcar-ops run 2", ["20_audit_user_ids"]),
        ("smartcar-ops run 20 -p max", ["max_calls", "max_minutes"]),
        ("smartcar-ops run --log-level debug 30 -p un", ["undo"]),
        ("smartcar-ops run nonsense -p max", []),
        ("smartcar-ops runs pa", ["pause"]),
        ("smartcar-ops runs 2026", ["20260101T000000Z__x"]),
        ("smartcar-ops sand", ["sandbox"]),
    ],
)
def test_a_shell_completes_words(
    house: House, printed: Printed, monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    """Commands, notebooks, the parameters of the notebook that is named, and runs; nothing where nothing is known."""
    Runs(house.ledger).start("20260101T000000Z__x", "20_audit_user_ids", "audit")
    monkeypatch.setenv(cli.COMPLETE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert offered == [line.partition(",")[2] for line in printed().split()]


def test_a_shell_is_given_the_script_that_completes(tmp_path: Path) -> None:
    """By the installed command itself; where no ledger can be opened, the words are still there."""
    environment = {**os.environ, cli.COMPLETE: "bash_source"}
    command = [sys.executable, "-m", "smartcar_ops"]
    script = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert "complete -o nosort" in script and cli.COMPLETE in script
    words = {"COMP_WORDS": "smartcar-ops runs re", "COMP_CWORD": "2", "SMARTCAR_DATABASE_URL": "nonsense"}
    environment |= {**words, cli.COMPLETE: "bash_complete"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ("plain,resume\n", "") == (done.stdout, done.stderr)


def test_the_sandbox_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    """One that runs is ended, its data is gone, and nothing else; where there is none, it says so."""
    root = tmp_path / "clone"
    for name in (".venv", "notebooks", "reports"):
        (root / name).mkdir(parents=True)
    monkeypatch.chdir(root)
    address = startup.sandbox(root)
    assert f"Removed the sandbox in {root / '.sandbox'}; the next command" in printed("sandbox", "--reset")
    assert not address.is_alive()
    assert [".venv", "notebooks", "reports"] == sorted(path.name for path in root.iterdir())
    assert "There is no sandbox" in printed("sandbox", "--reset")
    assert embedded.attach(root / ".sandbox") is None
