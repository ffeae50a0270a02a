"""What plain papermill gives a notebook: unknown names are an error in its first cell, and settings are found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from smartcar_ops.errors import ParameterError
from smartcar_ops.settings import injected_parameters
from tests.support.house import NOTEBOOKS, House

DECLARED = 'apply: bool = False  # write\nplan: str = ""\nmax_calls: int = 0\n'


def kernel(monkeypatch: pytest.MonkeyPatch, *cells: str, **names: object) -> None:
    """A kernel that ran these cells and has these names."""
    shell = SimpleNamespace(user_ns=names, history_manager=SimpleNamespace(input_hist_raw=["", *cells]))
    monkeypatch.setattr(injected_parameters, "_shell", lambda: shell)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("aply = True", "has no parameter 'aply' (did you mean apply?)"),
        ("foo = 1", "has no parameter 'foo'; it has apply, plan, max_calls."),
        ('apply = "yes"', "apply is 'yes'; expected True or False"),
        ("max_calls = True", "max_calls is True; expected a whole number"),
        ("max_calls = 0.5", "max_calls is 0.5; expected a whole number"),
        ("plan = 20261123", "plan is 20261123; expected text"),
    ],
)
def test_what_the_notebook_does_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch, given: str, words: str) -> None:
    """Names and types as `smartcar-ops run` checks them, from the cells that ran."""
    kernel(monkeypatch, DECLARED, f"# Parameters\n{given}\n", "import smartcar_ops")
    with pytest.raises(ParameterError) as caught:
        injected_parameters.refuse_unknown()
    assert words in str(caught.value)


def test_what_it_knows_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own parameters, and the names that papermill adds itself."""
    given = '# Parameters\nPAPERMILL_INPUT_PATH = "x"\napply = True\nplan = "latest"\nmax_calls = -1\n'
    kernel(monkeypatch, DECLARED, given, "import smartcar_ops")
    injected_parameters.refuse_unknown()
    kernel(monkeypatch, DECLARED, "import smartcar_ops")
    injected_parameters.refuse_unknown()
    monkeypatch.undo()
    injected_parameters.refuse_unknown()  # outside a kernel


def test_where_the_notebook_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As papermill tells it, where there is such a file."""
    path = tmp_path / "x.ipynb"
    for told, found in ((str(path), None), (None, None), (7, None)):
        kernel(monkeypatch, PAPERMILL_INPUT_PATH=told)
        assert found == injected_parameters.notebook()
    path.write_text("")
    kernel(monkeypatch, PAPERMILL_INPUT_PATH=str(path))
    assert path == injected_parameters.notebook()


@pytest.fixture
def papermill(house: House, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a notebook of a house by papermill alone, from a folder elsewhere; settings stand in the house's `.env`."""
    (house.root / "notebooks").unlink()
    shutil.copytree(NOTEBOOKS, house.root / "notebooks")
    (house.root / ".env").write_text("\n".join(f"{name}={value}" for name, value in house.environment.items()))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(notebook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = house.root / "notebooks" / f"{notebook}.ipynb"
        command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "-k", "python3", *arguments]
        environment = {n: v for n, v in house.process_environment().items() if not n.startswith("SMARTCAR_")}
        environment["PYTHONPATH"] = str(NOTEBOOKS.parent)
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["00_start_here", "50_capture_user_ids"])
def test_plain_papermill_finds_the_settings_and_refuses_what_is_unknown(
    house: House, papermill: Callable[..., subprocess.CompletedProcess[str]], notebook: str
) -> None:
    """By the notebook's own path: on the house and not on the sandbox; with a misspelt parameter in its first cell."""
    done = papermill(notebook, "--inject-paths")
    told = (house.root.parent / "elsewhere" / "out.ipynb").read_text()
    assert (0, True) == (done.returncode, house.settings.where in told)
    done = papermill(notebook, "--inject-paths", "-p", "redirect", "x.csv")
    assert 0 != done.returncode
    assert "has no parameter 'redirect'" in done.stderr
    assert not (house.root / ".sandbox").exists()
