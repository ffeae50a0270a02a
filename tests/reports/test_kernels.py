"""A run's kernel: whose interpreter it is, where its sockets are, and what is left of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from smartcar_ops.errors import NotebookError
from smartcar_ops.reports import kernels
from smartcar_ops.reports.kernels import OwnInterpreter, own_kernel
from smartcar_ops.storage import run_folder


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernelspec of another Python under the name that notebooks ask for."""
    spec = {"argv": ["/opt/other/python", "-m", "other", "{connection_file}"], "display_name": "", "language": "python"}
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


@pytest.mark.usefixtures("foreign")
def test_the_kernel_is_the_kits_own_interpreter() -> None:
    """Whatever kernelspecs are installed, for a run and for JupyterLab; Jupyter's own way finds the foreign one."""
    assert "/opt/other/python" == KernelSpecManager().get_kernel_spec("python3").argv[0]
    own = OwnInterpreter()
    assert sys.executable == own.get_kernel_spec("python3").argv[0]
    assert {"python3"} == set(own.get_all_specs())


def test_sockets_have_a_short_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs at once have two; its path is absolute and short wherever TMPDIR is; the folder goes with the run.

    What the kernel keeps for a while is under TMPDIR, and goes, too.
    """
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with own_kernel(tmp_path) as one, own_kernel(tmp_path) as two:
        found = [Path(kernel.options["config"]["KernelManager"]["ip"]) for kernel in (one, two)]
        assert found[0] != found[1]
        assert {Path(kernel.environment["TMPDIR"]) for kernel in (one, two)} == {
            path for path in long.iterdir() if path.is_dir()
        }
        for path in found:
            assert path.is_absolute() and path.parent.is_dir() and len(str(path)) < 100
            assert 0o700 == path.parent.stat().st_mode & 0o777
    assert not any(path.parent.exists() for path in found)
    assert [] == list(long.iterdir())


def test_what_a_killed_run_left_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what a living one has, and not the folders of others."""
    monkeypatch.setattr(kernels, "_places", lambda _: [tmp_path])
    monkeypatch.setattr(kernels, "LONGEST", 1000)
    dead, living, other = (tmp_path / name for name in ("smartcar-kernel-dead", "smartcar-kernel-alive", "something"))
    for folder in (dead, living, other):
        folder.mkdir()
    (dead / "k-1").touch()
    with run_folder.claimed(living), own_kernel(tmp_path):
        assert (False, True, True) == (dead.exists(), living.exists(), other.exists())
    assert {"smartcar-kernel-alive", "something"} == {path.name for path in tmp_path.iterdir()}


def test_where_there_is_no_place_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that names the variable, not "is the disk full?"."""
    nowhere = tmp_path / "gone"
    monkeypatch.setattr(kernels, "_places", lambda _: [nowhere])
    with pytest.raises(NotebookError, match="set TMPDIR"), own_kernel(tmp_path):
        raise AssertionError("there is no place")
