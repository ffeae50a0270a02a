"""Operations notebooks for Smartcar's move from V2 to V3.

``load`` gives a finished run's tables as DataFrames; everything else is in the folders below.
Importing this loads neither pandas nor SQLAlchemy nor ipywidgets.
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
logging.getLogger(__name__).addHandler(logging.NullHandler())  # who wants the kit's log says where and how much


def load(folder: str | os.PathLike[str]) -> Bundle:
    """The tables of a run, from any folder, such as ``load("20_audit_user_ids")["users"]`` for the latest audit.

    A run's folder or its name will do too; SettingsError where there is no run.
    """
    from smartcar_ops.storage.run_folder import load as load_bundle

    return load_bundle(folder)
