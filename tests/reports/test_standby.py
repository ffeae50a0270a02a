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


PARENT = """
import os, sys, time
from pathlib import Path
from smartcar_ops.reports import standby
folder = Path(sys.argv[1])
standby.start()
command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(folder / "kernel.json")]
print(standby.become_kernel(command, dict(os.environ), str(folder), folder / "said").pid, flush=True)
time.sleep(600)
"""


def test_it_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    """A kernel whose run was killed is not left behind: nobody would speak to it any more."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        kernel = psutil.Process(int(parent.stdout.readline()))
        while not (tmp_path / "kernel.json").exists():
            assert kernel.is_running()
        parent.kill()
    assert kernel.wait(60) is None or not kernel.is_running()


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
