"""The command that starts JupyterLab on the kit's notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

KERNELS = "smartcar_ops.reports.kernels.OwnInterpreter"
FILES = "smartcar_ops.reports.lab_files.LabFiles"
CONFIG = Path(__file__).parent / "lab_config"
"""The folder with the kit's defaults for JupyterLab's settings."""

START = "notebooks/00_start_here.ipynb"

AS_ROOT = "You are root, so JupyterLab is started with --allow-root: whoever can open it can do what root can."


def command(root: Path, given: Sequence[str]) -> list[str]:
    """Return the command that starts JupyterLab in ``root``, at the first notebook; ``given`` is passed on to it.

    Its kernels are this interpreter, and the kit's notebooks are saved without outputs.
    """
    own = [
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.kernel_spec_manager_class={KERNELS}",
        f"--ServerApp.contents_manager_class={FILES}",
    ]
    if (root / START).is_file():
        own.append(f"--LabApp.default_url=/lab/tree/{START}")
    if is_root():
        own.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *own, *given]


def environment(before: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of JupyterLab: its defaults are the kit's, which every user can change in its settings.

    It asks for no news, and saves every 10 seconds, so that a reload of the page shows what was there.
    """
    paths = filter(None, (str(CONFIG), before.get("JUPYTER_CONFIG_PATH")))
    return {**before, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def is_root() -> bool:
    """Return whether this process may do everything, which JupyterLab refuses unless it is told."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
