"""What auditing a company adds to a process's memory: ``python -m tests.benchmarks.audit_memory URL REPORTS``.

In a process of its own, because a peak never goes down again. Prints the MiB by which the peak grew from after the
imports to after the users' table was written, a part at a time.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from smartcar_ops.audit.result import judge_users
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.settings.layout import Layout
from smartcar_ops.storage import run_folder
from tests.benchmarks.filling import NOW, SCOPE


def measured(url: str, reports: Path) -> float:
    """MiB that the audit adds, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.audit_memory", url, str(reports)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def audit(url: str, reports: Path) -> None:
    """Audits the company and keeps its tables, as the notebook does."""
    company = Company.connect(url, Layout())
    ledger = Ledger.open(company, SCOPE, reports)
    for name, table in judge_users(company, ledger, NOW).tables().items():
        run_folder.write_table(reports, name, table)


def peak() -> float:
    """This process's largest memory so far, in MiB.

    Linux hands ``ru_maxrss`` down from the process that started this one, so there its own figure is read.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        own = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(own.split()[1]) / 1024
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    before = peak()
    audit(sys.argv[1], Path(sys.argv[2]))
    print(f"{peak() - before:.1f}")
