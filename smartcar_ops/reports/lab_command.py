"""The command that starts JupyterLab on the kit's notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

KERNELS = "smartcar_ops.reports.kernels.OwnInterpreter"
FILES = "smartcar_ops.reports.lab_files.LabFiles"
START = "notebooks/00_start_here.ipynb"

AS_ROOT = "You are root, so JupyterLab is started with --allow-root: whoever can open it can do what root can."


def command(root: Path, given: Sequence[str]) -> list[str]:
    """Return the command that starts JupyterLab in ``root``, at the first notebook; ``given`` is passed on to it.

    Its kernels are this interpreter, the kit's notebooks are saved without outputs, and nothing asks for news.
    """
    own = [
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.kernel_spec_manager_class={KERNELS}",
        f"--ServerApp.contents_manager_class={FILES}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if (root / START).is_file():
        own.append(f"--LabApp.default_url=/lab/tree/{START}")
    if is_root():
        own.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *own, *given]


def is_root() -> bool:
    """Return whether this process may do everything, which JupyterLab refuses unless it is told."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
