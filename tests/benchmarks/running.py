"""What a scheduled run costs beside a bare kernel that imports pandas and SQLAlchemy."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import millions, sandboxes
from tests.support.house import NOTEBOOKS

ROUNDS = 7
"""Both are timed so often, in turn; the medians count."""

USERS = 60
MOST = 1.7
"""Times what the bare kernel takes that a run may take: 1.4 of one that imports matplotlib too, as the kit once did."""

BARE = """
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel()
client.execute_interactive("import pandas, sqlalchemy")
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


def measure() -> None:
    """Prints one row: a run of the progress report, and the bare kernel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "notebooks").symlink_to(NOTEBOOKS, target_is_directory=True)
        with sandboxes.linked(folder, USERS) as (_, address):
            kit = [sys.executable, "-m", "smartcar_ops.cli", "run", "--log-level", "warning"]
            environment = {**os.environ, **address.environment(), "SMARTCAR_OPS_REPORTS": str(folder / "reports")}
            _seconds([*kit, "20_audit_user_ids"], environment, folder)
            ours, bare = zip(
                *(
                    (
                        _seconds([*kit, "90_progress_report"], environment, folder),
                        _seconds([sys.executable, "-c", BARE], dict(os.environ), folder),
                    )
                    for _ in range(ROUNDS)
                ),
                strict=True,
            )
    seconds, plain = statistics.median(ours), statistics.median(bare)
    table = Table("a run", "seconds", "a bare kernel", "times", "target", box=None)
    figures = f"{seconds:.2f}", f"{plain:.2f}", f"{seconds / plain:.2f}"
    table.add_row("90_progress_report", *figures, millions.target(seconds / plain, most=MOST))
    Console(width=millions.WIDTH).print(table)


def _seconds(command: list[str], environment: dict[str, str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return time.perf_counter() - started
