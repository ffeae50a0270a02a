"""Which Smartcar and which database: the embedded sandbox or the real ones, never both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from smartcar_ops import errors
from smartcar_ops.errors import SmartcarOpsError
from smartcar_ops.sandbox import embedded
from smartcar_ops.sandbox.address import Address
from smartcar_ops.settings import environment, file_modes, network
from smartcar_ops.settings.environment import Settings, Source

SANDBOX = ".sandbox"
"""The folder beside `notebooks` in which the embedded sandbox leaves its address."""

UPGRADES = "40_schema_phases"
"""The notebook that upgrades the ledger; only this one opens a ledger of an older version."""


def settle(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Settings:
    """The settings in force; starts or attaches to the embedded sandbox where nothing real is set.

    They belong to ``root``, or to the home of this process. SettingsError (exit 5) where something real is set and not
    all of it, or is there and can't be understood. From here on, what this process writes has the mode they say.
    """
    if not is_demo():  # which asks this machine alone
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
    """The address of the folder's sandbox, started if none is alive, or anew; SmartcarOpsError if it can't be."""
    try:
        return embedded.attach_or_start(root / SANDBOX, fresh=fresh)
    except RuntimeError as error:
        raise SmartcarOpsError(f"{error}; see {SANDBOX}/{embedded.LOG}.") from None
    except OSError as error:
        raise SmartcarOpsError(
            f"sandbox: it can't be started here ({errors.in_words(error)}); go to a folder that can be written."
        ) from None


def is_demo() -> bool:
    """Whether this process belongs to ``smartcar-ops demo``."""
    return bool(os.environ.get(environment.DEMO))
