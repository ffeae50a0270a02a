"""Every notebook, its state, and a way to execute them against a house."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.house import NOTEBOOKS, House

NAMES = tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
GOLDEN = Path(__file__).parents[1] / "golden"
SANITIZE = GOLDEN / "sanitize.cfg"
USERS, SEED = 60, 0


def settle(house: House) -> House:
    """The state the kept outputs were made in: expanded, callbacks played, everything asked."""
    house.expand().play_callbacks().ask()
    return house


def nbval(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs nbval in a process of its own, on a house."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--nbval-cell-timeout", "120"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=house.root,
        env=house.process_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
