"""The interpreter that waits to become a run's kernel: used, ended with a run that is refused, and not relied on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from smartcar_ops.reports import standby

OWN = [sys.executable, "-m", "ipykernel_launcher", "--version"]


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """No interpreter is left by a test."""
    yield
    standby.end()


def become(folder: Path, **environment: str) -> subprocess.Popen[bytes] | None:
    """Lets the one that waits print the launcher's version, in a folder and an environment of its own."""
    return standby.become_kernel(OWN, {**os.environ, **environment}, str(folder), folder / "said")


def test_it_becomes_the_kernel_with_its_folder_and_environment(tmp_path: Path) -> None:
    """What is ordered runs in the interpreter that waited; what it writes goes to the file named."""
    standby.start()
    (waiting,) = standby._waiting
    process = become(tmp_path, JUST_FOR_IT="yes")
    assert process is waiting
    assert 0 == process.wait(60)
    assert (tmp_path / "said").read_text().strip()


def test_one_that_died_is_not_used(tmp_path: Path) -> None:
    """A kernel is then started the ordinary way."""
    standby.start()
    standby._waiting[0].kill()
    standby._waiting[0].wait()
    assert None is become(tmp_path)
    assert None is become(tmp_path)


def test_a_refused_run_leaves_none(tmp_path: Path) -> None:
    """The interpreter of a run that is known wrong ends with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCAR_")}
    command = [sys.executable, "-m", "smartcar_ops.cli", "run", "no_such_notebook", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 5 == done.returncode == json.loads(done.stdout)["exit_code"]
    assert [] == [one.pid for one in psutil.process_iter(["cmdline"]) if _waits(one, tmp_path)]


def _waits(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is an interpreter that waits in this folder."""
    try:
        return standby.__name__ in process.cmdline() and str(folder) == process.cwd()
    except psutil.Error:
        return False
