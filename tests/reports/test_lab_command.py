"""What `smartcar-ops lab` starts: JupyterLab at the first notebook, with the kit's own kernel and files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_server.services.config.manager import ConfigManager

from smartcar_ops import cli
from smartcar_ops.reports import lab_command
from tests.support.house import House

Started = Callable[..., tuple[list[str], str, str]]


@pytest.fixture
def started(house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Started:
    """Runs `smartcar-ops lab` up to where JupyterLab takes over: the command, and what was printed before."""
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[list[str], str, str]:
        taken: list[list[str]] = []
        monkeypatch.setattr(os, "execve", lambda path, command, environment: taken.append(command))
        monkeypatch.setattr("subprocess.call", lambda command, env: 0)
        cli.execute(["lab", *words])
        said = capsys.readouterr()
        return taken[0], said.out, said.err

    return run


def test_it_opens_the_first_notebook_and_says_where_it_acts(started: Started, house: House) -> None:
    """With no option: the folder, the first notebook, the kit's kernel and files."""
    command, out, _ = started()
    assert [sys.executable, "-m", "jupyterlab"] == command[:3]
    assert f"--ServerApp.root_dir={house.root}" in command
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    for name in (lab_command.KERNELS, lab_command.FILES):
        assert [option for option in command if option.endswith(f"={name}")]
    assert out.startswith(f"Acting on {house.settings.where}.")


def test_options_are_passed_on(started: Started) -> None:
    """Those that it names, and any other of JupyterLab's, after its own so that they win."""
    command, _, _ = started("--no-browser", "--port", "8123", "--ip=0.0.0.0", "--IdentityProvider.token=x", "--debug")
    own = command.index("--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb")
    for option in ("--no-browser", "--ServerApp.port=8123", "--ServerApp.ip=0.0.0.0", "--IdentityProvider.token=x"):
        assert command.index(option) > own
    assert "--debug" == command[-1]


@pytest.mark.parametrize("root", [True, False])
def test_root_is_told_what_that_means(started: Started, monkeypatch: pytest.MonkeyPatch, *, root: bool) -> None:
    """JupyterLab refuses root unless it is told; everybody else hears nothing."""
    monkeypatch.setattr(lab_command, "is_root", lambda: root)
    command, out, _ = started()
    assert root == ("--allow-root" in command) == (lab_command.AS_ROOT in out)


def test_wrong_settings_do_not_keep_it_from_opening(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one sentence on stderr: JupyterLab is where they are looked into."""
    monkeypatch.setenv("SMARTCAR_DATABASE_URL", "nonsense")
    command, _, err = started()
    assert "SMARTCAR_DATABASE_URL" in err and "Traceback" not in err
    assert "jupyterlab" in command


def test_its_settings_are_defaults_that_jupyterlab_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No question about news, and saved every few seconds; a path of the user's own comes after."""
    given = lab_command.environment({"JUPYTER_CONFIG_PATH": "/mine", "HOME": "/h"})
    assert ("/mine", "/h") == (given["JUPYTER_CONFIG_PATH"].split(os.pathsep)[-1], given["HOME"])
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", lab_command.environment({})["JUPYTER_CONFIG_PATH"])
    found = ConfigManager(config_dir_name="labconfig").get("default_setting_overrides")
    assert "false" == found["@jupyterlab/apputils-extension:notification"]["fetchNews"]
    assert 30 > found["@jupyterlab/docmanager-extension:plugin"]["autosaveInterval"] > 0


def test_a_folder_without_notebooks_opens_as_it_is(tmp_path: Path) -> None:
    """There is no first notebook to open then."""
    assert not [option for option in lab_command.command(tmp_path, []) if "default_url" in option]
