"""Operations notebooks for Smartcar's move from V2 to V3.

``load`` returns the tables of a finished run as DataFrames; everything else is in the subfolders.
Importing this package loads neither pandas nor SQLAlchemy nor ipywidgets.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from smartcar_ops import moved

if TYPE_CHECKING:
    import os

    from smartcar_ops.storage.run_folder import Bundle

__version__ = "0.1.0"

moved.install()
logging.getLogger(__name__).addHandler(logging.NullHandler())  # the application configures where the kit's log goes


def load(folder: str | os.PathLike[str]) -> Bundle:
    """Return the tables of a run: ``load("20_audit_user_ids")["users"]`` is the users table of the latest audit.

    ``folder`` may be a notebook's name (its latest run), a run's name or a run's folder; works from any working folder.
    SettingsError if there is no such run.
    """
    from smartcar_ops.storage.run_folder import load as load_bundle

    return load_bundle(folder)
