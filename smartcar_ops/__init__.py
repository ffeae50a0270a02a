"""Operations notebooks for Smartcar's move from V2 to V3.

``connect`` returns the kit for your own notebooks, ``load`` the tables of a finished run as DataFrames, ``history`` one
row per day with an audit, ``diff`` who moved between two days; everything else is in the subfolders.
Importing this package loads neither pandas nor SQLAlchemy nor ipywidgets.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from smartcar_ops import moved

if TYPE_CHECKING:
    import os
    from datetime import date

    import pandas as pd

    from smartcar_ops.kit import Kit
    from smartcar_ops.storage.run_folder import Bundle

__version__ = "0.1.0"

moved.install()
logging.getLogger(__name__).addHandler(logging.NullHandler())  # the application configures where the kit's log goes


def connect() -> Kit:
    """Return the kit by the settings in force, in any notebook and folder: ``kit = smartcar_ops.connect()``.

    Then ``kit.user(id=4711)``, ``kit.audit().users``, ``kit.compare(vehicle_id="…")``, ``kit.progress()``. With nothing
    set it is the sandbox. SettingsError if the settings are wrong.
    """
    from smartcar_ops import kit

    return kit.connect()


def load(folder: str | os.PathLike[str], *, pseudonyms: bool = False) -> Bundle:
    """Return the tables of a run: ``load("20_audit_user_ids")["users"]`` is the users table of the latest audit.

    ``folder`` may be a notebook's name (its latest run), a run's name or a run's folder; works from any working folder.
    With ``pseudonyms``, every id of a person or a vehicle is replaced by a keyed pseudonym, the same in every table and
    run, and free text is left out. SettingsError if there is no such run.
    """
    from smartcar_ops.storage.run_folder import load as load_bundle

    return load_bundle(folder, pseudonyms=pseudonyms)


def history() -> pd.DataFrame:
    """Return one row per UTC day with an audit: ``as_of``, users by bucket, ``total``, ``left``, ``calls``, …

    Makes no call; works from any working folder. SettingsError or DatabaseError if the ledger can't be opened.
    """
    from smartcar_ops.progress import across_days

    return across_days.history()


def diff(earlier: str | date, later: str | date) -> pd.DataFrame:
    """Return who moved from which bucket to which between two days: ``diff("2026-11-20", "2026-11-28")``.

    Columns: ``user_id``, ``from_bucket``, ``to_bucket``, ``at``. Makes no call. ParameterError for days of which
    nothing is known.
    """
    from smartcar_ops.progress import across_days

    return across_days.diff(earlier, later)
