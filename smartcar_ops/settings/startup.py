"""Which Smartcar and which database: the embedded sandbox or the real ones, never both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from smartcar_ops import errors
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.sandbox import embedded
from smartcar_ops.sandbox.address import Address
from smartcar_ops.settings import environment, file_modes, network
from smartcar_ops.settings.environment import Settings, Source
from smartcar_ops.settings.home import home

SANDBOX = ".sandbox"
"""The folder beside `notebooks` in which the embedded sandbox stores its address."""

UPGRADES = "40_schema_phases"
"""The notebook that upgrades the ledger; only this one opens a ledger of an older version."""


def settle(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Settings:
    """Return the settings in force; start or attach to the embedded sandbox if nothing real is set.

    The settings belong to ``root``, by default the home of this process. SettingsError (exit 5) if real settings are
    incomplete or can't be parsed. From now on, this process writes files with the mode that they set.
    """
    if not is_demo():  # a demo connects only to this machine
        network.check()
    found = _find(environment.source(environ, root))
    file_modes.enforce(found.file_mode)
    return found


def _find(given: Source) -> Settings:
    if not given.wants_sandbox:
        return environment.read(given)
    address = sandbox(given.root)
    return environment.read(Source({**given.values, **address.environment()}, given.root), sandbox=True)


def sandbox(root: Path, *, fresh: bool = False) -> Address:
    """Return the address of the folder's sandbox; start it if none is running, or always with ``fresh``.

    SmartcarOpsError if it can't be started.
    """
    try:
        return embedded.attach_or_start(root / SANDBOX, fresh=fresh)
    except RuntimeError as error:
        raise SmartcarOpsError(f"{error}; see {SANDBOX}/{embedded.LOG}.") from None
    except OSError as error:
        raise SmartcarOpsError(
            f"sandbox: it can't be started here ({errors.in_words(error)}); change to a folder that you can write."
        ) from None


def reset_sandbox(root: Path | None = None) -> str:
    """End this folder's sandbox and remove its data; return what was done, as a sentence. Nothing else is touched.

    SmartcarOpsError if it can't be removed.
    """
    folder = (root or home()) / SANDBOX
    if not folder.is_dir():
        return f"There is no sandbox in {folder.parent}; the next command that needs one starts it."
    try:
        embedded.stop(folder)
        shutil.rmtree(folder)
    except (OSError, RuntimeError) as error:
        words = errors.in_words(error) if isinstance(error, OSError) else str(error)
        raise SmartcarOpsError(f"sandbox: {folder} can't be removed ({words}).") from None
    return f"Removed the sandbox in {folder}; the next command that needs one starts a new one."


def is_demo() -> bool:
    """True if this process belongs to ``smartcar-ops demo``."""
    return bool(os.environ.get(environment.DEMO))
