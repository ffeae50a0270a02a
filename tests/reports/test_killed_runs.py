"""Runs that are killed, started two at once, or meet a full disk: whole, or exit 2 with a sentence; and no litter."""

from __future__ import annotations

import itertools
import json
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from smartcar_ops.database.ledger.runs import Runs
from tests.support.house import House

KIT = Path(__file__).parents[2]
THREADS = 16
"""Requests that may be noted and not sent yet when a run is killed."""

ENDS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL)
NOTEBOOKS = ("00", "10", "20", "30", "40", "50", "90")
PAIRS = list(itertools.islice(itertools.cycle(itertools.combinations(NOTEBOOKS, 2)), 40))
SIZES = (4, 16, 64, 128, 256, 288, 304, 320, 336, 352, 400, 448, 1600)
"""KiB of disks that are full at another moment each; the last ones are large enough."""


class Running:
    """A run in a process of its own, its temporary files in a folder of the test."""

    def __init__(self, house: House, temporary: Path, *arguments: str, **changed: str) -> None:
        temporary.mkdir(exist_ok=True)
        self.house, self.temporary, self.notebook = house, temporary, arguments[0]
        self._before, self._after = len(house.sandbox.arrivals), sys.maxsize
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smartcar_ops", "run", *arguments, "--json"],
            cwd=house.root,
            env=house.process_environment(TMPDIR=str(temporary), PYTHONPATH=str(KIT), **changed),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
        )
        self.told: dict[str, Any] = {}

    @property
    def arrived(self) -> int:
        """Requests of it that reached the sandbox, if no other runs meanwhile."""
        own = self.house.sandbox.arrivals[self._before : self._after]
        return len([path for _, _, path in own if path != "/health"])

    def wait_for(self, requests: int) -> Running:
        """Waits until so many requests arrived, or it has ended."""
        while self.process.poll() is None and self.arrived < requests:
            self._wait(0.02)
        return self

    def kill(self, number: signal.Signals, after: float = 0) -> Running:
        """Sends it a signal, so many seconds after its first line of code; waits until its kernel is gone, too."""
        while self.process.poll() is None and not self._minds_signals():
            self._wait(0.005)  # the interpreter itself may take long to start beside other work
        self._wait(after)
        if self.process.poll() is None:
            kernels = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(number)
            psutil.wait_procs(kernels, timeout=60)
        return self

    def _minds_signals(self) -> bool:
        """Whether its own handler of SIGTERM is there, which is the first thing that it sees to."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)

    def end(self) -> int:
        """Waits for its end: its exit code; what it told as JSON is in ``told``, and nothing else was printed."""
        out, err = self.process.communicate(timeout=300)
        self._after = len(self.house.sandbox.arrivals)
        assert not any(word in err for word in ("Traceback", "Exception ignored", "never retrieved")), err
        if out or self.process.returncode >= 0:
            (line,) = out.splitlines()
            self.told = json.loads(line)
            assert self.process.returncode in (-signal.SIGKILL, self.told["exit_code"]), err
        return self.process.returncode

    def _wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return


def litter(house: House, temporary: Path) -> list[str]:
    """What a run that ended has left behind, other than its folder."""
    kept = {"notebooks", "reports", "smartcar_ops.toml", ".sandbox"}
    unfinished = house.settings.reports.glob(".*.partial*")
    new = (path for path in house.root.iterdir() if path.name not in kept)
    return [path.name for path in (*temporary.iterdir(), *unfinished, *new)]


def check_calls(running: Running) -> None:
    """What it sent is in the ledger, in its folder, and in what it told."""
    house = running.house
    newest = max(house.settings.reports.glob(f"2*__{running.notebook}_*"))
    run = Runs(house.ledger).one(newest.name)
    assert run is not None
    assert run.status in ("stopped", "done") and run.ended is not None
    told = json.loads((newest / "run.json").read_text())["calls"]
    assert told == run.calls
    assert running.arrived <= sum(told.values())
    if running.notebook == "20":  # of a comparison a request may be many units
        assert sum(told.values()) <= running.arrived + THREADS


@pytest.fixture
def busy(make_house: Callable[..., House]) -> House:
    """A house whose Smartcar takes its time, with more to ask than any of its runs is left to finish."""
    return make_house(users=200, faults=("slow",)).expand().play_callbacks()


def test_killed_runs_are_known_and_in_nobodys_way(busy: House, tmp_path: Path) -> None:
    """Each of three, ended in the middle of its calls: exit 2 or the signal, all it spent known, no litter after it.

    What a killed one left, the next one tells and takes away.
    """
    before: Running | None = None
    for number in ENDS[:3]:
        for table in ("asked", "tokens"):
            busy.execute(f"DELETE FROM smartcar_ops_{table}")
        running = Running(busy, tmp_path / "t", "20").wait_for(20)
        assert 20 <= running.arrived
        if before is not None:
            check_calls(before)
        code = running.kill(number).end()
        assert (-9 if number == signal.SIGKILL else 2) == code
        before = running
        if number != signal.SIGKILL:
            assert [] == litter(busy, tmp_path / "t")
            assert "was stopped; run it again" in running.told["verdict"]
            assert 20 <= sum(running.told["calls"].values())
            check_calls(running)


@pytest.mark.slow
def test_fifty_kills_at_random_moments(busy: House, tmp_path: Path) -> None:
    """SIGTERM, SIGINT and SIGKILL, imports included: the exit code, no litter, the next run not hindered, all known."""
    chance = random.Random(7)
    for number in itertools.islice(itertools.cycle(ENDS), 50):
        for table in ("asked", "tokens", "recordings"):
            busy.execute(f"DELETE FROM smartcar_ops_{table}")
        words = chance.choice((("20",), ("10", "-p", "vehicles=10"), ("30",), ("90",)))
        running = Running(busy, tmp_path / "t", *words).kill(number, after=chance.uniform(0.05, 9))
        ended = -9 if number == signal.SIGKILL else 2
        assert running.end() in (ended, 0, 1, 3)  # it may have been done before
        if number != signal.SIGKILL:
            assert [] == litter(busy, tmp_path / "t")
        assert 5 > Running(busy, tmp_path / "t", "00").end()
        assert [] == litter(busy, tmp_path / "t")
        if running.arrived:
            check_calls(running)


@pytest.mark.slow
@pytest.mark.parametrize("expanded", [False, True])
def test_forty_pairs_of_notebooks_started_together(
    make_house: Callable[..., House], tmp_path: Path, expanded: bool
) -> None:
    """Every two different notebooks on one database at once: both whole, with their row in the ledger."""
    house = make_house(users=40)
    if expanded:
        house.expand().play_callbacks()
    for names in PAIRS[expanded::2]:
        both = [Running(house, tmp_path / "t", name) for name in names]
        for running in both:
            assert running.end() in (0, 1, 3), running.told
            folder = Path(running.told["folder"])
            assert {"report.html", "run.ipynb", "run.json", "summary.json"} <= {path.name for path in folder.iterdir()}
            assert running.notebook == "00" or Runs(house.open_ledger()).one(folder.name)
        assert [] == litter(house, tmp_path / "t")


# --- full disks, rights -----------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system on a new folder; skipped where this user may not."""
    folders: list[Path] = []

    def mount(*options: str, source: str = "none") -> Path:
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        done = subprocess.run(["mount", *options, source, str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting takes root's rights")
        folders.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in folders:
            subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.slow
@pytest.mark.parametrize("kib", SIZES)
def test_a_full_disk_is_a_whole_run_or_a_sentence(
    make_house: Callable[..., House], mounted: Callable[..., Path], kib: int
) -> None:
    """Reports, ledger and temporary files on a disk that is full at another moment each time."""
    house = make_house(users=40)
    disk = mounted("-t", "tmpfs", "-o", f"size={kib}k")
    running = Running(house, disk / "t", "20", SMARTCAR_OPS_REPORTS=str(disk / "reports"), HOME=str(disk / "home"))
    code = running.end()
    assert code == 1 if kib >= 448 else code in (1, 2)
    assert running.told["verdict"].count("\n") == 0 and "bug in the kit" not in running.told["verdict"]
    assert [] == [path.name for path in disk.rglob("*") if ".partial" in path.name or "kernel" in path.name]
    if running.told["folder"]:
        files = {path.name for path in Path(running.told["folder"]).iterdir()}
        assert {"report.html", "run.ipynb", "run.json", "summary.json"} <= files


@pytest.mark.slow
def test_files_that_may_not_grow_are_a_sentence(house: House, tmp_path: Path) -> None:
    """Where no file system can be mounted: the system refuses to write beyond a size."""
    for size in (0, 1_000, 20_000):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            running = Running(house, tmp_path / "t", "20")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert running.end() in (1, 2)
        assert [] == litter(house, tmp_path / "t")


@pytest.mark.slow
def test_a_read_only_checkout_is_no_hindrance(house: House, mounted: Callable[..., Path], tmp_path: Path) -> None:
    """Runs from a folder that can't be written, its reports elsewhere; and says so where they would be in it."""
    house.settings.reports.mkdir(exist_ok=True)
    checkout = mounted("--bind", "-o", "ro", source=str(house.root))
    house.root, outside = checkout, tmp_path / "reports"
    assert 1 == Running(house, tmp_path / "t", "20", SMARTCAR_OPS_REPORTS=str(outside)).end()
    running = Running(house, tmp_path / "t", "20", SMARTCAR_OPS_REPORTS=str(checkout / "reports"))
    assert 2 == running.end()
    assert "can't be written (Read-only file system); check the folder" in running.told["verdict"]
